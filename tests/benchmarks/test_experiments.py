"""The experiments' verdicts on scores that are known, and every grid in smoke mode (slow)."""

import csv
import json

import numpy as np
import pytest

import benchmarks.automatic_choice
import benchmarks.box
import benchmarks.dcase
import benchmarks.detectability
import benchmarks.domain_normalization
import benchmarks.filter_banks
import benchmarks.foreground
import benchmarks.parity
import benchmarks.pooling_and_loss
import benchmarks.simam
import benchmarks.strategies
import benchmarks.throughput
from asd_jax.config import RunConfig, read_config
from asd_jax.data.audio import read_clip
from asd_jax.data.clips import find_clips
from asd_jax.data.factory import write_factory
from asd_jax.features.front_end import FrontEnd, SimAM
from asd_jax.models.eat import EATConfig
from asd_jax.models.encoder import EncoderConfig, Pooling
from asd_jax.scoring.embeddings import Embeddings
from asd_jax.training.weights import Pipeline, random_eat
from benchmarks import grid, verdict
from configs import base

SMOKE = "--config=configs/base.py:smoke"
CLIPS = [
    ("fan", "00", domain, label)
    for domain in ("source", "target")
    for label in (0, 1)
    for _ in range(50)
]
LABEL = np.array([clip[3] for clip in CLIPS])


def row(gap, seeds=2, folder=""):
    scores = np.random.default_rng(0).normal(size=(seeds, len(CLIPS))) + gap * LABEL
    return verdict.dataclasses.replace(
        verdict.row_of(CLIPS, scores, 2024), folder=folder or str(gap)
    )


def test_many_comparisons_are_corrected_by_holm():
    # closed form: the smallest times 3, the next times 2, never less than one before
    assert verdict.holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06], rel=1e-12)
    assert verdict.holm([]) == [] and verdict.holm([0.8, 0.9]) == [1.0, 1.0]


def test_a_table_can_be_pasted_into_a_paper(tmp_path):
    rows = {"a|b_c": row(0.2), "middle": row(0.5)}
    verdict.write_tables(tmp_path, "t", verdict.compared(rows, "middle", 2024))
    markdown, latex, table = (
        (tmp_path / f"t.{ending}").read_text() for ending in ("md", "tex", "csv")
    )
    assert markdown.count("\n") == 4 and "a\\|b_c" in markdown
    assert r"a|b\_c & " in latex and r"95 \% interval" in latex
    with open(tmp_path / "t.csv") as file:
        assert [line[0] for line in csv.reader(file)] == ["cell", "a|b_c", "middle"]
    assert "p, Holm" in table


def test_verdicts_follow_the_interval_of_the_difference():
    rows = {
        "middle": row(1.0),
        "same again": row(1.0, folder="b"),
        "good": row(3.0),
        "chance": row(0.0),
    }
    found = verdict.compared(rows, "middle", 2024)
    words = {name: of["verdict"] for name, of in found["cells"].items()}
    assert words == {
        "middle": "the reference",
        "same again": "not distinguishable",
        "good": "better",
        "chance": "worse",
    }
    assert "better: good. worse: chance. not distinguishable: same again." in found["verdict"]
    good = found["cells"]["good"]
    assert good["official_score"] == pytest.approx(np.mean(rows["good"].official))
    assert good["deviation"] == pytest.approx(np.std(rows["good"].official, ddof=1))
    assert good["interval"][0] < good["official_score"] < good["interval"][1]
    columns, cells = verdict.machine_table(found)
    assert (
        columns == ["cell", "machine", "AUC source", "AUC target", "pAUC"] and " ± " in cells[0][2]
    )


def test_an_editions_subset_is_its_own_machines_and_sections():
    clips = [
        (m, s, d, n)
        for m, s in (("fan", "00"), ("ToyDrone", "00"))
        for d in ("source", "target")
        for n in (0, 1)
    ]
    whole = verdict.row_of(clips, np.arange(8.0)[None], 2023)
    dev, evaluation = (
        benchmarks.dcase.of_subset(whole, 2023, subset) for subset in ("dev", "eval")
    )
    assert {c[0] for c in dev.clips} == {"fan"} and {c[0] for c in evaluation.clips} == {"ToyDrone"}
    assert evaluation.scores.tolist() == [[4, 5, 6, 7]]
    assert not benchmarks.dcase.of_subset(whole, 2020, "eval").clips  # fan, but other sections
    assert benchmarks.dcase.published(2024, "eval")["official auto-encoder baseline"] == 56.51


def test_known_signals_are_heard_where_the_filters_are_narrow_and_not_below_the_noise(
    command, tmp_path, monkeypatch
):
    monkeypatch.setattr(benchmarks.detectability, "KILOHERTZ", (0.25, 2.0, 7.9))
    flags = ["--clips=12", "--seconds=0.5", f"--output={tmp_path}"]
    status, out, err = command(benchmarks.detectability, "--snr=-17", *flags)
    assert status == 0, err
    found = json.loads((tmp_path / "detectability.json").read_text())
    assert found["auc"]["m-FB"]["tone at 7.9 kHz"] > found["auc"]["o-FB"]["tone at 7.9 kHz"]
    assert found["auc"]["o-FB"]["tone at 0.25 kHz"] > 0.9 and "above 4 kHz" in out
    assert "<svg" in (tmp_path / "report" / "index.html").read_text()
    assert command(benchmarks.detectability, "--snr=-80", *flags)[0] == 0
    silent = json.loads((tmp_path / "detectability.json").read_text())
    for of in silent["auc"].values():  # 9 times 12 clips against 12: standard error 0.04
        assert np.mean(list(of.values())) == pytest.approx(0.5, abs=0.12)


def test_a_louder_square_is_weighted_higher_by_local_simam_the_smaller_it_is(command, tmp_path):
    status, out, err = command(
        benchmarks.foreground, "--clips=4", "--seconds=2", f"--output={tmp_path}"
    )
    assert status == 0, err
    found = json.loads((tmp_path / "foreground.json").read_text())
    assert set(found["machine_over_background_db"]) == {
        "fan",
        "gearbox",
        "motor",
        "slider",
        "valve",
    }
    difference = {size: row["local - global"][0] for size, row in found["squares"].items()}
    assert difference["4 x 4"] > difference["64 x 64"]
    assert all(
        row[mode][1] <= row[mode][0] <= row[mode][2]
        for row in found["squares"].values()
        for mode in row
    )
    assert "SimAM raises the machine" in out


@pytest.mark.parametrize(
    ("module", "flags", "message"),
    [
        (
            benchmarks.filter_banks,
            ["--config=configs/base.py"],
            "--weights=FILE.safetensors names the EAT weights",
        ),
        (benchmarks.filter_banks, [SMOKE, "--seeds=0"], "--seeds=0 must be at least 1"),
        (
            benchmarks.simam,
            [SMOKE, "--row=best"],
            "--row=best: no such row; known: none, alone; global, alone; ",
        ),
        (benchmarks.dcase, [SMOKE, "--years=1999"], "--years=1999: known are 2020"),
        (benchmarks.dcase, [SMOKE, "--subset=train"], "--subset=train: known are dev, eval"),
        (benchmarks.detectability, ["--clips=1"], "--clips must be at least 4"),
        (benchmarks.domain_normalization, [SMOKE, "--runs=nowhere"], "nowhere"),
        (
            benchmarks.automatic_choice,
            [SMOKE, "--banks=m-FB,x"],
            "--banks=x: known are m-FB, o-FB, g-FB",
        ),
        (benchmarks.throughput, ["--batches=8,0"], "--batches: 0 is no number of clips"),
        (benchmarks.throughput, ["--batches=x"], "--batches: x is no number of clips"),
        (benchmarks.throughput, ["--repeats=0"], "repeats"),
        (benchmarks.throughput, ["--torch=x"], "--torch: x is unknown; known: eager, "),
        (benchmarks.parity, [], "no golden checkpoints"),
    ],
)
def test_bad_input_gets_one_clear_error(command, tmp_path, monkeypatch, module, flags, message):
    monkeypatch.setattr(benchmarks.parity, "GOLDEN", tmp_path)
    status, _, err = command(module, *flags, f"--output={tmp_path / 'o'}")
    assert status == 2 and message in err and "Traceback" not in err


def test_named_rows_run_beside_the_reference_alone():
    cells = [grid.Cell(name) for name in ("none", "global", "local")]
    assert [cell.name for cell in grid.chosen(cells, ["local"], "none")] == ["none", "local"]
    assert grid.chosen(cells, [], "none") == cells


def test_the_boxs_bands_are_the_encoders_own(tmp_path):
    write_factory(
        tmp_path,
        clip_seconds=1.0,
        machines=["fan"],
        train_source=1,
        train_target=1,
        test_per_condition=1,
    )
    sizes = EATConfig(32, 1, 2, mel_bins=32)
    front_end = FrontEnd(bins=32, simam=SimAM("none"))
    encoder = EncoderConfig(front_end, sizes, Pooling("band_mean", 0, 0))
    pipeline = Pipeline(encoder, {"eat": random_eat(sizes, 0)})
    config = read_config(RunConfig, base.get_config("smoke"))
    clips = find_clips(tmp_path)
    _, block = benchmarks.box.block_embeddings(config, pipeline, clips)
    waves = np.stack([read_clip(clip.path) for clip in clips])
    assert block.vectors.shape[1:] == (2, 32)
    # measured 3.6e-7
    np.testing.assert_allclose(block.vectors, pipeline.embed(waves), rtol=0, atol=7.2e-7)


def finished_run(folder, *, held_out=True):
    """Random embeddings of 40 clips of a fan, as a run leaves them."""
    split = np.repeat(["train", "held_out" if held_out else "train", "test"], [12, 8, 20])
    label = np.where((np.arange(40) >= 20) & (np.arange(40) % 4 < 2), 1, 0)
    noise = np.random.default_rng(0).normal(size=(40, 3))
    columns = {
        "vectors": (noise + 2 * label[:, None]).astype(np.float32),
        "files": np.arange(40).astype(str),
        "section": np.full(40, "00"),
        "split": split,
        "domain": np.tile(["source", "target"], 20),
        "label": label,
        "attribute": np.full(40, ""),
    }
    for place in ("embeddings", "embeddings/filter_bank"):
        Embeddings(**columns).save(folder / place / "fan.npz")
    (folder / "config.json").write_text('{"data": {"year": 2021}}')
    return "--config=configs/base.py", f"--runs={folder}", f"--output={folder / 'o'}"


def test_a_finished_run_is_scored_by_the_rule_of_its_own_edition(command, tmp_path):
    flags = finished_run(tmp_path)
    status, _, err = command(benchmarks.domain_normalization, *flags, "--row=min, train")
    assert status == 0, err
    assert json.loads((tmp_path / "o" / "domain_normalization.json").read_text())["year"] == 2021


def test_a_cell_that_cannot_be_scored_is_a_row_and_the_others_go_on(command, tmp_path):
    flags = [*finished_run(tmp_path, held_out=False), "--row=min, held_out", "--row=min, none"]
    status, out, err = command(benchmarks.domain_normalization, *flags)
    assert status == 0, err
    found = json.loads((tmp_path / "o" / "domain_normalization.json").read_text())
    assert set(found["cells"]) == {"filter bank", "min, train", "min, none"}
    assert "held_out" in found["not_scored"]["min, held_out"]
    assert "min, held_out: not scored: machine fan: " in " ".join(out.split())
    row = next(line for line in out.splitlines() if "min, held_out" in line and "│" in line)
    _, *values, verdict = [cell.strip() for cell in row.strip("│").split("│")]
    assert set(values) == {"-"} and verdict == "not scored"


@pytest.fixture(scope="module")
def shared_cells(tmp_path_factory):
    return tmp_path_factory.mktemp("cells")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "flags", "cells"),
    [
        ("filter_banks", ["--weights=box"], 11),  # which brings its own front end
        ("simam", ["--customized={fan: local, gearbox: global}"], 16),
        ("domain_normalization", [], 14),
        ("pooling_and_loss", [], 8),
        ("strategies", [], 9),
        ("automatic_choice", ["--banks=m-FB", "--modes=local,none"], 11),
        ("dcase", [], 4),
    ],
)
def test_every_experiment_runs_on_the_synthetic_machines(
    command, shared_cells, tmp_path, name, flags, cells
):
    module = getattr(benchmarks, name)
    cells_folder = tmp_path if "--weights=box" in flags else shared_cells
    status, out, err = command(
        module, SMOKE, *flags, f"--cells={cells_folder}", f"--output={tmp_path}"
    )
    assert status == 0, err
    found = json.loads((tmp_path / f"{name}.json").read_text())
    found = found.get("2024 dev", found)
    assert len(found["cells"]) == cells and {"filter bank", "random weights"} <= set(found["cells"])
    assert all(0 < of["official_score"] < 1 for of in found["cells"].values())
    if name == "filter_banks":
        assert (
            len(
                {
                    found["cells"][f"{bank} alone"]["official_score"]
                    for bank in ("o-FB", "g-FB", "m-FB")
                }
            )
            == 3
        )
    assert (
        found["verdict"] in " ".join(out.split())
        and (tmp_path / "report" / "index.html").stat().st_size > 1e4
    )
