"""Claims about the flags of the watch and of what it records."""

import pytest
from subcommands import flags_with, parsed, without_help

from asd_jax.detect import COMMANDS, parser
from asd_jax.detector.sample_format import SampleFormat
from asd_jax.detector.watch_settings import WatchSettings
from asd_jax.run import history
from asd_jax.run.watch_flags import ALARMS, case_flags
from asd_jax.runtime.errors import InputError

WATCH = {
    "rate": SampleFormat.rate,
    "channels": SampleFormat.channels,
    "encoding": SampleFormat.encoding,
    "channel": None,
    "hop_seconds": None,
    "confirm": WatchSettings.confirm,
    "hysteresis": 0.25,
    "hold_seconds": WatchSettings.hold_seconds,
    "of": WatchSettings.of,
    "on_delay_seconds": WatchSettings.on_delay_seconds,
    "store": None,
    "machine": "machine",
    "quiet_hours": "",
    "gap_seconds": 2.0,
    "status_seconds": WatchSettings.status_seconds,
    "once": False,
    "settle": 0.0,
    "runtime": "jax",
}
# Subcommand: (the flags and other words that it needs, the values of the other flags).
FLAGS = {
    "watch": ({"detector": "a", "input": "-"}, [], WATCH),
    "trend": (
        {"store": "a"},
        [],
        {"machine": None, "days": 30, "until": None, "json": False},
    ),
    # A list shows what is to be done, an export all that there was.
    "alarms list": ({"store": "a"}, [], {"machine": None, "state": "open", "json": False}),
    "alarms ack": ({"store": "a"}, [("case", 3)], {"note": "", "by": ""}),
    "alarms shelve": ({"store": "a", "hours": 8.5}, [("name", "pump")], {"by": ""}),
    "alarms unshelve": ({"store": "a"}, [("name", "pump")], {"by": ""}),
    "alarms export": (
        {"store": "a", "output": "b"},
        [],
        {"machine": None, "state": "all", "format": "csv", "start": None},
    ),
}


@pytest.mark.parametrize("words", FLAGS)
def test_flags_that_are_not_given_have_their_defaults_and_the_others_are_needed(words):
    needed, named, others = FLAGS[words]
    names = [str(value) for _, value in named]
    found = parsed(*words.split(), *names, *flags_with(**needed))
    assert found == needed | dict(named) | others
    assert {type(found[name]) for name, _ in named} == {type(value) for _, value in named}
    for name in needed:
        fewer = {key: value for key, value in needed.items() if key != name}
        with pytest.raises(InputError, match=f"are required: --{name} "):
            parsed(*words.split(), *names, *flags_with(**fewer))


@pytest.mark.parametrize("word", ["watch", "trend"])
def test_every_flag_says_what_it_is_for(word):
    assert without_help(COMMANDS[word][0]) == []


@pytest.mark.parametrize("word", ALARMS)
def test_every_flag_of_alarms_says_what_it_is_for(word):
    named = ["name"] if "shelve" in word else []  # MACHINE says it
    assert without_help(lambda parser: case_flags(parser.add_argument, word)) == named


def test_a_machine_to_shelve_is_called_so():
    with pytest.raises(InputError, match="are required: MACHINE "):
        parsed("alarms", "shelve", "--store=a", "--hours=1")


def test_values_have_the_types_that_the_watch_takes():
    given = {
        "rate": 8000,
        "channels": 2,
        "encoding": "u8",
        "channel": 1,
        "hop_seconds": 0.5,
        "confirm": 3,
        "hysteresis": 0.5,
        "hold_seconds": 1.5,
        "of": 5,
        "on_delay_seconds": 2.5,
        "store": "s",
        "machine": "pump",
        "quiet_hours": "22:00-06:00",
        "gap_seconds": 0.5,
        "status_seconds": 60.5,
        "settle": 2.5,
        "runtime": "openvino",
    }
    needed, _, _ = FLAGS["watch"]
    found = parsed("watch", *flags_with(**needed, **given), "--once")
    assert found == needed | given | {"once": True}
    given = {"store": "s", "machine": "pump", "days": 8, "until": "2026-01-01"}
    assert parsed("trend", *flags_with(**given), "--json") == given | {"json": True}


@pytest.mark.parametrize(
    ("words", "flag"),
    [
        ("watch --detector=a --input=-", "--runtime=torch"),
        ("watch --detector=a --input=-", "--of=-1"),
        ("alarms list --store=a", "--state=closed"),
        ("alarms export --store=a --output=b", "--state=open-ish"),
        ("alarms export --store=a --output=b", "--format=txt"),
    ],
)
def test_a_value_that_is_none_of_a_flags_is_named(words, flag):
    name, _, value = flag.partition("=")
    with pytest.raises(InputError, match=f"argument {name}: .*'{value}'"):
        parsed(*words.split(), flag)


@pytest.mark.parametrize("word", ALARMS)
def test_each_subcommand_of_alarms_calls_a_function_that_exists(word):
    assert callable(getattr(history, ALARMS[word][0]))


def test_a_flag_of_another_subcommand_is_bad_input():
    args = parser().parse_args(["alarms", "ack", "--store=a", "3", "--note=greased"])
    assert args.case == 3 and args.note == "greased" and args.by == ""
    with pytest.raises(InputError, match="unrecognized arguments: --hours=2"):
        parser().parse_args(["alarms", "ack", "--store=a", "3", "--hours=2"])
    found = parsed("alarms", "list", "--store=a", "--machine=fan", "--state=all", "--json")
    assert found == {"store": "a", "machine": "fan", "state": "all", "json": True}
