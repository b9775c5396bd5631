"""How the sweep of faults runs a command in its own process; what is downloaded and converted."""

import contextlib
import hashlib
import http.server
import importlib
import io
import json
import os
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from asd_jax.runtime.errors import InputError
from benchmarks.fault_cases import Scenario

RATE = 16000


def command(name: str, *arguments: object, good: tuple[int, ...] = (0,)) -> str:
    """Runs a command in this process, and returns its standard output.

    Raises:
        InputError: the command refuses, with its message.
        RuntimeError: it ends with another status.
    """
    from absl import flags

    from asd_jax.runtime.command import run

    module = importlib.import_module(name)
    before = set(flags.FLAGS)
    argv = sys.argv
    sys.argv = [name, *map(str, arguments)]
    out = io.StringIO()
    err = io.StringIO()
    status: object = 0
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            run(module.main, getattr(module, "define_flags", lambda argv: None))
    except SystemExit as stop:
        status = stop.code
    finally:
        sys.argv = argv
        for flag in set(flags.FLAGS) - before:
            if not flag.startswith("grain"):
                delattr(flags.FLAGS, flag)
    message = err.getvalue()
    if status in good:
        return out.getvalue()
    if status in (1, 2) and "error: " in message:
        raise InputError(message[message.index("error: ") :].strip())
    raise RuntimeError(f"exit status {status}: {message}")


def nothing(folder: Path) -> None:
    """Prepares nothing."""


def sounds(folder: Path, count: int, seconds: float = 1.0, first: int = 0) -> None:
    """Writes recordings of a machine: two hums and noise."""
    folder.mkdir(parents=True, exist_ok=True)
    time = np.arange(round(seconds * RATE)) / RATE
    for number in range(first, first + count):
        rng = np.random.default_rng(number)
        hum = sum(np.sin(2 * np.pi * (f * time + rng.random())) for f in (240, 1200))
        wave = 0.05 * hum + 0.02 * rng.standard_normal(len(time))
        soundfile.write(folder / f"{number:02}.wav", wave, RATE)


def four_sounds(folder: Path) -> None:
    """Writes four short recordings."""
    sounds(folder / "sounds", 4, 0.5)


def _public(folder: Path) -> None:
    from asd_jax.models.eat import EATConfig
    from asd_jax.training.weights import random_eat, save_weights
    from convert.eat import write_huggingface

    sizes = EATConfig(32, 1, 2)
    header = {"kind": "eat", "eat": vars(sizes)}
    save_weights(folder / "ours.safetensors", random_eat(sizes, 0), header)
    write_huggingface(folder / "ours.safetensors", folder / "public")
    (folder / "ours.safetensors").unlink()


def _convert(folder: Path) -> None:
    weights = folder / "eat.safetensors"
    command("convert.eat", f"--source={folder / 'public'}", f"--output={weights}")
    back = folder / "back"
    command("convert.eat", f"--source={weights}", "--to=huggingface", f"--output={back}")


def _archived(folder: Path) -> None:
    """Writes what Zenodo holds of the fan of 2024: an archive, and the record that lists it."""
    path = folder / "zenodo" / "dev_fan.zip"
    path.parent.mkdir()
    names = "train/section_00_source_train_normal_0000", "test/section_00_target_test_normal"
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            entry = zipfile.ZipInfo(f"fan/{name}.wav")
            archive.writestr(entry, np.random.default_rng(0).bytes(600_000))
        archive.writestr(zipfile.ZipInfo("fan/attributes_00.csv"), "file_name,d1p,d1v\n")
    content = path.read_bytes()
    file = {
        "key": path.name,
        "size": len(content),
        "checksum": f"md5:{hashlib.md5(content).hexdigest()}",
        "links": {"self": f"https://zenodo.org/{path.name}"},
    }
    path.with_name("record.json").write_text(json.dumps({"files": [file]}))


@contextlib.contextmanager
def _zenodo(folder: Path) -> Iterator[str]:
    """Context manager: yields the address of a server of the archive that `_archived` wrote."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_) -> None:
            pass

        def do_GET(self) -> None:
            name = "dev_fan.zip" if self.path == "/dev_fan.zip" else "record.json"
            asked = self.headers.get("Range")
            first = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
            content = (folder / "zenodo" / name).read_bytes()
            self.send_response(206 if asked else 200)
            if asked:
                last = f"{len(content) - 1}/{len(content)}"
                self.send_header("Content-Range", f"bytes {first}-{last}")
            self.send_header("Content-Length", str(len(content) - first))
            self.end_headers()
            self.wfile.write(content[first:])

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def _download(folder: Path) -> None:
    os.environ["NO_PROXY"] = "*"
    with _zenodo(folder) as address:
        command(
            "asd_jax.data.download",
            "--year=2024",
            "--subset=dev",
            "--machines=fan",
            f"--output={folder / 'dcase'}",
            f"--base_url={address}",
        )


SCENARIOS: dict[str, Scenario] = {
    "download": Scenario(_archived, _download, growing=("dcase/*",)),
    "convert": Scenario(_public, _convert),
}
