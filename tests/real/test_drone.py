"""The main job on real recordings: a drone in rain and sea (source), helicopter and chainsaw
(target) noise.
"""

import json

import pytest

import asd_jax.evaluate
import asd_jax.train


def official(workdir):
    results = json.loads((workdir / "results.json").read_text())
    values = results["machines"]["UAV"]["00"]
    return results["official_score"], [
        values[name] for name in ("auc_source", "auc_target", "pauc")
    ]


def test_filter_bank_baseline_is_as_good_as_known(shared, command, tmp_path):
    flags = [
        f"--config.data.root={shared / 'audio' / 'uav_noisy'}",
        "--config.model.encoder=filter_bank",
    ]
    flags += [
        "--config.features.spacing=mel",
        "--config.features.simam=global",
        f"--workdir={tmp_path}",
    ]
    flags += ["--config.scoring.distance=euclidean", "--config.scoring.standardize=True"]
    status, _, err = command(asd_jax.evaluate, "--config=configs/base.py", *flags)
    assert status == 0, err
    score, aucs = official(tmp_path)
    # An independent prototype of the same front end and scoring gave 0.726 (0.753, 0.763, 0.669).
    assert score == pytest.approx(0.726, abs=0.015) and aucs == pytest.approx(
        [0.753, 0.763, 0.669], abs=0.025
    )


def test_trains_and_scores(shared, command, tmp_path):
    flags = [f"--config.data.root={shared / 'audio' / 'uav_noisy'}", "--config.data.machines=UAV"]
    flags += ["--config.data.clip_seconds=2", f"--workdir={tmp_path}"]
    status, _, err = command(asd_jax.train, "--config=configs/quickstart.py:smoke", *flags)
    assert status == 0, err
    score, aucs = official(tmp_path)
    # two epochs of a narrow model: anything but broken
    assert 0.4 < score < 0.9 and min(aucs) > 0.3
    scores = (
        (tmp_path / "scores" / "anomaly_score_UAV_section_00_test.csv").read_text().splitlines()
    )
    assert len(scores) == 100
