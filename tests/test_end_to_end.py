"""The main job as a user runs it, on the factory: one command in a process of its own, then what it
left.
"""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import asd_jax.evaluate
import asd_jax.train
from asd_jax.scoring.embeddings import Embeddings
from asd_jax.training.weights import load_pipeline

REPOSITORY = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def smoke(tmp_path_factory):
    """Runs --config=configs/<name>.py:smoke in a new workdir, with JAX as a user has it ->
    (workdir, its output).
    """

    def run(name, *more):
        workdir = tmp_path_factory.mktemp("run")
        flags = [f"--config=configs/{name}.py:smoke", f"--workdir={workdir}", *more]
        environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
        command = [sys.executable, "-m", "asd_jax.train", *flags]
        done = subprocess.run(
            command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return workdir, done.stdout

    return run


@pytest.fixture(scope="session")
def finished(smoke):
    return smoke("quickstart")


def test_it_leaves_what_the_contract_says(finished):
    workdir, _ = finished
    left = {str(path.relative_to(workdir)) for path in workdir.rglob("*") if path.is_file()}
    expected = {
        "config.json",
        "metrics.jsonl",
        "weights.safetensors",
        "results.json",
        "timing.json",
    }
    for machine in ("fan", "gearbox"):
        expected |= {
            f"embeddings/{machine}.npz",
            f"embeddings/filter_bank/{machine}.npz",
            "embeddings/skipped.json",
            "embeddings/front_end.json",
            "embeddings/made_of.json",
            "data.json",
            f"scores/anomaly_score_{machine}_section_00_test.csv",
            f"scores/decision_result_{machine}_section_00_test.csv",
            "report/index.html",
        }
    assert expected <= left
    rest = {path.split("/")[0] for path in left - expected}
    assert rest == {"checkpoints", "factory", "pretrained.json"}
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert {"step", "loss", "accuracy", "learning_rate", "clips_per_second"} <= set(rows[-1])


def test_results_hold_fractions_for_every_machine_and_no_path(finished):
    workdir, _ = finished
    text = (workdir / "results.json").read_text()
    results = json.loads(text)
    assert 0 < results["official_score"] < 1 and results["year"] == 2024 and results["seed"] == 0
    values = [
        results["machines"][m]["00"][c]
        for m in ("fan", "gearbox")
        for c in ("auc_source", "auc_target", "pauc")
    ]
    assert results["official_score"] == pytest.approx(
        len(values) / sum(1 / v for v in values), rel=1e-12
    )
    assert 0 < results["filter_bank_baseline"]["official_score"] < 1
    assert str(workdir) not in text and results["versions"]["jax"]


def test_screen_shows_the_table_in_percent_with_the_baseline(finished):
    workdir, screen = finished
    results = json.loads((workdir / "results.json").read_text())
    baseline = results["filter_bank_baseline"]
    for said in ("62 clips of fan, gearbox", "training on 30 clips"):
        assert said in screen
    assert f"official score 2024: {100 * results['official_score']:.2f} %" in screen
    assert f"filter bank: official score 2024: {100 * baseline['official_score']:.2f} %" in screen
    rows = [re.findall(r"[\w.]+", line) for line in screen.splitlines()]
    for machine in ("fan", "gearbox"):
        both = [of["machines"][machine]["00"] for of in (results, baseline)]
        columns = ("auc_source", "auc_target", "pauc")
        assert [machine, "00", *(f"{100 * of[c]:.2f}" for of in both for c in columns)] in rows


def test_screen_shows_the_steps_that_the_metrics_hold(finished):
    workdir, screen = finished
    metrics = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    shown = re.findall(r"^step +(\d+)/(\d+)  loss (\S+)  accuracy (\S+)  ", screen, re.M)
    assert len(metrics) > 1 and shown == [
        (
            str(row["step"]),
            str(metrics[-1]["step"]),
            f"{row['loss']:.4g}",
            f"{row['accuracy']:.4g}",
        )
        for row in metrics
    ]
    assert metrics[-1]["loss"] < metrics[0]["loss"]


def test_embeddings_and_scores_name_every_clip(finished):
    workdir, _ = finished
    embeddings = Embeddings.load(workdir / "embeddings" / "fan.npz")
    assert embeddings.vectors.shape == (31, 32) and embeddings.vectors.dtype == np.float32
    counts = {
        (s, d): int(((embeddings.split == s) & (embeddings.domain == d)).sum())
        for s in ("train", "test")
        for d in ("source", "target")
    }
    assert counts == {
        ("train", "source"): 12,
        ("train", "target"): 3,
        ("test", "source"): 8,
        ("test", "target"): 8,
    }
    with open(workdir / "scores" / "anomaly_score_fan_section_00_test.csv", newline="") as file:
        scored = {name for name, _ in csv.reader(file)}
    assert scored == set(embeddings.files[embeddings.split == "test"].tolist())


def test_weights_embed_as_the_run_did(finished):
    from asd_jax.data.audio import read_clip

    workdir, _ = finished
    embeddings = Embeddings.load(workdir / "embeddings" / "fan.npz")
    pipeline = load_pipeline(workdir / "weights.safetensors")
    wave = read_clip(workdir / "factory" / "fan" / "test" / str(embeddings.files[0]))
    ours = np.asarray(pipeline.embed(wave[None, :16000]))[0]
    # measured 1e-6 to 5e-5: batch sizes
    np.testing.assert_allclose(ours, embeddings.vectors[0], rtol=0, atol=2e-4)


def test_same_seed_same_bytes(finished, smoke):
    again, _ = smoke("quickstart")
    for name in ("results.json", "weights.safetensors", "embeddings/fan.npz"):
        assert (again / name).read_bytes() == (finished[0] / name).read_bytes(), name


def test_finished_run_is_scored_again_without_its_model(finished, command):
    workdir, _ = finished
    before = (workdir / "results.json").read_bytes()
    status, _, err = command(
        asd_jax.evaluate, f"--workdir={workdir}", "--config.scoring.distance=euclidean"
    )
    assert status == 0, err
    changed = json.loads((workdir / "results.json").read_text())
    assert (
        changed["scoring"]["distance"] == "euclidean"
        and changed["machines"] != json.loads(before)["machines"]
    )
    status, _, _ = command(asd_jax.evaluate, f"--workdir={workdir}")
    assert status == 0 and (workdir / "results.json").read_bytes() == before


@pytest.mark.slow
def test_frozen_modes(finished, command, tmp_path):
    workdir, _ = finished
    base = ["--config=configs/quickstart.py:smoke", f"--config.data.root={workdir / 'factory'}"]
    weights = f"--weights={workdir / 'weights.safetensors'}"
    status, _, _ = command(asd_jax.evaluate, *base, weights, f"--workdir={tmp_path / 'own'}")
    # the fine-tuned file brings its own pooling: the same embeddings as the run's
    assert status == 0
    own, run = (
        Embeddings.load(folder / "embeddings" / "fan.npz") for folder in (tmp_path / "own", workdir)
    )
    np.testing.assert_allclose(own.vectors, run.vectors, rtol=0, atol=2e-4)
    for pooling, shape in (("band_mean", (31, 8, 64)), ("mean", (31, 64)), ("cls", (31, 64))):
        flags = [weights, f"--config.frozen.pooling={pooling}", f"--workdir={tmp_path / pooling}"]
        status, _, err = command(asd_jax.evaluate, *base, *flags)
        assert status == 0, err
        assert Embeddings.load(tmp_path / pooling / "embeddings" / "fan.npz").vectors.shape == shape
    status, _, _ = command(
        asd_jax.evaluate, *base, "--weights=none", f"--workdir={tmp_path / 'random'}"
    )
    random = Embeddings.load(tmp_path / "random" / "embeddings" / "fan.npz")
    assert status == 0 and random.axes == ("clip", "band", "embedding")


def test_filter_bank_encoder_is_the_baseline_of_every_table(finished, command, tmp_path):
    workdir, _ = finished
    flags = ["--config=configs/quickstart.py:smoke", f"--config.data.root={workdir / 'factory'}"]
    flags += ["--config.model.encoder=filter_bank", "--config.scoring.distance=euclidean"]
    flags += ["--config.scoring.standardize=True", f"--workdir={tmp_path}"]
    status, _, err = command(asd_jax.evaluate, *flags)
    assert status == 0, err
    results = json.loads((tmp_path / "results.json").read_text())
    run = json.loads((workdir / "results.json").read_text())
    assert results["official_score"] == results["filter_bank_baseline"]["official_score"]
    assert results["official_score"] == pytest.approx(
        run["filter_bank_baseline"]["official_score"], abs=0.02
    )


def test_anybodys_embeddings_are_scored(finished, command, tmp_path):
    workdir, _ = finished
    flags = [f"--embeddings={workdir / 'embeddings'}", f"--workdir={tmp_path}", "--year=2023"]
    status, out, _ = command(asd_jax.evaluate, *flags)
    results = json.loads((tmp_path / "results.json").read_text())
    assert status == 0 and "AUC source" in out and results["year"] == 2023
    assert results["machines"] == json.loads((workdir / "results.json").read_text())["machines"]


@pytest.mark.parametrize(
    ("length", "rows"), [("window", 31 * 3), pytest.param("bucket", 31, marks=pytest.mark.slow)]
)
def test_clips_heard_in_windows_or_at_their_own_length(finished, command, tmp_path, length, rows):
    flags = [
        "--config=configs/quickstart.py:smoke",
        f"--config.data.root={finished[0] / 'factory'}",
    ]
    flags += [
        f"--config.data.length={length}",
        "--config.data.clip_seconds=0.5",
        "--config.data.hop_seconds=0.25",
    ]
    flags += [
        "--weights=none",
        f"--config.data.cache={tmp_path / 'cache'}",
        f"--workdir={tmp_path / 'run'}",
    ]
    status, _, err = command(asd_jax.evaluate, *flags)
    assert status == 0, err
    embeddings = Embeddings.load(tmp_path / "run" / "embeddings" / "fan.npz")
    assert len(embeddings.vectors) == rows
    if length == "window":
        assert sorted(set(embeddings.window_start_seconds.tolist())) == [0, 0.25, 0.5]
    scored = (
        (tmp_path / "run" / "scores" / "anomaly_score_fan_section_00_test.csv")
        .read_text()
        .splitlines()
    )
    assert len(scored) == 16 and list((tmp_path / "cache").glob("*.int16"))


def test_bad_clip_is_named_or_skipped_and_listed(finished, command, tmp_path):
    shutil.copytree(finished[0] / "factory", tmp_path / "data")
    bad = sorted((tmp_path / "data" / "fan" / "train").glob("*.wav"))[0]
    bad.write_bytes(bad.read_bytes()[:1000])
    flags = ["--config=configs/quickstart.py:smoke", f"--config.data.root={tmp_path / 'data'}"]
    # with the box's statistics, as the quickstart itself has it
    flags += ["--config.model.encoder=filter_bank"]
    flags += ["--config.features.statistics=weights", "--config.model.weights=box"]
    status, _, err = command(asd_jax.evaluate, *flags, f"--workdir={tmp_path / 'a'}")
    assert status == 2 and f"{bad}: truncated" in err and not (tmp_path / "a").exists()
    status, _, err = command(
        asd_jax.evaluate, *flags, "--config.data.on_bad_clip=skip", f"--workdir={tmp_path / 'b'}"
    )
    assert status == 0, err
    skipped = json.loads((tmp_path / "b" / "results.json").read_text())["skipped"]
    assert [clip["file"] for clip in skipped] == [
        f"fan/train/{bad.name}"
    ] and "truncated" in skipped[0]["reason"]
    assert len(Embeddings.load(tmp_path / "b" / "embeddings" / "fan.npz").files) == 30


def test_every_back_end_in_one_table(finished, command, tmp_path):
    flags = [f"--embeddings={finished[0] / 'embeddings'}", f"--workdir={tmp_path}", "--all"]
    status, out, err = command(asd_jax.evaluate, *flags)
    assert status == 0, err
    grid = json.loads((tmp_path / "comparison.json").read_text())["official_score"]
    run = json.loads((finished[0] / "results.json").read_text())
    assert grid["knn"]["train"] == run["official_score"] and grid["knn"]["held_out"] is None
    assert {"knn", "local_density", "mahalanobis", "gmm"} <= set(grid) and "local_density" in out


@pytest.mark.slow
def test_several_seeds_give_mean_and_deviation(smoke, command):
    workdir, screen = smoke("quickstart", "--config.seeds=2", "--config.data.machines=fan")
    runs = [json.loads((workdir / f"seed_{n}" / "results.json").read_text()) for n in (0, 1)]
    total = json.loads((workdir / "results.json").read_text())
    scores = [run["official_score"] for run in runs]
    assert scores[0] != scores[1] and [run["seed"] for run in runs] == [0, 1]
    assert total["official_score"] == pytest.approx(np.mean(scores))
    assert total["standard_deviation"]["official_score"] == pytest.approx(np.std(scores, ddof=1))
    assert "mean of 2 seeds" in screen and "seed 1, run 2 of 2" in screen
    assert 0 < total["ensemble"]["official_score"] < 1 and any((workdir / "scores").iterdir())
    before = (workdir / "results.json").read_bytes()
    status, _, err = command(asd_jax.evaluate, f"--workdir={workdir}")
    assert status == 0, err
    assert (workdir / "results.json").read_bytes() == before
    one = (
        "--config=configs/quickstart.py:smoke",
        f"--workdir={workdir}",
        "--config.data.machines=fan",
        "--config.factory.train_source=13",
    )
    assert "other than this synthetic set" in command(asd_jax.train, *one)[2]
    status, _, err = command(asd_jax.train, *one, "--overwrite")
    assert status == 0, err
    assert (workdir / "weights.safetensors").exists() and not any(workdir.glob("seed_*/*"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["toycar", "dcase2024", "small"])
def test_every_config_has_a_smoke_mode(smoke, name):
    workdir, _ = smoke(name)
    assert 0 < json.loads((workdir / "results.json").read_text())["official_score"] < 1


@pytest.mark.parametrize("module", [asd_jax.train, asd_jax.evaluate])
def test_help_lists_the_flags(module, command):
    status, out, _ = command(module, "--help")
    assert (
        status == 0
        and "--workdir" in out
        and "--config" in out
        and module.__doc__.splitlines()[0] in out
    )
