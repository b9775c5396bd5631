"""Rhythm of a sound: the order and the timing of its events, which statistics over time do not see.

The functions take the log energies of a filter bank, "b t f", and use their envelopes in a few
broad bands.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from asd_jax.features.settings import HOP_MS

BANDS = 8  # of the autocorrelation
BROAD_BANDS = 4  # of order and pauses
# Longest lag at which a sound is compared with itself. Machines with a beat have periods of 0.1 to
# 1 s; a lag may be at most half of the window.
LONGEST_MS = 1500
LAG_MS = 20  # between two lags, and the shortest one is twice as long
# Lags at which the order of bands, and of rise and fall, is compared: from an attack to a cycle.
ORDER_MS = (40, 90, 180, 360)
# Durations of a pause: of each, the loudest moment within the most silent stretch is taken.
PAUSE_MS = (90, 180, 360, 720, 1440)
_LEAST = 1e-6  # variance of log energies below which there is only rounding


def rhythm(energies: Float[Array, "b t f"]) -> Float[Array, "b r"]:
    """Returns a description "b r" of the rhythm of sounds with log energies "b t f".

    The first number is its `regularity`. Three parts follow:

    - autocorrelation of the envelopes over lags: period and intervals of the events;
    - order: the part of the correlations between bands, and of rise and fall within a band, that
      changes its sign if time runs backwards;
    - pauses: for each duration, the level that no pause of this duration stays below, and the
      maximum over time, relative to the mean level of the band: a beat that is missing.
    """
    broad = _envelopes(energies, BROAD_BANDS)
    correlation = autocorrelation(energies)
    parts = [regularity(correlation)[:, None], correlation, _order(broad), _pauses(broad)]
    return jnp.concatenate(parts, axis=1)


def autocorrelation(energies: Float[Array, "b t f"]) -> Float[Array, "b r"]:
    """Returns the autocorrelation "b r" of the envelopes of all bands of log energies "b t f".

    The lags are those of `lags`.
    """
    envelopes = _envelopes(energies, BANDS)
    frames = envelopes.shape[1]
    steps = lags(frames)
    power = jnp.square(envelopes).sum((1, 2))
    # Zeros beyond the end stand for what was not recorded; each lag has fewer products then.
    padded = jnp.pad(envelopes, ((0, 0), (0, max(steps, default=0)), (0, 0)))
    place = np.arange(frames)[None] + np.array(steps, np.int64)[:, None]
    products = jnp.einsum("btk,brtk->br", envelopes, padded[:, place])
    # Makes up for the products that a long lag lacks.
    share = frames / (frames - np.array(steps, np.float32))
    return products * share[None] / jnp.maximum(power, _LEAST * frames)[:, None]


def lags(frames: int) -> list[int]:
    """Returns the lags of `autocorrelation` for windows of this many frames, in frames."""
    step = LAG_MS // HOP_MS
    return list(range(2 * step, min(LONGEST_MS // HOP_MS, frames // 2), step))


def regularity(correlation: Float[Array, "b r"]) -> Float[Array, "b"]:
    """Returns how far each autocorrelation "b r" rises again after its lowest value before, "b".

    A sound that repeats exactly reaches 1 and more. Slow changes of level, whose autocorrelation
    only falls, do not count.
    """
    # The running minimum by doubled steps: a program of a few operations for any number of lags.
    lowest = correlation
    for power in range(correlation.shape[1].bit_length()):
        step = 2**power
        lowest = jnp.concatenate(
            [lowest[:, :step], jnp.minimum(lowest[:, step:], lowest[:, :-step])], axis=1
        )
    return (correlation - lowest).max(1, initial=0.0)


def _envelopes(energies, bands: int):
    """Returns the deviation "b t k" of the log energies of broad bands from their means."""
    means = jnp.stack([part.mean(2) for part in jnp.array_split(energies, bands, axis=2)], axis=2)
    return means - means.mean(1, keepdims=True)


def _order(envelopes):
    deviation = jnp.sqrt(jnp.square(envelopes).mean(1, keepdims=True))
    envelopes = envelopes / jnp.maximum(deviation, _LEAST**0.5)
    first, second = np.triu_indices(BROAD_BANDS, 1)
    found = []
    for lag in (duration // HOP_MS for duration in ORDER_MS):
        if lag > envelopes.shape[1] // 2:
            break
        before = envelopes[:, :-lag]
        after = envelopes[:, lag:]
        across = jnp.einsum("btj,btk->bjk", before, after) / before.shape[1]
        # Time that runs backwards exchanges `before` and `after`, and so the sign.
        found.append((across - jnp.swapaxes(across, 1, 2))[:, first, second])
        # Within a band: a fast rise with a slow fall has the opposite sign of the reverse.
        found.append((before * after * (before - after)).mean(1))
    # The empty first part serves windows that are too short for any lag.
    return jnp.concatenate([envelopes[:, 0, :0], *found], axis=1)


def _pauses(envelopes):
    frames = envelopes.shape[1]
    covered = 1
    highest = envelopes
    found = []
    for duration in (duration // HOP_MS for duration in PAUSE_MS):
        if duration > frames // 2:
            break
        # The maxima of two overlapping stretches give that of the longer one.
        while covered < duration:
            step = min(covered, duration - covered)
            highest = jnp.maximum(highest[:, :-step], highest[:, step:])
            covered += step
        found.append(highest.min(1))
    return jnp.concatenate([*found, envelopes.max(1)], axis=1)
