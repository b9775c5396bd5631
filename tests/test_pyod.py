"""asd_jax.pyod: PyOD's detectors on sounds."""

import numpy as np
import pytest
from machine_sound import sound
from pyod.models.embedding import EmbeddingOD

from asd_jax import load_pipeline
from asd_jax.pyod import SoundEncoder
from asd_jax.runtime.errors import InputError

HEALTHY = [sound(n, 0.5) for n in range(12)]
TODAY = [sound(n, 0.5, fault=0.1 * (n % 2)) for n in range(100, 106)]


def test_a_detector_of_pyod_hears_the_whistle():
    encoder = SoundEncoder(None, window_seconds=0.5)
    found = EmbeddingOD(encoder, detector="KNN", contamination=0.05).fit(HEALTHY)
    scores = found.decision_function(TODAY)
    assert min(scores[1::2]) > max(scores[::2]) and found.predict(TODAY).sum() >= 3


def test_an_embedding_is_the_mean_over_windows_of_the_pipelines(encoder_file):
    wave = np.concatenate([HEALTHY[0], HEALTHY[1]])
    found = SoundEncoder(encoder_file, window_seconds=0.5).encode([wave, HEALTHY[0]])
    alone = load_pipeline(encoder_file).embed(np.stack(HEALTHY[:2]))
    wanted = np.asarray(alone).reshape(2, -1)
    assert found.dtype == np.float64
    # measured: 3e-7
    np.testing.assert_allclose(found, [wanted.mean(0), wanted[0]], atol=1e-6)


def test_no_sounds_are_an_error_that_says_so(encoder_file):
    with pytest.raises(InputError, match="no sounds to encode"):
        SoundEncoder(encoder_file).encode([])
