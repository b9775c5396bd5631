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
from asd_jax.run.workdir import MOST_SEEDS, Run
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.lock import InUse


def test_overwriting_a_run_takes_a_link_and_leaves_what_it_names(tmp_path):
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
