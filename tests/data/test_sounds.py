"""Lists of waveforms and file names, as other libraries pass them around."""

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asd_jax.data.sounds import names_of_sounds, waveforms
from asd_jax.runtime.errors import InputError

WAVE = np.linspace(-0.5, 0.5, 1600, dtype=np.float32)


def test_files_and_waveforms_come_together_and_only_files_are_resampled(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros(1600), 8000)
    read, named, given = waveforms([path, str(path), WAVE], 16000)
    assert len(read) == len(named) == 3200 and len(waveforms([path], 8000)[0]) == 1600
    np.testing.assert_array_equal(given, WAVE)
    of_array = waveforms(np.stack([WAVE, -WAVE]), 16000)
    np.testing.assert_array_equal(of_array, [WAVE, -WAVE])


def test_sounds_without_a_name_are_counted():
    assert names_of_sounds([Path("a.wav"), WAVE, "b.wav"]) == ["a.wav", "sound 1", "b.wav"]


@pytest.mark.parametrize(
    ("sounds", "said"),
    [
        ("a.wav", "expected a list of waveforms or file names, got str"),
        (WAVE, "a single waveform where a list is expected: give [wave]"),
        (
            [WAVE, np.zeros(8, np.int16)],
            "sound 1: int16 of shape (8,); expected one channel of floats in [-1, 1], or a file "
            "name",
        ),
        (
            [np.zeros((2, 8))],
            "sound 0: float64 of shape (2, 8); expected one channel of floats in [-1, 1], or a "
            "file name",
        ),
        (["nowhere.wav"], "nowhere.wav: no such file"),
    ],
    ids=["a name", "a waveform", "integers", "stereo", "missing"],
)
def test_what_is_no_list_of_sounds_is_said(sounds, said):
    with pytest.raises(InputError, match=f"^{re.escape(said)}$"):
        waveforms(sounds, 16000)
