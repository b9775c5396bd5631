"""Adds recordings of noise alone to training clips, at a random signal-to-noise ratio."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from asd_jax.data.batches import Reader
from asd_jax.data.clips import Clip


def noise_adder(
    noise: Sequence[Clip],
    read: Reader,
    *,
    probability: float,
    low_db: float,
    high_db: float,
) -> Callable[[Float[np.ndarray, "s"], np.random.Generator], Float[np.ndarray, "s"]]:
    """Returns a function that adds a noise clip to a waveform (s,), with the given probability.

    The noise starts at a random sample, is repeated where the waveform is longer, and is scaled to
    a ratio of the waveform's power to its own, uniform in decibels.

    Args:
        noise: recordings of noise.
        read: returns the waveform of one.
        probability: that a waveform gets noise.
        low_db: lowest ratio.
        high_db: highest ratio.
    """

    def add(wave, rng):
        # All numbers are drawn even where no noise is added, so that they never depend on it.
        chosen = rng.random() < probability
        number = rng.integers(len(noise))
        start = rng.random()
        ratio_db = rng.uniform(low_db, high_db)
        if not chosen:
            return wave
        other = read(noise[number])
        other = np.resize(np.roll(other, -int(start * len(other))), len(wave))
        # Silent noise cannot be scaled to any ratio.
        power = np.mean(np.square(other, dtype=np.float64))
        if not power:
            return wave
        ratio = np.mean(np.square(wave, dtype=np.float64)) / power
        # A float64 factor would turn the waveform into float64.
        return wave + np.float32(np.sqrt(ratio * 10 ** (-ratio_db / 10))) * other

    return add
