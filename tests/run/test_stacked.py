"""Several folders of embeddings, scored together."""

import pytest
from calls import Calls
from embedded import PLAIN, results, save

import asd_jax.evaluate
from asd_jax.config import RunConfig
from asd_jax.run import stacked
from asd_jax.run.stacked import score_folders, stack_folders
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.lock import InUse, lock_folder
from asd_jax.scoring.embeddings import Embeddings


def test_several_embeddings_of_the_same_clips_are_scored_together(command, folder, tmp_path):
    for seed, machine in enumerate(("fan", "pump")):
        save(tmp_path / "far" / f"{machine}.npz", seed=seed + 9)
    both = f"--embeddings={folder},{tmp_path / 'far'}"
    status, _, err = command(asd_jax.evaluate, both, f"--workdir={tmp_path / 'run'}", PLAIN)
    assert status == 0, err
    joined = Embeddings.load(tmp_path / "run" / "embeddings" / "fan.npz")
    assert joined.vectors.shape == (48, 2, 4)
    assert set(results(tmp_path / "run")["machines"]) == {"fan", "pump"}
    (tmp_path / "far" / "pump.npz").unlink()
    status, _, err = command(asd_jax.evaluate, both, f"--workdir={tmp_path / 'other'}", PLAIN)
    assert status == 2 and "only one has pump" in err
    assert not (tmp_path / "other").exists()
    # A run's own embeddings would be lost.
    (tmp_path / "run" / "config.json").write_text("{}")
    status, _, err = command(asd_jax.evaluate, both, f"--workdir={tmp_path / 'run'}", PLAIN)
    assert status == 2 and "holds a run, whose embeddings would be lost" in err


def test_the_folder_of_the_layers_is_named_and_an_error_names_the_machine(folder, tmp_path):
    for seed, machine in enumerate(("fan", "pump")):
        save(tmp_path / "far" / f"{machine}.npz", seed=seed + 9)
    workdir = tmp_path / "run"
    assert stack_folders([folder, tmp_path / "far"], workdir) == workdir / "embeddings"
    save(tmp_path / "far" / "pump.npz", test=5)
    with pytest.raises(InputError, match="^machine pump: .* must be of the same clips"):
        stack_folders([folder, tmp_path / "far"], tmp_path / "other")


def test_what_is_scored_is_a_run_a_folder_or_several_and_nobody_else_works_there(
    tmp_path, monkeypatch
):
    calls = Calls(monkeypatch, stacked)
    calls.answer("score_again")
    calls.answer("stack_folders", tmp_path / "stacked")
    workdir = tmp_path / "run"
    comma = tmp_path / "a,b"
    comma.mkdir()
    for folders, embeddings in (
        (None, None),
        ("one", stacked.Path("one")),
        (str(comma), comma),
        ("one,other", tmp_path / "stacked"),
    ):
        score_folders(RunConfig(), folders, workdir, tmp_path / "output", True)
        assert calls["score_again"] == (
            (RunConfig(), embeddings, workdir),
            {"everything": True, "output": tmp_path / "output"},
        )
        assert ("stack_folders" in calls) == (folders == "one,other")
    assert calls["stack_folders"][0] == (["one", "other"], workdir)
    # One folder for both is locked once.
    score_folders(RunConfig(), None, workdir, workdir, False)
    for locked in (workdir, tmp_path / "output"):
        with lock_folder(locked), pytest.raises(InUse):
            score_folders(RunConfig(), None, workdir, tmp_path / "output", False)
