"""Synthesises one recording of a machine of the factory, with its components and its fault.

asd_jax/data/physics.py contains the physics, asd_jax/data/factory.py writes whole data sets.
"""

import copy
import dataclasses

import numpy as np
from jaxtyping import Bool, Float

from asd_jax.data import physics
from asd_jax.data.machines import (
    CYCLIC,
    FAULTS,
    GRADES,
    MACHINES,
    NOISES,
    SAMPLE_RATE,
    TIMING_FAULTS,
    Machine,
)
from asd_jax.runtime.errors import InputError, did_you_mean

# The frames of the front end: 25 ms every 10 ms, with 257 bins of 31.25 Hz.
FRAME = 400
HOP = 160
FFT = 512
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
        fault: float32 (s,), what the fault adds. It is zero in a normal clip, and the negative of
            what is missing.
        support: bool (t, 257), the smallest set of cells of `spectrogram(fault)` that holds 95 % of
            the fault's energy.
        machine, domain, speed, load, noise: The operating conditions.
        fault_kind: One of FAULTS or TIMING_FAULTS, or "" if the clip is normal.
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
        machine: A key of MACHINES or of CYCLIC.
        domain: "source" or "target"; it selects the background and the default speed and load.
        speed: Cycles per minute; by default the first of the domain.
        load: Load step; by default the first of the domain.
        fault_kind: One of FAULTS, or of TIMING_FAULTS for a machine that strikes once a cycle, or
            "" for a healthy machine.
        grade: 0 (subtle) to 1 (strong); GRADES and TIMING_GRADES define its meaning for each fault.
        clip_seconds: Length of the clip in seconds.
        seed: Seed of everything random.
        session: Number of a recording day. All clips of a session share the microphone, which is
            set up again near the machine's usual place, the room's level, the machine's warmth (a
            drift of its speed), and whether a neighbouring machine runs. Without a session, every
            clip has its own place.

    Raises:
        InputError: The machine, domain or fault is unknown, or a number is out of range.
    """
    _check(machine, domain, fault_kind)
    _check_range(grade, clip_seconds, seed)
    kind = (MACHINES | CYCLIC)[machine]
    speed = kind.speeds[domain][0] if speed is None else speed
    load = kind.loads[domain][0] if load is None else load
    # Separate generators keep the machine and the room equal, whatever the fault.
    of_machine, of_room, of_fault = np.random.default_rng(seed).spawn(3)
    hz = np.fft.rfftfreq(round(clip_seconds * SAMPLE_RATE), 1 / SAMPLE_RATE)
    day = _recording_day(machine, session, of_room, hz)
    source = _source(kind, speed * day.warmth, load, clip_seconds, rng=of_machine, day=day)
    stem = source.sound()
    room = _room(machine, domain, len(stem), of_room, day)
    fault = _fault(source, fault_kind, grade, of_fault)
    support = _support(fault) if fault_kind else np.zeros_like(spectrogram(stem), bool)
    # The grade of a fault of timing is in its excitation already.
    if fault_kind in GRADES:
        fault *= _fault_gain(fault_kind, grade, fault, stem + room, support)
    # Rounded before the sum, so that the stems add up to the wave exactly.
    stem, room, fault = (array.astype(np.float32) for array in (stem, room, fault))
    return FactoryClip(
        wave=stem + room + fault,
        machine_stem=stem,
        background=room,
        fault=fault,
        support=support,
        machine=machine,
        domain=domain,
        speed=speed,
        load=load,
        noise=NOISES[domain],
        fault_kind=fault_kind,
        grade=float(grade) if fault_kind else 0.0,
    )


def spectrogram(wave: Float[np.ndarray, "s"]) -> Float[np.ndarray, "t k"]:
    """Returns the power spectrogram (t, 257) of a waveform (s,).

    The frames are those of the filter bank, 25 ms every 10 ms; the bins are 31.25 Hz wide.
    """
    frames = np.lib.stride_tricks.sliding_window_view(wave, FRAME)[::HOP]
    return np.abs(np.fft.rfft(frames * np.hanning(FRAME), FFT)) ** 2


def _check(machine: str, domain: str, fault_kind: str) -> None:
    """Raises InputError unless the machine, the domain and the fault exist together."""
    for what, name, known in (
        ("machine", machine, MACHINES | CYCLIC),
        ("domain", domain, NOISES),
        ("fault", fault_kind, FAULTS + TIMING_FAULTS),
    ):
        if name not in known and (what, name) != ("fault", ""):
            raise InputError(
                f"factory: no {what} {name!r}; there are {', '.join(known)}."
                f"{did_you_mean(name, known)}"
            )
    if fault_kind in TIMING_FAULTS and not (MACHINES | CYCLIC)[machine].impacts:
        raise InputError(f"factory: a {machine} has no beat, so it cannot have {fault_kind!r}")


def _check_range(grade: float | int, clip_seconds: float | int, seed: int) -> None:
    if not (0 <= grade <= 1 and clip_seconds >= 0.5 and seed >= 0):
        raise InputError(
            "factory: grade must lie in 0..1, clip_seconds be at least 0.5, seed at least 0; not "
            f"{grade}, {clip_seconds}, {seed}"
        )


@dataclasses.dataclass(frozen=True)
class _Day:
    """The conditions of a recording.

    Attributes:
        gain: root mean square of the machine.
        microphone: (k,) response at the microphone's place.
        place: generator of what belongs to the place.
        own: generator of what belongs to the session; None without sessions.
        warmth: relative speed of the machine.
        neighbour: level of another machine, relative to this one; 0 if none runs.
        session: number of the session; None without sessions.
    """

    gain: float
    microphone: np.ndarray
    place: np.random.Generator
    own: np.random.Generator | None
    warmth: float
    neighbour: float
    session: int | None


def _recording_day(
    machine: str, session: int | None, of_room: np.random.Generator, hz: np.ndarray
) -> _Day:
    """Returns the conditions of a session, or those of a clip that has a place of its own."""
    place = of_room
    own = None
    warmth = 1.0
    neighbour = 0.0
    shift = np.zeros(len(hz))
    if session is not None:
        number = list(MACHINES | CYCLIC).index(machine)
        # The place belongs to the machine and is the same in all sessions; none has this number.
        place = np.random.default_rng([number, 2**32])
        own = np.random.default_rng([number, session])
        warmth = 1 + own.uniform(-_WARMTH, _WARMTH)
        # Other machines are audible, and quieter than the one of interest.
        neighbour = (own.random() < _NEIGHBOUR) * 10 ** (-own.uniform(12, 24) / 20)
        shift = physics.repositioned_microphone(hz, own)
    gain = _LEVEL * 10 ** (place.uniform(-6, 6) / 20)
    microphone = physics.microphone(hz, place) * 10 ** (shift / 20)
    return _Day(
        gain=gain,
        microphone=microphone,
        place=place,
        own=own,
        warmth=warmth,
        neighbour=neighbour,
        session=session,
    )


@dataclasses.dataclass(frozen=True)
class _Source:
    """The running machine as the microphone records it.

    Attributes:
        kind, speed, load, samples: What runs, and for how long.
        again: generator in the state from which `run` was drawn, to run it once more.
        run: what excites the machine's body.
        response: (k,) response of body and microphone.
        scale: factor to the level of the recording.
    """

    kind: Machine
    speed: float
    load: int
    samples: int
    again: np.random.Generator
    run: physics.Excitation
    response: np.ndarray
    scale: float

    def sound(self) -> np.ndarray:
        """Returns the sound (s,) of the machine."""
        return self.scale * _of(self.run, self.response)


def _of(run: physics.Excitation, response: np.ndarray) -> np.ndarray:
    return physics.filtered(run.lines.sum(0) + run.noise + run.impacts, response)


def _source(
    kind: Machine,
    speed: float,
    load: int,
    clip_seconds: float | int,
    rng: np.random.Generator,
    day: _Day,
) -> _Source:
    """Returns a healthy run at the level of the recording."""
    samples = round(clip_seconds * SAMPLE_RATE)
    hz = np.fft.rfftfreq(samples, 1 / SAMPLE_RATE)
    # Kept to run the machine once more with a fault of timing, but the same noise.
    again = copy.deepcopy(rng)
    run = physics.excite(kind, speed, load, samples, rng)
    response = physics.body(kind, load, hz, rng) * day.microphone
    scale = day.gain / np.sqrt(np.mean(_of(run, response) ** 2))
    return _Source(
        kind=kind,
        speed=speed,
        load=load,
        samples=samples,
        again=again,
        run=run,
        response=response,
        scale=scale,
    )


def _room(
    machine: str, domain: str, samples: int, rng: np.random.Generator, day: _Day
) -> np.ndarray:
    """Returns everything (s,) that does not come from the machine."""
    hz = np.fft.rfftfreq(samples, 1 / SAMPLE_RATE)
    noise = physics.background(NOISES[domain], samples, hz, rng, day.place)
    room = physics.unit_power(physics.filtered(noise, day.microphone))
    room *= day.gain * 10 ** (-day.place.uniform(0, 12) / 20)
    if day.own is None or day.session is None:
        return room
    room *= 10 ** (day.own.normal(0, 2) / 20)
    if day.neighbour:
        others = [name for name in MACHINES if name != machine]
        kind = MACHINES[others[day.session % len(others)]]
        run = physics.excite(kind, kind.speeds["source"][0], 1, samples, rng)
        room += day.gain * day.neighbour * physics.unit_power(_of(run, day.microphone))
    return room


def _fault(
    source: _Source, fault_kind: str, grade: float | int, rng: np.random.Generator
) -> np.ndarray:
    """Returns what a fault adds (s,); the grade of one of FAULTS is not applied yet."""
    if not fault_kind:
        return np.zeros(source.samples)
    if fault_kind in TIMING_FAULTS:
        timing = physics.timing_fault(fault_kind, grade, rng)
        # The same run once more, with only its timing changed.
        again = copy.deepcopy(source.again)
        run = physics.excite(
            machine=source.kind,
            speed=source.speed,
            load=source.load,
            samples=source.samples,
            rng=again,
            timing=timing,
        )
        return source.scale * _of(run, source.response) - source.sound()
    hz = np.fft.rfftfreq(source.samples, 1 / SAMPLE_RATE)
    excitation = physics.fault_excitation(
        kind=fault_kind,
        machine=source.kind,
        run=source.run,
        hz=hz,
        response=source.response,
        rng=rng,
    )
    return source.scale * physics.filtered(excitation, source.response)


def _support(fault: np.ndarray) -> np.ndarray:
    power = spectrogram(fault)
    falling = np.sort(power, axis=None)[::-1]
    # The loudest cells that together hold the share of the energy.
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
