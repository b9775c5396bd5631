import os

import numpy as np
import pytest
import soundfile
from data.files_of_sound import DATA, SOUND

from asd_jax.data.audio import audio_format, read_clip, read_clip_int16
from asd_jax.runtime.errors import InputError
from benchmarks.odd_recordings import (
    PCM_16,
    chunk,
    wav,
    written,
)


@pytest.mark.parametrize("form", ["AVR", "VOC", "IRCAM", "PVF"])
def test_formats_whose_length_cannot_be_checked_say_so(read, form):
    with pytest.raises(InputError, match=f"{form} files are not read, since their length"):
        read(written(SOUND, form, "PCM_16"))


@pytest.mark.parametrize(("form", "coding"), [("WAV", "PCM_24"), ("FLAC", "PCM_16")])
def test_a_name_that_is_not_utf8_is_read(tmp_path, form, coding):
    name = os.fsdecode(os.fsencode(tmp_path) + b"/p\xfcmp.bin")
    with open(name, "wb") as file:
        file.write(written(SOUND, form, coding))
    np.testing.assert_array_equal(read_clip_int16(name), SOUND)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"ID3\x03\0\0\0\0\x07\x68" + bytes(1000), "empty, a tag and no sound"),
        (wav(chunk(b"fmt ", b"\3\0" + PCM_16[2:]), DATA), "a coding that is not known here"),
        (b"\0\0\0\x20ftypM4A " + bytes(500), r"convert it, e.g. ffmpeg -i FILE sound.wav"),
    ],
)
def test_refusals_are_in_words_of_ours(read, content, message):
    with pytest.raises(InputError, match=message) as raised:
        read(content)
    assert "does not exist" not in str(raised.value) and "nternal" not in str(raised.value)


def test_a_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "a.wav")
    with pytest.raises(InputError, match="a.wav: not readable as audio .a pipe or device"):
        read_clip(tmp_path / "a.wav")


def test_an_hour_is_the_most_and_is_found_by_the_header(tmp_path):
    path = tmp_path / "night.wav"
    soundfile.write(path, np.ones(3601 * 1000, np.int16), 1000)
    for look in (audio_format, read_clip):
        with pytest.raises(InputError, match="longer than 3600 s"):
            look(path)
