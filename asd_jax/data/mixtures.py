"""Mixes the clips of a batch and changes their level and colour.

A student that is trained on them then learns neither the level nor the room.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from asd_jax.data.audio import LEVEL_DB, QUIETEST

EQUALIZER_POINTS = 8  # of the random frequency response, evenly spaced from 0 to 8 kHz


@functools.partial(jax.jit, static_argnames=("share", "low_db", "high_db"))
def mixtures(
    key: PRNGKeyArray, wave: Float[Array, "b s"], *, share: float, low_db: float, high_db: float
) -> tuple[Float[Array, "b s"], Float[Array, "b"]]:
    """Returns waveforms "b s" of equal power, and each clip's signal-to-noise ratio "b" in dB.

    A clip is mixed with the clip before it in the batch. The ratio is infinite for a clip that is
    left alone, and minus infinity for a silent one, of which nothing is in the mixture.

    Args:
        key: random key.
        wave: clips of any level.
        share: share of the clips that are mixed.
        low_db, high_db: range of the ratio of the clip to its partner.
    """
    key_chosen, key_ratio = jax.random.split(key)
    clip = _leveled(wave)
    ratio = jax.random.uniform(key_ratio, (len(wave),), minval=low_db, maxval=high_db)
    mixed = jax.random.bernoulli(key_chosen, share, (len(wave),))
    ratio = jnp.where(mixed, ratio, jnp.inf)
    # The order of the batch is random, so that neighbours are random partners.
    partner = jnp.roll(clip, 1, axis=0)
    mixture = _leveled(clip + 10 ** (-ratio[:, None] / 20) * partner)
    silent = _rms(wave)[:, 0] < QUIETEST
    return mixture, jnp.where(mixed & silent, -jnp.inf, ratio)


@functools.partial(jax.jit, static_argnames=("gain_db", "equalizer_db"))
def recolored(
    key: PRNGKeyArray, wave: Float[Array, "b s"], *, gain_db: float, equalizer_db: float
) -> Float[Array, "b s"]:
    """Returns waveforms "b s" in [-1, 1] after a random gain and a smooth random equaliser.

    Args:
        key: random key.
        wave: clips.
        gain_db: the gain is drawn from -gain_db to gain_db.
        equalizer_db: standard deviation of the frequency response at its points, which are
            interpolated.
    """
    key_gain, key_response = jax.random.split(key)
    b, samples = wave.shape
    gain = jax.random.uniform(key_gain, (b, 1), minval=-gain_db, maxval=gain_db)
    if equalizer_db:
        points = equalizer_db * jax.random.normal(key_response, (b, EQUALIZER_POINTS))
        place = jnp.linspace(0, EQUALIZER_POINTS - 1, samples // 2 + 1)
        response = jax.vmap(lambda row: jnp.interp(place, jnp.arange(EQUALIZER_POINTS), row))(
            points
        )
        # Circular filtering: the response is smooth, so that it rings for a few samples only.
        wave = jnp.fft.irfft(jnp.fft.rfft(wave) * 10 ** (response / 20), samples)
    # Clipped like a recording, as files hold nothing beyond full scale.
    return jnp.clip(wave * 10 ** (gain / 20), -1, 1)


def own_sound_prevails(ratio: Float[Array, "b"]) -> Bool[Array, "b"]:
    """Returns for each mixture whether its own clip is at least as loud as the partner.

    Only then does a target that was computed from the clip alone describe the mixture.
    """
    return ratio >= 0


def _leveled(wave: Float[Array, "b s"]) -> Float[Array, "b s"]:
    return wave * (10 ** (LEVEL_DB / 20) / jnp.maximum(_rms(wave), QUIETEST))


def _rms(wave):
    return jnp.sqrt(jnp.square(wave).mean(1, keepdims=True))
