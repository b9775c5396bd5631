"""What a file's header says is believed only where the file bears it out."""

import struct

import numpy as np
import pytest
import soundfile
from data.files_of_sound import OTHER, SOUND
from hypothesis import given, settings
from hypothesis import strategies as st

from asd_jax.data.audio import read_clip, read_clip_int16
from asd_jax.runtime.errors import InputError
from benchmarks.odd_recordings import (
    RATE,
    chunk,
    decoded,
    fault_of,
    random_case,
    wav,
    written,
)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_what_is_read_of_any_container_is_all_that_was_recorded(tmp_path_factory, seed):
    path = tmp_path_factory.getbasetemp() / "case.bin"
    assert fault_of(random_case(np.random.default_rng(seed)), path) == ""


@pytest.mark.parametrize(
    "form", ["WAV", "AIFF", "AU", "CAF", "W64", "RF64", "NIST", "FLAC", "OGG", "MP3"]
)
def test_a_cut_file_of_any_format_is_refused(read, form):
    coding = {"OGG": "VORBIS", "MP3": "MPEG_LAYER_III"}.get(form, "PCM_16")
    content = written(SOUND, form, coding)
    for share in (0.3, 0.6, 0.95):
        with pytest.raises(InputError, match="a.bin: "):
            read(content[: int(share * len(content))])


@pytest.mark.parametrize("form", ["WAV", "AIFF", "AU", "CAF", "W64", "FLAC", "OGG", "MP3"])
def test_two_recordings_in_one_file_are_not_taken_for_the_first(read, form):
    coding = {"OGG": "VORBIS", "MP3": "MPEG_LAYER_III"}.get(form, "PCM_16")
    with pytest.raises(InputError, match="another recording|joined|follow|found"):
        read(written(SOUND, form, coding) + written(OTHER, form, coding))


def test_mp3_in_a_wav_is_read(read):
    mp3 = written(SOUND, "MP3", "MPEG_LAYER_III")
    form = struct.pack("<HHIIHHH", 0x55, 1, RATE, 4000, 1, 0, 0)
    np.testing.assert_array_equal(
        read(wav(chunk(b"fmt ", form), chunk(b"data", mp3))), decoded(mp3)
    )


def test_channels_that_cancel_out_are_told(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.stack([SOUND, -SOUND], 1), RATE)
    with pytest.raises(InputError, match="cancel out in their mean: choose one"):
        read_clip(path)
    np.testing.assert_array_equal(read_clip_int16(path, channel=0), SOUND)
    soundfile.write(path, np.zeros((RATE, 2), np.int16), RATE)
    assert not read_clip(path).any()
