"""Bytes that are no samples are not heard as samples."""

import io

import numpy as np
import pytest
import soundfile
from machine_sound import sound

from asd_jax.detector.foreign import ENOUGH, foreign
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
