import jax
import jax.numpy as jnp
import numpy as np

from asd_jax.features.augment import mix, mixup_pairs, spec_augment

KEY = jax.random.key(0)


def test_mixup_mixes_inputs_and_labels_by_the_same_weight():
    weight, partner = mixup_pairs(KEY, 64, alpha=0.4, probability=0.5)
    wave = jax.random.normal(KEY, (64, 100))
    labels = jax.nn.one_hot(jnp.arange(64), 64)
    mixed = mix(wave, weight, partner)
    soft = mix(labels, weight, partner)
    for n in range(64):
        np.testing.assert_allclose(
            mixed[n], weight[n] * wave[n] + (1 - weight[n]) * wave[partner[n]], rtol=1e-5
        )
    np.testing.assert_allclose(soft.sum(1), 1, rtol=1e-6)
    # labels say exactly what is in the mixture
    np.testing.assert_allclose(soft @ wave, mixed, atol=1e-5)


def test_mixup_weight_follows_beta_and_probability():
    weight, partner = mixup_pairs(KEY, 20000, alpha=0.4, probability=0.5)
    assert abs((weight == 1).mean() - 0.5) < 0.02
    mixed = weight[weight < 1]
    assert abs(mixed.mean() - 0.5) < 0.02 and abs(mixed.var() - 1 / (4 * (2 * 0.4 + 1))) < 0.01
    assert sorted(partner.tolist()) == list(range(20000))


def test_zero_probability_changes_nothing():
    weight, partner = mixup_pairs(KEY, 8, alpha=0.4, probability=0.0)
    x = jax.random.normal(KEY, (8, 3))
    np.testing.assert_array_equal(mix(x, weight, partner), x)
    spectrogram = jax.random.normal(KEY, (4, 64, 128))
    same = spec_augment(KEY, spectrogram, max_frames=80, max_filters=80, probability=0.0)
    np.testing.assert_array_equal(same, spectrogram)


def test_spec_augment_zeroes_one_stripe_each_way():
    masked = np.asarray(
        spec_augment(KEY, jnp.ones((500, 200, 128)), max_frames=80, max_filters=40, probability=1.0)
    )
    rows = (masked == 0).all(2)
    columns = (masked == 0).all(1)
    np.testing.assert_array_equal(masked == 0, rows[:, :, None] | columns[:, None, :])
    for stripes, widest in ((rows, 80), (columns, 40)):
        assert (np.diff(stripes.astype(int), axis=1) == 1).sum(
            1
        ).max() <= 1  # one run of zeros at most
        assert stripes.sum(1).max() <= widest
        assert abs(stripes.sum(1).mean() - (widest - 1) / 2) < widest * 0.05


def test_spec_augment_never_masks_more_than_there_is():
    masked = spec_augment(
        KEY, jnp.ones((50, 32, 128)), max_frames=80, max_filters=200, probability=1.0
    )
    assert masked.shape == (50, 32, 128) and np.isfinite(masked).all()
