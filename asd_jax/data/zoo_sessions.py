"""Generates recordings of one synthetic machine in several sessions, which differ as days do."""

import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from asd_jax.data.zoo import (
    SAMPLE_RATE,
    Draws,
    amplitude,
    body,
    machine_spectrum,
    microphone,
    unit_power,
)

# What differs between sessions.
CHANGES = ("gain", "distance", "room", "mains", "speed", "neighbours")
GAIN_DB = 3.0  # standard deviation of the input gain
DISTANCE_DB = 2.0  # standard deviation of the direct sound against reverberation and background
ROOM_DB = 2.0  # standard deviation of the smooth response at six frequencies
MAINS_DB = (-30.0, -6.0)  # level of the hum relative to the machine
SPEED = 0.01  # largest relative change, as by temperature or load
NEIGHBOUR = 0.5  # share of sessions with another machine
NEIGHBOUR_DB = (-20.0, 0.0)  # its level


def zoo_sessions(
    key: jax.Array,
    *,
    sessions: int,
    clips: int,
    samples: int,
    changes: Mapping[str, float] | None = None,
) -> Float[Array, "d b s"]:
    """Returns waveforms "d b s" at 16 kHz of one machine in several sessions.

    The machine and its place are the same in all sessions. Each session has its own input gain,
    distance of the microphone, room response, hum of the mains and speed, and in half of the
    sessions another machine starts at one of the clips. Each clip has its own noise.

    Args:
        key: A key from jax.random.key; the same key gives the same sounds.
        sessions: Number of sessions d.
        clips: Clips b of each session.
        samples: Samples s of each clip.
        changes: Extent of each of CHANGES relative to the usual one; default: 1 for all, and 0 for
            those that are not named.
    """
    extent = dict.fromkeys(CHANGES, 1.0) if changes is None else dict.fromkeys(CHANGES, 0.0)
    extent |= changes or {}
    return _zoo_sessions(key, extent, sessions, clips, samples)


# The extents are not static, so that other extents need no compilation.
@functools.partial(jax.jit, static_argnames=("sessions", "clips", "samples"))
def _zoo_sessions(key, extent, sessions, clips, samples):
    machine, place, days, moments = jax.random.split(key, 4)

    def clip(day, moment, number):
        run, air, beside = jax.random.split(moment, 3)
        draw = Draws(day)
        speed = 1 + extent["speed"] * draw.uniform(-SPEED, SPEED)
        start = draw.whole(0, clips)
        # It runs from its first clip to the end of the session.
        there = (draw.uniform(0.0, 1.0) < NEIGHBOUR) & (number >= start)
        # One call for both machines halves the time of compilation.
        both = jnp.stack([machine, jax.random.fold_in(day, 1)])
        spectrum, other = jax.vmap(machine_spectrum, (0, None, 0, 0))(
            both, samples, jnp.stack([run, beside]), jnp.stack([speed, 1.0])
        )
        other = other * extent["neighbours"] * there * amplitude(draw.uniform(*NEIGHBOUR_DB))
        return _recorded(
            place=place,
            day=draw,
            air=air,
            machine=spectrum,
            neighbour=other,
            extent=extent,
            samples=samples,
        )

    keys = jax.random.split(moments, (sessions, clips))
    wave = jax.vmap(
        lambda day, of: jax.vmap(lambda one, n: clip(day, one, n))(of, jnp.arange(clips))
    )(jax.random.split(days, sessions), keys)
    return jnp.clip(wave, -1, 1)


def _recorded(place, day, air, machine, neighbour, extent, samples):
    """Returns the waveform (s,) that the microphone at its place records on one day.

    Args:
        place: key of what is the same on all days.
        day: draws of the day.
        air: key of the noise of the clip.
        machine: spectrum (k,) of the machine.
        neighbour: spectrum (k,) of another machine.
        extent: extent of each change.
        samples: number of samples s.
    """
    tail_key, usual_key = jax.random.split(place)
    white_key, hiss_key = jax.random.split(air)
    usual = Draws(usual_key)
    t = jnp.arange(samples) / SAMPLE_RATE
    decay = usual.log_uniform(0.02, 0.4)
    tail = jax.random.normal(tail_key, (samples,)) * jnp.exp(-t / decay)
    # The energy of the exponential, so that the level of a tail does not depend on its length.
    tail = tail / jnp.sqrt(decay * SAMPLE_RATE / 2)
    nearer = amplitude(extent["distance"] * DISTANCE_DB * day.normal())
    reverberation = amplitude(usual.uniform(-30.0, 3.0)) * jnp.fft.rfft(tail)
    white = jax.random.normal(white_key, (2, len(machine)))
    noise = unit_power((white[0] + 1j * white[1]) * body(usual, samples, resonances=1))
    noise = noise * amplitude(usual.uniform(-20.0, 0.0))
    mains = 50.0 + 10 * usual.whole(0, 2)
    hum = extent["mains"] * amplitude(day.uniform(*MAINS_DB)) * _hum(day, mains, t)
    spectrum = unit_power(machine) * (nearer + reverberation) + noise + neighbour + hum
    hz = jnp.linspace(0, SAMPLE_RATE / 2, len(machine))
    ripple = jnp.interp(hz, jnp.linspace(0, SAMPLE_RATE / 2, 6), day.normal(6))
    spectrum = spectrum * microphone(usual, samples) * amplitude(extent["room"] * ROOM_DB * ripple)
    gain = usual.uniform(-45.0, -25.0) + extent["gain"] * GAIN_DB * day.normal()
    hiss = jax.random.normal(hiss_key, (samples,)) * 2.0**-16  # converter noise
    return amplitude(gain) * jnp.fft.irfft(spectrum, samples) * jnp.sqrt(samples) + hiss


def _hum(day, mains, t):
    """Returns the spectrum (k,) of the hum at harmonics of the mains, at unit power."""
    order = jnp.arange(1, 7)[:, None]
    size = amplitude(6 * day.normal(6, 1))
    phase = day.uniform(0.0, 1.0, (6, 1))
    wave = (size * jnp.cos(2 * jnp.pi * (order * mains * t[None] + phase))).sum(0)
    return unit_power(jnp.fft.rfft(wave))
