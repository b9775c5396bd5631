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
import secrets
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soundfile
from jaxtyping import Bool, Float

from asd_jax.data import machines as physics
from asd_jax.data.machines import FAULTS, GRADES, MACHINES, NOISES, SAMPLE_RATE
from asd_jax.runtime.errors import InputError, did_you_mean

# Version of the sounds. Raise it when the same parameters give different bytes.
VERSION = 2
# The frames of the front end: 25 ms every 10 ms, with 257 bins of 31.25 Hz.
FRAME, HOP, FFT = 400, 160, 512
SUPPORT_ENERGY = 0.95
# The largest relative change of a session's speed.
_WARMTH = 0.01
# The share of sessions in which another machine is audible.
_NEIGHBOUR = 0.3
# The root mean square of a machine at 0 dB gain, which leaves 40 dB of headroom for its impacts.
_LEVEL = 0.01


@dataclasses.dataclass(frozen=True)
class FactoryClip:
    """One synthetic recording together with its components.

    Attributes:
        wave: float32 (s,), the sum of the three stems, in [-1, 1].
        machine_stem: float32 (s,), the healthy machine as the microphone records it.
        background: float32 (s,), everything else in the room.
        fault: float32 (s,), what the fault adds. It is zero in a normal clip, and the negative of a
            line that is missing.
        support: bool (t, 257), the smallest set of cells of `spectrogram(fault)` that holds 95 % of
            the fault's energy.
        machine, domain, speed, load, noise: The operating conditions.
        fault_kind: One of FAULTS, or "" if the clip is normal.
        grade: 0 (subtle) to 1 (strong); 0 if the clip is normal.
    """

    wave: Float[np.ndarray, "s"]
    machine_stem: Float[np.ndarray, "s"]
    background: Float[np.ndarray, "s"]
    fault: Float[np.ndarray, "s"]
    support: Bool[np.ndarray, "t k"]
    machine: str
    domain: str
    speed: int
    load: int
    noise: str
    fault_kind: str = ""
    grade: float = 0.0


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


def factory_clip(
    machine: str,
    *,
    domain: str = "source",
    speed: int | None = None,
    load: int | None = None,
    fault_kind: str = "",
    grade: float | int = 0.5,
    clip_seconds: float | int = 2.0,
    seed: int = 0,
    session: int | None = None,
) -> FactoryClip:
    """Returns one clip; the same seed gives the same machine and background with any fault or none.

    Args:
        machine: A key of MACHINES.
        domain: "source" or "target"; it selects the background and the default speed and load.
        speed: Cycles per minute; by default the first of the domain.
        load: Load step; by default the first of the domain.
        fault_kind: One of FAULTS, or "" for a healthy machine.
        grade: 0 (subtle) to 1 (strong); GRADES defines its meaning for each fault.
        clip_seconds: Length of the clip in seconds.
        seed: Seed of everything random.
        session: Number of a recording day. All clips of a session share the microphone, which is
            set up again near the machine's usual place, the room's level, the machine's warmth (a
            drift of its speed), and whether a neighbouring machine runs. Without a session, every
            clip has its own place.

    Raises:
        InputError: The machine, domain or fault is unknown, or a number is out of range.
    """
    for what, name, known in (
        ("machine", machine, MACHINES),
        ("domain", domain, NOISES),
        ("fault", fault_kind, FAULTS),
    ):
        if name not in known and (what, name) != ("fault", ""):
            raise InputError(
                f"factory: no {what} {name!r}; there are {', '.join(known)}."
                f"{did_you_mean(name, known)}"
            )
    if not (0 <= grade <= 1 and clip_seconds >= 0.5 and seed >= 0):
        raise InputError(
            "factory: grade must lie in 0..1, clip_seconds be at least 0.5, seed at least 0; not "
            f"{grade}, {clip_seconds}, {seed}"
        )
    kind, samples = MACHINES[machine], round(clip_seconds * SAMPLE_RATE)
    speed = kind.speeds[domain][0] if speed is None else speed
    load = kind.loads[domain][0] if load is None else load
    # Separate generators keep the machine and the room equal, whatever the fault.
    of_machine, of_room, of_fault = np.random.default_rng(seed).spawn(3)
    hz = np.fft.rfftfreq(samples, 1 / SAMPLE_RATE)

    # Without sessions, every clip is recorded at a different place.
    place, warmth, neighbour, shift = of_room, 1.0, 0.0, np.zeros(len(hz))
    if session is not None:
        number = list(MACHINES).index(machine)
        # The place belongs to the machine and is the same in all sessions.
        place, day = (np.random.default_rng([number, of]) for of in (2**32, session))
        warmth = 1 + day.uniform(-_WARMTH, _WARMTH)
        neighbour = (day.random() < _NEIGHBOUR) * 10 ** (-day.uniform(12, 24) / 20)
        shift = physics.repositioned_microphone(hz, day)
    gain = _LEVEL * 10 ** (place.uniform(-6, 6) / 20)
    microphone = physics.microphone(hz, place) * 10 ** (shift / 20)
    run = physics.excite(kind, speed * warmth, load, samples, of_machine)
    heard = physics.body(kind, load, hz, of_machine) * microphone
    stem = physics.filtered(run.lines.sum(0) + run.noise + run.impacts, heard)
    scale = gain / np.sqrt(np.mean(stem**2))
    stem *= scale
    room = physics.unit_power(
        physics.filtered(
            physics.background(NOISES[domain], samples, hz, of_room, place), microphone
        )
    )
    room *= gain * 10 ** (-place.uniform(0, 12) / 20)
    if session is not None:
        room *= 10 ** (day.normal(0, 2) / 20)
        if neighbour:
            room += (
                gain * neighbour * _neighbour_sound(machine, samples, microphone, of_room, session)
            )

    fault, support = np.zeros(samples), np.zeros_like(spectrogram(stem), bool)
    if fault_kind:
        fault = scale * physics.filtered(
            physics.fault_excitation(fault_kind, kind, run, hz, heard, of_fault), heard
        )
        support = _support(fault)
        fault *= _fault_gain(fault_kind, grade, fault, stem + room, support)
    stem, room, fault = (array.astype(np.float32) for array in (stem, room, fault))
    grade = float(grade) if fault_kind else 0.0
    return FactoryClip(
        stem + room + fault,
        stem,
        room,
        fault,
        support,
        machine,
        domain,
        speed,
        load,
        NOISES[domain],
        fault_kind,
        grade,
    )


def _neighbour_sound(machine: str, samples: int, heard, rng, session: int) -> np.ndarray:
    """Returns the sound (s,) of another machine at unit power, running all through a session."""
    others = [name for name in MACHINES if name != machine]
    kind = MACHINES[others[session % len(others)]]
    run = physics.excite(kind, kind.speeds["source"][0], 1, samples, rng)
    return physics.unit_power(physics.filtered(run.lines.sum(0) + run.noise + run.impacts, heard))


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
    root, machines = Path(os.path.realpath(root)), tuple(dict.fromkeys(machines))
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
    note = json.dumps(
        {
            "version": VERSION,
            "seed": seed,
            "clip_seconds": clip_seconds,
            "machines": list(machines),
            **counts,
        },
        indent=2,
    )
    if _holds(root, recipes, note):
        return
    replaced = overwrite and (root / "factory.json").is_file()
    if not replaced and root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise InputError(
            f"{root}: holds something other than this synthetic set; name a new folder, or delete "
            "this one first"
        )
    # The set is written to a temporary folder and renamed, so that it is complete or absent.
    part = root.with_name(f".{root.name}.{secrets.token_hex(8)}.part")
    try:
        for machine, split in itertools.product(machines, ("train", "test")):
            (part / machine / split).mkdir(parents=True)
        # Threads are enough because NumPy releases the interpreter lock.
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(lambda recipe: _write_wav(part, recipe, seed, clip_seconds), recipes))
        for machine in machines:
            _write_tables(
                part, machine, [recipe for recipe in recipes if recipe.machine == machine]
            )
        (part / "factory.json").write_text(note)
        if replaced:
            shutil.rmtree(root)
        try:
            os.replace(part, root)
        except OSError:
            # Another process may have written the same set in the meantime.
            if not _holds(root, recipes, note):
                raise
    except OSError as error:
        raise InputError(f"{root}: cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


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


def spectrogram(wave: Float[np.ndarray, "s"]) -> Float[np.ndarray, "t k"]:
    """Returns the power spectrogram (t, 257) of a waveform (s,).

    The frames are those of the filter bank, 25 ms every 10 ms; the bins are 31.25 Hz wide.
    """
    frames = np.lib.stride_tricks.sliding_window_view(wave, FRAME)[::HOP]
    return np.abs(np.fft.rfft(frames * np.hanning(FRAME), FFT)) ** 2


def _support(fault: np.ndarray) -> np.ndarray:
    power = spectrogram(fault)
    falling = np.sort(power, axis=None)[::-1]
    enough = np.searchsorted(np.cumsum(falling), SUPPORT_ENERGY * falling.sum())
    return power >= falling[enough]


def _fault_gain(
    fault_kind: str, grade: float | int, fault: np.ndarray, rest: np.ndarray, support: np.ndarray
) -> float:
    subtle, strong = GRADES[fault_kind]
    value = subtle + grade * (strong - subtle)
    # The grade of these two faults is an amplitude or a depth, not a level.
    if fault_kind in ("missing_harmonic", "modulation"):
        return value
    ratio = spectrogram(rest)[support].sum() / spectrogram(fault)[support].sum()
    return float(np.sqrt(ratio * 10 ** (value / 10)))


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
            fault, grade = ("", 0.0)
            if label == "anomaly":
                fault, grade = FAULTS[number % len(FAULTS)], float(grades[number // len(FAULTS)])
            yield _Recipe(f"{machine}/{split}/{name}", machine, domain, speed, load, fault, grade)


def _attribute(speed: int, load: int, domain: str) -> str:
    return f"speed_{speed}_load_{load}_noise_{NOISES[domain]}"


def _synthesise(recipe: _Recipe, seed: int, clip_seconds: float | int) -> FactoryClip:
    fields = dataclasses.asdict(recipe)
    # Each clip has its own seed, so it does not depend on the other clips.
    own_seed = hashlib.blake2b(f"{seed}/{fields.pop('path')}".encode(), digest_size=8).digest()
    return factory_clip(**fields, clip_seconds=clip_seconds, seed=int.from_bytes(own_seed))


def _write_wav(root: Path, recipe: _Recipe, seed: int, clip_seconds: float | int) -> None:
    wave = _synthesise(recipe, seed, clip_seconds).wave
    samples = np.clip(np.rint(32768 * wave), -32768, 32767).astype(np.int16)
    # The file is written from memory because soundfile does not report what is wrong with a disk.
    content = io.BytesIO()
    soundfile.write(content, samples, SAMPLE_RATE, format="WAV")
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
