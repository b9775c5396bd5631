"""The loss of fine-tuning: the order in which a batch is augmented."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.runtime.errors import InputError
from asd_jax.training.loss import augmented_batch
from asd_jax.training.settings import FineTuning


def test_augmentation_keeps_the_order_of_the_method():
    wave = jax.random.normal(jax.random.key(0), (4, 800))
    labels = jnp.eye(4)
    key = jax.random.key(1)
    certain = {"mixup_probability": 1.0, "mask_probability": 0.0}
    on_waves = augmented_batch(wave, labels, key, FineTuning(mixup="waveform", **certain))
    on_spectrograms = augmented_batch(wave, labels, key, FineTuning(mixup="spectrogram", **certain))
    spectrogram = jax.random.normal(key, (4, 32, 128))
    np.testing.assert_allclose(on_waves[0], on_waves[1] @ wave, atol=1e-5)
    np.testing.assert_array_equal(on_waves[2](spectrogram), spectrogram)
    np.testing.assert_array_equal(on_spectrograms[0], wave)
    np.testing.assert_array_equal(on_spectrograms[1], on_waves[1])
    mixed = jnp.einsum("bc,ctf->btf", on_spectrograms[1], spectrogram)
    np.testing.assert_allclose(on_spectrograms[2](spectrogram), mixed, atol=1e-5)
    none = augmented_batch(wave, labels, key, FineTuning(mixup="none", **certain))
    np.testing.assert_array_equal(none[1], labels)
    with pytest.raises(InputError, match="mixup='wave'; known: waveform, spectrogram, none"):
        FineTuning(mixup="wave")
