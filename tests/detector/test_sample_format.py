"""The formats of raw samples, and their conversion to floats."""

import struct

import numpy as np
import pytest

from asd_jax.detector.sample_format import ENCODINGS, SampleFormat, to_floats, wav_encoding
from asd_jax.runtime.errors import InputError

EXTENSIBLE = struct.pack("<HHIIHH", 0xFFFE, 1, 16000, 48000, 3, 24) + bytes(8) + b"\1\0" + bytes(14)


@pytest.mark.parametrize("encoding", [name for name in ENCODINGS if name.startswith("s")])
def test_integers_become_floats_by_their_full_scale(encoding):
    size, scale = ENCODINGS[encoding]
    content = b"".join(
        value.to_bytes(size, "little", signed=True)
        for value in (int(-scale), -1, 0, int(scale) - 1)
    )
    expected = np.array([-scale, -1, 0, scale - 1]) / scale
    assert np.array_equal(
        to_floats(content, encoding).astype(np.float32), expected.astype(np.float32)
    )


def test_unsigned_bytes_have_their_zero_at_128():
    assert to_floats(bytes([0, 128, 192]), "u8").tolist() == [-1.0, 0.0, 0.5]


def test_the_encoding_of_an_extensible_wav_stands_in_its_guid():
    assert wav_encoding(EXTENSIBLE) == "s24le"
    assert wav_encoding(struct.pack("<HHIIHH", 2, 1, 16000, 8000, 1, 4)) is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"encoding": "mp3"}, "samples of 'mp3'; known: u8, s16le"),
        ({"rate": 1}, "a sampling rate of 1 Hz"),
        ({"channels": 65}, "65 channels; expected 1 to 64"),
    ],
)
def test_a_format_that_no_sound_has_is_refused(given, message):
    with pytest.raises(InputError, match=message):
        SampleFormat(**given)


def test_a_frame_holds_one_sample_of_each_channel():
    assert SampleFormat("s24le", 48000, 2).frame_bytes == 6
