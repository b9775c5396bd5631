"""Claims about the rhythm of a sound: it sees what statistics over time do not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.features.rhythm import autocorrelation, lags, regularity, rhythm

FRAMES = 400
PERIOD = 26


def beats(at, *, noise=0.3, seed=0):
    """Returns log energies "1 t f" of events at these frames; each has an attack and a decay."""
    wave = np.zeros(FRAMES + 20)
    for start in at:
        wave[start : start + 8] += 6 * np.exp(-np.arange(8) / 3)
    rng = np.random.default_rng(seed)
    found = wave[None, :FRAMES, None] + rng.normal(0, noise, (1, FRAMES, 128))
    return jnp.asarray(found, jnp.float32)


REGULAR = np.arange(5, FRAMES, PERIOD)
described = jax.jit(rhythm)


def of(energies):
    return np.asarray(described(energies))[0]


def test_the_autocorrelation_of_a_beat_peaks_at_its_period():
    found = np.asarray(autocorrelation(beats(REGULAR)))[0]
    after_the_event = [n for n, lag in enumerate(lags(FRAMES)) if 10 < lag < 1.5 * PERIOD]
    highest = max(after_the_event, key=lambda n: found[n])
    assert lags(FRAMES)[highest] == PERIOD and found[highest] > 0.8


def test_the_autocorrelation_is_that_of_numpy():
    energies = beats(REGULAR[::2])
    bands = np.asarray(energies).reshape(FRAMES, 8, 16).mean(2)
    bands = bands - bands.mean(0)
    power = np.square(bands).sum()
    expected = [
        (bands[:-lag] * bands[lag:]).sum() / power * FRAMES / (FRAMES - lag) for lag in lags(FRAMES)
    ]
    np.testing.assert_allclose(np.asarray(autocorrelation(energies))[0], expected, atol=2e-6)


def of_numpy(energies):
    """The description of log energies "t f" in float64, written from the docstring."""
    frames = len(energies)

    def envelopes(bands):
        means = np.stack([part.mean(1) for part in np.array_split(energies, bands, axis=1)], 1)
        return means - means.mean(0)

    bands = envelopes(8)
    power = max(np.square(bands).sum(), 1e-6 * frames)
    correlation = [
        (bands[:-lag] * bands[lag:]).sum() / power * frames / (frames - lag)
        for lag in range(4, min(150, frames // 2), 2)
    ]
    rises = [value - min(correlation[: n + 1]) for n, value in enumerate(correlation)]
    broad = envelopes(4)
    scaled = broad / np.maximum(np.sqrt(np.square(broad).mean(0)), 1e-3)
    order = []
    for lag in (n for n in (4, 9, 18, 36) if n <= frames // 2):
        before = scaled[:-lag]
        after = scaled[lag:]
        across = before.T @ after / len(before)
        order += [across[j, k] - across[k, j] for j in range(4) for k in range(j + 1, 4)]
        order += list((before * after * (before - after)).mean(0))
    pauses = []
    for length in (n for n in (9, 18, 36, 72, 144) if n <= frames // 2):
        stretches = [broad[start : start + length] for start in range(frames - length + 1)]
        pauses += list(np.min([stretch.max(0) for stretch in stretches], axis=0))
    return [max(rises, default=0), *correlation, *order, *pauses, *broad.max(0)]


# Of a window of twice a lag or a pause, that lag or pause is the longest.
@pytest.mark.parametrize(
    ("frames", "deviation"),
    # The last one is nearly constant: rounding must not be blown up.
    [(FRAMES, 1.0), (72, 1.0), (7, 1.0), (72, 2e-6)],
)
def test_the_description_is_that_of_numpy(frames, deviation):
    energies = np.random.default_rng(frames).normal(0, deviation, (1, frames, 128)).cumsum(1)
    found = of(jnp.asarray(energies, jnp.float32))
    expected = of_numpy(energies[0])
    # measured 1.5e-6
    np.testing.assert_allclose(found, expected, rtol=0, atol=3e-6 * max(np.abs(expected)))


def test_a_beat_is_regular_and_noise_or_a_drift_is_not():
    drift = np.linspace(0, 5, FRAMES, dtype=np.float32)[None, :, None] + beats([])
    found = {
        name: float(of(energies)[0])
        for name, energies in (("beat", beats(REGULAR)), ("noise", beats([])), ("drift", drift))
    }
    assert found["beat"] > 0.8 and found["noise"] < 0.1 and found["drift"] < 0.1


def test_regularity_is_the_rise_after_the_lowest_value():
    correlation = jnp.array([[0.9, 0.2, 0.6, 0.1, 0.3], [0.9, 0.7, 0.5, 0.3, 0.1]])
    np.testing.assert_allclose(np.asarray(regularity(correlation)), [0.4, 0.0], atol=1e-7)


@pytest.mark.parametrize("fault", ["missing", "irregular", "reversed"])
def test_faults_of_timing_move_the_rhythm_and_hardly_mean_and_deviation(fault):
    rng = np.random.default_rng(1)
    jitter = np.r_[0, rng.integers(-6, 7, len(REGULAR) - 1)]
    at = {"missing": np.delete(REGULAR, 7), "irregular": REGULAR + jitter, "reversed": REGULAR}
    normal = [beats(REGULAR + shift, seed=shift) for shift in range(6)]
    faulty = beats(at[fault], seed=9)
    faulty = faulty[:, ::-1] if fault == "reversed" else faulty

    def distance(view):
        vectors = np.stack([view(one) for one in normal])
        apart = np.linalg.norm(vectors[:, None] - vectors[None], axis=2)
        return np.linalg.norm(vectors - view(faulty), axis=1).min() / apart.max()

    assert distance(of) > 1.5  # measured 2.0 and more
    if fault != "missing":
        assert distance(lambda one: np.r_[one.mean(1)[0], one.std(1)[0]]) < 1.2


def test_any_number_of_frames_gives_a_finite_vector():
    for frames in (1, 7, 60):
        found = of(beats(REGULAR)[:, :frames])
        assert np.isfinite(found).all() and len(found) >= 5


def test_a_constant_has_no_rhythm():
    found = of(np.full((1, FRAMES, 128), -7.0, np.float32))
    np.testing.assert_allclose(found, 0, atol=1e-3)
