import json

import numpy as np
import pytest
import soundfile

from asd_jax import pretrain
from asd_jax.training.weights import load_encoder, load_pipeline, read_weights

SMOKE = "--config=configs/pretrain_tiny.py:smoke"
DISTILL = "--config=configs/distill_tiny.py:smoke"


def test_it_leaves_weights_that_embed(command, tmp_path):
    status, out, err = command(pretrain, SMOKE, f"--workdir={tmp_path}")
    assert status == 0, err
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["step"] == 6 and {"loss", "target_spread", "prediction_spread"} <= set(rows[-1])
    pipeline = load_pipeline(tmp_path / "weights.safetensors")
    assert pipeline.embed(np.zeros((2, 16000), np.float32)).shape == (2, 8, 64)
    assert pipeline.config.front_end.spacing == "even" and pipeline.config.front_end.mean != -4.268


@pytest.mark.slow
def test_recordings_and_zoo_mix_and_the_file_can_be_continued(command, tmp_path, recordings):
    flags = (SMOKE, f"--config.data.root={recordings}", "--config.data.zoo_share=0.5")
    status, _, err = command(pretrain, *flags, f"--workdir={tmp_path / 'first'}")
    assert status == 0, err
    first = tmp_path / "first" / "weights.safetensors"
    flags += (
        f"--config.model.weights={first}",
        "--config.features.spacing=mel",
        "--config.optimizer.learning_rate=1e-9",
    )
    status, _, err = command(pretrain, *flags, f"--workdir={tmp_path / 'second'}")
    assert status == 0, err
    second = tmp_path / "second" / "weights.safetensors"
    assert read_weights(second)[1]["source"] == "weights.safetensors"
    before, after = (load_encoder(path)[1]["block_0"]["fc1"]["kernel"] for path in (first, second))
    np.testing.assert_allclose(before, after, atol=1e-6)  # the learning rate is next to nothing
    left = second.read_bytes()
    first.write_bytes(left)
    status, _, err = command(pretrain, *flags, f"--workdir={tmp_path / 'second'}")
    assert status == 2 and "began from other weights: sha256" in err
    soundfile.write(recordings / "new.wav", np.zeros(30000), 16000)
    status, _, err = command(pretrain, *flags, f"--workdir={tmp_path / 'second'}")
    assert (
        status == 2
        and "other recordings of data.root (3 there, 4 here)" in err
        and second.read_bytes() == left
    )


@pytest.mark.parametrize(
    ("flag", "named"),
    [
        ("--config.data.zoo_share=0.5", "data.root"),
        ("--config.data.zoo_share=2", "zoo_share"),
        ("--config.data.frames=100", "data.frames"),
        ("--config.data.root=nowhere", "nowhere"),
        ("--config.pretraining.objective=beats", "objective"),
        ("--config.pretraining.mask_share=1.5", "mask_share"),
        ("--config.pretraining.mask_share=0", "mask_share=0 hides no patch"),
        ("--config.pretraining.objective=distill", "distill needs teachers"),
        ("--config.pretraining.teachers=a.b:c", "no other objective has any"),
        ("--config.data.mix_share=0.5", "set --config.data.mix_share=0"),
        ("--config.data.mix_low_db=20", "mix_low_db=20.0 must not exceed mix_high_db=15.0"),
        ("--config.pretraining.views=0", "pretraining.views=0 must be at least 1"),
        ("--config.pretraining.decoder_heads=3", "decoder_width"),
        ("--config.log.every=0", "log.every=0 must be at least 1"),
        ("--config.seed=-1", "seed=-1 must be at least 0"),
        ("--config.data.resampler=linear", "known: soxr, torchaudio"),
        ("--config.optimizer.on_bad_loss=hope", "known: stop, skip"),
        ("--config.optimizer.learning_rate=0", "optimizer.learning_rate"),
        ("--config.model.file_dtype=float8", "file_dtype"),
        ("--config.features.statistics=mine", "statistics"),
        ("--config.model.weights=none.safetensors", "none.safetensors"),
        ("--config.model.heads=7", "heads"),
    ],
)
def test_a_wrong_value_is_named_before_anything_is_written(command, tmp_path, flag, named):
    status, _, err = command(pretrain, SMOKE, f"--workdir={tmp_path / 'run'}", flag)
    assert status == 2 and named in err and not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_collapse_stops_the_run(command, tmp_path):
    flags = ("--config.pretraining.objective=eat", "--config.pretraining.decoder_groups=4")
    flags += ("--config.pretraining.least_spread=10", "--config.optimizer.warmup_fraction=0.5")
    status, _, err = command(pretrain, SMOKE, f"--workdir={tmp_path}", *flags)
    assert status == 2 and "collapsed" in err and "step 4" in err


@pytest.mark.slow
def test_the_smoke_run_needs_no_teacher_but_the_encoder_of_the_package(command, tmp_path):
    status, _, err = command(pretrain, DISTILL, f"--workdir={tmp_path}")
    assert status == 0, err
    assert load_pipeline(tmp_path / "weights.safetensors").config.front_end.mean != -4.268
