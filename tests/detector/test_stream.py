import io
import struct

import numpy as np
import pytest
import soundfile
from machine_sound import RATE, sound

from asd_jax.data.audio import resample
from asd_jax.detector.sample_format import SampleFormat
from asd_jax.detector.stream import Decoder, Event
from asd_jax.detector.window_cutter import WindowCutter
from asd_jax.runtime.errors import InputError

WAVE = sound(0, 3.0)


def wav(wave=WAVE, rate=RATE, subtype="PCM_16"):
    file = io.BytesIO()
    soundfile.write(file, wave, rate, format="WAV", subtype=subtype)
    return file.getvalue()


def heard(content, chunks=(), *, form=None, samples=8000, hop=6000):
    """Bytes cut at the places given -> ([(first sample, window)], [events])."""
    decoder = Decoder(form or SampleFormat())
    windows = WindowCutter(samples, hop, RATE)
    found = []
    events = []

    def take(items):
        for item in items:
            if isinstance(item, Event):
                events.append(item.event)
            else:
                found.extend(windows.feed(item, decoder.format.rate))

    for start, end in zip([0, *chunks], [*chunks, len(content)], strict=True):
        take(decoder.feed(content[start:end]))
    take(decoder.finish())
    found.extend(windows.finish())
    return found, events


def same(one, other):
    return [s for s, _ in one] == [s for s, _ in other] and all(
        np.array_equal(a, b) for (_, a), (_, b) in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT"])
def test_wav_of_every_encoding_is_heard_as_soundfile_reads_it(subtype):
    content = wav(np.stack([WAVE, 0.5 * WAVE], 1), subtype=subtype)
    expected = soundfile.read(io.BytesIO(content), dtype="float32")[0].mean(1)
    found, events = heard(content, samples=len(WAVE), hop=1)
    assert not events
    np.testing.assert_allclose(found[0][1], expected, atol=1e-7)


def test_windows_are_neither_missed_nor_doubled_and_the_rest_is_counted():
    windows = WindowCutter(8000, 6000, RATE)
    found = [pair for block in np.array_split(WAVE, 37) for pair in windows.feed(block, RATE)]
    assert [start for start, _ in found] == list(range(0, 48000 - 8000 + 1, 6000))
    for start, window in found:
        np.testing.assert_array_equal(window, WAVE[start : start + 8000])
    assert windows.remaining == 48000 - (36000 + 8000) and windows.received == 48000


def test_resampled_stream_is_the_resampled_recording():
    wave = sound(1, 3.0, rate=44100)
    found, _ = heard(wav(wave, 44100, "FLOAT"), samples=8000, hop=8000)
    whole = resample(wave, 44100, RATE)
    assert [start for start, _ in found] == [0, 8000, 16000, 24000, 32000, 40000]
    for start, window in found:
        np.testing.assert_allclose(window, whole[start : start + 8000], atol=2e-7)


def test_chunks_may_be_cut_anywhere():
    rng = np.random.default_rng(0)
    raw = wav()[44:]
    for content in (wav(), raw, wav(sound(0, 2.0, rate=22050), 22050), wav(subtype="PCM_24")):
        whole, _ = heard(content)
        for _ in range(8):
            cuts = sorted(rng.integers(0, len(content) + 1, rng.integers(1, 60)))
            assert same(heard(content, cuts)[0], whole)
    assert same(heard(raw)[0], heard(wav())[0])


PCM_16 = struct.pack("<HHIIHH", 1, 1, RATE, 2 * RATE, 2, 16)


def header(size, form=PCM_16):
    return (
        b"RIFF\xff\xff\xff\xffWAVEfmt "
        + struct.pack("<I", len(form))
        + form
        + b"data"
        + struct.pack("<I", size)
    )


@pytest.mark.parametrize("size", [0, 0x7FFFFFFF, 0xFFFFFFFF])
def test_size_that_the_recorder_did_not_know(size):
    content = header(size) + wav()[44:]
    found, events = heard(content)
    assert same(found, heard(wav())[0]) and not events


def test_several_recordings_in_one_stream_go_on_without_a_break():
    found, events = heard(wav() + wav())
    whole, _ = heard(wav(np.concatenate([WAVE, WAVE])))
    assert same(found, whole) and events == ["new_recording"]
    _, events = heard(wav() + wav(rate=8000))
    assert events == ["new_recording", "new_format"]


@pytest.mark.parametrize(
    ("content", "event"),
    [
        (wav()[:-1], "truncated"),
        (wav()[:30], "truncated"),
        (wav()[44:-1], "truncated"),
        (wav() + bytes(1000), "longer"),
        (wav() + wav()[:22] + b"\0\0" + wav()[24:], "bad_header"),
        (wav(np.where(np.arange(48000) == 5, np.nan, WAVE), subtype="FLOAT"), "not_finite"),
    ],
)
def test_what_is_wrong_is_said(content, event):
    assert event in heard(content)[1]


def mp3(rate):
    """Without a tag before it."""
    file = io.BytesIO()
    soundfile.write(file, sound(0, 1.0, rate=rate), rate, format="MP3")
    return file.getvalue()


def test_samples_that_begin_as_an_mp3_frame_are_heard_as_samples():
    for content in (mp3(44100)[:100] + wav()[44:], mp3(44100)[:50]):
        assert len(heard(content, [20, 40], samples=5)[0]) == 1 + (len(content) // 2 - 5) // 6000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"fLaC" + bytes(20), "this is flac"),
        (bytes(4) + b"ftypM4A " + bytes(20), "this is mp4"),
        (mp3(8000), "this is mp3"),
        (mp3(44100), "this is mp3"),
        (wav()[:22] + b"\0\0" + wav()[24:], "0 channels"),
        (
            header(100, struct.pack("<HHIIHH", 2, 1, RATE, RATE, 1, 4)),
            "format 2 of 4 bits is not supported here; convert",
        ),
        (header(100, struct.pack("<HHIIHH", 1, 1, 5, 10, 2, 16)), "5 Hz"),
    ],
)
def test_a_stream_that_cannot_be_heard_is_refused(content, message):
    with pytest.raises(InputError, match=message):
        heard(content)


def test_fuzz_gives_the_same_windows_or_says_why():
    from benchmarks.watch import fuzz

    assert fuzz(100, seed=1) == []


@pytest.mark.parametrize("name", [b"LIST", b"iXML", b"_PMX", b"afsp"])
def test_metadata_is_not_heard(name):
    text = name + struct.pack("<I", 2000) + bytes(range(1, 251)) * 8
    whole, _ = heard(wav())
    for content in (wav() + text, header(len(WAVE) * 2) + wav()[44:] + text):
        found, events = heard(content)
        assert same(found, whole) and not events
    assert heard(header(0) + text, samples=5)[0] == []
