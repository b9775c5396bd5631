"""Computes the sound of the synthetic factory: excitations, bodies, faults, rooms and microphones.

A machine's moving parts excite it, and its body filters the sound. The excitations are functions of
the angle of a shaft rather than of time, so every line, gate and impact follows the speed:

- lines at multiples ("orders") of the rotor's speed: blade passing of a fan (blades x speed; Gutin
  1936), meshing of gears (teeth x speed) with sidebands at the shaft speed from eccentricity
  (McFadden 1986), slot and twice-line-frequency lines of an induction motor, whose speed slips with
  load (Gieras, Wang & Lai 2006);
- broadband noise of flow or friction, gated by the cycle (the stroke of a slider, the open phase of
  a valve);
- impacts at fixed angles of the cycle (end stops, valve seats);
- the body: resonances 1/(1 + iQ(f/f0 - f0/f)), stiffened by load (Hertzian contact).

The faults are:

- bearing: a spalled race is struck at the ball pass frequency, n/2 (1 -+ d/D cos a) x speed (-
  outer race, + inner race); each strike excites a resonance of the housing, the intervals slip by
  1-2 %, and the load zone modulates an inner race once per turn (McFadden & Smith 1984; Randall &
  Antoni 2011);
- tone: a new line at a non-integer order (a loose part, a whistle);
- missing_harmonic: one of the machine's two loudest lines loses most of its amplitude;
- modulation: the level of the whole machine is modulated at the cage frequency,
  1/2 (1 - d/D cos a) x speed (Randall & Antoni 2011);
- rubbing: band-limited noise once per cycle, from a rotor that touches its housing over an arc
  (Muszynska 1989).

Machines that strike once a cycle also have faults of timing, which leave the sound of a strike as
it is:

- missing_beat: some cycles lack their strikes and their flow (a misfeed, a valve that stays shut);
- irregular: the durations of the cycles vary around the same mean (a slipping clutch, an unsteady
  signal);
- reversed: the events of the cycle come in the opposite order (a drive wired or mounted the wrong
  way round).
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from asd_jax.data.machines import SAMPLE_RATE, TIMING_GRADES, Machine, slider_friction


class Excitation(NamedTuple):
    """The excitation of a machine before its body filters it: k lines and s samples."""

    cycle: np.ndarray  # (s,), turns
    rotor: np.ndarray  # (s,), turns
    rotor_hz: float  # mean speed of the rotor, at its fastest if it reciprocates
    lines: np.ndarray  # (k, s)
    noise: np.ndarray  # (s,)
    impacts: np.ndarray  # (s,)


Timing = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def timing_fault(kind: str, grade: float | int, rng: np.random.Generator) -> Timing:
    """Returns a function from the cycle (s,) in turns to (the faulty cycle, its activity 0..1).

    Args:
        kind: one of TIMING_FAULTS.
        grade: 0 (subtle) to 1 (strong).
        rng: Source of the fault's own randomness.
    """
    subtle, strong = TIMING_GRADES[kind]
    extent = subtle + grade * (strong - subtle)

    def timing(cycle):
        number = np.floor(cycle).astype(int) - int(np.floor(cycle[0]))
        count = number[-1] + 1
        if kind == "missing_beat":
            # The first and the last cycle may be cut off, so one in between is silent.
            silent = rng.random(count) < extent
            silent[rng.integers(1, max(2, count - 1))] = True
            return cycle, 1.0 - silent[number]
        if kind == "irregular":
            # No cycle is so short that the angle stands still or runs backwards.
            durations = np.maximum(1 + rng.normal(0, extent, count), 0.3)
            # Scaled to the same mean, so that the average speed does not reveal the fault.
            ends = np.cumsum(durations) * count / durations.sum()
            turns = np.interp(cycle - np.floor(cycle[0]), [0, *ends], np.arange(count + 1))
            return turns, np.ones(len(cycle))
        # An angle that runs backwards reverses the order of the events.
        return -cycle, np.ones(len(cycle))

    return timing


def excite(
    machine: Machine,
    speed: float | int,
    load: int,
    samples: int,
    rng: np.random.Generator,
    timing: Timing | None = None,
) -> Excitation:
    """Returns the excitation of one healthy run, with its own phase, slow drift and noise.

    Args:
        machine: The machine type.
        speed: Cycles per minute.
        load: Load step.
        samples: Length of the run.
        rng: Source of the randomness.
        timing: a fault of timing, if there is one.
    """
    seconds = np.arange(samples) / SAMPLE_RATE
    # A constant offset, as of load and mains, and a slow change within the clip.
    drift = rng.uniform(-0.008, 0.008) + 0.004 * _cosine(
        rng.uniform(0.2, 0.8) * seconds + rng.random()
    )
    cycle_hz = speed / 60 * (1 - machine.slip * (load - 1)) * (1 + drift)
    cycle = np.cumsum(cycle_hz) / SAMPLE_RATE + rng.random()
    pace = slider_friction(cycle) if machine.reciprocating else 1.0
    # The angle is the integral of the speed, so that lines stay coherent while it drifts.
    rotor = np.cumsum(machine.rotor_order * cycle_hz * pace) / SAMPLE_RATE + rng.random()

    orders, level, per_load = np.array(machine.lines).T
    amplitude = _amplitude(level + per_load * (load - 1) + rng.normal(0, 1, len(orders)))
    # Eccentricity modulates the lines once per cycle, more so under load.
    sidebands = 1 + machine.sidebands * (1 + 0.5 * (load - 1)) * _cosine(cycle + rng.random())
    # Random phases, so that no clip has the waveform of another one.
    phasors = amplitude * np.exp(2j * np.pi * rng.random(len(orders)))
    harmonics = _harmonics(rotor, orders.astype(int).tolist())
    lines = np.stack([(a * z).real for a, z in zip(phasors, harmonics, strict=True)]) * (
        sidebands * pace
    )

    events, activity = (cycle, np.ones(samples)) if timing is None else timing(cycle)
    low_hz, high_hz, level, per_load = machine.noise
    noise = (
        _amplitude(level + per_load * (load - 1))
        * band_noise(low_hz, high_hz, samples, rng)
        * machine.gate(events)
        * activity
    )
    impacts = np.zeros(samples)
    for phase, level in machine.impacts:
        # An impact occurs whenever the cycle passes its phase.
        strikes = np.flatnonzero(np.diff(np.floor(events - phase)))
        impacts[strikes] += _amplitude(level + rng.normal(0, 1, len(strikes))) * activity[strikes]
    return Excitation(
        cycle=cycle,
        rotor=rotor,
        rotor_hz=float(machine.rotor_order * cycle_hz.mean()),
        lines=lines,
        noise=noise,
        impacts=impacts,
    )


def body(machine: Machine, load: int, hz: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns the complex frequency response of the machine's body at the frequencies `hz`.

    Each load step raises the resonances by 6 %, and they vary by about 1 % from clip to clip.
    """
    shift = 1 + 0.06 * (load - 1) + rng.normal(0, 0.01)
    return np.asarray(
        # The constant is what the body passes on between its resonances.
        0.25 + sum(gain * resonance(hz, f0 * shift, q) for f0, q, gain in machine.resonances)
    )


def fault_excitation(
    kind: str,
    machine: Machine,
    run: Excitation,
    hz: np.ndarray,
    response: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Returns the excitation (s,) of a fault, at an arbitrary level.

    A fault that removes sound is returned as lines with a negative sign.

    Args:
        kind: One of FAULTS.
        machine: The machine that fails.
        run: Its healthy run.
        hz: Frequencies of the real FFT of s samples.
        response: Complex response at `hz` through which the fault will be recorded.
        rng: Source of the fault's own randomness.
    """
    balls, geometry = machine.bearing
    samples = len(run.rotor)
    if kind == "bearing":
        # -1 is a fault of the outer race, +1 of the inner race.
        race = rng.choice((-1, 1))
        rate = balls / 2 * (1 + race * geometry)
        turns = (
            # The rolling elements slip, so the intervals between strikes vary.
            run.rotor[0]
            + np.cumsum(1 + rng.normal(0, 0.015, int(rate * np.ptp(run.rotor)) + 1)) / rate
        )
        # The slip may carry the last strikes beyond the end of the clip.
        turns = turns[turns < run.rotor[-1]]
        strikes = np.zeros(samples)
        # The load zone modulates the inner race strongly, and the outer race only slightly.
        strikes[np.searchsorted(run.rotor, turns)] = 1 + (0.9 if race > 0 else 0.2) * _cosine(
            turns + rng.random()
        )
        return filtered(strikes, resonance(hz, rng.uniform(1800, 4500), rng.uniform(10, 20)))
    if kind == "tone":
        # The order is far from an integer, so the tone is not one of the machine's own lines.
        order = np.floor(rng.uniform(600, 4500) / run.rotor_hz) + rng.uniform(0.3, 0.7)
        return _cosine(order * run.rotor + rng.random())
    if kind == "missing_harmonic":
        orders = np.array([order for order, *_ in machine.lines])
        # The loudest lines are determined after the body and the microphone.
        loudness = run.lines.std(1) * np.interp(orders * run.rotor_hz, hz, np.abs(response))
        return -run.lines[rng.choice(np.argsort(loudness)[-2:])]
    if kind == "modulation":
        # The cage turns at (1 - d/D cos a) / 2 of the speed of the shaft.
        swell = _cosine((1 - geometry) / 2 * run.rotor + rng.random())
        return swell * (run.lines.sum(0) + run.noise + run.impacts)
    # Rubbing: a short contact in each cycle, at an angle of its own.
    low_hz = rng.uniform(1000, 4500)
    # It falls to 1/e a tenth of a turn away from its maximum.
    contact = np.exp(5 * (_cosine(run.cycle + rng.random()) - 1))
    return contact * band_noise(low_hz, low_hz * rng.uniform(1.3, 1.7), samples, rng)


def background(
    noise: str,
    samples: int,
    hz: np.ndarray,
    rng: np.random.Generator,
    lasting: np.random.Generator | None = None,
) -> np.ndarray:
    """Returns the sound (s,) of a room at unit power.

    "workshop" is pink noise, mains hum and clanks; "street" is a rumble that passes by. What stays
    the same during a session (spectrum and hum) is drawn from `lasting`.
    """
    lasting = rng if lasting is None else lasting
    seconds = np.arange(samples) / SAMPLE_RATE
    white = rng.standard_normal(samples)
    if noise == "workshop":
        # Amplitudes; pink noise would have the exponent 0.5.
        colour = np.maximum(hz, 40) ** -lasting.uniform(0.35, 0.75)
        sound = unit_power(filtered(white, colour))
        sound += lasting.uniform(0, 0.4) * sum(
            _cosine(f0 * seconds + rng.random()) / k for k, f0 in enumerate((100, 200, 300), 1)
        )
        clanks = np.zeros(samples)
        clanks[rng.integers(0, samples, rng.poisson(0.6 * samples / SAMPLE_RATE))] = 60
        sound += filtered(clanks, resonance(hz, rng.uniform(800, 4000), rng.uniform(10, 30)))
    else:
        # Flat below 40 Hz, as the power law is infinite at 0.
        colour = np.maximum(hz, 40) ** -lasting.uniform(0.6, 1.0)
        passing = 1 + 0.8 * _cosine(rng.uniform(0.1, 0.4) * seconds + rng.random())
        sound = filtered(white, colour) * passing
    return unit_power(sound)


def microphone(hz: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns the gain at `hz` of a microphone and its room: a tilt and three ripples over octaves.

    Every clip draws another one.
    """
    # Constant below 60 Hz, as the tilt would be infinite at 0.
    octaves = np.log2(np.maximum(hz, 60) / 1000)
    decibels = rng.uniform(-1.5, 1.5) * octaves
    for cycles_per_octave in (0.3, 0.7, 1.3):
        decibels += rng.uniform(0, 2) * _cosine(cycles_per_octave * octaves + rng.random())
    return _amplitude(decibels)


def repositioned_microphone(hz: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns the change of gain in dB at `hz` when a microphone is set up again near its place: a
    level, a tilt and three ripples over octaves.
    """
    octaves = np.log2(np.maximum(hz, 60) / 1000)
    decibels = rng.normal(0, 2) + rng.uniform(-0.7, 0.7) * octaves
    for cycles_per_octave in (0.3, 0.7, 1.3):
        decibels += rng.uniform(0, 0.8) * _cosine(cycles_per_octave * octaves + rng.random())
    return decibels


def resonance(hz: np.ndarray, f0: float | int, q: float | int) -> np.ndarray:
    """Returns the complex response at `hz` of one mode, which is 1 at its frequency `f0`."""
    # The response at 0 Hz would divide by 0.
    hz = np.maximum(hz, 1.0)
    return 1 / (1 + 1j * q * (hz / f0 - f0 / hz))


def band_noise(
    low_hz: float | int, high_hz: float | int, samples: int, rng: np.random.Generator
) -> np.ndarray:
    """Returns Gaussian noise (s,) of unit power between two frequencies, with slopes of 12 dB per
    octave.
    """
    hz = np.fft.rfftfreq(samples, 1 / SAMPLE_RATE)
    shape = np.minimum(1, np.minimum(hz / low_hz, high_hz / np.maximum(hz, 1)) ** 2)
    return unit_power(filtered(rng.standard_normal(samples), shape))


def filtered(signal: np.ndarray, response: np.ndarray) -> np.ndarray:
    """Returns a signal (s,) filtered by a response given at the frequencies of its real FFT.

    The filter is circular, which is acceptable because no response rings for long.
    """
    return np.fft.irfft(np.fft.rfft(signal) * response, len(signal))


def unit_power(signal: np.ndarray) -> np.ndarray:
    """Returns a signal (s,) scaled to a mean square of 1."""
    return signal / np.sqrt(np.mean(signal**2))


def _harmonics(turns, orders):
    """Yields e^(2 pi i order turns) as an array (s,) for each integer order.

    Repeated squaring is much faster than one cosine per order.
    """
    # A cosine that is late by a quarter of a turn is the sine.
    squares = [_cosine(turns) + 1j * _cosine(turns - 0.25)]
    while len(squares) < max(orders).bit_length():
        squares.append(np.square(squares[-1]))
    for order in orders:
        yield functools.reduce(
            np.multiply, (square for bit, square in enumerate(squares) if order >> bit & 1)
        )


def _cosine(turns):
    return np.cos(2 * np.pi * turns)


def _amplitude(decibels):
    return 10 ** (np.asarray(decibels) / 20)
