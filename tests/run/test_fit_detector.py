import dataclasses

import numpy as np
import pytest
import soundfile
from machine_sound import RATE, sound, write

import asd_jax.detect
from asd_jax import Detector
from asd_jax.features.front_end import SimAM
from asd_jax.runtime.errors import InputError
from asd_jax.training.weights import load_pipeline, save_encoder


def test_a_training_goes_on_only_with_what_it_was_begun_with(
    command, encoder_file, tmp_path, monkeypatch
):
    normal = tmp_path / "normal"
    for name in ("slow", "fast"):
        write(normal / name, [sound(n, 0.2) for n in range(3)])
    began = []

    def interrupted(config, pretrained, data, settings, job):
        began.append((job.workdir / "checkpoints").exists())
        (job.workdir / "checkpoints").mkdir(exist_ok=True)
        raise InputError("interrupted")

    monkeypatch.setattr("asd_jax.detector.fine_tuned.fine_tune", interrupted)
    machines = tmp_path / "machines.safetensors"
    pipeline = load_pipeline(encoder_file)
    simam = SimAM({"pump": "global", "normal": "local"})
    front_end = dataclasses.replace(pipeline.config.front_end, simam=simam)
    save_encoder(
        machines, dataclasses.replace(pipeline.config, front_end=front_end), pipeline.params
    )

    def fit(*flags, weights=encoder_file):
        flags = [
            f"--normal={normal}",
            f"--output={tmp_path / 'x'}",
            f"--weights={weights}",
            "--fine_tune",
            *flags,
        ]
        status, _, err = command(asd_jax.detect, "fit", *flags)
        assert status == 2
        return err

    fit()
    fit("--false_alarm_rate=0.1")  # of no concern to the training
    assert began == [False, True]
    for other in (["--seed=5"], ["--epochs=3"], ["--channel=near"], ["--window_seconds=0.3"]):
        assert "it is removed, and started again" in fit(*other) and "interrupted" in fit(*other)
        assert began[-2:] == [False, True]
    soundfile.write(normal / "slow" / "00.wav", sound(9, 0.2), RATE)
    fit(*other)
    fit("--machine=pump", weights=machines)
    fit("--machine=normal", weights=machines)
    assert began[-3:] == [False] * 3
    for wrong, message in (
        (["--window_seconds=99"], "window_seconds=99.0 must lie in 0.2..60"),
        (["--window_seconds=3"], "windows of 3 s, but the longest of 6 recordings lasts 0.2 s"),
        (["--false_alarm_rate=2"], "false_alarm_rate=2.0"),
        (["--seed=-1"], "no whole number"),
        (["--coreset=-5"], "no whole number"),
    ):
        assert message in fit(*wrong)
    assert "give --machine" in fit(weights=machines) and len(began) == 13


@pytest.mark.slow
def test_fine_tuning_on_the_classes_of_ones_own_folders(command, encoder_file, tmp_path):
    for name, pitch in (("slow", 1.0), ("fast", 1.3)):
        waves = [
            np.interp(np.arange(0, 32000, pitch), np.arange(32000), sound(n)).astype("f4")
            for n in range(12)
        ]
        write(tmp_path / "normal" / name, waves)
    path = tmp_path / "pump.detector"
    flags = [f"--normal={tmp_path / 'normal'}", f"--output={path}", f"--weights={encoder_file}"]
    status, _, err = command(asd_jax.detect, "fit", *flags, "--fine_tune", "--epochs=2")
    assert status == 0 and "24 normal recordings" in err, err
    faulty = write(tmp_path / "test", [sound(100, fault=0.05)])
    assert command(asd_jax.detect, "score", f"--detector={path}", faulty)[0] == 3
    detector = Detector.load(path)
    held_out = set(detector.bank.windows.recording[detector.bank.self_scores.of])
    assert detector.origin["fine_tuned"] and len(held_out) == 8  # four of twelve of each class
    status, _, err = command(
        asd_jax.detect, "fit", f"--normal={tmp_path / 'normal' / 'slow'}", *flags[1:], "--fine_tune"
    )
    assert status == 2 and "two classes" in err
