"""Generates a synthetic DCASE 2024 data set with complete ground truth, as a pure function of its
seed.

    # factory/fan/{train,test}/*.wav and four more machines; about ten seconds
    write_factory("factory")
    name = "section_00_source_test_anomaly_0000_speed_2400_load_1_noise_workshop.wav"
    clip = read_factory_clip(f"factory/fan/test/{name}")
    clip.wave == clip.machine_stem + clip.background + clip.fault

asd_jax.data.machines contains the physics. The domains differ in speed, load and background. Every
clip has its own phase, speed drift, gain, background level and spectrum, and microphone response.
Each machine has two tables: attributes_00.csv as in DCASE, and faults_00.csv (file_name, fault,
grade) with the ground truth of the anomalies, which no detector may read.
"""

import csv
import dataclasses
import hashlib
import io
import itertools
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soundfile

from asd_jax.data.audio import to_int16
from asd_jax.data.machines import (
    FAULTS,
    MACHINES,
    NOISES,
    SAMPLE_RATE,
)
from asd_jax.data.synthesis import FactoryClip, factory_clip
from asd_jax.runtime.errors import InputError, did_you_mean
from asd_jax.runtime.files import part_folder, remove_parts

# Version of the sounds. Raise it when the same parameters give different bytes.
VERSION = 2


@dataclasses.dataclass(frozen=True)
class _Recipe:
    """The parameters of one file of the data set."""

    path: str
    machine: str
    domain: str
    speed: int
    load: int
    fault_kind: str = ""
    grade: float = 0.0


def write_factory(
    root: str | Path,
    *,
    seed: int = 0,
    clip_seconds: float | int = 2.0,
    machines: Sequence[str] = tuple(MACHINES),
    train_source: int = 80,
    train_target: int = 10,
    test_per_condition: int = 15,
    overwrite: bool = False,
) -> None:
    """Writes the complete data set (16 kHz, mono, 16 bit), or nothing.

    If the same set already exists, it is left as it is.

    Args:
        root: The folder to create.
        seed: The same seed gives the same bytes. A clip depends on the seed, its name and its
            grade, but not on the other clips.
        clip_seconds: Length of every clip in seconds.
        machines: Keys of MACHINES.
        train_source: Normal training clips per machine in the source domain (DCASE: 990).
        train_target: Normal training clips per machine in the target domain (DCASE: 10).
        test_per_condition: Test clips per machine, domain and label (DCASE: 50).
        overwrite: Whether to replace a different synthetic set that lies in `root`.

    Raises:
        InputError: `root` holds something else, a machine is unknown, or a count is below 1.
    """
    root = Path(os.path.realpath(root))
    # A machine that is named twice is written once.
    machines = tuple(dict.fromkeys(machines))
    counts = {
        "train_source": train_source,
        "train_target": train_target,
        "test_per_condition": test_per_condition,
    }
    if not machines or min(counts.values()) < 1:
        raise InputError(
            f"factory: needs at least one machine and counts of at least 1, not {list(machines)}, "
            f"{counts}"
        )
    recipes = [recipe for machine in machines for recipe in _recipes(machine, **counts)]
    facts = {"version": VERSION, "seed": seed, "clip_seconds": clip_seconds}
    note = json.dumps({**facts, "machines": list(machines), **counts}, indent=2)
    remove_parts(root.parent)
    if _holds(root, recipes, note):
        return
    # Only a synthetic set is ever replaced, never recordings.
    replaced = overwrite and (root / "factory.json").is_file()
    if not replaced and root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise InputError(
            f"{root}: holds something other than this synthetic set; name a new folder, or delete "
            "this one first"
        )
    try:
        # The set is written to a temporary folder and renamed, so that it is complete or absent.
        with part_folder(root) as part:
            new = part / "new"
            _write_set(new, recipes, seed, clip_seconds)
            (new / "factory.json").write_text(note)
            # A set that is half removed would be taken for other recordings.
            if replaced:
                os.replace(root, part / "old")
            _rename(new, root, recipes, note)
    except OSError as error:
        raise InputError(f"{root}: cannot be written ({error.strerror or error})") from error


def _rename(new: Path, root: Path, recipes: Sequence[_Recipe], note: str) -> None:
    try:
        os.replace(new, root)
    except OSError:
        # Another process may have written the same set in the meantime.
        if not _holds(root, recipes, note):
            raise


def read_factory_clip(path: str | Path) -> FactoryClip:
    """Returns a clip that `write_factory` wrote, synthesised again with all its stems.

    Its `wave` is that of the file before rounding to 16 bits.

    Raises:
        InputError: The file is not a clip of such a set.
    """
    path = Path(path)
    try:
        root = path.parents[2]
        note = json.loads(_text(root / "factory.json"))
        counts = {
            name: note[name] for name in ("train_source", "train_target", "test_per_condition")
        }
        recipes = {
            root / recipe.path: recipe for recipe in _recipes(path.parent.parent.name, **counts)
        }
        if note["version"] == VERSION:
            return _synthesise(recipes[path], note["seed"], note["clip_seconds"])
    except (IndexError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise InputError(
            f"{path}: not a clip of a set that write_factory made (see factory.json there)"
        ) from error
    raise InputError(
        f"{path}: written by version {note['version']} of the factory, this is {VERSION}; write "
        "it anew"
    )


def _recipes(
    machine: str, *, train_source: int, train_target: int, test_per_condition: int
) -> Iterator[_Recipe]:
    """Yields every clip of one machine.

    The attributes alternate, and the anomalies include every fault at every grade.
    """
    if machine not in MACHINES:
        raise InputError(
            f"factory: no machine {machine!r}; there are "
            f"{', '.join(MACHINES)}.{did_you_mean(machine, MACHINES)}"
        )
    kind = MACHINES[machine]
    # One grade for each round through the faults; a single round has the middle one.
    grades = (
        np.linspace(0, 1, -(-test_per_condition // len(FAULTS)))
        if test_per_condition > len(FAULTS)
        else [0.5]
    )
    counts = {("train", "normal"): {"source": train_source, "target": train_target}}
    counts |= {
        ("test", label): dict.fromkeys(NOISES, test_per_condition)
        for label in ("normal", "anomaly")
    }
    for (split, label), domain in itertools.product(counts, NOISES):
        settings = list(itertools.product(kind.speeds[domain], kind.loads[domain]))
        for number in range(counts[split, label][domain]):
            speed, load = settings[number % len(settings)]
            attribute = _attribute(speed, load, domain)
            name = f"section_00_{domain}_{split}_{label}_{number:04d}_{attribute}.wav"
            fault = ""
            grade = 0.0
            if label == "anomaly":
                fault = FAULTS[number % len(FAULTS)]
                grade = float(grades[number // len(FAULTS)])
            yield _Recipe(
                path=f"{machine}/{split}/{name}",
                machine=machine,
                domain=domain,
                speed=speed,
                load=load,
                fault_kind=fault,
                grade=grade,
            )


def _attribute(speed: int, load: int, domain: str) -> str:
    return f"speed_{speed}_load_{load}_noise_{NOISES[domain]}"


def _synthesise(recipe: _Recipe, seed: int, clip_seconds: float | int) -> FactoryClip:
    fields = dataclasses.asdict(recipe)
    # Each clip has its own seed, so it does not depend on the other clips.
    own_seed = hashlib.blake2b(f"{seed}/{fields.pop('path')}".encode(), digest_size=8).digest()
    return factory_clip(**fields, clip_seconds=clip_seconds, seed=int.from_bytes(own_seed))


def _write_set(
    root: Path, recipes: Sequence[_Recipe], seed: int, clip_seconds: float | int
) -> None:
    """Writes the files and tables of all machines into a new folder."""
    machines = list(dict.fromkeys(recipe.machine for recipe in recipes))
    for machine, split in itertools.product(machines, ("train", "test")):
        (root / machine / split).mkdir(parents=True)
    # Threads are enough because NumPy releases the interpreter lock.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda recipe: _write_wav(root, recipe, seed, clip_seconds), recipes))
    for machine in machines:
        _write_tables(root, machine, [recipe for recipe in recipes if recipe.machine == machine])


def _write_wav(root: Path, recipe: _Recipe, seed: int, clip_seconds: float | int) -> None:
    wave = _synthesise(recipe, seed, clip_seconds).wave
    # The file is written from memory because soundfile does not report what is wrong with a disk.
    content = io.BytesIO()
    soundfile.write(content, to_int16(wave), SAMPLE_RATE, format="WAV")
    (root / recipe.path).write_bytes(content.getvalue())


def _write_tables(root: Path, machine: str, recipes: Sequence[_Recipe]) -> None:
    with open(root / machine / "attributes_00.csv", "w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["file_name", "d1p", "d1v", "d2p", "d2v", "d3p", "d3v"])
        rows.writerows(
            [r.path, "speed", r.speed, "load", r.load, "noise", NOISES[r.domain]] for r in recipes
        )
    with open(root / machine / "faults_00.csv", "w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["file_name", "fault", "grade"])
        rows.writerows([r.path, r.fault_kind, r.grade] for r in recipes if r.fault_kind)


def _holds(root: Path, recipes: Sequence[_Recipe], note: str) -> bool:
    """Returns whether the folder holds the complete data set and no other recordings."""
    present = (
        {path.relative_to(root).as_posix() for path in root.rglob("*.wav")}
        if root.is_dir()
        else set()
    )
    return present == {recipe.path for recipe in recipes} and _text(root / "factory.json") == note


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.is_file() else ""
