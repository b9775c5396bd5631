"""Claims about the flags of the commands that make and use a detector."""

import argparse
import importlib

import pytest
from subcommands import flags_with, parsed, without_help

from asd_jax.detect import COMMANDS, parser
from asd_jax.detector.settings import Settings
from asd_jax.run.detector_flags import whole_number
from asd_jax.runtime.errors import InputError

# Subcommand: (the flags that it needs, the values of the others).
FLAGS = {
    "fit": (
        {"normal": "a", "output": "b"},
        {
            "weights": "box",
            "false_alarm_rate": Settings.false_alarm_rate,
            "window_seconds": None,
            "coreset": 0,
            "tokens": False,
            "channel": "mean",
            "machine": None,
            "fine_tune": False,
            "keep_odd": False,
            "json": False,
            "epochs": 10,
            "seed": 0,
        },
    ),
    "update": (
        {"detector": "a", "normal": "b", "output": "c"},
        {"keep_odd": False, "channel": "mean"},
    ),
    "adapt": ({"detector": "a", "normal": "b", "output": "c"}, {"channel": "mean"}),
    "set-rate": ({"detector": "a", "false_alarm_rate": 0.5, "output": "c"}, {}),
    "info": ({"detector": "a"}, {"json": False}),
    "score": (
        {"detector": "a"},
        {
            "paths": ["x", "y"],
            "json": False,
            "csv": None,
            "workdir": None,
            "html": None,
            "normal": None,
            "runtime": "jax",
            "channel": "mean",
        },
    ),
}


@pytest.mark.parametrize("word", COMMANDS)
def test_each_subcommand_calls_a_function_that_exists(word):
    _, module, function = COMMANDS[word]
    assert callable(getattr(importlib.import_module(f"asd_jax.run.{module}"), function))


@pytest.mark.parametrize("word", FLAGS)
def test_flags_that_are_not_given_have_their_defaults_and_the_others_are_needed(word):
    needed, others = FLAGS[word]
    paths = others.get("paths", [])
    assert parsed(word, *flags_with(**needed), *paths) == needed | others
    for name in needed:
        fewer = {key: value for key, value in needed.items() if key != name}
        with pytest.raises(InputError, match=f"are required: --{name} "):
            parsed(word, *flags_with(**fewer), *paths)


@pytest.mark.parametrize("word", FLAGS)
def test_every_flag_says_what_it_is_for(word):
    assert without_help(COMMANDS[word][0]) == []


def test_values_have_the_types_that_the_library_takes():
    numbers = {"false_alarm_rate": 0.01, "window_seconds": 2.5, "coreset": 64, "epochs": 3}
    texts = {"weights": "w", "channel": "far", "machine": "pump"}
    switches = ["tokens", "fine_tune", "keep_odd", "json"]
    needed, _ = FLAGS["fit"]
    given = needed | texts | numbers | {"seed": 7}
    words = [*flags_with(**given), *(f"--{name}" for name in switches)]
    assert parsed("fit", *words) == given | dict.fromkeys(switches, True)
    # Of several folders of normal recordings, each is one.
    files = {"csv": "s.csv", "workdir": "w", "html": "s.html", "runtime": "openvino"}
    words = ["x", "--detector=a", *flags_with(**files), "--normal=a", "--normal=b", "--json"]
    found = parsed("score", *words)
    assert found.items() >= (files | {"normal": ["a", "b"], "json": True}).items()
    assert parsed("info", "--detector=a", "--json")["json"] is True
    needed, _ = FLAGS["update"]
    found = parsed("update", *flags_with(**needed), "--keep_odd", "--channel=1")
    assert (found["keep_odd"], found["channel"]) == (True, "1")


def test_score_needs_a_recording_and_a_runtime_that_is_known():
    with pytest.raises(InputError, match="are required: PATH "):
        parsed("score", "--detector=a")
    with pytest.raises(InputError, match="--runtime: invalid choice: 'torch'"):
        parsed("score", "x", "--detector=a", "--runtime=torch")


def test_a_count_is_a_whole_number_from_0_on():
    assert whole_number("0") == 0 and whole_number("12") == 12
    for text in ("-1", "1.5", "many", ""):
        with pytest.raises(argparse.ArgumentTypeError, match="no whole number from 0 on"):
            whole_number(text)
    for flag in ("--coreset=-1", "--seed=-1"):
        with pytest.raises(InputError, match="'-1' is no whole number from 0 on"):
            parser().parse_args(["fit", "--normal=a", "--output=b", flag])
