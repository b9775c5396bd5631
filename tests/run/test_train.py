"""The parts of a training run: what is trained, what is read again, and a folder for each seed."""

import contextlib
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from calls import Calls

from asd_jax.config import RunConfig
from asd_jax.data.clips import Clip
from asd_jax.data.windows import Window
from asd_jax.models.encoder import EncoderConfig
from asd_jax.run import train
from asd_jax.run.cached_tokens import FILE
from asd_jax.run.train import train_and_score, train_seeds, trained_params
from asd_jax.run.workdir import Run
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import read_json
from asd_jax.runtime.settings import to_dict, with_values
from asd_jax.training.weights import load_pipeline, origin_entries, read_header


@pytest.fixture
def pipeline(encoder_file):
    return load_pipeline(encoder_file)


@pytest.fixture
def fine_tuned(monkeypatch, pipeline):
    """The calls of fine_tune, which keeps weights in step 3 and ends with twice those."""
    calls = []

    def fine_tune(encoder, pretrained, data, settings, job, *, keep):
        calls.append((pretrained, data, settings, job))
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
    ((pretrained, data, settings, job),) = fine_tuned
    assert (job.seed, job.log.every, job.workdir) == (7, 3, tmp_path)
    assert settings == config.fine_tuning
    # Without weights to begin from, there are no parameters either.
    assert pretrained is None and data.tokens is None
    assert read_json(tmp_path / "pretrained.json") == {"source": "none"}
    assert set(seconds) == {"training_seconds"} and 0 < seconds["training_seconds"] < 60


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


def test_the_bare_filter_bank_is_written_without_training(fine_tuned, tmp_path, capsys):
    encoder = EncoderConfig(eat=None)
    assert trained_params(RunConfig(), encoder, None, [], tmp_path) == ({}, {})
    assert "nothing to train" in capsys.readouterr().out
    assert read_header(tmp_path / "weights.safetensors")["source"] == "none"
    assert not fine_tuned
    assert load_pipeline(tmp_path / "weights.safetensors").config == encoder


@pytest.fixture
def changed():
    """A config whose every key that training takes differs from its default."""
    values = {
        "data.domain_in_class": True,
        "data.threads": 3,
        "model.dtype": "bfloat16",
        "parallel.shards": 0,
        "optimizer.batch_size": 16,
    }
    return with_values(RunConfig(), values)


WINDOW = Window("a.wav", "fan", "00", "train", "source", 0, "", 0, 16000)


def test_training_gets_the_clips_and_the_devices_as_the_config_has_them(
    changed, pipeline, fine_tuned, encoder_file, tmp_path, monkeypatch
):
    def change(wave, rng):
        return wave

    monkeypatch.setattr(train, "window_reader", lambda config, windows: str)
    monkeypatch.setattr("asd_jax.training.mesh.chosen_device", lambda: None)
    config = with_values(changed, {"model.weights": str(encoder_file)})
    weights = (pipeline.config.eat, {"cls": 1})
    trained_params(config, pipeline.config, weights, [WINDOW], tmp_path, change)
    ((pretrained, data, _, job),) = fine_tuned
    assert pretrained == {"cls": 1}
    assert (data.clips, data.read, data.change) == ([WINDOW], str, change)
    assert (data.with_domain, data.threads, data.resident) == (True, 3, False)
    assert job.dtype is jnp.bfloat16 and job.mesh.devices.shape == (1, 8)
    # What the weights were made from is written into every file, and noted for later.
    origin = origin_entries(str(encoder_file))
    assert read_json(tmp_path / "pretrained.json") == origin
    for name in ("weights.safetensors", "snapshots/step_0000003.safetensors"):
        assert read_header(tmp_path / name).items() >= origin.items()
    resident = with_values(changed, {"data.resident": True})
    trained_params(resident, pipeline.config, None, [], tmp_path / "resident")
    assert fine_tuned[-1][1].resident


def test_pseudo_classes_and_cached_tokens_take_the_place_of_what_is_read(
    pipeline, fine_tuned, tmp_path, monkeypatch
):
    calls = Calls(monkeypatch, train)
    calls.answer("with_pseudo_classes", [WINDOW])
    calls.answer("cached_tokens", [np.ones(3)])
    monkeypatch.setattr(train, "window_reader", lambda config, windows: str)
    values = {"data.pseudo_classes": 4}
    keys = {"strategy": "frozen", "cache_tokens": True}
    config = with_values(RunConfig(), values)
    config = dataclasses.replace(
        config,
        backbone=dataclasses.replace(config.backbone, **keys),
        augment=dataclasses.replace(config.augment, mixup="none", mask_probability=0.0),
    )
    (tmp_path / "tokens" / "000000").mkdir(parents=True)
    trained_params(config, pipeline.config, None, [], tmp_path)
    classes = tmp_path / "pseudo_classes.json"
    assert calls["with_pseudo_classes"][0] == (config, [], pipeline.config, None, classes)
    assert calls["cached_tokens"][0] == (
        config,
        pipeline.config,
        None,
        [WINDOW],
        tmp_path / "tokens",
    )
    (_, data, _, _) = fine_tuned[0]
    assert data.clips == [WINDOW] and data.tokens[0].tolist() == [1, 1, 1]
    # After training, nothing needs the tokens.
    assert not (tmp_path / "tokens").exists()


def test_checkpoints_that_began_from_other_weights_are_refused(pipeline, fine_tuned, tmp_path):
    trained_params(RunConfig(), pipeline.config, None, [], tmp_path)
    (tmp_path / "weights.safetensors").unlink()
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "pretrained.json").write_text('{"source": "elsewhere"}')
    with pytest.raises(InputError, match="began from other weights: source"):
        trained_params(RunConfig(), pipeline.config, None, [], tmp_path)


def test_a_finished_training_says_so(pipeline, fine_tuned, tmp_path, capsys):
    trained_params(RunConfig(), pipeline.config, None, [], tmp_path)
    assert "training is finished" not in capsys.readouterr().out
    trained_params(RunConfig(), pipeline.config, None, [], tmp_path)
    said = f"training is finished: {tmp_path / 'weights.safetensors'}"
    assert " ".join(capsys.readouterr().out.split()) == said


CLIPS = [Clip(f"{split}.wav", "fan", "00", split, "source", 0, "a") for split in ("train", "test")]
CLEAN = Clip("clean.wav", "fan", "00", "train", "source", 0, "clean")


@pytest.fixture
def calls(monkeypatch, pipeline):
    """The calls that `train_and_score` makes, none of which computes anything."""
    calls = Calls(monkeypatch, train)
    for name in ("check_run", "keep_compiled", "note_slow_dtype", "note_other_front_end"):
        calls.answer(name)
    for name in ("class_numbers", "embed_snapshots"):
        calls.answer(name)
    calls.answer("find_data", ["found"])
    calls.answer("pretrained_eat", "pretrained")
    calls.answer("readable_clips", (CLIPS, [{"file": "x", "reason": "y"}]))
    calls.answer("clean_clips", [CLEAN])
    calls.answer("noise_change", "change")
    calls.answer("clip_windows", [WINDOW] * 64)
    calls.answer("encoder_config", pipeline.config)
    calls.answer("trained_params", ("params", {"training_seconds": 3.0}))
    calls.answer("embed_and_score", {"official_score": 0.5})

    @contextlib.contextmanager
    def claim(run, config, clips, *, overwrite):
        calls["claim"] = (run.workdir, config, clips, overwrite)
        yield

    monkeypatch.setattr(Run, "claim", claim)
    return calls


def test_a_run_is_checked_trained_embedded_and_scored(calls, pipeline, tmp_path):
    config = with_values(RunConfig(), {"model.weights": "box", "data.domain_in_class": True})
    workdir = tmp_path / "run"
    found = train_and_score(config, workdir, tmp_path / "data", overwrite=True)
    assert found == {"official_score": 0.5}
    assert calls["check_run"] == ((config,), {})
    assert calls["keep_compiled"][0] == (config.compiled,)
    assert calls["note_slow_dtype"][0] == (config.model,)
    assert calls["find_data"] == ((config, tmp_path / "data"), {"overwrite": True})
    assert calls["pretrained_eat"][0] == (config.model, config.features.bins)
    assert calls["readable_clips"][0] == (config, ["found"])
    # Clean clips are trained on, but neither embedded nor scored.
    assert calls["clip_windows"] == ((config, [CLIPS[0], CLEAN]), {"training": True})
    assert calls["note_other_front_end"][0] == ("box", pipeline.config.front_end)
    assert calls["class_numbers"][0] == ([WINDOW] * 64, pipeline.config, True)
    assert calls["claim"] == (workdir, to_dict(config), CLIPS, True)
    assert calls["trained_params"][1] == {
        "config": config,
        "encoder": pipeline.config,
        "pretrained": "pretrained",
        "windows": [WINDOW] * 64,
        "workdir": workdir,
        "change": "change",
    }
    *given, run = calls["embed_snapshots"][0]
    assert given == [config, pipeline.config, CLIPS] and run.workdir == workdir
    assert calls["embed_and_score"] == (
        (config, pipeline.config, "params", CLIPS, workdir),
        {"skipped": [{"file": "x", "reason": "y"}], "timing": {"training_seconds": 3.0}},
    )
    train_and_score(config, workdir, workdir)
    assert calls["find_data"][1] == {"overwrite": False} and calls["claim"][-1] is False


def test_too_few_clips_for_a_step_are_refused_before_the_folder_is_claimed(
    calls, pipeline, tmp_path
):
    config = with_values(RunConfig(), {"optimizer.batch_size": 999})
    with pytest.raises(InputError, match="^optimizer.batch_size=999 is more than 10 x 64 clips"):
        train_and_score(config, tmp_path / "run", tmp_path / "run")
    assert "claim" not in calls


def test_classes_that_are_found_later_are_not_counted_before(calls, tmp_path):
    config = with_values(RunConfig(), {"data.pseudo_classes": 4})
    train_and_score(config, tmp_path, tmp_path)
    assert "class_numbers" not in calls and "note_other_front_end" in calls


def test_the_filter_bank_as_encoder_needs_no_weights_and_no_classes(calls, tmp_path):
    bare = EncoderConfig(eat=None)
    calls.answer("encoder_config", bare)
    config = with_values(RunConfig(), {"model.encoder": "filter_bank", "optimizer.batch_size": 999})
    train_and_score(config, tmp_path, tmp_path)
    assert calls["trained_params"][1]["pretrained"] is None
    assert not {"pretrained_eat", "note_other_front_end", "class_numbers"} & set(calls)


def test_a_factory_that_was_written_for_a_refused_run_is_removed(calls, tmp_path, monkeypatch):
    def fails(config, clips):
        (tmp_path / "new" / "factory").mkdir(parents=True)
        raise InputError("no luck")

    monkeypatch.setattr(train, "readable_clips", fails)
    with pytest.raises(InputError, match="no luck"):
        train_and_score(RunConfig(), tmp_path / "new", tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.fixture
def seeds(monkeypatch):
    """The runs of train_seeds, none of which is made, and the summary of them."""
    done = []
    monkeypatch.setattr(train, "check_run", lambda config: done.append("checked"))
    monkeypatch.setattr(train, "find_data", lambda *_, overwrite: done.append(overwrite) or [])
    monkeypatch.setattr(
        train,
        "summarize_seeds",
        lambda config, seeds, run: done.append((config.seeds, len(seeds), run.workdir.name)),
    )

    def train_and_score(config, workdir, data_folder, *, overwrite=False):
        assert not overwrite  # which would remove the factory of all
        if config.seed == 13:
            raise InputError("no luck")
        workdir.mkdir(parents=True)
        (workdir / "results.json").write_text("{}")
        done.append((config.seed, config.seeds, workdir.name, data_folder.name))

    monkeypatch.setattr(train, "train_and_score", train_and_score)
    return done


def test_each_seed_has_a_folder_of_its_own_and_all_share_the_data(seeds, tmp_path, capsys):
    config = with_values(RunConfig(), {"seed": 4, "seeds": 2})
    train_seeds(config, tmp_path / "run")
    of_seeds = [(4, 1, "seed_0", "run"), (5, 1, "seed_1", "run")]
    assert seeds == ["checked", False, *of_seeds, (2, 2, "run")]
    assert read_json(tmp_path / "run" / "config.json") == to_dict(config)
    said = [f"seed {4 + n}, run {n + 1} of 2: {tmp_path}/run/seed_{n}" for n in range(2)]
    assert " ".join(capsys.readouterr().out.split()) == " ".join(said)


def test_the_first_process_alone_summarises_the_seeds(seeds, tmp_path, monkeypatch):
    monkeypatch.setattr(train.processes, "is_first", lambda: False)
    monkeypatch.setattr(train.processes, "wait", lambda: None)
    train_seeds(with_values(RunConfig(), {"seeds": 2}), tmp_path / "run")
    assert seeds[-1] == (1, 1, "seed_1", "run")


def test_seeds_replace_another_run_on_request_alone(seeds, tmp_path):
    run = tmp_path / "run"
    (run / "scores").mkdir(parents=True)
    (run / "scores" / "old.csv").touch()
    (run / "config.json").write_text("{}")
    config = with_values(RunConfig(), {"seeds": 2})
    with pytest.raises(InputError, match="holds a run of another config"):
        train_seeds(config, run)
    train_seeds(config, run, overwrite=True)
    assert seeds[-4] is True and not (run / "scores").exists()


def test_one_seed_is_a_run_in_the_folder_itself(monkeypatch, tmp_path):
    calls = Calls(monkeypatch, train)
    calls.answer("check_run")
    calls.answer("train_and_score")
    for overwrite in (False, True):
        train_seeds(RunConfig(), tmp_path, overwrite=overwrite)
        wanted = ((RunConfig(), tmp_path, tmp_path), {"overwrite": overwrite})
        assert calls["train_and_score"] == wanted
    assert calls["check_run"] == ((RunConfig(),), {})


def test_seeds_that_are_done_stay_when_a_later_one_fails(seeds, tmp_path):
    config = with_values(RunConfig(), {"seed": 12, "seeds": 3})
    with pytest.raises(InputError, match="^no luck$"):
        train_seeds(config, tmp_path / "run")
    assert seeds[2:] == [(12, 1, "seed_0", "run")]
    assert (tmp_path / "run" / "seed_0" / "results.json").exists()
    # Without a seed that is done, nothing of the run stays.
    with pytest.raises(InputError, match="^no luck$"):
        train_seeds(with_values(config, {"seed": 13}), tmp_path / "other")
    assert not (tmp_path / "other").exists()
