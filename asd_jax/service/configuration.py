"""Reads machines.toml, the one file that describes a watch service, and checks it as a whole."""

import dataclasses
import ipaddress
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asd_jax.detector.sample_format import SampleFormat
from asd_jax.models.settings import RUNTIME, RUNTIMES
from asd_jax.monitoring.quiet_hours import QuietHours
from asd_jax.runtime.errors import InputError, did_you_mean, error_context
from asd_jax.runtime.schema import build_checked
from asd_jax.runtime.settings import CheckedSettings, key

SHORTEST_TOKEN = 16  # characters; a shorter token can be guessed
# Such names are safe in topics, addresses, file names and labels of metrics alike.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@dataclasses.dataclass(frozen=True)
class Machine(CheckedSettings):
    """One machine and its microphone."""

    name: str = key("", "in addresses, topics and tables: letters, digits, _ and -")
    detector: str = key("", "file that `detect fit` wrote")
    runtime: str = key("jax", RUNTIME, choices=RUNTIMES)
    source: str = key("", "-, a file, a folder, alsa:DEVICE, or an rtsp:// or http:// address")
    rate: int = key(16000, "sampling rate of raw samples and of ALSA, in Hz")
    channels: int = key(1, "of raw samples and of ALSA")
    encoding: str = key("s16le", "of raw samples: u8, s16le, s24le, s32le, f32le")
    channel: int = key(-1, "number of the channel to use; -1: their mean", least=-1, most=63)
    hop_seconds: float = key(0.0, "between two windows; 0: a window", least=0, most=3600)
    silent_seconds: float = key(
        6.0, "without sound after which the microphone counts as silent", least=1, most=3600
    )
    realtime: bool = key(False, "whether a file is played at its own speed, as a rehearsal")
    confirm: int = key(2, "windows above the threshold that raise an alarm", least=1, most=1000)
    of: int = key(0, "among how many windows they are counted; 0: in a row", least=0, most=1000)
    on_delay_seconds: float = key(
        0.0, "of sound for which this must last before the alarm", least=0, most=86400
    )
    hold_seconds: float = key(
        30.0, "of sound below the release score that clear an alarm", least=0, most=86400
    )
    hysteresis: float = key(
        0.25,
        "the release score: share of the way from the threshold to the usual score",
        least=0,
        most=1,
    )
    quiet_hours: str = key("", "in which alarms are recorded but not announced, e.g. 22:00-06:00")

    @property
    def sample_format(self) -> SampleFormat:
        """Returns the format of samples that come without a header."""
        return SampleFormat(self.encoding, self.rate, self.channels)

    @property
    def quiet(self) -> QuietHours:
        """Returns the hours in which alarms are not announced."""
        return QuietHours.parse(self.quiet_hours)

    def __post_init__(self):
        super().__post_init__()
        if not _NAME.fullmatch(self.name):
            raise InputError(
                f"name={self.name!r}: a machine needs a name of letters, digits, _ and -, "
                'e.g. name = "pump"'
            )
        for field, example in (("detector", "pump.detector"), ("source", "alsa:hw:1")):
            if not getattr(self, field):
                raise InputError(f'{field} is missing, e.g. {field} = "{example}"')
        # 3 of the last 2 windows can never be above the threshold.
        if 0 < self.of < self.confirm:
            raise InputError(f"of={self.of} is below confirm={self.confirm}")
        # Both report values that they cannot read.
        _ = self.sample_format
        _ = self.quiet


@dataclasses.dataclass(frozen=True)
class Web(CheckedSettings):
    """The web page and the REST interface."""

    host: str = key("127.0.0.1", "address to listen at; 0.0.0.0: every network")
    port: int = key(8080, "TCP port; 0: any free one", least=0, most=65535)
    token_file: str = key("", "file with the token that clients give; needed beyond this computer")
    upload_mb: float = key(32.0, "largest recording that may be sent", above=0, most=1e4)
    upload_seconds: float = key(600.0, "longest recording, of sound", above=0, most=3600)


@dataclasses.dataclass(frozen=True)
class Mqtt(CheckedSettings):
    """The MQTT broker; an empty host means that there is none."""

    host: str = key("", "of the broker")
    port: int = key(1883, "of the broker; usually 8883 with TLS", least=1, most=65535)
    user: str = key("", "user name")
    password_file: str = key("", "file that holds the password")
    tls: bool = key(False, "whether the connection is encrypted")
    ca_file: str = key("", "certificate of the broker's authority; default: those of the system")
    topic: str = key("asd_jax", "first part of every topic")
    discovery: str = key("homeassistant", "Home Assistant's discovery prefix; empty: none")

    def __post_init__(self):
        super().__post_init__()
        for field in ("topic", "discovery"):
            # These are the wildcards of MQTT, and a character that no topic may hold.
            if set("+#\0") & set(getattr(self, field)) or getattr(self, field).startswith("/"):
                raise InputError(f"{field}={getattr(self, field)!r} is no part of an MQTT topic")
        if not self.topic:
            raise InputError("topic must not be empty")


@dataclasses.dataclass(frozen=True)
class Configuration:
    """Everything that machines.toml says.

    Attributes:
        state: folder for the store of readings, events and alarms, and for compiled programs.
        machines: at least one.
        web, mqtt: see there.
        notify: addresses of apprise, e.g. "mailto://user:password@example.org".
        token: the token that clients must give; "" if none is needed.
        password: that of the broker.
    """

    state: Path
    machines: tuple[Machine, ...]
    web: Web
    mqtt: Mqtt
    notify: tuple[str, ...] = ()
    token: str = dataclasses.field(default="", repr=False)
    password: str = dataclasses.field(default="", repr=False)


def read_configuration(path: str | Path) -> Configuration:
    """Returns the configuration in a TOML file; file names in it are relative to its folder.

    Raises:
        InputError: the file is missing or not TOML, a key is unknown, missing or out of range, two
            machines have one name, or the web page would be open to a network without a token.
    """
    path = Path(path)
    try:
        content = tomllib.loads(path.read_bytes().decode())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    except ValueError as error:  # TOML or UTF-8
        raise InputError(f"{path}: not TOML ({error})") from error
    with error_context(str(path)):
        return _checked(content, path.absolute().parent)


def _checked(content: Mapping[str, Any], folder: Path) -> Configuration:
    """Returns the configuration that the content of a file describes."""
    known = ("state", "machine", "web", "mqtt", "notify")
    # A key with a typing error would otherwise be ignored in silence.
    for name in content:
        if name not in known:
            raise InputError(
                f"no key {name!r}; known: {', '.join(known)}.{did_you_mean(name, known)}"
            )
    state = content.get("state", "state")
    notify = content.get("notify", [])
    if not isinstance(state, str) or not state:
        raise InputError(f'state={state!r} should name a folder, e.g. state = "state"')
    if not isinstance(notify, list) or not all(isinstance(one, str) for one in notify):
        raise InputError('notify should be a list of addresses, e.g. ["ntfy://topic"]')
    web = _section(Web, "web", content)
    mqtt = _section(Mqtt, "mqtt", content)
    token = _secret(folder, web.token_file)
    # Whoever reaches the port can try tokens all day.
    if token and len(token) < SHORTEST_TOKEN:
        raise InputError(
            f"web.token_file: a token of {len(token)} characters can be guessed; make one of at "
            f"least {SHORTEST_TOKEN}, e.g. openssl rand -hex 16"
        )
    if not token and not _is_local(web.host):
        raise InputError(
            f"web.host={web.host} is open to the network: give web.token_file, a file with a "
            "token, e.g. openssl rand -hex 16 > token"
        )
    return Configuration(
        state=folder / state,
        machines=_machines(content.get("machine"), folder),
        web=web,
        mqtt=mqtt,
        notify=tuple(notify),
        token=token,
        password=_secret(folder, mqtt.password_file),
    )


def _section(cls: type, name: str, content: Mapping[str, Any]) -> Any:
    """Returns the settings of a section, whose name precedes every error."""
    with error_context(name):
        return build_checked(cls, content.get(name, {}))


def _machines(tables: Any, folder: Path) -> tuple[Machine, ...]:
    """Returns the machines of the tables [[machine]]."""
    if not isinstance(tables, list) or not tables:
        raise InputError("names no machine: begin a table [[machine]] for each")
    machines: dict[str, Machine] = {}
    for number, values in enumerate(tables, 1):
        named = values.get("name") if isinstance(values, Mapping) else None
        with error_context(f"machine {named or number}"):
            machine = build_checked(Machine, values)
            if machine.name in machines:
                raise InputError("the name is there twice")
            # Names of files are relative to the folder of the configuration.
            place = machine.source
            if not (place == "-" or place.startswith("alsa:") or "://" in place):
                # A service has another working folder than the shell in which the file was tried.
                place = str(folder / os.path.expanduser(place))
            elif "://" in place and not place.startswith(
                ("rtsp://", "rtsps://", "http://", "https://")
            ):
                raise InputError(f"source={place!r}; known: rtsp://, rtsps://, http://, https://")
            machines[machine.name] = dataclasses.replace(
                machine, source=place, detector=str(folder / machine.detector)
            )
    # Each would get some of the bytes.
    if sum(machine.source == "-" for machine in machines.values()) > 1:
        raise InputError('two machines have source = "-", but there is one standard input')
    return tuple(machines.values())


def _secret(folder: Path, name: str) -> str:
    """Returns the one line of a file, or "" if no file is named."""
    if not name:
        return ""
    try:
        secret = (folder / name).read_text().strip()
    except (OSError, ValueError) as error:
        raise InputError(f"{folder / name}: cannot be read ({error})") from error
    if not secret or not secret.isprintable():
        raise InputError(f"{folder / name}: should hold one line")
    return secret


def _is_local(host: str) -> bool:
    """Returns whether only programs of this computer reach an address to listen at."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
