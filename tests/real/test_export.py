"""An exported detector on real recordings: a fan (10 normal clips to learn from)."""

import jax
import numpy as np
import onnxruntime
import pytest

import asd_jax.export
from asd_jax.data.audio import read_clip
from asd_jax.data.windows import cut_windows
from asd_jax.detector.detector import Detector


@pytest.fixture(scope="module")
def detector_file(shared, tmp_path_factory):
    path = tmp_path_factory.mktemp("fan") / "fan.detector"
    normal = sorted((shared / "audio" / "mimii_fan_id00" / "fan" / "train").glob("*.wav"))
    Detector.fit([read_clip(clip) for clip in normal]).save(path)
    return path


def by_jax(file):
    call = jax.export.deserialize(bytearray(file.read_bytes())).call
    return lambda wave: [call(wave)[name] for name in ("score", "threshold")]


def by_onnxruntime(file):
    session = onnxruntime.InferenceSession(file)
    return lambda wave: session.run(["score", "threshold"], {"wave": wave})


@pytest.mark.parametrize("form", ["stablehlo", "onnx"])
def test_score_and_verdict_are_the_originals_on_every_clip(
    command, tmp_path, shared, detector_file, form
):
    folder, file = shared / "audio" / "mimii_fan_id00" / "fan", tmp_path / "fan.exported"
    flags = [
        f"--detector={detector_file}",
        f"--format={form}",
        f"--output={file}",
        f"--clips={folder / 'test'}",
    ]
    status, _, error = command(asd_jax.export, *flags)
    assert status == 0, error
    call = {"onnx": by_onnxruntime, "stablehlo": by_jax}[form](file)
    detector, off, clips = Detector.load(detector_file), [], sorted(folder.rglob("*.wav"))
    for clip in clips:
        wave = read_clip(clip)
        score, threshold = call(cut_windows(wave, 160_000, 160_000)[0].astype(np.float32))
        verdict = detector.examine(wave)
        off.append(abs(np.mean(score) - verdict.score))
        assert bool(np.mean(score) > threshold) == verdict.is_anomaly, clip.name
    print(f"{form}: {len(clips)} clips, largest difference {max(off):.1e}")
    assert len(clips) >= 20 and max(off) <= 1e-4
