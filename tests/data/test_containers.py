"""What a file's header says is believed only where the file bears it out."""

import os
import struct

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from asd_jax.data.audio import audio_format, fit_length, read_clip, read_clip_int16
from asd_jax.data.windows import windows_of
from asd_jax.runtime.errors import InputError
from benchmarks.odd_recordings import (
    PCM_16,
    RATE,
    STREAMED,
    chunk,
    decoded,
    fault_of,
    flac_total,
    noise,
    random_case,
    untagged,
    wav,
    written,
)

SOUND = noise(np.random.default_rng(0), 30000, 30001)
OTHER = noise(np.random.default_rng(1), 9000, 9001)
FORM = chunk(b"fmt ", PCM_16)
DATA = chunk(b"data", SOUND.tobytes())


@pytest.fixture
def read(tmp_path):
    def read(content):
        (tmp_path / "a.bin").write_bytes(content)
        return read_clip_int16(tmp_path / "a.bin")

    return read


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_what_is_read_of_any_container_is_all_that_was_recorded(tmp_path_factory, seed):
    path = tmp_path_factory.getbasetemp() / "case.bin"
    assert fault_of(random_case(np.random.default_rng(seed)), path) == ""


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


def test_mp3_without_a_stated_length_is_read_to_its_end(tmp_path):
    loud, quiet = (
        level * np.random.default_rng(0).standard_normal(5 * RATE).clip(-3, 3)
        for level in (0.3, 1e-4)
    )
    whole = written(np.concatenate([loud, quiet]) * 32768, "MP3", "MPEG_LAYER_III")
    path = tmp_path / "stream.mp3"
    path.write_bytes(untagged(whole))
    frames = len(read_clip(path))
    assert frames % 576 == 0 and 0 < frames - 10 * RATE < 3 * 576
    assert audio_format(path) == (frames / RATE, RATE, 1)


def test_mp3_of_which_half_is_missing_gives_no_windows_of_silence(tmp_path):
    from asd_jax.data.clips import Clip

    whole = written(SOUND, "MP3", "MPEG_LAYER_III")
    path = tmp_path / "cut.mp3"
    path.write_bytes(whole[: len(whole) // 2])
    clip = Clip(str(path), "fan", "00", "train", "source", 0, "")
    with pytest.raises(InputError, match="cut.mp3: truncated"):
        windows_of([clip], length="window", samples=8000, hop=8000)
    with pytest.raises(InputError, match="no samples"):
        fit_length(np.zeros(0, np.float32), 8000)


def test_mp3_in_a_wav_is_read(read):
    mp3 = written(SOUND, "MP3", "MPEG_LAYER_III")
    form = struct.pack("<HHIIHHH", 0x55, 1, RATE, 4000, 1, 0, 0)
    np.testing.assert_array_equal(
        read(wav(chunk(b"fmt ", form), chunk(b"data", mp3))), decoded(mp3)
    )


@pytest.mark.parametrize("coding", ["PCM_16", "PCM_24"])
def test_flac_that_does_not_state_its_length_is_read(read, coding, tmp_path):
    np.testing.assert_array_equal(read(flac_total(written(SOUND, "FLAC", coding), 0)), SOUND)
    assert audio_format(tmp_path / "a.bin") == (len(SOUND) / RATE, RATE, 1)


@pytest.mark.parametrize(
    ("total", "message"),
    [(2 * len(SOUND), "truncated, the header states 60000 samples"), (99, "more samples than")],
)
def test_flac_that_states_another_length_is_refused(read, total, message):
    with pytest.raises(InputError, match=message):
        read(flac_total(written(SOUND, "FLAC", "PCM_16"), total))


def test_a_tag_after_a_flac_is_no_sound(read):
    content = written(SOUND, "FLAC", "PCM_16") + b"TAG" + bytes(125)
    np.testing.assert_array_equal(read(content), SOUND)


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


def test_20_gb_of_floats_from_a_pipe_are_refused_by_their_header(tmp_path):
    head = wav(
        chunk(b"fmt ", struct.pack("<HHIIHH", 3, 1, RATE, 4 * RATE, 4, 32)), b"data", b"\0" * 4
    )
    with open(tmp_path / "long.wav", "wb") as file:
        file.write(head)
        file.truncate(20 << 30)
    with pytest.raises(InputError, match="longer than 3600 s"):
        read_clip(tmp_path / "long.wav")


def test_channels_that_cancel_out_are_told(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.stack([SOUND, -SOUND], 1), RATE)
    with pytest.raises(InputError, match="cancel out in their mean: choose one"):
        read_clip(path)
    np.testing.assert_array_equal(read_clip_int16(path, channel=0), SOUND)
    soundfile.write(path, np.zeros((RATE, 2), np.int16), RATE)
    assert not read_clip(path).any()


def test_damage_inside_an_ogg_is_not_passed_over(read):
    content = written(SOUND, "OGG", "VORBIS")
    pages = [n for n in range(len(content)) if content.startswith(b"OggS", n)]
    with pytest.raises(InputError, match="pages are missing"):
        read(content[: pages[-2]] + content[pages[-1] :])
