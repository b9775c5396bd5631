"""Describes the machines of the synthetic factory and the grades of their faults.

asd_jax/data/physics.py turns these numbers into sound. Levels, depths and ranges are chosen rather
than measured: a small classifier of the attributes must improve on raw spectra, and neither the
level nor the spectral centroid may reveal the faults, whose bounds tests/data/test_factory.py
checks.
"""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

SAMPLE_RATE = 16000
NOISES = {"source": "workshop", "target": "street"}
# What a fault's grade controls, as the values at grade 0 (subtle) and grade 1 (strong).
GRADES = {
    "bearing": (-4.0, 10.0),  # dB relative to all other sound, within the fault's own support
    "tone": (2.0, 16.0),  # dB, as for "bearing"
    "missing_harmonic": (0.7, 1.0),  # fraction of the amplitude that is removed
    "modulation": (0.5, 1.0),  # modulation depth
    "rubbing": (0.0, 14.0),  # dB, as for "bearing"
}
FAULTS = tuple(GRADES)
# As GRADES, of the faults of timing.
TIMING_GRADES = {
    "missing_beat": (0.1, 0.5),  # share of the cycles that are silent; at least one is
    "irregular": (0.1, 0.4),  # deviation of the durations of the cycles, relative to their mean
    "reversed": (1.0, 1.0),
}
TIMING_FAULTS = tuple(TIMING_GRADES)


def steady_flow(turns: np.ndarray) -> np.ndarray:
    """Returns the envelope of a flow that the shaft modulates slightly."""
    return 1 + 0.3 * np.cos(2 * np.pi * turns)


def slider_friction(turns: np.ndarray) -> np.ndarray:
    """Returns the envelope of the friction in a slider, which is proportional to its speed."""
    return np.abs(np.sin(2 * np.pi * turns))


def valve_flow(turns: np.ndarray) -> np.ndarray:
    """Returns the envelope of the flow through a valve that is open for the first 40 % of its
    cycle.
    """
    # It opens and closes within an eighth of a cycle, and leaks a little when shut.
    return np.clip(8 * np.minimum(turns % 1, 0.4 - turns % 1), 0.05, 1)


def ejection(turns: np.ndarray) -> np.ndarray:
    """Returns the envelope of a jet of air after the stamp of a press, from 12 to 40 % of its
    cycle.
    """
    return np.clip(8 * np.minimum(turns % 1 - 0.12, 0.4 - turns % 1), 0.03, 1)


@dataclasses.dataclass(frozen=True)
class Machine:
    """Parameters of one machine type. All levels are in dB and relative to one another.

    Attributes:
        speeds: Cycles per minute in each domain, the values of the attribute "speed".
        loads: Values of the attribute "load" in each domain.
        rotor_order: Turns of the rotor per cycle, at its fastest if it reciprocates.
        lines: (order of the rotor, level at load 1, change per load step) of each line.
        sidebands: Depth at load 1 of the lines' amplitude modulation by the cycle. It grows with
            the load.
        noise: (low Hz, high Hz, level, change per load step).
        gate: Envelope of the noise over the cycle.
        impacts: (phase of the cycle, level) of each impact.
        resonances: (Hz, Q, gain) of each resonance of the body.
        bearing: (number of balls, ball diameter / pitch diameter x cosine of the contact angle).
        reciprocating: Whether the rotor's speed follows the stroke instead of being constant.
        slip: Loss of speed per load step.
    """

    speeds: Mapping[str, tuple[int, ...]]
    rotor_order: int
    lines: tuple[tuple[int, float | int, int], ...]
    sidebands: float
    noise: tuple[int, int, int, int]
    resonances: tuple[tuple[int, int, float], ...]
    bearing: tuple[int, float]
    gate: Callable[[np.ndarray], np.ndarray] = steady_flow
    impacts: tuple[tuple[float, int], ...] = ()
    reciprocating: bool = False
    slip: float = 0.0
    loads: Mapping[str, tuple[int, ...]] = dataclasses.field(
        default_factory=lambda: {"source": (1, 2), "target": (3,)}
    )


MACHINES: dict[str, Machine] = {
    "fan": Machine(  # with nine blades
        speeds={"source": (2400, 2640, 2880, 3120), "target": (2520, 3000)},
        rotor_order=1,
        lines=tuple((9 * k, -3.0 * (k - 1), (3, -5, 4, -4, 5, -3, 4)[k - 1]) for k in range(1, 8))
        + ((1, -6, 0), (2, -9, 2)),
        sidebands=0.15,
        noise=(200, 5000, -3, 3),
        resonances=((420, 5, 1.0), (1350, 8, 1.2), (2900, 10, 0.8)),
        bearing=(8, 0.22),
    ),
    "gearbox": Machine(  # with a pinion of 23 teeth
        speeds={"source": (1080, 1200, 1320, 1440), "target": (1140, 1380)},
        rotor_order=1,
        lines=tuple((23 * k, -2.5 * (k - 1), (-3, 4, -4, 5, -3, 4, 3)[k - 1]) for k in range(1, 8))
        + ((8, -8, 2), (16, -12, -3)),
        sidebands=0.35,
        noise=(300, 3000, -9, 2),
        resonances=((650, 8, 1.2), (1700, 10, 1.0), (3300, 14, 0.9)),
        bearing=(12, 0.18),
    ),
    # An induction motor with one pole pair and 28 rotor slots has lines at order 28 and at 28 +- 2
    # x the line frequency.
    "motor": Machine(
        speeds={"source": (1440, 1620, 1800, 1980), "target": (1530, 1890)},
        rotor_order=1,
        lines=((28, 0, -3), (56, -3, 4), (26, -4, 4), (30, -5, 3), (84, -7, -4))
        + ((54, -8, -3), (112, -9, 4), (2, -4, 3), (4, -9, 2)),
        sidebands=0.2,
        noise=(500, 7000, -10, 2),
        resonances=((800, 9, 1.0), (1900, 12, 1.0), (4200, 12, 1.0)),
        bearing=(9, 0.25),
        slip=0.03,
    ),
    "slider": Machine(  # a servo moves a carriage back and forth on a ball screw
        speeds={"source": (120, 150, 180, 210), "target": (135, 195)},
        rotor_order=14,
        lines=((16, 0, -3), (32, -2, 4), (48, -4, -4), (64, -6, 5), (8, -6, 2)),
        sidebands=0.1,
        noise=(800, 6000, -8, 3),
        gate=slider_friction,
        impacts=((0.0, 22), (0.5, 18)),
        resonances=((520, 8, 1.0), (1500, 14, 1.2), (3600, 16, 1.0)),
        bearing=(10, 0.2),
        reciprocating=True,
    ),
    "valve": Machine(  # a camshaft and its geared drive
        speeds={"source": (240, 300, 360, 420), "target": (270, 390)},
        rotor_order=8,
        lines=((12, -2, 3), (24, -4, -4), (36, -5, 4), (48, -8, -3), (6, -5, 2)),
        sidebands=0.1,
        noise=(1500, 7000, -4, 3),
        gate=valve_flow,
        impacts=((0.0, 26), (0.4, 22)),
        resonances=((900, 12, 1.2), (2300, 18, 1.0), (5200, 20, 1.0)),
        bearing=(8, 0.24),
    ),
}

# Further machines with one beat a cycle, which are not part of the data set of `write_factory`.
CYCLIC: dict[str, Machine] = {
    # An eccentric press: the stamp, a jet of air that ejects the part, and the latch of the feed.
    "press": Machine(
        speeds={"source": (150, 180, 210, 240), "target": (165, 225)},
        rotor_order=6,
        lines=((14, -10, 3), (28, -12, -4), (42, -14, 4), (7, -12, 2)),
        sidebands=0.1,
        noise=(1800, 6500, -5, 2),
        gate=ejection,
        impacts=((0.0, 30), (0.55, 20)),
        resonances=((380, 9, 1.2), (1250, 14, 1.0), (3400, 16, 0.8)),
        bearing=(9, 0.22),
    ),
}
