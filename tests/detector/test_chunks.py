"""Claims about bytes of files and streams."""

import os
import threading
import time

import numpy as np
import pytest
import soundfile
from machine_sound import sound
from watched import events, lines_of

from asd_jax.detector.chunks import chunks_of_stream, sound_of_file
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
    soundfile.write(tmp_path / "a.flac", sound(0, 2.0), 16000)
    form, chunks = sound_of_file(tmp_path / "a.flac", SampleFormat())
    heard = np.frombuffer(b"".join(chunk for chunk, _ in chunks), "<f4")
    assert form == SampleFormat("f32le", 16000, 1)
    np.testing.assert_array_equal(heard, soundfile.read(tmp_path / "a.flac", dtype="float32")[0])
