"""Gives machines with recordings of several sessions: those of the factory, or of a folder."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from asd_jax.data.audio import read_clip
from asd_jax.data.clips import sound_files
from asd_jax.data.factory import FAULTS, MACHINES, factory_clip
from asd_jax.runtime.errors import InputError

RATE = 16000
# of a machine of the factory
SESSIONS = 30
CLIPS = 8


@dataclasses.dataclass(frozen=True)
class Sounds:
    """Waveforms of one machine.

    Attributes:
        normal: the waveforms of each session of the healthy machine.
        faults: faulty waveforms, if any.
    """

    normal: dict[str, list[np.ndarray]]
    faults: list[np.ndarray]


@dataclasses.dataclass(frozen=True)
class Machine:
    """A machine with several sessions.

    Attributes:
        name: its name.
        sessions: the names of its sessions.
        sounds: returns its waveforms, which are read or made when they are needed.
    """

    name: str
    sessions: tuple[str, ...]
    sounds: Callable[[], Sounds]


def machines(root: str | None, names: Sequence[str] = ()) -> Iterator[Machine]:
    """Yields the machines of a folder, or of the factory if there is none.

    Args:
        root: holds a folder per machine, with normal/<session>/ and optionally faults/.
        names: machines to use; default: all.

    Raises:
        InputError: a name is unknown, or no machine has two sessions.
    """
    found = list(_of_factory() if root is None else _of_folder(Path(root)))
    if missing := sorted(set(names) - {machine.name for machine in found}):
        known = ", ".join(machine.name for machine in found)
        raise InputError(f"--machines={missing[0]}: there are {known}")
    if not found:
        raise InputError(f"--root={root}: no machine with two sessions or more under normal/")
    yield from (machine for machine in found if not names or machine.name in names)


def _of_factory() -> Iterator[Machine]:
    for name in MACHINES:
        yield Machine(name, tuple(map(_day, range(SESSIONS))), lambda name=name: _factory(name))


def _factory(name: str) -> Sounds:
    """Returns the normal sounds of a factory machine, and faulty sounds of further sessions."""
    kind = MACHINES[name]
    ways = list(itertools.product(kind.speeds["source"], kind.loads["source"]))

    def clip(session, number, **fault):
        speed, load = ways[number % len(ways)]
        seed = 10_000 * session + number
        options = {"speed": speed, "load": load, "session": session, "seed": seed}
        return factory_clip(name, clip_seconds=1.0, **options, **fault).wave

    normal = {_day(day): [clip(day, number) for number in range(CLIPS)] for day in range(SESSIONS)}
    faults = [
        clip(SESSIONS + day, 100 + number, fault_kind=fault, grade=1.0)
        for day in range(4)
        for number, fault in enumerate(FAULTS)
    ]
    return Sounds(normal, faults)


def _day(number: int) -> str:
    return f"day {number:02}"


def _of_folder(root: Path) -> Iterator[Machine]:
    if not root.is_dir():
        raise InputError(f"--root={root}: no such folder")
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        places = sorted(path for path in (folder / "normal").glob("*") if path.is_dir())
        if len(places) > 1:
            names = tuple(place.name for place in places)
            yield Machine(
                folder.name,
                names,
                lambda folder=folder, places=places: Sounds(
                    {place.name: _read(place) for place in places},
                    _read(folder / "faults") if (folder / "faults").is_dir() else [],
                ),
            )


def _read(folder: Path) -> list[np.ndarray]:
    return [read_clip(path, sample_rate=RATE) for path in sound_files(folder)]
