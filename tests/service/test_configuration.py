import pytest

from asd_jax.runtime.errors import InputError
from asd_jax.service.configuration import read_configuration

GOOD = """
[[machine]]
name = "pump"
detector = "pump.detector"
source = "rtsp://camera/1"
"""


def written(tmp_path, text):
    (tmp_path / "machines.toml").write_text(text)
    return tmp_path / "machines.toml"


def test_file_names_are_relative_to_the_file(tmp_path):
    found = read_configuration(
        written(tmp_path, GOOD + '[[machine]]\nname="fan"\ndetector="f"\nsource="in"')
    )
    assert [machine.name for machine in found.machines] == ["pump", "fan"]
    assert found.machines[0].detector == str(tmp_path / "pump.detector")
    assert found.machines[0].source == "rtsp://camera/1"
    assert found.machines[1].source == str(tmp_path / "in") and found.state == tmp_path / "state"


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
        (GOOD + "[web]\ntoken_file = 'short'", "can be guessed"),
        (GOOD + "[web]\ntoken_file = 'none'", "cannot be read"),
        (GOOD + "[mqtt]\ntopic = 'a/#'", "no part of an MQTT topic"),
        ("notify = 'x'\n" + GOOD, "list of addresses"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, said):
    (tmp_path / "short").write_text("secret")
    with pytest.raises(InputError, match="machines.toml") as error:
        read_configuration(written(tmp_path, text))
    assert said in str(error.value)


def test_secrets_are_not_shown(tmp_path):
    (tmp_path / "token").write_text("0123456789abcdef\n")
    found = read_configuration(written(tmp_path, GOOD + "[web]\ntoken_file = 'token'"))
    assert found.token == "0123456789abcdef" and found.token not in repr(found)
