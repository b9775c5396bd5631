"""The loss of fine-tuning: the order in which a batch is augmented."""

from unittest.mock import patch

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.features.front_end import FrontEnd
from asd_jax.models.arcface import arcface_loss
from asd_jax.models.encoder import Encoder, EncoderConfig
from asd_jax.runtime.errors import InputError
from asd_jax.training.loss import augmented_batch, augmented_inputs, make_loss
from asd_jax.training.settings import FineTuning

ENCODER = Encoder(EncoderConfig())


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
    np.testing.assert_array_equal(none[0], wave)
    np.testing.assert_array_equal(none[1], labels)
    np.testing.assert_array_equal(none[2](spectrogram), spectrogram)
    with pytest.raises(InputError, match="mixup='wave'; known: waveform, spectrogram, none"):
        FineTuning(mixup="wave")


@pytest.mark.slow
def test_mixup_has_its_probability_and_its_weights():
    wave = jax.random.normal(jax.random.key(0), (64, 8))
    labels = jnp.eye(64)
    never = FineTuning(mixup_probability=0.0)
    np.testing.assert_array_equal(
        augmented_batch(wave, labels, jax.random.key(1), never)[1], labels
    )
    # Beta(alpha, alpha) gathers at a half when alpha is large.
    halves = FineTuning(mixup_probability=1.0, mixup_alpha=1e6)
    mixed = np.asarray(augmented_batch(wave, labels, jax.random.key(1), halves)[1])
    assert ((abs(mixed - 0.5) < 0.01).sum(1) == 2).sum() > 56


@pytest.mark.slow
def test_stripes_have_their_probability_and_their_width():
    ones = jnp.ones((256, 64, 32))
    settings = {"mixup": "none", "mask_frames": 3, "mask_filters": 5}

    def hidden(probability):
        masks = FineTuning(mask_probability=probability, **settings)
        augment = augmented_batch(jnp.ones((256, 8)), jnp.eye(256), jax.random.key(1), masks)[2]
        gone = np.asarray(augment(ones)) == 0
        return gone.all(2).sum(1), gone.all(1).sum(1)

    assert [number.max() for number in hidden(0.0)] == [0, 0]
    # A width is drawn from [0, widest) and rounded down.
    frames, filters = hidden(1.0)
    assert set(frames) == {0, 1, 2} and set(filters) == {0, 1, 2, 3, 4}


def test_kept_tokens_pass_without_augmentation():
    batch = {
        "tokens": jnp.ones((2, 3, 4)),
        "label": jnp.array([1, 0]),
        "simam_mode": jnp.array([2, 0]),
    }
    inputs, samples = augmented_inputs(batch, ENCODER, 3, FineTuning(), jax.random.key(0))
    assert samples == 0 and set(inputs) == {"tokens", "labels", "simam_mode"}
    np.testing.assert_array_equal(inputs["labels"], [[0, 1, 0], [1, 0, 0]])
    assert inputs["tokens"] is batch["tokens"] and inputs["simam_mode"] is batch["simam_mode"]


def test_waveforms_become_augmented_spectrograms_of_their_machines_mode():
    seen = []

    def spectrogram(self, wave, mode):
        seen.append(mode)
        return jnp.ones((2, 4, 3)) * wave.sum()

    batch = {
        "wave": jnp.ones((2, 800)),
        "label": jnp.array([1, 0]),
        "simam_mode": jnp.array([2, 0]),
    }
    settings = FineTuning(mixup="none", mask_probability=0.0)
    with patch.object(FrontEnd, "spectrogram", spectrogram):
        inputs, samples = augmented_inputs(batch, ENCODER, 2, settings, jax.random.key(0))
    assert samples == 800 and set(inputs) == {"spectrogram", "labels", "simam_mode"}
    assert seen[0] is batch["simam_mode"]
    np.testing.assert_array_equal(inputs["spectrogram"], jnp.full((2, 4, 3), 1600.0))
    np.testing.assert_array_equal(inputs["labels"], [[0, 1], [1, 0]])


def test_the_accuracy_is_of_the_cosines_and_of_the_class_with_the_larger_weight():
    """The margin lowers the true class's logit, and so must not enter."""
    cosine = jnp.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.6, 0.4]])
    logits = -3 * cosine
    labels = jnp.array([[0.6, 0.4], [0.0, 1.0], [1.0, 0.0], [0.1, 0.9]])
    calls = []

    def encode(self, *arguments, **options):
        calls.append((arguments, options))
        return jnp.ones((4, 8)), {}

    class Head(nn.Module):
        def apply(self, variables, embeddings, given, mutable):
            calls.append(((variables, embeddings.shape, given is labels), mutable))
            return (logits, cosine), {"adacos": {"scale": 2.0}}

    key = jax.random.key(0)
    names = ("spectrogram", "simam_mode", "tokens")
    spectrogram, mode, tokens = (jnp.full(1, n) for n in range(3))
    inputs = dict(zip(names, (spectrogram, mode, tokens), strict=True), labels=labels)
    params = {"encoder": {"a": 1}, "head": {"centres": 4}}
    state = {"adacos": {"scale": 1.0}}
    with patch.object(Encoder, "apply", encode):
        found = make_loss(ENCODER, Head())(params, state, inputs, 800, key)
    loss, (after, metrics) = found
    assert calls == [
        (
            ({"params": {"a": 1}}, spectrogram, 800, mode, tokens),
            {"method": "embed", "rngs": {"drop_path": key}},
        ),
        (({"params": {"centres": 4}, **state}, (4, 8), True), ["adacos"]),
    ]
    assert float(loss) == float(arcface_loss(logits, labels))
    assert after == {"adacos": {"scale": 2.0}} and metrics == {"accuracy": 0.75}
