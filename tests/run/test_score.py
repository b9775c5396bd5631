import contextlib
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from calls import Calls
from embedded import PLAIN, results, save

import asd_jax.evaluate
from asd_jax.config import Report, RunConfig
from asd_jax.data.clips import Clip
from asd_jax.data.factory import write_factory
from asd_jax.models.encoder import EncoderConfig
from asd_jax.run import score
from asd_jax.run.embed import FRONT_END, SKIPPED, versions
from asd_jax.run.workdir import Run
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import read_json, write_json
from asd_jax.runtime.settings import to_dict, with_values
from asd_jax.scoring.anomaly_score import score_machine
from asd_jax.scoring.embeddings import Embeddings
from asd_jax.scoring.options import Scoring

# Runs without a page, as these tests are of the scores.
CONFIG = RunConfig(report=Report(page=False))


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


def screen(capsys):
    """What was printed, without the folds of lines."""
    return " ".join(capsys.readouterr().out.split())


def test_results_hold_the_baseline_the_seed_the_versions_and_the_clips_left_out(
    folder, tmp_path, capsys
):
    for seed, machine in enumerate(("fan", "pump")):
        save(folder / "filter_bank" / f"{machine}.npz", seed=seed + 5)
    for name, file in ((SKIPPED, "a.wav"), (f"fan_{SKIPPED}", "b.wav")):
        write_json(folder / name, {"skipped": [{"file": file, "reason": "short"}]})
    config = with_values(CONFIG, {"seed": 4})
    found = score.score_embeddings(config, folder, tmp_path / "run")
    shown = screen(capsys)
    kept = read_json(tmp_path / "run" / "results.json")
    assert kept == {**found, "seed": 4, "versions": versions()}
    assert kept["skipped"] == [{"file": name, "reason": "short"} for name in ("b.wav", "a.wav")]
    assert kept["skipped_clips"] == 2
    plain = with_values(CONFIG, {"scoring.distance": "euclidean", "scoring.standardize": True})
    alone = score.score_embeddings(plain, folder / "filter_bank", tmp_path / "alone")
    baseline = found["filter_bank_baseline"]
    names = {"official_score", "year", "scoring", "machines", "arithmetic_mean", "harmonic_mean"}
    assert set(baseline) == names
    assert baseline == {name: alone[name] for name in names}
    for said in (
        f"official score 2024: {100 * found['official_score']:.2f} %",
        f"filter bank: official score 2024: {100 * baseline['official_score']:.2f} %",
        "note: 2 clips could not be read and were left out, see results.json",
    ):
        assert shown.count(said) == 1
    assert shown.endswith(f"in {tmp_path / 'run'}: results.json, scores/")
    capsys.readouterr()
    alone = score.score_embeddings(CONFIG, folder / "filter_bank", tmp_path / "alone")
    assert "filter_bank_baseline" not in alone and alone["skipped_clips"] == 0
    assert "could not be read" not in screen(capsys)


def test_the_page_is_of_the_run_its_new_results_and_its_baseline(folder, tmp_path, monkeypatch):
    save(folder / "filter_bank" / "fan.npz")
    pages = []

    def write_report(config, machines, scored, found, *, run, output, plain):
        pages.append((list(machines), list(scored), run.workdir.name, output.workdir.name, plain))

    monkeypatch.setattr(score, "write_report", write_report)
    score.score_embeddings(CONFIG, folder, tmp_path / "run", tmp_path / "other")
    ((machines, scored, run, output, plain),) = pages
    assert (machines, scored, run, output) == (["fan", "pump"],) * 2 + ("run", "other")
    assert list(plain) == ["fan"]
    assert [path.name for path in tmp_path.iterdir() if path != folder] == ["other"]


def test_a_run_says_that_it_has_a_page(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(score, "write_report", lambda *_, **__: None)
    score.score_embeddings(RunConfig(), folder, tmp_path / "run")
    end = "run: results.json, scores/, report/index.html to look at and listen to"
    assert screen(capsys).endswith(end)


def test_score_files_hold_file_and_score_of_every_test_clip(folder, tmp_path):
    scored = {"pump": score_machine(Embeddings.load(folder / "pump.npz"))}
    score.write_scores(scored, tmp_path / "scores", 2024)
    of = scored["pump"]
    for kind, values in (("anomaly_score", of.score), ("decision_result", of.decision)):
        rows = (tmp_path / "scores" / f"{kind}_pump_section_00_test.csv").read_text().split()
        names, numbers = zip(*(row.split(",") for row in rows), strict=True)
        assert list(names) == of.clips.files.tolist()
        np.testing.assert_allclose(np.array(numbers, float), values, rtol=1e-6)


def test_with_auto_the_note_of_each_machine_names_its_back_end(folder, monkeypatch):
    machines = score.load_embeddings(folder)
    chosen = {"fan": (Scoring(back_end="mahalanobis"), "chose it"), "pump": (Scoring(), "")}
    monkeypatch.setattr(score, "chosen_scoring", lambda machines, scoring: chosen)
    scored = score.score_machines(machines, Scoring(back_end="auto"))
    for machine, (own, note) in chosen.items():
        alone = score_machine(machines[machine], own)
        np.testing.assert_array_equal(scored[machine].score, alone.score)
        assert scored[machine].notes == ((note,) if note else ()) + alone.notes
    monkeypatch.delattr(score, "chosen_scoring")
    scored = score.score_machines(machines, Scoring())
    np.testing.assert_array_equal(scored["pump"].score, score_machine(machines["pump"]).score)


def test_all_back_ends_are_compared_into_the_output(folder, tmp_path, monkeypatch, capsys):
    save(folder / "valve.npz", test=0)
    grid = {"knn": {"train": 0.5}}
    monkeypatch.setattr(score, "compare_back_ends", lambda *of: (grid, [f"year {of[2]}"]))
    run = tmp_path / "run"
    shutil.move(folder, run / "embeddings")
    score.score_again(CONFIG, None, run, everything=True, output=tmp_path / "new")
    notes = ["valve: no test clips, so it has no scores", "year 2024"]
    assert read_json(tmp_path / "new" / "comparison.json") == {
        "official_score": grid,
        "notes": notes,
    }
    shown = screen(capsys)
    assert "official score 2024, %" in shown and "50.00" in shown
    assert shown.endswith(" ".join(f"note: {note}" for note in notes))
    # The config describes what was compared; there are no results of one back end.
    assert {path.name for path in (tmp_path / "new").iterdir()} == {
        "comparison.json",
        "config.json",
    }


def test_results_of_a_run_go_into_its_folder_or_into_another_with_its_config(folder, tmp_path):
    run = tmp_path / "run"
    other = tmp_path / "other"
    shutil.copytree(folder, run / "embeddings")
    config = with_values(CONFIG, {"seed": 3})
    score.score_again(config, None, run)
    assert {path.name for path in run.iterdir()} == {"embeddings", "results.json", "scores"}
    assert results(run)["seed"] == 3
    score.score_again(config, None, run, output=other)
    assert read_json(other / "config.json") == to_dict(config)
    assert results(other) == results(run)
    # A config says nothing of embeddings that came from elsewhere.
    score.score_again(config, folder, run, output=tmp_path / "third")
    assert not (tmp_path / "third" / "config.json").exists()


@pytest.fixture
def two_seeds(tmp_path):
    """A run of two seeds, whose embeddings differ."""
    run = tmp_path / "run"
    for n, seed in enumerate((0, 9)):
        save(run / f"seed_{n}" / "embeddings" / "fan.npz", seed=seed)
        write_json(run / f"seed_{n}" / "config.json", {"seed": seed})
    write_json(run / "config.json", {"seeds": 2})
    return run


def test_seeds_are_scored_with_their_own_numbers_and_summarised(two_seeds, capsys, monkeypatch):
    score.score_again(CONFIG, None, two_seeds)
    shown = screen(capsys)
    found = results(two_seeds)
    of_seeds = [results(two_seeds / f"seed_{n}") for n in range(2)]
    scores = [one["official_score"] for one in of_seeds]
    assert [one["seed"] for one in of_seeds] == [0, 9] and scores[0] != scores[1]
    assert "seed" not in found
    assert found["seeds"] == [
        {"seed": seed, "official_score": one} for seed, one in zip((0, 9), scores, strict=True)
    ]
    assert found["official_score"] == pytest.approx(np.mean(scores), rel=1e-12)
    deviation = found["standard_deviation"]["official_score"]
    assert deviation == pytest.approx(np.std(scores, ddof=1), rel=1e-12)
    assert set(found["ensemble"]) == {"official_score", "machines"}
    together = found["ensemble"]["official_score"]
    assert together not in (*scores, found["official_score"])
    assert shown.count("official score 2024:") == 3
    assert shown.endswith(
        f"mean of 2 seeds: {100 * found['official_score']:.2f} %, standard deviation "
        f"{100 * deviation:.2f} % ensemble, the mean of the seeds' scores: {100 * together:.2f} %, "
        f"in {two_seeds / 'scores'}"
    )
    # The scores of the ensemble are the means of those of the seeds.
    means = [
        np.loadtxt(path, delimiter=",", usecols=1)
        for path in sorted(two_seeds.rglob("anomaly_score_fan_section_00_test.csv"))
    ]
    np.testing.assert_allclose(means[0], np.mean(means[1:], axis=0), rtol=1e-5)
    assert f"{100 * deviation:.2f}" in (two_seeds / "report" / "index.html").read_text()
    # All back ends are compared seed by seed, and nothing is summarised.
    before = (two_seeds / "results.json").read_bytes()
    shutil.rmtree(two_seeds / "report")
    monkeypatch.setattr(score, "compare_back_ends", lambda *_: ({"knn": {"train": 0.5}}, []))
    score.score_again(CONFIG, None, two_seeds, everything=True)
    assert len(list(two_seeds.glob("seed_*/comparison.json"))) == 2
    assert (two_seeds / "results.json").read_bytes() == before
    assert not (two_seeds / "report").exists()


def test_seeds_without_labels_have_no_mean(two_seeds, capsys):
    for path in two_seeds.rglob("*.npz"):
        fields = dict(np.load(path))
        fields["label"] = np.where(fields["split"] == "test", -1, 0)
        np.savez(path, **fields)
    score.score_again(CONFIG, None, two_seeds)
    shown = screen(capsys)
    assert results(two_seeds)["official_score"] is None
    assert "mean of 2 seeds" not in shown and "ensemble" not in shown


@pytest.mark.parametrize("seed", [-1, True, "1", None, 1.5])
def test_what_is_no_seed_of_a_run_is_named(two_seeds, seed):
    write_json(two_seeds / "seed_1" / "config.json", {"seed": seed})
    with pytest.raises(InputError, match=f"seed_1/config.json: seed={seed!r} is not the seed"):
        score.score_again(CONFIG, None, two_seeds)


def test_a_run_that_lacks_embeddings_is_refused_before_any_seed_is_scored(two_seeds):
    write_json(two_seeds / "seed_1" / "data.json", {"fan": {}, "valve": {}, "pump": {}})
    with pytest.raises(InputError, match="seed_1/embeddings: no embeddings of pump, valve yet"):
        score.score_again(CONFIG, None, two_seeds)
    assert not list(two_seeds.rglob("results.json"))
    shutil.rmtree(two_seeds / "seed_1" / "embeddings")
    with pytest.raises(InputError, match="seed_1: no finished run here"):
        score.check_finished(Run(two_seeds / "seed_1"))
    score.check_finished(Run(two_seeds / "seed_0"))


CLIPS = [Clip(f"{n}.wav", "fan", "00", "train", "source", 0, "") for n in range(8)]


@pytest.fixture
def embedded(monkeypatch):
    """A clock that goes on by 4 s at each look, and the number of clips that are embedded."""
    looks = iter(range(10, 1000, 4))
    count = {"clips": 8}
    monkeypatch.setattr(score.time, "perf_counter", lambda: float(next(looks)))
    monkeypatch.setattr(score, "embed_clips", lambda *_: count["clips"])
    monkeypatch.setattr(score, "score_embeddings", lambda config, folder, workdir: {"of": folder})
    monkeypatch.setattr(score, "made_by", lambda: {"commit": "abc"})
    return count


def test_a_run_notes_its_bad_clips_its_front_end_and_its_times(embedded, tmp_path, capsys):
    bad = [{"file": "/data/fan/train/9.wav", "reason": "short"}]
    encoder = EncoderConfig(eat=None)
    folder = tmp_path / "embeddings"

    def run():
        return score.embed_and_score(
            CONFIG, encoder, {}, CLIPS, tmp_path, skipped=bad, timing={"training_seconds": 7.0}
        )

    assert run() == {"of": folder}
    noted = [{"file": "fan/train/9.wav", "reason": "short"}]
    assert read_json(folder / SKIPPED) == {"skipped": noted}
    assert read_json(folder / FRONT_END)["spacing"] == encoder.front_end.spacing
    times = {
        "training_seconds": 7.0,
        "embedding_seconds": 4.0,
        "embedding_clips_per_second": 2.0,
        "device": "cpu",
        "commit": "abc",
    }
    assert read_json(tmp_path / "timing.json") == times
    assert screen(capsys) == "8 clips embedded, 2.0 clips/s on cpu"
    embedded["clips"] = 3
    run()
    assert screen(capsys) == (
        "3 clips embedded, 0.8 clips/s on cpu 5 clips were embedded before, by these weights: "
        f"{folder}"
    )
    before = (tmp_path / "timing.json").read_bytes()
    embedded["clips"] = 0
    run()
    # A call that embeds nothing has no speed.
    assert (tmp_path / "timing.json").read_bytes() == before
    assert screen(capsys).startswith("8 clips were embedded before")


def test_of_several_processes_the_first_alone_scores(embedded, tmp_path, monkeypatch):
    monkeypatch.setattr(score.processes, "is_first", lambda: False)
    assert score.embed_and_score(CONFIG, EncoderConfig(eat=None), {}, CLIPS, tmp_path) == {}
    assert not (tmp_path / "timing.json").exists()


@pytest.fixture
def frozen(monkeypatch):
    """The calls that `embed_frozen` makes, none of which computes anything."""
    calls = Calls(monkeypatch, score)
    calls.answer("check_run")
    calls.answer("keep_compiled")
    calls.answer("note_slow_dtype")
    calls.answer("find_data", CLIPS)
    calls.answer("readable_clips", (CLIPS[1:], [{"file": "0.wav", "reason": "short"}]))
    calls.answer("with_held_out", CLIPS)
    calls.answer("frozen_encoder", ("encoder", "params"))
    calls.answer("embed_clips", 5)
    calls.answer("embed_and_score", {"official_score": 0.5})

    @contextlib.contextmanager
    def claim(run, config, clips, *, overwrite, may_change):
        calls["claim"] = (config, clips, overwrite, may_change)
        yield

    monkeypatch.setattr(Run, "claim", claim)
    return calls


def test_frozen_weights_are_named_by_the_flag_and_a_run_is_replaced_on_request(frozen, tmp_path):
    config = with_values(CONFIG, {"model.weights": "box"})
    found = score.embed_frozen(config, "mine.safetensors", tmp_path, overwrite=True)
    assert found == {"official_score": 0.5}
    wanted = with_values(CONFIG, {"model.weights": "mine.safetensors"})
    # Frozen: nothing that only a training needs is checked.
    assert frozen["check_run"] == ((wanted,), {"training": False})
    assert frozen["keep_compiled"] == ((CONFIG.compiled,), {})
    assert frozen["note_slow_dtype"] == ((wanted.model,), {})
    assert frozen["find_data"] == ((wanted, tmp_path), {"overwrite": True})
    # Recordings may change, as embeddings are made again.
    assert frozen["claim"] == (to_dict(wanted), CLIPS, True, True)
    arguments = (wanted, "encoder", "params", CLIPS, tmp_path)
    assert frozen["embed_and_score"] == (arguments, {"skipped": []})
    assert not {"readable_clips", "embed_clips"} & set(frozen)
    score.embed_frozen(config, "none", tmp_path)
    assert frozen["check_run"][0][0].model.weights == "none"
    assert frozen["find_data"][1] == {"overwrite": False} and not frozen["claim"][2]


def test_statistics_are_measured_on_the_clips_that_can_be_read(frozen, tmp_path):
    config = with_values(CONFIG, {"features.statistics": "train"})
    score.embed_frozen(config, "none", tmp_path)
    assert "with_held_out" not in frozen
    assert frozen["frozen_encoder"][0][1] == CLIPS[1:]
    assert frozen["embed_and_score"][1] == {"skipped": [{"file": "0.wav", "reason": "short"}]}


def test_the_filter_bank_needs_no_weights_and_takes_the_statistics_of_those_it_is_given(
    frozen, tmp_path
):
    config = with_values(CONFIG, {"model.encoder": "filter_bank", "model.weights": "box"})
    score.embed_frozen(config, None, tmp_path)
    assert frozen["check_run"][0] == (config,) and "note_slow_dtype" not in frozen
    score.embed_frozen(config, "mine", tmp_path)
    assert frozen["check_run"][0][0].model.weights == "mine"
    with pytest.raises(InputError, match="frozen mode needs --weights"):
        score.embed_frozen(with_values(config, {"model.encoder": "eat"}), None, tmp_path)


def test_a_worker_replaces_nothing_and_leaves_joining_and_scoring_to_others(
    frozen, tmp_path, capsys
):
    write_json(tmp_path / "config.json", to_dict(with_values(CONFIG, {"seed": 3})))
    with pytest.raises(InputError, match="differs in .*seed"):
        score.embed_frozen(CONFIG, "none", tmp_path, worker=True, overwrite=True)
    (tmp_path / "config.json").unlink()
    assert score.embed_frozen(CONFIG, "none", tmp_path, worker=True, overwrite=True) == {}
    assert frozen["find_data"][1] == {"overwrite": False}
    wanted = with_values(CONFIG, {"model.weights": "none"})
    arguments = (wanted, "encoder", "params", CLIPS, tmp_path / "embeddings")
    assert frozen["embed_clips"] == (arguments, {"join": False})
    assert not {"embed_and_score", "claim"} & set(frozen)
    assert screen(capsys).startswith("5 clips embedded here; the same command without --worker")


def test_embeddings_stay_when_a_run_fails_later_and_an_empty_folder_does_not(
    frozen, tmp_path, monkeypatch
):
    def fails(config, encoder, params, clips, workdir, *, skipped):
        (workdir / "embeddings" / "shards").mkdir(parents=True)
        if clips:
            (workdir / "embeddings" / "shards" / "encoder.npz").touch()
        raise InputError("no luck")

    monkeypatch.setattr(score, "embed_and_score", fails)
    for clips, left in ((CLIPS, True), ([], False)):
        monkeypatch.setattr(score, "with_held_out", lambda *_, clips=clips: clips)
        with pytest.raises(InputError, match="no luck"):
            score.embed_frozen(CONFIG, "none", tmp_path / str(left))
        assert (tmp_path / str(left)).exists() == left


def test_a_folder_without_test_clips_has_nothing_to_score(tmp_path):
    for machine in ("fan", "pump"):
        save(tmp_path / f"{machine}.npz", test=0)
    with pytest.raises(InputError, match=f"^{tmp_path}: no test clips of fan, pump, so there"):
        score.load_tested(Path(tmp_path))
