"""Measures asd_jax.serve with several machines, each with a network stream of its own.

    python -m benchmarks.serve --machines=8 --seconds=60 --output=DIR

The service runs as a process of its own on all cores, without compiled programs of an earlier run.
The sound is generated, the detector is fitted to it with the encoder of the package, and this
process sends it as one HTTP stream for each machine, at its own speed. The command writes
serve.json: seconds from the start until every machine has its first score, the share of one core
that the service then takes, windows scored and dropped, and memory.
"""

import contextlib
import http.server
import itertools
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import flags

from asd_jax.detector.detector import Detector
from asd_jax.runtime.command import run
from asd_jax.runtime.files import write_json
from benchmarks.provenance import provenance

FLAGS = flags.FLAGS
RATE = 16000
MOST_SECONDS_TO_SCORE = 15.0


def define_flags(argv: Sequence[str]) -> None:
    """Defines the flags of the command."""
    flags.DEFINE_integer("machines", 8, "Number of machines, each with a stream.", lower_bound=1)
    flags.DEFINE_float("seconds", 60, "Seconds measured after the first score.", lower_bound=10)
    flags.DEFINE_float("window_seconds", 2, "Window of the detector in seconds; the hop is equal.")
    flags.DEFINE_string("output", None, "Folder for serve.json; nothing is written without it.")


def main() -> int:
    """Prints the figures; returns 1 if a window is dropped or the first score comes too late."""
    with tempfile.TemporaryDirectory() as folder:
        figures = measured(Path(folder))
    result = {"machines": FLAGS.machines, "window_seconds": FLAGS.window_seconds, **figures}
    result |= {"cores": os.cpu_count(), **provenance()}
    print(json.dumps(result, indent=2))
    if FLAGS.output:
        write_json(Path(FLAGS.output) / "serve.json", result)
    late = figures["seconds_to_first_score"] > MOST_SECONDS_TO_SCORE
    return 1 if late or figures["dropped"] or figures["late_windows"] else 0


def measured(folder: Path) -> dict:
    """Returns the figures of a service that is configured in an empty folder."""
    normal = [sound(seed, FLAGS.window_seconds) for seed in range(24)]
    Detector.fit(normal, RATE).save(folder / "machine.detector")
    radio = Radio(sound(0, 60))
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        port = place.getsockname()[1]
    machines = [
        f'[[machine]]\nname = "m{number}"\ndetector = "machine.detector"\n'
        f'source = "http://127.0.0.1:{radio.port}/{number}"\n'
        for number in range(FLAGS.machines)
    ]
    (folder / "machines.toml").write_text(f"[web]\nport = {port}\n" + "".join(machines))
    command = [sys.executable, "-m", "asd_jax.serve", f"--config={folder / 'machines.toml'}"]
    environment = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
    try:
        while not all(state["windows"] for state in states(port)):
            time.sleep(0.2)
        first = time.monotonic() - began
        cpu_to_first = cpu_seconds(process.pid)
        before = states(port)
        since = time.monotonic()
        cpu = cpu_seconds(process.pid)
        time.sleep(FLAGS.seconds)
        after = states(port)
        wall = time.monotonic() - since
        share = (cpu_seconds(process.pid) - cpu) / wall
        memory = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
    finally:
        process.terminate()
        process.wait()
    windows = [a["windows"] - b["windows"] for a, b in zip(after, before, strict=True)]
    expected = int(wall / FLAGS.window_seconds) - 1
    return {
        "seconds_to_first_score": round(first, 2),
        "cpu_seconds_to_first_score": round(cpu_to_first, 2),
        "seconds": round(wall, 1),
        "cpu_share_of_one_core": round(share, 3),
        "windows": sum(windows),
        "late_windows": sum(max(0, expected - count) for count in windows),
        "dropped": sum(state["dropped"] for state in after),
        "memory_mb": round(memory * os.sysconf("SC_PAGE_SIZE") / 1e6),
    }


class Radio:
    """A web server that sends every client the same sound again and again, at its own speed."""

    def __init__(self, wave: np.ndarray):
        samples = (wave * 32767).astype("<i2").tobytes()
        step = 2 * RATE // 10  # bytes in a tenth of a second

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Type", "audio/wav")
                self.end_headers()
                with contextlib.suppress(OSError):  # the client is gone
                    self.wfile.write(endless_wav_header(RATE))
                    began = time.monotonic()
                    for count in itertools.count():
                        begin = count * step % len(samples)
                        self.wfile.write(samples[begin : begin + step])
                        time.sleep(max(0.0, began + (count + 1) / 10 - time.monotonic()))

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        self.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, daemon=True).start()


def endless_wav_header(rate: int) -> bytes:
    """Returns the header of a wav of 16-bit mono samples and unknown length."""
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16)
    unknown = 0xFFFFFFFF
    riff = struct.pack("<4sI4s", b"RIFF", unknown, b"WAVE")
    return riff + form + struct.pack("<4sI", b"data", unknown)


def sound(seed: int, seconds: float) -> np.ndarray:
    """Returns a hum with harmonics in noise."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * RATE)) / RATE
    hum = sum(np.sin(2 * np.pi * 90 * k * t + rng.uniform(0, 6)) / k for k in range(1, 12))
    return (0.05 * hum + 0.02 * rng.standard_normal(len(t))).astype(np.float32)


def states(port: int) -> list[dict]:
    """Returns the states of the machines; one without windows while the service starts."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/machines", timeout=5) as answer:
            return json.load(answer)
    except OSError:
        return [{"windows": 0}]


def cpu_seconds(process: int) -> float:
    """Returns the processor time of a process, in seconds."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    run(main, define_flags)
