"""Generates an endless, seeded stream of synthetic machines on the device, for pre-training.

Every clip is a different machine in a different room: shafts and gears, pistons, clicks, flow and
mains hum, each with its own speed, wear, body, background, microphone and level. The factory
(factory.py) is a data set of five known machines with known faults; the zoo provides variety
without labels. It does not contain the factory's machines.
"""

import functools
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

SAMPLE_RATE = 16000
HARMONICS = 32
MESH_HARMONICS = 6
# Level in dB of (shaft lines, gear mesh, impacts, flow) for each kind of machine, before a random
# change of +-6 dB.
KINDS = {
    "rotating": (0.0, -6.0, -25.0, -12.0),
    "reciprocating": (-8.0, -30.0, 0.0, -12.0),
    "impulsive": (-30.0, -40.0, 0.0, -20.0),
    "flow": (-12.0, -25.0, -30.0, 0.0),
    "electrical": (0.0, -20.0, -35.0, -20.0),
}
ELECTRICAL = list(KINDS).index("electrical")
IMPULSIVE = list(KINDS).index("impulsive")


@functools.partial(jax.jit, static_argnames=("clips", "samples"))
def zoo_waves(key: jax.Array, *, clips: int, samples: int) -> Float[Array, "b s"]:
    """Returns waveforms "b s" in [-1, 1] at 16 kHz, each of a different machine.

    The same key gives the same sounds.

    Args:
        key: A key from jax.random.key.
        clips: Number of waveforms b.
        samples: Samples s of each.
    """
    machines, rooms = jax.random.split(key)
    spectra = jax.vmap(lambda k: machine_spectrum(k, samples))(jax.random.split(machines, clips))
    # In some rooms a neighbour's machine is audible as well.
    wave = jax.vmap(lambda key, own, other: _room(key, own, other, samples))(
        jax.random.split(rooms, clips), spectra, jnp.roll(spectra, 1, axis=0)
    )
    return jnp.clip(wave, -1, 1)


def machine_spectrum(key, samples, moment=None, speed=1.0):
    """Returns the spectrum (k,) of one machine at its surface, at unit power.

    `moment` is the key for everything that differs from clip to clip. `speed` is relative to the
    machine's usual speed; that of an electrical machine is set by the mains.
    """
    key, flow_key, burst_key = jax.random.split(key, 3)
    if moment is not None:
        flow_key, burst_key = jax.random.split(moment)
    draw = Draws(key)
    t = jnp.arange(samples) / SAMPLE_RATE
    # Every branch is computed and one selected: a program for all kinds compiles once.
    kind = draw.whole(0, len(KINDS))
    levels = jnp.array(list(KINDS.values()))[kind] + 6 * draw.normal(4)
    lines_gain, mesh_gain, impacts_gain, flow_gain = amplitude(levels)

    hz = draw.log_uniform(4.0, 220.0) * speed
    # Mains hum is at 50 or 60 Hz, or at twice that frequency.
    mains = (50.0 + 10 * draw.whole(0, 2)) * draw.whole(1, 3)
    # Clicks come less often than shafts turn: 0.5 to 27 a second.
    hz = jnp.where(kind == ELECTRICAL, mains, jnp.where(kind == IMPULSIVE, hz / 8, hz))
    # The mains are far steadier than a loaded shaft.
    turns = hz * _wandering(draw, t, jnp.where(kind == ELECTRICAL, 1e-4, 0.02))
    lines = _harmonics(draw, turns, hz, HARMONICS, tilt=draw.uniform(-9.0, 0.0))
    teeth = draw.whole(5, 60)
    mesh = _harmonics(draw, teeth * turns, teeth * hz, MESH_HARMONICS, tilt=-3.0)
    # Wheels that run out of true modulate the mesh once per turn.
    mesh = mesh * (1 + draw.uniform(0.0, 1.0) * jnp.cos(2 * jnp.pi * turns))
    impacts = _impacts(draw, burst_key, turns, hz)
    beat = draw.uniform(0.0, 1.0) * jnp.cos(2 * jnp.pi * draw.whole(1, 6) * turns)
    flow = jax.random.normal(flow_key, (samples,)) * (1 + beat)

    tonal = lines_gain * _unit(lines) + mesh_gain * _unit(mesh)
    parts = (
        jnp.stack([tonal, impacts_gain * _unit(impacts), flow_gain * _unit(flow)])
        * _duty(draw, t)[None]
    )
    bodies = jnp.stack([body(draw, samples) for _ in parts])
    return unit_power((jnp.fft.rfft(parts) * bodies).sum(0))


def _room(key, machine, neighbour, samples):
    """Returns the waveform (s,) that a microphone in a room records of a machine."""
    key, tail_key, white_key, hiss_key = jax.random.split(key, 4)
    draw = Draws(key)
    t = jnp.arange(samples) / SAMPLE_RATE
    decay = draw.log_uniform(0.02, 0.4)
    tail = (
        jax.random.normal(tail_key, (samples,))
        * jnp.exp(-t / decay)
        # The energy of the exponential, so that the level of a tail does not depend on its length.
        / jnp.sqrt(decay * SAMPLE_RATE / 2)
    )
    spectrum = unit_power(machine * (1 + amplitude(draw.uniform(-30.0, 3.0)) * jnp.fft.rfft(tail)))
    white = jax.random.normal(white_key, (2, len(machine)))
    background = unit_power((white[0] + 1j * white[1]) * body(draw, samples, resonances=1))
    # Three rooms in ten.
    near = (draw.uniform(0.0, 1.0) < 0.3) * amplitude(draw.uniform(-20.0, 0.0))
    spectrum = spectrum + amplitude(draw.uniform(-20.0, 10.0)) * background + near * neighbour
    spectrum = unit_power(spectrum * microphone(draw, samples))
    hiss = jax.random.normal(hiss_key, (samples,)) * 2.0**-16  # converter noise
    return (
        # irfft divides by the samples; the root makes the mean square 1 before the level.
        amplitude(draw.uniform(-55.0, -15.0)) * jnp.fft.irfft(spectrum, samples) * jnp.sqrt(samples)
        + hiss
    )


class Draws:
    """Random numbers drawn in two arrays and handed out in order.

    Compiling each draw separately would take many times as long.
    """

    def __init__(self, key):
        uniform, normal = jax.random.split(key)
        self._uniform = jax.random.uniform(uniform, (256,))
        self._normal = jax.random.normal(normal, (256,))
        self._used = [0, 0]

    def uniform(self, low, high, shape=()):
        return low + (high - low) * self._take(0, self._uniform, shape)

    def log_uniform(self, low, high, shape=()):
        return jnp.exp(self.uniform(math.log(low), math.log(high), shape))

    def whole(self, low, high):
        """Returns an integer from `low` to `high` - 1."""
        return jnp.floor(self.uniform(low, high)).astype(jnp.int32)

    def normal(self, *shape):
        return self._take(1, self._normal, shape)

    def _take(self, lot, numbers, shape):
        # The order of the draws is part of the sounds: in another order a key gives others.
        begin = self._used[lot]
        self._used[lot] = end = begin + math.prod(shape)
        if end > len(numbers):
            raise ValueError("draw more numbers at once")
        return numbers[begin:end].reshape(shape)


def _wandering(draw, t, extent):
    """Returns the time (s,) distorted by about `extent`, as the speed of a loaded shaft varies."""
    rate = draw.log_uniform(0.05, 4.0, (4, 1))
    phase = draw.uniform(0.0, 2 * math.pi, (4, 1))
    size = extent * draw.normal(4, 1) / 2
    return t + (size * jnp.sin(2 * jnp.pi * rate * t[None] + phase) / (2 * jnp.pi * rate)).sum(0)


def _harmonics(draw, turns, hz, count, tilt):
    """Returns a sum of harmonics for the turns of a shaft (s,), by Horner's scheme in powers of
    e^(2 pi i turns).
    """
    order = jnp.arange(1, count + 1)
    # Harmonics above the Nyquist frequency would alias, and the speed wanders a little above `hz`.
    # The fundamental is always present.
    there = (draw.uniform(0.0, 1.0, (count,)) < 0.7) & (order * hz < 0.48 * SAMPLE_RATE)
    size = amplitude(tilt * jnp.log2(order) + 8 * draw.normal(count)) * there.at[0].set(True)
    phase = draw.uniform(0.0, 2 * math.pi, (count,))
    a = size * jnp.cos(phase)
    b = size * jnp.sin(phase)
    # Reduced first, as float32 cosines of large angles are inexact.
    angle = 2 * jnp.pi * (turns % 1)
    c = jnp.cos(angle)
    s = jnp.sin(angle)
    x = y = jnp.zeros_like(turns)
    # The loop is unrolled so that the compiler fuses it into a single loop over samples.
    for n in reversed(range(count)):
        x = x + a[n]
        y = y + b[n]
        x, y = x * c - y * s, x * s + y * c
    return x


def _impacts(draw, key, turns, hz):
    """Returns impacts at a multiple of a shaft's speed, as noise bursts that excite two modes.

    `turns` are the turns of the shaft (s,).
    """
    blows = turns * draw.whole(1, 5) + draw.uniform(0.0, 1.0)
    number = jnp.floor(blows).astype(jnp.int32)
    since = (blows % 1) / hz
    # The strengths repeat after 64 impacts, which limits the random numbers needed.
    strength = amplitude(4 * draw.normal(64))[number % 64]
    decay = draw.log_uniform(0.001, 0.05, (3, 1))
    ring = draw.log_uniform(200.0, 7000.0, (2, 1))
    modes = jnp.sin(2 * jnp.pi * ring * since[None]) * jnp.exp(-since[None] / decay[:2])
    burst = jax.random.normal(key, turns.shape) * jnp.exp(-since / decay[2, 0])
    mix = draw.uniform(0.0, 1.0, (3, 1))
    return strength * ((mix[:2] * modes).sum(0) + mix[2, 0] * burst)


def _duty(draw, t):
    """Returns 1 at every time (s,), or for one machine in four a smooth on/off envelope."""
    period = draw.uniform(0.4, 4.0)
    share = draw.uniform(0.2, 0.9)
    position = (t / period + draw.uniform(0.0, 1.0)) % 1
    gate = jax.nn.sigmoid(60 * position) * jax.nn.sigmoid(60 * (share - position))
    return jnp.where(draw.uniform(0.0, 1.0) < 0.25, 0.02 + gate, 1.0)


def body(draw, samples, resonances=5):
    """Returns a random smooth frequency response with resonances, at the spectrum's frequencies
    (k,).
    """
    hz = jnp.linspace(0, SAMPLE_RATE / 2, samples // 2 + 1)[None]
    octaves = jnp.log2(jnp.maximum(hz[0], 20.0) / 20)  # 0 to 8.6
    decibels = jnp.interp(
        octaves, jnp.linspace(0, 8.7, 12), 6 * draw.normal(12)
    ) + octaves * draw.uniform(-6.0, 3.0)
    shape = (resonances, 1)
    centre = draw.log_uniform(100.0, 7500.0, shape)
    sharpness = draw.log_uniform(3.0, 60.0, shape)
    height = amplitude(draw.uniform(-10.0, 25.0, shape))
    peaks = height / (1 + 1j * sharpness * (hz / centre - centre / jnp.maximum(hz, 1.0)))
    return amplitude(decibels) * (1 + peaks.sum(0))


def microphone(draw, samples):
    """Returns the gain of a random microphone at the spectrum's frequencies (k,)."""
    hz = jnp.linspace(0, SAMPLE_RATE / 2, samples // 2 + 1)
    response = amplitude(jnp.interp(hz, jnp.linspace(0, SAMPLE_RATE / 2, 6), 3 * draw.normal(6)))
    low = draw.log_uniform(10.0, 150.0)
    high = draw.uniform(5000.0, 12000.0)
    # 12 dB per octave below `low`, 36 dB above `high`.
    return response / jnp.sqrt((1 + (low / jnp.maximum(hz, 1.0)) ** 4) * (1 + (hz / high) ** 12))


def _unit(signal):
    return signal / jnp.sqrt(jnp.mean(jnp.square(signal)) + 1e-12)


def unit_power(spectrum):
    """Returns a spectrum (k,) scaled to a mean square of 1."""
    return spectrum / jnp.sqrt(jnp.mean(jnp.square(jnp.abs(spectrum))) + 1e-20)


def amplitude(decibels):
    """Returns the factor on an amplitude for a level in dB."""
    return 10 ** (decibels / 20)
