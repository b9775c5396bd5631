"""The commands that the sweep of faults runs, on a few short recordings and tiny models."""

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


def _evidence_place(folder: Path) -> None:
    fitted(folder)
    sounds(folder / "today", 1, first=50)


def _evidence(folder: Path) -> None:
    from asd_jax.detector.detector import Detector
    from asd_jax.detector.evidence import evidence_folder, write_evidence

    detector = Detector.load(folder / "pump.detector")
    wave = soundfile.read(folder / "today" / "50.wav", dtype="float32")[0]
    place = evidence_folder(folder / "evidence", "pump", 1e9)
    write_evidence(place, detector, wave, RATE, detector.examine(wave, RATE))


def _normal(folder: Path) -> None:
    sounds(folder / "normal", 16)
    (folder / "pump.detector").write_text("the old one")


def _fit(folder: Path) -> None:
    command(
        "asd_jax.detect",
        "fit",
        f"--normal={folder / 'normal'}",
        f"--output={folder / 'pump.detector'}",
        "--weights=filter_bank",
    )


def _classes(folder: Path) -> None:
    """Writes recordings of two speeds, and an encoder that was never trained."""
    from asd_jax.models.eat import EATConfig
    from asd_jax.training.weights import random_eat, save_weights

    sizes = EATConfig(32, 1, 2)
    header = {"kind": "eat", "eat": vars(sizes)}
    save_weights(folder / "eat.safetensors", random_eat(sizes, 0), header)
    sounds(folder / "normal" / "slow", 6)
    sounds(folder / "normal" / "fast", 6, first=6)


def _fine_tune(folder: Path) -> None:
    command(
        "asd_jax.detect",
        "fit",
        f"--normal={folder / 'normal'}",
        f"--output={folder / 'pump.detector'}",
        f"--weights={folder / 'eat.safetensors'}",
        "--fine_tune",
        "--epochs=1",
    )


def fitted(folder: Path) -> None:
    """Writes recordings of yesterday and today, and a detector."""
    sounds(folder / "normal", 16)
    sounds(folder / "today", 3, first=50)
    _fit(folder)


def _adapt(folder: Path) -> None:
    command(
        "asd_jax.detect",
        "adapt",
        f"--detector={folder / 'pump.detector'}",
        f"--normal={folder / 'today'}",
        f"--output={folder / 'new' / 'today.detector'}",
    )


def _update(folder: Path) -> None:
    command(
        "asd_jax.detect",
        "update",
        f"--detector={folder / 'pump.detector'}",
        f"--normal={folder / 'today'}",
        f"--output={folder / 'pump_2.detector'}",
    )


def _set_rate(folder: Path) -> None:
    """Writes the detector in the place of the one that it is made from."""
    command(
        "asd_jax.detect",
        "set-rate",
        f"--detector={folder / 'pump.detector'}",
        "--false_alarm_rate=0.2",
        f"--output={folder / 'pump.detector'}",
    )


def _score(folder: Path) -> None:
    _score_today(folder, f"--html={folder / 'page.html'}")


def _archive(folder: Path) -> None:
    _score_today(folder, f"--workdir={folder / 'archive'}")


def _score_today(folder: Path, output: str) -> None:
    command(
        "asd_jax.detect",
        "score",
        f"--detector={folder / 'pump.detector'}",
        folder / "today",
        f"--csv={folder / 'scores.csv'}",
        output,
        good=(0, 3),
    )


def _watch(folder: Path) -> None:
    command(
        "asd_jax.detect",
        "watch",
        f"--detector={folder / 'pump.detector'}",
        f"--input={folder / 'today'}",
        "--once",
        f"--store={folder / 'plant.db'}",
        good=(0, 3),
    )


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


def _export(folder: Path, form: str) -> None:
    command(
        "asd_jax.export",
        f"--detector={folder / 'pump.detector'}",
        f"--format={form}",
        f"--output={folder / f'pump.{form}'}",
    )


def _stablehlo(folder: Path) -> None:
    _export(folder, "stablehlo")


def _onnx(folder: Path) -> None:
    _export(folder, "onnx")


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
    "detect fit": Scenario(_normal, _fit),
    "detect fit --fine_tune": Scenario(
        _classes,
        _fine_tune,
        varying=("*/metrics.jsonl", "*/checkpoints*"),
        growing=("*.training", "*.training/*"),
    ),
    "detect update": Scenario(fitted, _update),
    "detect set-rate": Scenario(fitted, _set_rate),
    "detect adapt": Scenario(fitted, _adapt),
    "detect score": Scenario(fitted, _score),
    "archive": Scenario(fitted, _archive, growing=("archive", "archive/*")),
    "detect watch": Scenario(fitted, _watch, varying=("*.db",)),
    "evidence": Scenario(_evidence_place, _evidence),
    # The bytes of a program vary from export to export.
    "export": Scenario(fitted, _stablehlo, varying=("pump.stablehlo",)),
    "export onnx": Scenario(fitted, _onnx),
}
