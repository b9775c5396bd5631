import json
import re
import shutil

import pytest
from embedded import PLAIN, results, save

import asd_jax.evaluate
from asd_jax.data.factory import write_factory


def test_a_machine_without_test_clips_is_left_out_and_said_to_be(
    command, folder, tmp_path, monkeypatch
):
    flags = [f"--embeddings={folder}", f"--workdir={tmp_path / 'run'}", PLAIN]
    assert command(asd_jax.evaluate, *flags)[0] == 0
    complete = results(tmp_path / "run")
    save(folder / "3DPrinter.npz", test=0)
    status, out, err = command(asd_jax.evaluate, *flags)
    assert status == 0 and "3DPrinter: no test clips, so it has no scores" in " ".join(
        out.split()
    ), err
    found = results(tmp_path / "run")
    assert (
        found["machines"] == complete["machines"]
        and found["official_score"] == complete["official_score"]
    )
    assert found["notes"] == ["3DPrinter: no test clips, so it has no scores"]
    grid = "asd_jax.run.score.compare_back_ends"
    monkeypatch.setattr(
        grid, lambda machines, *of: ({"knn": dict.fromkeys(machines, 0.5)}, ["dear"])
    )
    assert command(asd_jax.evaluate, *flags, "--all")[0] == 0
    compared = json.loads((tmp_path / "run" / "comparison.json").read_text())
    assert compared == {
        "official_score": {"knn": {"fan": 0.5, "pump": 0.5}},
        "notes": [*found["notes"], "dear"],
    }
    for machine in ("fan", "pump"):
        (folder / f"{machine}.npz").unlink()
    status, _, err = command(asd_jax.evaluate, *flags)
    assert status == 2 and "no test clips of 3DPrinter" in err


def test_seeds_scored_anew_give_their_mean_their_ensemble_and_the_notes_of_all(
    command, folder, tmp_path
):
    run = tmp_path / "run"
    other = tmp_path / "other"
    save(folder / "3DPrinter.npz", test=0)
    for seed in (0, 1):
        shutil.copytree(folder, run / f"seed_{seed}" / "embeddings")
        (run / f"seed_{seed}" / "config.json").write_text(json.dumps({"seed": seed}))
    (run / "config.json").write_text(json.dumps({"seeds": 2}))
    flags = [f"--workdir={run}", f"--output={other}", PLAIN]
    status, out, err = command(asd_jax.evaluate, *flags)
    assert status == 0, err
    note = "3DPrinter: no test clips, so it has no scores"
    screen = " ".join(out.split())
    for shown in (f"note: {note}", "official score 2"):  # the title of a table has the year
        assert screen.count(shown) == 3  # of each seed and of all
    found = results(other)
    of_seed = results(other / "seed_1")
    assert found["notes"] == [note] and of_seed["seed"] == 1
    # The embeddings of both seeds are the same here, and so are their scores.
    for key in ("official_score", "machines"):
        assert found[key] == found["ensemble"][key] == of_seed[key]
    assert json.loads((other / "config.json").read_text())["seed"] == 0


def test_an_error_of_scoring_names_the_machine_and_writes_nothing(command, folder, tmp_path):
    save(folder / "pump.npz", train=0)
    status, _, err = command(
        asd_jax.evaluate, f"--embeddings={folder}", f"--workdir={tmp_path / 'run'}", PLAIN
    )
    assert status == 2 and "machine pump: section 00: no normal training clips" in err
    assert not (tmp_path / "run").exists()


def test_scores_hold_what_the_last_run_scored_and_nothing_older(command, folder, tmp_path):
    flags = [f"--embeddings={folder}", f"--workdir={tmp_path / 'run'}", PLAIN]
    scores = tmp_path / "run" / "scores"
    assert command(asd_jax.evaluate, *flags)[0] == 0
    (scores / "own.csv").write_text("mine")
    before = {path.name: path.stat().st_mtime_ns for path in scores.iterdir()}
    status, _, err = command(asd_jax.evaluate, *flags, "--year=1999")
    assert status == 2 and "year 1999" in err
    assert {path.name: path.stat().st_mtime_ns for path in scores.iterdir()} == before
    (folder / "pump.npz").unlink()
    assert command(asd_jax.evaluate, *flags, "--year=2021")[0] == 0
    kinds = ("anomaly_score", "decision_result")
    domains = ("source", "target")
    expected = {f"{kind}_fan_section_00_{domain}_test.csv" for kind in kinds for domain in domains}
    assert {path.name for path in scores.iterdir()} == {"own.csv", *expected}


@pytest.mark.parametrize(
    ("config", "flag", "said"),
    [
        ([1], PLAIN, "config.json: not the config of a run"),
        ({"seed": "much"}, PLAIN, "config.json: not the config of a run.*seed"),
        ({}, "--config.report.map=tsne", "report.map='tsne'; known: pca, umap"),
        ({}, "--config.report.clips=-3", "report.clips=-3 must be at least 0"),
        ({"seeds": 2}, PLAIN, "seed_1: no finished run here"),
        ({}, "--weights=none", "--weights is for embedding"),
        ({}, "--overwrite", "--overwrite is for embedding"),
    ],
)
def test_what_a_finished_run_cannot_be_scored_by_changes_nothing(
    command, folder, tmp_path, config, flag, said
):
    run = tmp_path / "run"
    embeddings = "seed_0/embeddings" if "seeds" in config else "embeddings"
    (run / embeddings).parent.mkdir(parents=True, exist_ok=True)
    folder.rename(run / embeddings)
    (run / "config.json").write_text(json.dumps(config))
    before = sorted(run.rglob("*"))
    more = [f"--embeddings={run / embeddings}"] if "embedding" in said else []
    status, _, err = command(asd_jax.evaluate, f"--workdir={run}", flag, *more)
    assert status == 2 and "Traceback" not in err
    assert re.search(said, err), err
    assert sorted(run.rglob("*")) == before


@pytest.mark.slow
def test_a_run_scored_anew_into_another_folder_stays_as_it_was(command, tmp_path):
    write_factory(
        tmp_path / "data",
        clip_seconds=1.0,
        machines=("fan",),
        train_source=6,
        train_target=2,
        test_per_condition=3,
    )
    run = tmp_path / "run"
    other = tmp_path / "other"
    flags = [
        "--config=quickstart:smoke",  # whose machines are fan and gearbox, of the factory alone
        "--config.model.encoder=filter_bank",
        f"--config.data.root={tmp_path / 'data'}",
        "--config.report.clips=1",
    ]
    assert command(asd_jax.evaluate, f"--workdir={run}", *flags)[0] == 0
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    again = "--config.scoring.back_end=k_means", f"--output={other}"
    status, out, err = command(asd_jax.evaluate, f"--workdir={run}", *again)
    assert status == 0, err
    assert f"in {other}: results.json" in out
    after = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert after == before
    found = {path.name for path in other.iterdir()}
    assert found >= {"results.json", "scores", "report", "config.json"}
    config = json.loads((other / "config.json").read_text())
    assert config["scoring"]["back_end"] == "k_means"
    assert "<audio" in (other / "report" / "index.html").read_text()
    status, _, err = command(asd_jax.evaluate, f"--workdir={run}", *flags, f"--output={other}")
    assert status == 2 and "--output is for scoring a run again" in err
