"""What the sweep of faults does with a detector: it is fitted, changed, used and exported."""

from pathlib import Path

import soundfile

from benchmarks.fault_cases import Scenario
from benchmarks.fault_commands import RATE, command, sounds


def fitted(folder: Path) -> None:
    """Writes recordings of yesterday and today, and a detector."""
    sounds(folder / "normal", 16)
    sounds(folder / "today", 3, first=50)
    _fit(folder)


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


SCENARIOS: dict[str, Scenario] = {
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
