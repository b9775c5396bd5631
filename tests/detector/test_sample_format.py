"""The formats of raw samples, and their conversion to floats."""

import struct

import numpy as np
import pytest

from asd_jax.detector.sample_format import SampleFormat, to_floats, wav_encoding
from asd_jax.runtime.errors import InputError

EXTENSIBLE = struct.pack("<HHIIHH", 0xFFFE, 1, 16000, 48000, 3, 24) + bytes(8) + b"\1\0" + bytes(14)


@pytest.mark.parametrize(
    ("encoding", "size", "scale"),
    [("s16le", 2, 2.0**15), ("s24le", 3, 2.0**23), ("s32le", 4, 2.0**31)],
)
def test_integers_become_floats_by_their_full_scale(encoding, size, scale):
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
    assert wav_encoding(EXTENSIBLE) == wav_encoding(EXTENSIBLE[:26]) == "s24le"
    assert wav_encoding(EXTENSIBLE[:25]) is None and wav_encoding(b"") is None
    assert wav_encoding(struct.pack("<HHIIHH", 2, 1, 16000, 8000, 1, 4)) is None


@pytest.mark.parametrize(
    ("tag", "bits", "encoding", "size"),
    [
        (1, 8, "u8", 1),
        (1, 16, "s16le", 2),
        (1, 24, "s24le", 3),
        (1, 32, "s32le", 4),
        (3, 32, "f32le", 4),
    ],
)
def test_each_encoding_of_a_wav_has_its_bytes(tag, bits, encoding, size):
    assert wav_encoding(struct.pack("<HHIIHH", tag, 1, 16000, 0, 0, bits)) == encoding
    assert SampleFormat(encoding).frame_bytes == size


def test_samples_are_of_16_bits_at_16_khz_unless_said_otherwise_and_may_have_any_usual_rate():
    assert SampleFormat() == SampleFormat("s16le", 16000, 1)
    for rate, channels in ((1000, 1), (768_000, 64)):
        assert SampleFormat("u8", rate, channels).frame_bytes == channels


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"encoding": "mp3"}, "samples of 'mp3'; known: u8, s16le"),
        ({"rate": 999}, "a sampling rate of 999 Hz"),
        ({"rate": 768_001}, "a sampling rate of 768001 Hz"),
        ({"channels": 0}, "0 channels; expected 1 to 64"),
        ({"channels": 65}, "65 channels; expected 1 to 64"),
    ],
)
def test_a_format_that_no_sound_has_is_refused(given, message):
    with pytest.raises(InputError, match=message):
        SampleFormat(**given)


def test_a_frame_holds_one_sample_of_each_channel():
    assert SampleFormat("s24le", 48000, 2).frame_bytes == 6
