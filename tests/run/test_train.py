"""The parts of a training run: what is trained, what is read again, and a folder for each seed."""

import dataclasses

import jax
import numpy as np
import pytest

from asd_jax.config import RunConfig
from asd_jax.models.encoder import EncoderConfig
from asd_jax.run import train
from asd_jax.run.cached_tokens import FILE
from asd_jax.run.train import train_seeds, trained_params
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.settings import with_values
from asd_jax.training.weights import load_pipeline


@pytest.fixture
def pipeline(encoder_file):
    return load_pipeline(encoder_file)


@pytest.fixture
def fine_tuned(monkeypatch, pipeline):
    """The calls of fine_tune, which keeps weights in step 3 and ends with twice those."""
    calls = []

    def fine_tune(encoder, pretrained, data, settings, job, *, keep):
        calls.append(job)
        keep(3, pipeline.params)
        return jax.tree.map(lambda x: 2 * x, pipeline.params)

    monkeypatch.setattr(train, "fine_tune", fine_tune)
    return calls


def cls_of(path):
    return load_pipeline(path).params["eat"]["cls"]


def test_the_result_and_the_weights_on_the_way_are_written(pipeline, fine_tuned, tmp_path):
    config = with_values(RunConfig(), {"seed": 7, "log.every": 3})
    params, seconds = trained_params(config, pipeline.config, None, [], tmp_path)
    first = pipeline.params["eat"]["cls"]
    np.testing.assert_array_equal(params["eat"]["cls"], 2 * first)
    np.testing.assert_array_equal(cls_of(tmp_path / "weights.safetensors"), 2 * first)
    kept = tmp_path / "snapshots" / "step_0000003.safetensors"
    np.testing.assert_array_equal(cls_of(kept), first)
    (job,) = fine_tuned
    assert (job.seed, job.log.every, job.workdir) == (7, 3, tmp_path)
    assert set(seconds) == {"training_seconds"}


def test_a_finished_training_is_read_again(pipeline, fine_tuned, tmp_path):
    trained_params(RunConfig(), pipeline.config, None, [], tmp_path)
    params, seconds = trained_params(RunConfig(), pipeline.config, None, [], tmp_path)
    assert len(fine_tuned) == 1 and seconds == {}
    np.testing.assert_array_equal(params["eat"]["cls"], 2 * pipeline.params["eat"]["cls"])


def test_tokens_that_a_killed_process_left_beside_its_weights_are_removed(
    pipeline, fine_tuned, tmp_path
):
    trained_params(RunConfig(), pipeline.config, None, [], tmp_path)
    shard = tmp_path / "tokens" / "000000"
    shard.mkdir(parents=True)
    (shard / FILE).write_bytes(b"gigabytes")
    trained_params(RunConfig(), pipeline.config, None, [], tmp_path)
    assert len(fine_tuned) == 1 and not (tmp_path / "tokens").exists()


@pytest.mark.parametrize("spoilt", ["front end", "file"])
def test_weights_of_another_front_end_and_damaged_ones_are_made_again(
    pipeline, fine_tuned, tmp_path, capsys, spoilt
):
    trained_params(RunConfig(), pipeline.config, None, [], tmp_path)
    encoder = pipeline.config
    if spoilt == "front end":
        front_end = dataclasses.replace(encoder.front_end, mean=-3.0)
        encoder = dataclasses.replace(encoder, front_end=front_end)
    else:
        (tmp_path / "weights.safetensors").write_bytes(b"damaged")
    trained_params(RunConfig(), encoder, None, [], tmp_path)
    assert len(fine_tuned) == 2
    assert load_pipeline(tmp_path / "weights.safetensors").config == encoder
    assert ("it is made again" in capsys.readouterr().out) == (spoilt == "file")


def test_the_bare_filter_bank_is_written_without_training(fine_tuned, tmp_path):
    encoder = EncoderConfig(eat=None)
    assert trained_params(RunConfig(), encoder, None, [], tmp_path) == ({}, {})
    assert not fine_tuned
    assert load_pipeline(tmp_path / "weights.safetensors").config == encoder


@pytest.fixture
def seeds(monkeypatch):
    """The runs of train_seeds, none of which is made, and the summary of them."""
    done = []
    monkeypatch.setattr(train, "check_run", lambda config: None)
    monkeypatch.setattr(train, "find_data", lambda *_, **__: [])
    monkeypatch.setattr(
        train, "summarize_seeds", lambda config, seeds, run: done.append(len(seeds))
    )

    def train_and_score(config, workdir, data_folder, **_):
        if config.seed == 13:
            raise InputError("no luck")
        workdir.mkdir(parents=True)
        (workdir / "results.json").write_text("{}")
        done.append((config.seed, config.seeds, workdir.name, data_folder.name))

    monkeypatch.setattr(train, "train_and_score", train_and_score)
    return done


def test_each_seed_has_a_folder_of_its_own_and_all_share_the_data(seeds, tmp_path):
    config = with_values(RunConfig(), {"seed": 4, "seeds": 2})
    train_seeds(config, tmp_path / "run")
    assert seeds == [(4, 1, "seed_0", "run"), (5, 1, "seed_1", "run"), 2]


def test_seeds_that_are_done_stay_when_a_later_one_fails(seeds, tmp_path):
    config = with_values(RunConfig(), {"seed": 12, "seeds": 3})
    with pytest.raises(InputError, match="^no luck$"):
        train_seeds(config, tmp_path / "run")
    assert seeds == [(12, 1, "seed_0", "run")]
    assert (tmp_path / "run" / "seed_0" / "results.json").exists()
