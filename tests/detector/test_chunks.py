"""Claims about bytes of files and streams."""

import os
import threading
import time

import numpy as np
import pytest
import soundfile
from machine_sound import sound
from watched import events, lines_of

from asd_jax.detector import chunks as module
from asd_jax.detector.chunks import chunks_of_file, chunks_of_stream, sound_of_file
from asd_jax.detector.sample_format import SampleFormat
from asd_jax.runtime.errors import InputError


def test_live_stream_is_read_while_windows_are_scored():
    out, into = os.pipe()
    content = (sound(3, 4.0) * 32767).astype("<i2").tobytes()

    def write():
        with open(into, "wb", buffering=0) as file:
            for start in range(0, len(content), 5001):
                file.write(content[start : start + 5001])
            time.sleep(0.4)
            file.write(content[:16000])

    threading.Thread(target=write, daemon=True).start()
    with open(out, "rb") as file:
        lines = lines_of(None, chunks_of_stream(file, gap_seconds=0.15))
    assert [line["event"] for line in events(lines, "gap", "resumed")] == ["gap", "resumed"]
    windows = [line for line in lines if "window" in line]
    assert len(windows) == 17 and all(line["latency_ms"] >= 0 for line in windows)


def test_a_stream_that_does_not_block_is_heard_to_its_end():
    out, into = os.pipe()
    os.set_blocking(out, False)
    content = (sound(3, 2.0) * 32767).astype("<i2").tobytes()

    def write():
        with open(into, "wb", buffering=0) as file:
            for start in range(0, len(content), 16000):
                time.sleep(0.05)
                file.write(content[start : start + 16000])

    threading.Thread(target=write, daemon=True).start()
    with open(out, "rb") as file:
        lines = lines_of(None, chunks_of_stream(file))
    assert sum("window" in line for line in lines) == 7


def test_a_stream_that_cannot_be_read_is_an_error_not_its_end(tmp_path):
    number = os.open(tmp_path, os.O_RDONLY)  # a folder
    with open(tmp_path / "other", "wb") as file:
        os.dup2(number, file.fileno())
        os.close(number)
        with pytest.raises(InputError, match="the stream cannot be read on"):
            list(chunks_of_stream(file))


@pytest.mark.parametrize("name", ["page.wav", "page.flac"])
def test_a_web_page_called_a_recording_is_refused(tmp_path, name):
    (tmp_path / name).write_text("<html>404: no such recording</html>\n" * 900)
    with pytest.raises(InputError, match="not readable as audio.*call it .raw"):
        sound_of_file(tmp_path / name, SampleFormat())


def test_a_compressed_file_is_heard_whole(tmp_path):
    soundfile.write(tmp_path / "a.flac", sound(0, 5.0), 16000)
    form, chunks = sound_of_file(tmp_path / "a.flac", SampleFormat())
    heard = np.frombuffer(b"".join(chunk for chunk, _ in chunks), "<f4")
    assert form == SampleFormat("f32le", 16000, 1)
    np.testing.assert_array_equal(heard, soundfile.read(tmp_path / "a.flac", dtype="float32")[0])


def wav_of(path, subtype):
    soundfile.write(path, sound(0, 0.5), 16000, format="WAV", subtype=subtype)
    return path.read_bytes()


@pytest.mark.parametrize("name", ["a", "a.raw", "a.RAW", "a.pcm"])
def test_a_file_without_a_header_has_the_format_that_was_said(tmp_path, name):
    (tmp_path / name).write_bytes(bytes(70_000))
    form, chunks = sound_of_file(tmp_path / name, SampleFormat("u8", 8000))
    assert form == SampleFormat("u8", 8000)
    assert list(chunks) == [(bytes(65_536), None), (bytes(4_464), None)]


def test_a_wav_is_decoded_as_a_stream_if_its_format_is_known_there(tmp_path):
    raw = SampleFormat("u8", 8000)
    path = tmp_path / "a.wav"
    content = wav_of(path, "PCM_16")
    # A file that was cut off, or whose format does not come first, is left to the stream, too.
    for part in (content, content[:900], content[:12] + content[36:]):
        path.write_bytes(part)
        form, chunks = sound_of_file(path, raw)
        assert form == raw and b"".join(chunk for chunk, _ in chunks) == part
    for subtype in ("ALAW", "DOUBLE"):
        wav_of(path, subtype)
        assert sound_of_file(path, raw)[0] == SampleFormat("f32le", 16000, 1)
    for magic in (b"RIFX" + content[4:], content[:8] + b"AVI " + content[12:], b""):
        path.write_bytes(magic)
        with pytest.raises(InputError, match="call it .raw"):
            sound_of_file(path, raw)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match="a.raw: cannot be read"):
        list(chunks_of_file(tmp_path / "a.raw"))


def test_a_stream_is_read_by_a_thread_that_ends_with_the_process_into_a_bounded_queue(monkeypatch):
    sizes = []
    made = module.queue.Queue
    monkeypatch.setattr(
        module.queue, "Queue", lambda maxsize=0: sizes.append(maxsize) or made(maxsize)
    )
    out, into = os.pipe()
    before = set(threading.enumerate())
    with open(into, "wb", buffering=0) as writer, open(out, "rb") as file:
        writer.write(b"ab")
        # Any gap may be asked for.
        chunks = chunks_of_stream(file, gap_seconds=1e12)
        chunk, arrived = next(chunks)
        (reader,) = set(threading.enumerate()) - before
        writer.close()
        assert list(chunks) == []
    assert chunk == b"ab" and arrived <= time.perf_counter()
    assert sizes == [256] and reader.daemon
