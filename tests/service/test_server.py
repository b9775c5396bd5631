"""Claims about what the service needs before it serves."""

import socket

import soundfile
from machine_sound import RATE, sound
from watch_service import write_service

import asd_jax.serve
from asd_jax.runtime.lock import lock_folder


def test_what_another_program_uses_is_named(command, tmp_path, plain_detector):
    folder = tmp_path
    write_service(folder, plain_detector)
    soundfile.write(folder / "sound.wav", sound(0, 2.0), RATE)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (folder / "m.toml").write_text(
            f"[web]\nport = {port}\n[[machine]]\nname = 'pump'\ndetector = 'pump.detector'\n"
            "source = 'sound.wav'\n"
        )
        status, out, _ = command(asd_jax.serve, f"--config={folder / 'm.toml'}", "--check")
        assert status == 0 and "1 machine can be watched" in out
        status, _, err = command(asd_jax.serve, f"--config={folder / 'm.toml'}")
        assert status == 2 and f"port {port}" in err
    text = (folder / "m.toml").read_text()
    (folder / "n.toml").write_text('state = "pump.detector/state"\n' + text)
    status, _, err = command(asd_jax.serve, f"--config={folder / 'n.toml'}", "--check")
    assert status == 2 and "state: " in err and "folder that can be written" in err
    with lock_folder(folder / "state"):
        status, _, err = command(asd_jax.serve, f"--config={folder / 'm.toml'}")
        assert status == 2 and "in use" in err
