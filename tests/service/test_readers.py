"""Claims about which reader a source gets."""

import pytest
import soundfile
from machine_sound import RATE, sound
from watch_service import machine

from asd_jax.runtime.errors import InputError
from asd_jax.service import pipes
from asd_jax.service.readers import reader_of


def test_devices_and_streams_are_live_and_files_wait(tmp_path, monkeypatch):
    monkeypatch.setattr(pipes.shutil, "which", lambda name: f"/bin/{name}")
    for source in ("-", "alsa:hw:1", "http://127.0.0.1:1/", "rtsp://127.0.0.1:1/"):
        assert reader_of(machine(source))[1], source
    soundfile.write(tmp_path / "a.wav", sound(0, 1.0), RATE)
    for source in (tmp_path, tmp_path / "a.wav"):
        assert not reader_of(machine(source))[1], source
    # A rehearsal plays a file as a microphone would hear it.
    assert reader_of(machine(tmp_path / "a.wav", realtime=True))[1]


def test_a_file_that_is_missing_is_named_before_the_watch_begins(tmp_path):
    with pytest.raises(InputError, match="nowhere.wav"):
        reader_of(machine(tmp_path / "nowhere.wav"))
