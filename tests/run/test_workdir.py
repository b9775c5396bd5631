"""A workdir that holds what no run wrote: a link, somebody's own files, JSON of another shape."""

import errno
import json
import os
import shutil
from pathlib import Path
from unittest import mock

import pytest
from any_json import ANY_JSON, PROPERTY
from hypothesis import given

from asd_jax.data.clips import Clip
from asd_jax.run import workdir
from asd_jax.run.manifest import summarize_recordings
from asd_jax.run.workdir import FREE_KEYS, MOST_SEEDS, Run, config_differences
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import read_json, write_json
from asd_jax.runtime.lock import InUse

# What a run leaves, in the order of its removal: results first, the config late.
FILES = [
    "pseudo_classes.json",
    "checkpoints",
    "weights.safetensors",
    "snapshots",
    "embeddings",
    "scores",
    "results.json",
    "metrics.jsonl",
    "timing.json",
    "comparison.json",
    "report",
    "tokens",
    "pretrained.json",
    "config.json",
    "data.json",
]
RESULTS = FILES[:7]


def test_a_run_has_these_files_and_folders(tmp_path):
    run = Run(tmp_path)
    assert run.paths() == [tmp_path / name for name in FILES]
    assert run.page == tmp_path / "report" / "index.html"
    assert run.baseline == tmp_path / "embeddings" / "filter_bank"
    # The recordings are no part of the run, and outlive it.
    assert run.factory == tmp_path / "factory" and run.factory not in run.paths()


@pytest.mark.parametrize("name", FILES)
def test_a_result_is_a_file_or_a_folder_that_is_not_empty(tmp_path, name):
    run = Run(tmp_path)
    assert not run.has_results()
    path = tmp_path / name
    if "." in name:
        path.write_text("{}")
    else:
        path.mkdir()
        assert not run.has_results()
        (path / "1").touch()
    assert run.has_results() == (name in RESULTS)


def clip_of(path, content="sound", machine="fan"):
    path.write_text(content)
    return Clip(str(path), machine, "00", "train", "source", 0, "")


def test_a_claimed_folder_has_its_config_and_its_recordings_and_no_part_of_a_killed_process(
    tmp_path,
):
    run = Run(tmp_path / "run")
    clips = [clip_of(tmp_path / "a.wav")]
    folders = ["", "embeddings", "embeddings/filter_bank", "scores", "report"]
    parts = [run.workdir / folder / f".asd_jax_{0:016}.part" for folder in folders]
    for part in parts:
        part.parent.mkdir(parents=True, exist_ok=True)
        part.touch()
    with run.claim({"seed": 3}, clips):
        assert read_json(run.config) == {"seed": 3}
        assert run.read_data() == summarize_recordings(clips)
        assert not any(part.exists() for part in parts)
        with pytest.raises(InUse), run.claim({"seed": 3}, clips):
            raise AssertionError
    # Without a result, another config may begin.
    run = Run(tmp_path / "new")
    for seed in (3, 4):
        with run.claim({"seed": seed}, []):
            assert read_json(run.config) == {"seed": seed} and run.read_data() == {}


def test_the_other_processes_of_a_run_wait_until_the_first_has_claimed_the_folder(
    tmp_path, monkeypatch
):
    waits = []
    monkeypatch.setattr(workdir.processes, "wait", lambda: waits.append(1))
    with Run(tmp_path / "first").claim({}, []):
        assert waits == [1]
    monkeypatch.setattr(workdir.processes, "is_first", lambda: False)
    with Run(tmp_path / "other").claim({}, []):
        assert waits == [1, 1]
    assert not (tmp_path / "other").exists()


def test_results_of_a_seed_are_results_of_the_run(tmp_path):
    run = Run(tmp_path)
    write_json(run.config, {"seeds": 2, "seed": 0})
    (tmp_path / "seed_1").mkdir()
    (tmp_path / "seed_1" / "results.json").write_text("{}")
    with pytest.raises(InputError, match=r"differs in seed \(0 there, 1 here\)\. Use another"):
        with run.claim({"seeds": 2, "seed": 1}, []):
            raise AssertionError
    with run.claim({"seeds": 2, "seed": 1}, [], overwrite=True):
        assert not (tmp_path / "seed_1" / "results.json").exists()


def test_recordings_that_changed_are_refused_unless_all_is_made_again(tmp_path):
    run = Run(tmp_path / "run")
    clips = [clip_of(tmp_path / "a.wav"), clip_of(tmp_path / "b.wav", machine="pump")]
    with run.claim({}, clips):
        run.results.write_text("{}")
    with run.claim({}, clips):
        pass
    more = [*clips, clip_of(tmp_path / "c.wav"), clip_of(tmp_path / "d.wav", machine="valve")]
    said = r"other recordings of fan \(1 there, 2 here\), valve \(0 there, 1 here\)\. Use another"
    with pytest.raises(InputError, match=said):
        with run.claim({}, more):
            raise AssertionError
    with run.claim({}, more, may_change=True):
        assert run.read_data() == summarize_recordings(more)
    # A machine that is gone would stay in the results.
    with pytest.raises(InputError, match=r"other recordings of fan \(2 there, 0 here\), valve"):
        with run.claim({}, clips[1:2], may_change=True):
            raise AssertionError
    with pytest.raises(InputError, match="holds a run of another config"):
        with run.claim({"seed": 1}, more, may_change=True):
            raise AssertionError
    # Of a run of an earlier version, which recorded none, nothing can be compared.
    run.data.unlink()
    with run.claim({}, clips[1:2]):
        assert set(run.read_data()) == {"pump"}


def test_a_run_may_go_on_with_other_threads_or_pages_but_not_with_other_settings(tmp_path):
    run = Run(tmp_path, remedy="Do otherwise")
    run.check_config({"seed": 1})
    write_json(run.config, {key: 1 for key in FREE_KEYS} | {"data": {"threads": 1, "pad": "a"}})
    run.check_config({key: 2 for key in FREE_KEYS} | {"data": {"threads": 4, "pad": "a"}})
    said = r"data.pad \('a' there, 'b' here\)\. Do otherwise$"
    with pytest.raises(InputError, match=said):
        run.check_config({key: 1 for key in FREE_KEYS} | {"data": {"threads": 1, "pad": "b"}})


def test_only_a_run_with_checkpoints_must_go_on_from_its_own_weights(tmp_path):
    run = Run(tmp_path)
    # Neither checkpoints alone nor a note alone say from what the run began.
    run.check_origin({"source": "a", "sha256": "1"})
    run.check_origin({"source": "b", "sha256": "1"})
    run.origin.unlink()
    run.checkpoints.mkdir()
    run.check_origin({"source": "c", "sha256": "1"})
    run.check_origin({"source": "c", "sha256": "1"})
    said = r"began from other weights: sha256 \('1' there, '2' here\)\. Use another --workdir"
    with pytest.raises(InputError, match=said):
        run.check_origin({"source": "c", "sha256": "2"})
    assert read_json(run.origin) == {"source": "c", "sha256": "1"}


def test_differences_are_given_by_their_dotted_keys_in_order():
    ours = {"b": {"x": 1, "y": {"z": 2}}, "a": 1, "same": {"x": 1}}
    theirs = {"b": {"x": 1, "y": 3, "new": 4}, "same": {"x": 1}}
    assert config_differences(ours, theirs) == [
        ("a", "a (1 there, None here)"),
        ("b.new", "b.new (None there, 4 here)"),
        ("b.y", "b.y ({'z': 2} there, 3 here)"),
    ]


def test_a_machine_without_a_count_counts_as_one_that_a_run_noted(tmp_path):
    write_json(tmp_path / "data.json", {"fan": {}, "pump": {"clips": 3}})
    assert Run(tmp_path).read_data() == {"fan": {}, "pump": {"clips": 3}}
    write_json(tmp_path / "data.json", {"fan": {"clips": "3"}})
    with pytest.raises(InputError, match="'fan' is not what a run notes of a machine"):
        Run(tmp_path).read_data()


def test_overwriting_a_run_takes_a_link_and_leaves_what_it_names(tmp_path, capsys):
    run = Run(tmp_path / "run")
    run.workdir.mkdir()
    for path in run.paths():
        far = tmp_path / "far" / path.name
        far.mkdir(parents=True)
        (far / "mine").write_text("precious")
        path.symlink_to(far)
    run.remove()
    assert list(run.workdir.iterdir()) == []
    assert len(list((tmp_path / "far").glob("*/mine"))) == len(run.paths())
    said = " ".join(capsys.readouterr().out.split())
    assert said.count(": a link; it is removed, and what it names stays") == len(run.paths())


def test_a_run_is_removed_with_its_seeds_and_nothing_else(tmp_path, capsys):
    run = Run(tmp_path)
    write_json(run.config, {"seeds": 2})
    for folder in (tmp_path, tmp_path / "seed_0", tmp_path / "seed_7"):
        (folder / "embeddings").mkdir(parents=True)
        (folder / "embeddings" / "fan.npz").touch()
        (folder / "results.json").touch()
    (tmp_path / "mine.txt").touch()
    run.remove()
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")}
    own = {"seed_7", "seed_7/embeddings", "seed_7/embeddings/fan.npz", "seed_7/results.json"}
    # The folder of a seed stays, as it may hold something else.
    assert left == {"mine.txt", "seed_0", *own} and not capsys.readouterr().out


def test_a_removal_that_is_interrupted_leaves_no_result_without_its_config(tmp_path, monkeypatch):
    def interrupted(folder):
        raise KeyboardInterrupt

    run = Run(tmp_path)
    run.report.mkdir()
    for path in (run.weights, run.results, run.config):
        path.write_text("{}")
    monkeypatch.setattr("asd_jax.run.workdir.shutil.rmtree", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run.remove()
    assert run.config.exists() and not run.has_results()


def test_weights_that_another_config_left_on_its_way_are_not_taken_for_the_runs_own(tmp_path):
    """Every snapshot of the folder is embedded, and its scores are averaged."""
    run = Run(tmp_path)
    with run.claim({"seed": 0}, []):
        run.snapshots.mkdir()
        (run.snapshots / "step_0000005.safetensors").write_text("")
    with pytest.raises(InputError, match="another config; it differs in seed"):
        with run.claim({"seed": 1}, []):
            pass
    with run.claim({"seed": 1}, [], overwrite=True):
        assert not run.snapshots.exists()


def test_what_cannot_be_removed_is_named_with_its_folder(tmp_path, monkeypatch):
    run = Run(tmp_path)
    run.checkpoints.mkdir()
    busy = OSError(errno.EIO, os.strerror(errno.EIO), "d")  # as that of a file in a folder
    monkeypatch.setattr("asd_jax.run.workdir.shutil.rmtree", mock.Mock(side_effect=busy))
    with pytest.raises(InputError, match=f"{run.checkpoints}: cannot be removed .Input/output"):
        run.remove()


@pytest.mark.parametrize("seeds", ["4", 2.5, None, [1], True, 0, -1, 10**9, 10**400, {}])
def test_a_number_of_seeds_that_is_none_is_named(tmp_path, seeds):
    with pytest.raises(InputError, match="^seeds=.* must be a whole number from 1 to 1000"):
        Run(tmp_path).of_seeds(seeds)
    (tmp_path / "config.json").write_text(json.dumps({"seeds": seeds}))
    with pytest.raises(InputError, match="config.json"):
        Run(tmp_path).seeds()
    Run(tmp_path).remove()
    assert not (tmp_path / "config.json").exists()


def test_seeds_have_a_folder_each():
    assert Run("w").of_seeds(1) == []
    assert Run("w").of_seeds(MOST_SEEDS)[-1].workdir == Path("w/seed_999")
    assert [one.workdir.name for one in Run("w").of_seeds(2)] == ["seed_0", "seed_1"]


def test_the_seeds_of_a_run_are_those_of_its_config(tmp_path):
    run = Run(tmp_path)
    for config, count in ((None, 0), ({}, 0), ({"seeds": 1}, 0), ({"seeds": 3}, 3)):
        if config is not None:
            write_json(run.config, config)
        assert len(run.seeds()) == count


@PROPERTY
@given(content=ANY_JSON)
def test_a_data_json_of_any_shape_is_ours_or_refused(tmp_path, content):
    workdir = tmp_path / "run"
    shutil.rmtree(workdir, ignore_errors=True)
    (workdir / "checkpoints").mkdir(parents=True)
    (workdir / "checkpoints" / "1").touch()
    (workdir / "data.json").write_text(json.dumps(content))
    (tmp_path / "a.wav").touch()
    clip = Clip(str(tmp_path / "a.wav"), "fan", "00", "train", "source", 0, "")
    with pytest.raises(InputError, match="data.json|other recordings"):
        with Run(workdir).claim({}, [clip]):
            raise AssertionError
    assert json.loads((workdir / "data.json").read_text()) == content


def test_the_former_names_claim_and_lock_a_folder(tmp_path):
    from asd_jax.workdir import claimed, locked

    with claimed(tmp_path, {"seeds": 1}, [], overwrite=True):
        with pytest.raises(InUse), locked(tmp_path):
            raise AssertionError
    assert json.loads((tmp_path / "config.json").read_text()) == {"seeds": 1}
