"""Bytes that are no samples are not heard as samples."""

import io

import numpy as np
import pytest
import soundfile
from machine_sound import sound

from asd_jax.detector.foreign import ENOUGH, _aac_frame, foreign
from asd_jax.detector.sample_format import SampleFormat
from asd_jax.detector.stream import Decoder
from asd_jax.runtime.errors import InputError

RANDOM = np.random.default_rng(0).integers(0, 256, 200_000, dtype=np.uint8).tobytes()


def file_of(form):
    file = io.BytesIO()
    soundfile.write(file, sound(0, 2.0), 16000, format=form, subtype="PCM_16")
    return file.getvalue()


ADTS = b"".join(bytes.fromhex("fff16c402a7ffc") + RANDOM[n * 40 : n * 40 + 332] for n in range(60))
TRANSPORT = b"".join(b"\x47\x40\x11\x10" + RANDOM[n * 180 : n * 180 + 184] for n in range(60))
CONTENTS = {
    "au": file_of("AU"),
    "caf": file_of("CAF"),
    "w64": file_of("W64"),
    "rf64": file_of("RF64"),
    "aac": ADTS,
    "mpeg transport stream": TRANSPORT,
    "webm": b"\x1aE\xdf\xa3" + RANDOM,
    "gzip": b"\x1f\x8b\x08\x00" + RANDOM,
    "text": b"<html><body>404</body></html>\n" * 300,
    "compressed or encrypted": RANDOM,
}


@pytest.mark.parametrize("what", CONTENTS)
@pytest.mark.parametrize("size", [1 << 16, 777])
def test_a_stream_of_no_samples_is_refused(what, size):
    decoder = Decoder(SampleFormat())
    content = CONTENTS[what]
    with pytest.raises(InputError, match=f"this is {what}"):
        for start in range(0, len(content), size):
            list(decoder.feed(content[start : start + size]))


@pytest.mark.parametrize("encoding", ["u8", "s16le", "f32le"])
@pytest.mark.parametrize("level", [0.0, 1e-4, 0.01, 0.3, 1.0])
def test_sound_of_any_level_is_heard(encoding, level):
    scale = {"u8": (127, 128, np.uint8), "s16le": (32767, 0, "<i2"), "f32le": (1, 0, "<f4")}
    factor, offset, dtype = scale[encoding]
    for seed in range(20):
        rng = np.random.default_rng(seed)
        for wave in (rng.standard_normal(ENOUGH), np.sin(np.arange(ENOUGH) / 7 + seed)):
            content = (np.clip(level * wave, -1, 1) * factor + offset).astype(dtype).tobytes()
            assert foreign(content[:ENOUGH], encoding) == ""


def test_16_bit_samples_taken_for_floats_are_refused():
    content = (sound(0, 1.0) * 32767).astype("<i2").tobytes()
    assert foreign(content[:ENOUGH], "f32le") == "not of 32-bit float samples"


def adts(size, first=0xFF, second=0xF1, third=0x6C):
    """Returns the header of an AAC frame of so many bytes."""
    length = [0x40 | size >> 11, size >> 3 & 255, (size & 7) << 5 | 0x1F]
    return bytes([first, second, third, *length, 0xFC])


@pytest.mark.parametrize(
    ("header", "size"),
    [
        (adts(2100), 2100),
        (adts(8), 8),
        (adts(7), 0),  # the header alone
        (adts(2100)[:6], 0),
        (adts(2100, first=0xFE), 0),
        (adts(2100, second=0xE1), 0),
        (adts(2100, second=0xF3), 0),
        (adts(2100, second=0xF8), 2100),  # of MPEG-2, with a checksum
        (adts(2100, third=0xC3 | 12 << 2), 2100),
        (adts(2100, third=0xC3 | 13 << 2), 0),  # a rate that does not exist
    ],
)
def test_a_frame_of_aac_has_its_size_in_13_bits(header, size):
    assert _aac_frame(header) == size


def mp3():
    file = io.BytesIO()
    soundfile.write(file, sound(0, 1.0), 16000, format="MP3")
    return file.getvalue()


@pytest.mark.parametrize(
    ("head", "found"),
    [
        (bytes(4) + b"ftypM4A ", "mp4"),
        (bytes(3) + b"ftypM4A ", ""),
        (mp3(), "mp3"),
        (mp3()[:100], ""),  # one frame alone may be sound
        (ADTS, "aac"),
        (ADTS[:332], ""),
        (TRANSPORT[:565], "mpeg transport stream"),
        (TRANSPORT[:564], ""),
        (TRANSPORT[:376] + b"\x46" + TRANSPORT[377:565], ""),
        (b"sixteen letters.", "text"),
        (b"fifteen letters", ""),
        (b"a\tb\r\nc\f" * 3, "text"),
        (b"bell\x07" * 9, ""),
        ("äöü".encode() * 9 + "€".encode()[:2], "text"),  # cut within a letter
        (b"a" * 30 + b"\xff" * 4, ""),
        ("text in two bytes".encode("utf-16"), "text"),
        ("text in two bytes".encode("utf-16-le"), ""),
        (b"\xef\xbb\xbf" + b"with a mark before it", "text"),
        (RANDOM[:4096], "compressed"),
        (RANDOM[:4095], ""),
    ],
)
def test_the_first_bytes_tell_what_a_stream_is(head, found):
    assert foreign(head, "s16le").partition(" or ")[0] == found


@pytest.mark.parametrize(("last", "found"), [((3, 3, 2, 1), "compressed"), ((4, 2, 2, 0), "")])
def test_bytes_are_random_within_six_standard_deviations(last, found):
    """A chi-square of 255 degrees of freedom is at most 255 + 6 sqrt(510) = 390.4988."""
    more = np.repeat([5, *last], [124, 1, 1, 1, 1])
    counts = np.concatenate([16 + more, 16 - more])
    assert np.square(counts - 16).sum() / 16 == (390.375 if found else 390.5)
    head = np.repeat(np.arange(256, dtype=np.uint8), counts).tobytes()
    assert foreign(head, "s16le").partition(" or ")[0] == found


def floats(count, bad, value):
    values = np.zeros(count, "<f4")
    values[:bad] = value
    return values.tobytes()


@pytest.mark.parametrize(
    ("head", "refused"),
    [
        (floats(1000, 10, 1e10), False),  # one percent
        (floats(1000, 11, 1e10), True),
        (floats(1000, 11, -1e10), True),
        (floats(1000, 11, np.nan), True),
        (floats(1000, 11, 9.9e9), False),
        (floats(99, 99, 1e20), False),
        (floats(100, 100, 1e20) + b"\1\2\3", True),
    ],
)
def test_floats_of_which_one_percent_is_larger_than_any_sound_are_none(head, refused):
    assert bool(foreign(head, "f32le")) == refused
    assert foreign(head, "s16le") == ""
