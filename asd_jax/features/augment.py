"""Augments training batches by mixup (of waveforms or spectrograms) and SpecAugment."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray


def mixup_pairs(
    key: PRNGKeyArray, b: int, *, alpha: float, probability: float
) -> tuple[Float[Array, "b"], Int[Array, "b"]]:
    """Returns for each of b clips a weight and the index of its partner in the batch, for `mix`.

    A clip is mixed with the given probability (otherwise its weight is 1); weight ~ Beta(alpha,
    alpha). Zhang et al., ICLR 2018.
    """
    # Separate keys: one key used twice would tie the weight to the choice.
    key_weight, key_chosen, key_partner = jax.random.split(key, 3)
    weight = jax.random.beta(key_weight, alpha, alpha, (b,))
    # A clip of weight 1 is left as it is.
    weight = jnp.where(jax.random.bernoulli(key_chosen, probability, (b,)), weight, 1.0)
    return weight, jax.random.permutation(key_partner, b)


def mix(
    x: Float[Array, "b ..."], weight: Float[Array, "b"], partner: Int[Array, "b"]
) -> Float[Array, "b ..."]:
    """Returns weight * own + (1 - weight) * the partner's waveform, spectrogram or soft label.

    Example:
        weight, partner = mixup_pairs(key, len(wave), alpha=0.4, probability=0.5)
        wave, labels = mix(wave, weight, partner), mix(labels, weight, partner)
    """
    weight = weight.reshape(-1, *(1,) * (x.ndim - 1)).astype(x.dtype)
    return weight * x + (1 - weight) * x[partner]


def spec_augment(
    key: PRNGKeyArray,
    spectrogram: Float[Array, "b t f"],
    *,
    max_frames: int,
    max_filters: int,
    probability: float,
) -> Float[Array, "b t f"]:
    """Returns the normalised spectrogram with a time and a frequency stripe per clip set to 0.

    Each stripe appears with the given probability; width ~ U[0, max], start ~ U. Park et al.,
    Interspeech 2019; one stripe each and fill 0 as in EAT's fine-tuning. A stripe is never wider
    than the spectrogram.
    """
    b, t, f = spectrogram.shape
    key_time, key_frequency = jax.random.split(key)
    frames = _outside_stripe(key_time, b, t, min(max_frames, t), probability)
    filters = _outside_stripe(key_frequency, b, f, min(max_filters, f), probability)
    # 0 is about the mean of a normalised spectrogram.
    return spectrogram * frames[:, :, None] * filters[:, None, :]


def _outside_stripe(key, b, size, widest, probability):
    key_width, key_start, key_chosen = jax.random.split(key, 3)
    width = jnp.floor(jax.random.uniform(key_width, (b, 1), maxval=widest))
    width = jnp.where(jax.random.bernoulli(key_chosen, probability, (b, 1)), width, 0.0)
    # The stripe always lies inside the spectrogram.
    start = jnp.floor(jax.random.uniform(key_start, (b, 1)) * (size - width))
    position = jnp.arange(size)[None, :]
    return (position < start) | (position >= start + width)
