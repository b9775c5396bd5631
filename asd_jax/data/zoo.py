"""The machine zoo: an endless, seeded stream of synthetic machines for pre-training, generated on the device.

Every clip is another machine in another room: shafts and gears, pistons, clicks, flow, mains hum, each with its own
speed, wear, body, background, microphone and level. Where the factory (factory.py) is a data set of five known machines
with known faults, the zoo is variety without labels. The factory's machines are not in it.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

SAMPLE_RATE = 16000
HARMONICS, MESH_HARMONICS = 32, 6
# Level in dB of (shaft lines, gear mesh, impacts, flow) in each kind of machine, before +-6 dB of chance.
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
    """A key -> waveforms "b s" in [-1, 1] at 16 kHz, each of another machine; the same key gives the same sounds.

    Args:
        key: jax.random.key.
        clips: b.
        samples: s.
    """
    machines, rooms = jax.random.split(key)
    spectra = jax.vmap(lambda k: _machine(k, samples))(jax.random.split(machines, clips))
    # A neighbour's machine is heard in some rooms.
    wave = jax.vmap(lambda *a: _room(*a, samples))(
        jax.random.split(rooms, clips), spectra, jnp.roll(spectra, 1, axis=0)
    )
    return jnp.clip(wave, -1, 1)


def _machine(key, samples):
    """One machine as it sounds at its surface: spectrum (k,) of unit power."""
    keys = iter(jax.random.split(key, 24))
    t = jnp.arange(samples) / SAMPLE_RATE
    kind = jax.random.randint(next(keys), (), 0, len(KINDS))
    levels = jnp.array(list(KINDS.values()))[kind] + 6 * jax.random.normal(next(keys), (4,))
    lines_gain, mesh_gain, impacts_gain, flow_gain = _amplitude(levels)

    hz = jnp.exp(jax.random.uniform(next(keys), (), minval=jnp.log(4.0), maxval=jnp.log(220.0)))
    mains = 50.0 + 10 * jax.random.bernoulli(next(keys))
    hz = jnp.where(kind == ELECTRICAL, mains * jax.random.randint(next(keys), (), 1, 3), hz)
    hz = jnp.where(kind == IMPULSIVE, hz / 8, hz)
    turns = hz * _wandering(next(keys), t, jnp.where(kind == ELECTRICAL, 1e-4, 0.02))
    tilt = jax.random.uniform(next(keys), (), minval=-9.0, maxval=0.0)  # dB per octave
    lines = _harmonics(next(keys), turns, hz, HARMONICS, tilt)
    teeth = jax.random.randint(next(keys), (), 5, 60)
    depth = jax.random.uniform(next(keys))
    mesh = _harmonics(next(keys), teeth * turns, teeth * hz, MESH_HARMONICS, -3.0)
    mesh = mesh * (1 + depth * jnp.cos(2 * jnp.pi * turns))
    impacts = _impacts(next(keys), turns, hz)
    beat = jax.random.uniform(next(keys)) * jnp.cos(2 * jnp.pi * jax.random.randint(next(keys), (), 1, 6) * turns)
    flow = jax.random.normal(next(keys), (samples,)) * (1 + beat)

    on = _duty(next(keys), t)
    tonal = lines_gain * _unit(lines) + mesh_gain * _unit(mesh)
    parts = jnp.stack([tonal, impacts_gain * _unit(impacts), flow_gain * _unit(flow)]) * on
    bodies = jnp.stack([_body(next(keys), samples) for _ in parts])
    return _unit_power((jnp.fft.rfft(parts) * bodies).sum(0))


def _room(key, machine, neighbour, samples):
    """What a microphone in a room makes of a machine: waveform (s,)."""
    keys = iter(jax.random.split(key, 12))
    t = jnp.arange(samples) / SAMPLE_RATE
    decay = jnp.exp(jax.random.uniform(next(keys), (), minval=jnp.log(0.02), maxval=jnp.log(0.4)))
    tail = jax.random.normal(next(keys), (samples,)) * jnp.exp(-t / decay) / jnp.sqrt(decay * SAMPLE_RATE / 2)
    wet = _amplitude(jax.random.uniform(next(keys), (), minval=-30.0, maxval=3.0))
    heard = _unit_power(machine * (1 + wet * jnp.fft.rfft(tail)))
    white = jax.random.normal(next(keys), (2, len(machine)))
    background = _unit_power((white[0] + 1j * white[1]) * _body(next(keys), samples, resonances=1))
    near = jax.random.bernoulli(next(keys), 0.3) * _amplitude(
        jax.random.uniform(next(keys), (), minval=-20.0, maxval=0.0)
    )
    ratio = _amplitude(jax.random.uniform(next(keys), (), minval=-20.0, maxval=10.0))
    heard = (heard + ratio * background + near * neighbour) * _microphone(next(keys), samples)
    level = _amplitude(jax.random.uniform(next(keys), (), minval=-55.0, maxval=-15.0))
    hiss = jax.random.normal(next(keys), (samples,)) * 2.0**-16  # of the converter
    return level * jnp.fft.irfft(_unit_power(heard), samples) * jnp.sqrt(samples) + hiss


def _wandering(key, t, extent):
    """Time (s,) -> time that runs slower and faster by about `extent`, as a loaded shaft does."""
    rate_key, phase_key, size_key = jax.random.split(key, 3)
    rate = jnp.exp(jax.random.uniform(rate_key, (4, 1), minval=jnp.log(0.05), maxval=jnp.log(4.0)))
    phase = jax.random.uniform(phase_key, (4, 1), maxval=2 * jnp.pi)
    size = extent * jax.random.normal(size_key, (4, 1)) / 2
    return t + (size * jnp.sin(2 * jnp.pi * rate * t + phase) / (2 * jnp.pi * rate)).sum(0)


def _harmonics(key, turns, hz, count, tilt):
    """Turns of a shaft (s,) -> a sum of harmonics, by Horner's scheme in powers of e^(2 pi i turns)."""
    size_key, phase_key, there_key = jax.random.split(key, 3)
    order = jnp.arange(1, count + 1)
    decibels = tilt * jnp.log2(order) + 8 * jax.random.normal(size_key, (count,))
    there = jax.random.bernoulli(there_key, 0.7, (count,)) & (order * hz < 0.48 * SAMPLE_RATE)
    there = there.at[0].set(True)
    size, phase = _amplitude(decibels) * there, jax.random.uniform(phase_key, (count,), maxval=2 * jnp.pi)
    a, b = size * jnp.cos(phase), size * jnp.sin(phase)
    angle = 2 * jnp.pi * (turns % 1)
    c, s = jnp.cos(angle), jnp.sin(angle)
    x = y = jnp.zeros_like(turns)
    for n in reversed(range(count)):  # unrolled: the compiler makes one loop over samples of it
        x, y = x + a[n], y + b[n]
        x, y = x * c - y * s, x * s + y * c
    return x


def _impacts(key, turns, hz):
    """Turns of a shaft (s,) -> blows at a multiple of its speed: noise bursts that ring in two modes."""
    keys = iter(jax.random.split(key, 8))
    blows = turns * jax.random.randint(next(keys), (), 1, 5) + jax.random.uniform(next(keys))
    number, since = jnp.floor(blows).astype(jnp.int32), (blows % 1) / hz
    strength = _amplitude(4 * jax.random.normal(next(keys), (64,)))[number % 64]
    decay = jnp.exp(jax.random.uniform(next(keys), (3, 1), minval=jnp.log(0.001), maxval=jnp.log(0.05)))
    ring = jnp.exp(jax.random.uniform(next(keys), (2, 1), minval=jnp.log(200.0), maxval=jnp.log(7000.0)))
    modes = jnp.sin(2 * jnp.pi * ring * since) * jnp.exp(-since / decay[:2])
    burst = jax.random.normal(next(keys), turns.shape) * jnp.exp(-since / decay[2])
    mix = jax.random.uniform(next(keys), (3, 1))
    return strength * (mix[:2] * modes).sum(0) + strength * mix[2] * burst


def _duty(key, t):
    """Time (s,) -> 1, or for one machine in four a smooth on and off."""
    keys = jax.random.split(key, 4)
    period = jax.random.uniform(keys[0], minval=0.4, maxval=4.0)
    share = jax.random.uniform(keys[1], minval=0.2, maxval=0.9)
    position = (t / period + jax.random.uniform(keys[2])) % 1
    gate = jax.nn.sigmoid(60 * position) * jax.nn.sigmoid(60 * (share - position))
    return jnp.where(jax.random.bernoulli(keys[3], 0.25), 0.02 + gate, 1.0)


def _body(key, samples, resonances=5):
    """A random smooth response with resonances at the spectrum's frequencies (k,)."""
    keys = jax.random.split(key, 5)
    hz = jnp.linspace(0, SAMPLE_RATE / 2, samples // 2 + 1)
    octaves = jnp.log2(jnp.maximum(hz, 20.0) / 20)  # 0 to 8.6
    points = 6 * jax.random.normal(keys[0], (12,))
    decibels = jnp.interp(octaves, jnp.linspace(0, 8.7, 12), points)
    decibels += octaves * jax.random.uniform(keys[1], minval=-6.0, maxval=3.0)
    response = _amplitude(decibels)
    centre = jnp.exp(jax.random.uniform(keys[2], (resonances, 1), minval=jnp.log(100.0), maxval=jnp.log(7500.0)))
    sharpness = jnp.exp(jax.random.uniform(keys[3], (resonances, 1), minval=jnp.log(3.0), maxval=jnp.log(60.0)))
    height = _amplitude(jax.random.uniform(keys[4], (resonances, 1), minval=-10.0, maxval=25.0))
    peaks = height / (1 + 1j * sharpness * (hz / centre - centre / jnp.maximum(hz, 1.0)))
    return response * (1 + peaks.sum(0))


def _microphone(key, samples):
    keys = jax.random.split(key, 3)
    hz = jnp.linspace(0, SAMPLE_RATE / 2, samples // 2 + 1)
    points = 3 * jax.random.normal(keys[0], (6,))
    response = _amplitude(jnp.interp(hz, jnp.linspace(0, SAMPLE_RATE / 2, 6), points))
    low = jnp.exp(jax.random.uniform(keys[1], minval=jnp.log(10.0), maxval=jnp.log(150.0)))
    high = jax.random.uniform(keys[2], minval=5000.0, maxval=12000.0)
    return response / jnp.sqrt((1 + (low / jnp.maximum(hz, 1.0)) ** 4) * (1 + (hz / high) ** 12))


def _unit(signal):
    return signal / jnp.sqrt(jnp.mean(jnp.square(signal)) + 1e-12)


def _unit_power(spectrum):
    return spectrum / jnp.sqrt(2 * jnp.sum(jnp.square(jnp.abs(spectrum))) + 1e-20) * jnp.sqrt(len(spectrum) * 2)


def _amplitude(decibels):
    return 10 ** (decibels / 20)
