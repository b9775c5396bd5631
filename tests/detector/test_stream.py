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


LIST = b"LIST" + struct.pack("<I", 2000) + bytes(range(1, 251)) * 8
WAVE_16 = soundfile.read(io.BytesIO(wav()), dtype="float32")[0]


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
    ("content", "events"),
    [
        (wav()[:-1], ["truncated"]),
        (wav()[:-2], ["truncated"]),
        (wav()[:30], ["truncated"]),
        (wav()[:12] + LIST, ["truncated"]),
        (wav() + LIST + wav()[:7], ["truncated"]),
        (wav() + LIST[:100], ["truncated"]),
        (wav()[44:-1], ["truncated"]),
        (wav() + b"abc", ["longer"]),
        (wav() + bytes(1000), ["longer"]),
        (wav() + b"\xe9bcd\4\0\0\0" + bytes(4), ["longer"]),
        (wav() + b"long" + struct.pack("<I", 1 << 20) + bytes(4), ["longer"]),
        (wav() + wav()[:22] + b"\0\0" + wav()[24:], ["new_recording", "bad_header"]),
        (wav() + wav()[:12], ["new_recording"]),
        (wav() + LIST + wav(), ["new_recording"]),
        (wav(np.where(np.arange(48000) == 5, np.nan, WAVE), subtype="FLOAT"), ["not_finite"]),
        (wav(np.where(np.arange(48000) == 5, 20.5, WAVE), subtype="FLOAT"), ["not_scaled"]),
        (wav()[:36] + b"PEAK" + LIST[4:] + wav()[36:], ["odd_header"]),
    ],
)
def test_what_is_wrong_is_said(content, events):
    assert heard(content)[1] == events


def decoded(content, form=None, **options):
    """Returns (samples, [events]) of a stream that comes at once."""
    decoder = Decoder(form or SampleFormat(), **options)
    items = [*decoder.feed(content), *decoder.finish()]
    blocks = [item for item in items if not isinstance(item, Event)]
    events = [item for item in items if isinstance(item, Event)]
    return np.concatenate([np.zeros(0, np.float32), *blocks]), events


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (wav()[:-1], "inside a sample: 1 bytes"),
        (wav()[:-2], "ends 2 bytes before"),
        (wav() + b"abc", "3 bytes after the end"),
        (wav(subtype="FLOAT")[:-4], "ends 4 bytes before"),
    ],
)
def test_the_end_of_a_stream_is_counted_in_bytes(content, message):
    (event,) = decoded(content)[1]
    assert message in event.message


def test_samples_after_the_end_that_was_stated_are_heard():
    samples, _ = decoded(wav() + bytes(1000))
    assert np.array_equal(samples, [*WAVE_16, *[0] * 500])
    # So are those after another header that cannot be used.
    again, _ = decoded(wav() + wav()[:22] + b"\0\0" + wav()[24:])
    assert np.array_equal(again[:48000], WAVE_16) and np.array_equal(again[-48000:], WAVE_16)


def test_numbers_that_are_none_are_silence_and_loud_ones_are_cut_off():
    wave = np.array([np.nan, np.inf, -np.inf, 20.5, -20.25, 0.5, *[0.0] * 1200], "<f4")
    samples, events = decoded(wave.tobytes(), SampleFormat("f32le"))
    assert samples.tolist() == [0, 0, 0, 1, -1, 0.5, *[0.0] * 1200]
    assert [event.event for event in events] == ["not_finite", "not_scaled"]
    assert "samples up to 20.5:" in events[1].message


def test_a_channel_is_chosen_or_all_are_averaged():
    content = np.tile(np.array([8192, 16384], "<i2"), 3000).tobytes()
    form = SampleFormat("s16le", RATE, 2)
    for channel, level in ((None, 0.375), (0, 0.25), (1, 0.5)):
        assert set(decoded(content, form, channel=channel)[0].tolist()) == {level}
    with pytest.raises(InputError, match="^tap: no channel 2 among 2$"):
        decoded(content, form, channel=2, name="tap")
    with pytest.raises(InputError, match="^the stream: no channel 1 among 1$"):
        decoded(content, channel=1)


def test_a_block_holds_at_most_32768_frames():
    sizes = [len(block) for block in Decoder(SampleFormat()).feed(wav()[44:])]
    assert sizes == [32768, 48000 - 32768]


@pytest.mark.parametrize("samples", [3, 4])
def test_the_byte_that_pads_an_odd_number_of_bytes_is_not_heard(samples):
    content = wav(WAVE[:samples], subtype="PCM_U8")
    expected = soundfile.read(io.BytesIO(content), dtype="float32")[0]
    whole = content[: 44 + samples] + bytes(samples % 2)
    for more in (b"", LIST, wav(WAVE[:samples], subtype="PCM_U8")):
        found, events = decoded(whole + more)
        again = more[:4] == b"RIFF"
        assert found.tolist() == [*expected] * (2 if again else 1)
        assert [event.event for event in events] == ["new_recording"] * again
    assert decoded(content[: 44 + samples])[0].tolist() == [*expected]


def chunk(name, size):
    return name + struct.pack("<I", size) + bytes(size + size % 2)


@pytest.mark.parametrize("size", [16, 17, 18, 40, 64])
def test_a_format_of_any_usual_size_is_read(size):
    form = (PCM_16 + bytes(64))[: size + size % 2]
    content = header(4)[:16] + struct.pack("<I", size) + form + b"data\4\0\0\0" + wav()[44:48]
    assert len(decoded(content)[0]) == 2 and decoded(content)[1] == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"RIFF" + bytes(4) + b"AVI " + wav()[12:], "does not begin with RIFF and WAVE"),
        (b"RIFX" + wav()[4:], "does not begin with RIFF and WAVE"),
        (bytes(12) + wav()[12:], "does not begin with RIFF and WAVE"),
        (wav()[:12] + wav()[36:], "samples before their format"),
        (wav()[:16] + struct.pack("<I", 14) + PCM_16[:14] + wav()[36:], "before their format"),
        (wav()[:16] + struct.pack("<I", 66) + PCM_16 + bytes(50) + wav()[36:], "before their"),
        (wav()[:12] + chunk(b"LIST", 1 << 20) + wav()[12:], "b'LIST' of 1048576 bytes"),
        (wav()[:12] + chunk(b"\1\2\3\4", 4) + wav()[12:], "of 4 bytes in it"),
        (wav()[:12] + chunk(b"\xe9bcd", 4) + wav()[12:], "of 4 bytes in it"),
        (header(100, struct.pack("<HHIIHH", 1, 1, RATE, 4 * RATE, 4, 24)), "4 bytes a frame"),
    ],
)
def test_a_first_header_that_cannot_be_read_is_refused(content, message):
    with pytest.raises(InputError, match=f"^tap: .*{message}"):
        decoded(content, name="tap")


def test_metadata_before_the_samples_may_be_long_and_cut_anywhere():
    content = wav()[:12] + chunk(b"LIST", (1 << 20) - 1) + chunk(b"odd_", 7) + wav()[12:]
    cuts = [5, 13, 30, 5000, len(content) - len(wav()) + 20]
    assert same(heard(content, cuts)[0], heard(wav())[0]) and heard(content, cuts)[1] == []


@pytest.mark.parametrize(
    ("per_second", "events"), [(2 * RATE, []), (0, []), (RATE, ["odd_header"])]
)
def test_a_header_whose_rates_disagree_is_told(per_second, events):
    form = struct.pack("<HHIIHH", 1, 1, RATE, per_second, 2, 16)
    assert [event.event for event in decoded(header(4, form) + bytes(4))[1]] == events


def test_an_empty_recording_and_one_of_unknown_size_are_told_apart_by_what_follows():
    assert decoded(header(0))[1] == []
    assert len(decoded(header(0) + wav()[44:48])[0]) == 2
    # Eight bytes are awaited, as metadata may begin with them.
    for cuts in ([], [44], [46]):
        found, events = heard(header(0) + LIST, cuts, samples=2)
        assert found == [] and events == []
    assert decoded(header(0) + LIST[:8])[0].tolist() == []


def test_a_stream_is_recognised_however_little_of_it_comes_at_first():
    for cuts in ([1], [2, 3], [16]):
        with pytest.raises(InputError, match="this is flac"):
            heard(b"fLaC" + bytes(20), cuts)


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


@pytest.mark.parametrize("name", [b"LIST", b"iXML", b"_PMX", b"afsp", b"id3 "])
def test_metadata_is_not_heard(name):
    text = name + LIST[4:]
    whole, _ = heard(wav())
    for content in (wav() + text, header(len(WAVE) * 2) + wav()[44:] + text):
        found, events = heard(content)
        assert same(found, whole) and not events
    assert heard(header(0) + text, samples=5)[0] == []
