import numpy as np
import pytest
import soundfile

from asd_jax.data.audio import fit_length, read_clip
from asd_jax.errors import InputError


@pytest.fixture
def noise():
    return np.random.default_rng(0).integers(-20000, 20000, 8000).astype(np.int16)


def test_pcm16_is_read_exactly(tmp_path, noise):
    soundfile.write(tmp_path / "a.wav", noise, 16000)
    np.testing.assert_array_equal(read_clip(tmp_path / "a.wav"), noise / np.float32(32768))


def test_short_clip_is_repeated_from_its_start_and_long_one_cut_at_the_end():
    wave = np.arange(5, dtype=np.float32)
    np.testing.assert_array_equal(fit_length(wave, 12), [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1])
    np.testing.assert_array_equal(fit_length(wave, 3), [0, 1, 2])


def test_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="nowhere.wav: no such file"):
        read_clip(tmp_path / "nowhere.wav")
