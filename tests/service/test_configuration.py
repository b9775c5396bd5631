import dataclasses
from pathlib import Path

import pytest

from asd_jax.detector.sample_format import SampleFormat
from asd_jax.monitoring.quiet_hours import QuietHours
from asd_jax.runtime.errors import InputError
from asd_jax.service.configuration import Configuration, Machine, Mqtt, Web, read_configuration

GOOD = """
[[machine]]
name = "pump"
detector = "pump.detector"
source = "rtsp://camera/1"
"""


def written(tmp_path, text):
    (tmp_path / "machines.toml").write_text(text)
    return tmp_path / "machines.toml"


def test_file_names_are_relative_to_the_file_and_every_key_arrives(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/ann")
    (tmp_path / "token").write_text(16 * "t" + "\n")
    (tmp_path / "secret").write_text("of the broker\n")
    table = "[[machine]]\nname = '{}'\ndetector = 'd'\nsource = '{}'\n"
    sources = ("rtsp://camera/1", "rtsps://c/1", "http://c/1", "https://c/1", "alsa:hw:1", "-")
    sources = dict(zip("abcdef", sources, strict=True)) | {"g": "in", "h": "/in", "i": "~/in"}
    text = "state = 'kept'\nnotify = ['ntfy://topic']\n"
    text += "[web]\nhost = '0.0.0.0'\ntoken_file = 'token'\n"
    text += "[mqtt]\nhost = 'broker'\ndiscovery = ''\npassword_file = 'secret'\n"
    found = read_configuration(
        written(tmp_path, text + "".join(table.format(*one) for one in sources.items()))
    )
    places = sources | {"g": str(tmp_path / "in"), "i": "/home/ann/in"}
    assert found == Configuration(
        state=tmp_path / "kept",
        machines=tuple(
            Machine(name=name, detector=str(tmp_path / "d"), source=source)
            for name, source in places.items()
        ),
        web=Web(host="0.0.0.0", token_file="token"),
        mqtt=Mqtt(host="broker", discovery="", password_file="secret"),
        notify=("ntfy://topic",),
        token=16 * "t",
        password="of the broker",
    )
    assert found.token not in repr(found) and found.password not in repr(found)


def test_one_machine_is_enough_and_the_defaults_are_those_of_the_documentation(tmp_path):
    found = read_configuration(written(tmp_path, GOOD))
    (machine,) = found.machines
    assert found == Configuration(tmp_path / "state", (machine,), Web(), Mqtt(), (), "", "")
    web = {"host": "127.0.0.1", "port": 8080, "token_file": ""}
    assert dataclasses.asdict(Web()) == web | {"upload_mb": 32.0, "upload_seconds": 600.0}
    mqtt = {"host": "", "port": 1883, "user": "", "password_file": "", "tls": False, "ca_file": ""}
    mqtt |= {"topic": "asd_jax", "discovery": "homeassistant"}
    assert dataclasses.asdict(Mqtt()) == mqtt
    given = {"name": "pump", "detector": machine.detector, "source": "rtsp://camera/1"}
    sound = {"rate": 16000, "channels": 1, "encoding": "s16le", "channel": -1, "realtime": False}
    sound |= {"runtime": "jax", "hop_seconds": 0.0, "silent_seconds": 6.0}
    alarm = {"confirm": 2, "of": 0, "on_delay_seconds": 0.0, "hold_seconds": 30.0}
    alarm |= {"hysteresis": 0.25, "quiet_hours": ""}
    assert dataclasses.asdict(machine) == given | sound | alarm
    page = (Path(__file__).parents[2] / "docs" / "service.md").read_text()
    stated = {"silent_seconds", "confirm", "of", "on_delay_seconds", "hysteresis", "hold_seconds"}
    for name in stated:
        assert f"    {name} = {getattr(machine, name)} " in page
    for name in ("upload_mb", "upload_seconds"):
        assert f"    {name} = {getattr(found.web, name)} " in page


PUMP = {"name": "pump", "detector": "d", "source": "-"}


@pytest.mark.parametrize(
    ("cls", "name", "least", "most"),
    [
        (Machine, "channel", -1, 63),
        (Machine, "hop_seconds", 0, 3600),
        (Machine, "silent_seconds", 1, 3600),
        (Machine, "confirm", 1, 1000),
        (Machine, "of", 0, 1000),
        (Machine, "on_delay_seconds", 0, 86400),
        (Machine, "hold_seconds", 0, 86400),
        (Machine, "hysteresis", 0, 1),
        (Web, "port", 0, 65535),
        (Web, "upload_mb", 1e-3, 1e4),
        (Web, "upload_seconds", 1e-3, 3600),
        (Mqtt, "port", 1, 65535),
    ],
)
def test_a_number_may_be_at_the_end_of_its_range_and_not_beyond(cls, name, least, most):
    others = PUMP if cls is Machine else {}
    number = type(getattr(cls(**others), name))
    step = 1 if least in (-1, 0, 1) else least  # 0 itself is refused by the others
    for value in map(number, (least, most)):
        assert getattr(cls(**others, **{name: value}), name) == value
    for value in map(number, (least - step, most + 1)):
        with pytest.raises(InputError, match=f"^{name}={value} must"):
            cls(**others, **{name: value})


def test_an_alarm_cannot_ask_for_more_windows_than_it_counts():
    for of, confirm in ((0, 2), (2, 2), (3, 2), (1, 1)):
        assert Machine(**PUMP, of=of, confirm=confirm).of == of
    for of, confirm in ((1, 2), (2, 3)):
        with pytest.raises(InputError, match=f"of={of} is below confirm={confirm}"):
            Machine(**PUMP, of=of, confirm=confirm)


def test_the_format_of_samples_and_the_quiet_hours_are_those_given():
    machine = Machine(**PUMP, encoding="u8", rate=8000, channels=2, quiet_hours="22:00-06:00")
    assert machine.sample_format == SampleFormat("u8", 8000, 2)
    assert machine.quiet == QuietHours(22 * 60, 6 * 60)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.0.0.2", "::1"])
def test_an_address_of_this_computer_needs_no_token(host, tmp_path):
    text = GOOD + f"[web]\nhost = '{host}'"
    assert read_configuration(written(tmp_path, text)).web.host == host


@pytest.mark.parametrize(
    "text, said",
    [
        ("", "names no machine"),
        ("[[machine", "not TOML"),
        (GOOD + "detecter = 'x'", "Did you mean 'detector'"),
        (GOOD + GOOD, "twice"),
        (GOOD.replace("rtsp", "gopher"), "known: rtsp://"),
        (GOOD.replace('"pump"', '"pump 3"'), "needs a name"),
        (GOOD + "silent_seconds = 0", "silent_seconds=0"),
        (GOOD + "rate = 16000.5", "rate"),
        (GOOD + "[web]\nhost = '0.0.0.0'", "web.token_file"),
        (GOOD + "[web]\nhost = 'pump.example'", "web.token_file"),
        (GOOD + "[web]\nport = -1", "web: port=-1"),
        (GOOD + "[web]\ntoken_file = 'short'", "can be guessed"),
        (GOOD + "[web]\ntoken_file = 'none'", "cannot be read"),
        (GOOD + "[web]\ntoken_file = 'empty'", "should hold one line"),
        (GOOD + "[web]\ntoken_file = 'two'", "should hold one line"),
        (GOOD + "[mqtt]\ntopic = 'a/#'", "no part of an MQTT topic"),
        (GOOD + "[mqtt]\ntopic = '/a'", "no part of an MQTT topic"),
        (GOOD + "[mqtt]\ndiscovery = '+'", "discovery='+' is no part of an MQTT topic"),
        (GOOD + "[mqtt]\ntopic = ''", "topic must not be empty"),
        ("notify = 'x'\n" + GOOD, "list of addresses"),
        ("notify = ['ntfy://x', 3]\n" + GOOD, "list of addresses"),
        ("state = 3\n" + GOOD, "state=3 should name a folder"),
        ("state = ''\n" + GOOD, "state='' should name a folder"),
        ("machine = []", "names no machine"),
        ("[machine]\nname = 'pump'", "names no machine"),
        ("machine = [3]", "machine 1: "),
        (GOOD + "[[machine]]\ndetector = 'd'", "machine 2: name=''"),
        (GOOD.replace("pump.detector", ""), "machine pump: detector is missing"),
        (GOOD.replace("rtsp://camera/1", ""), "machine pump: source is missing"),
        (GOOD + "encoding = 's12le'", "samples of 's12le'"),
        (GOOD + "quiet_hours = 'nights'", "quiet hours 'nights'"),
        (
            "".join(GOOD.replace("pump", n).replace("rtsp://camera/1", "-") for n in "ab"),
            "one standard input",
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, said):
    (tmp_path / "short").write_text(15 * "t")
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "two").write_text(16 * "t" + "\n" + 16 * "t")
    with pytest.raises(InputError, match="machines.toml") as error:
        read_configuration(written(tmp_path, text))
    assert said in str(error.value)
