import struct

import numpy as np
import pytest
from data.files_of_sound import DATA, FORM, SOUND

from asd_jax.data.audio import read_clip
from asd_jax.runtime.errors import InputError
from benchmarks.odd_recordings import PCM_16, RATE, STREAMED, chunk, wav, written


@pytest.mark.parametrize("stated", [*STREAMED, 0x7FFFFF00, 0xFFFFFF9B])
@pytest.mark.parametrize("coding", ["PCM_16", "FLOAT"])
def test_a_size_that_was_not_known_means_to_the_end(read, stated, coding):
    content = written(SOUND, "WAV", coding)
    at = content.index(b"data") + 4
    found = read(content[:at] + struct.pack("<I", stated) + content[at + 4 :])
    np.testing.assert_array_equal(found, SOUND)


@pytest.mark.parametrize("form", ["AIFF", "AU", "CAF", "W64", "RF64"])
def test_other_containers_of_unknown_size_are_read_to_the_end(read, form):
    content = written(SOUND, form, "PCM_16")
    name, before, unknown = {
        "AIFF": (b"SSND", 4, struct.pack(">I", 0x7F000008)),
        "AU": (b".snd", 8, b"\xff" * 4),
        "CAF": (b"data", 4, b"\xff" * 8),
        "W64": (b"data", 16, b"\xff" * 7 + b"\x7f"),
        "RF64": (b"ds64", 16, b"\xff" * 8),
    }[form]
    at = content.index(name) + before
    found = read(content[:at] + unknown + content[at + len(unknown) :])
    np.testing.assert_array_equal(found, SOUND)


def test_bw64_is_read_as_rf64(read):
    np.testing.assert_array_equal(read(b"BW64" + written(SOUND, "RF64", "PCM_16")[4:]), SOUND)


@pytest.mark.parametrize(
    ("chunks", "message"),
    [
        ((FORM, DATA, DATA), "2 chunks of samples"),
        ((FORM, chunk(b"fmt ", PCM_16[:4] + bytes(12)), DATA), "two formats"),
        ((FORM, chunk(b"data", b""), chunk(b"LIST", bytes(range(1, 200)))), "empty, no samples"),
        ((FORM, DATA, np.arange(1, 2000, dtype="<u2").tobytes()), "3998 bytes follow the sound"),
        ((FORM,), "no samples in it, only a header"),
    ],
)
def test_a_wav_that_could_be_heard_in_two_ways_is_refused(read, chunks, message):
    with pytest.raises(InputError, match=message):
        read(wav(*chunks))


@pytest.mark.parametrize(
    "chunks",
    [
        (FORM, FORM, DATA),
        (DATA, FORM),
        (chunk(b"LIST", b"INFOabc", padded=False), FORM, DATA),
        (FORM, chunk(b"JUNK", b"odd", padded=False), DATA),
        (FORM, DATA, bytes(5000)),
        (FORM, DATA, b"TAG" + bytes(125)),
        (FORM, DATA, chunk(b"LIST", b"cut here", size=999)),
        (FORM, chunk(b"data", SOUND.tobytes(), size=len(SOUND) * 2 + 44)),
    ],
)
def test_what_is_odd_but_clear_is_read(read, chunks):
    np.testing.assert_array_equal(read(wav(*chunks)), SOUND)


def test_20_gb_of_floats_from_a_pipe_are_refused_by_their_header(tmp_path):
    head = wav(
        chunk(b"fmt ", struct.pack("<HHIIHH", 3, 1, RATE, 4 * RATE, 4, 32)), b"data", b"\0" * 4
    )
    with open(tmp_path / "long.wav", "wb") as file:
        file.write(head)
        file.truncate(20 << 30)
    with pytest.raises(InputError, match="longer than 3600 s"):
        read_clip(tmp_path / "long.wav")
