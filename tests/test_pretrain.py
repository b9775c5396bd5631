import json

import numpy as np
import pytest
import soundfile
from clean_failure import NO_WEIGHTS, fails_cleanly

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
    ("flag", "message"),
    [
        (
            "--config.data.zoo_share=0.5",
            "--config.data.root names no folder of recordings; to pre-train on synthetic "
            "machines alone: --config.data.zoo_share=1",
        ),
        (
            "--config.data.zoo_share=2",
            "data.zoo_share=2.0 must lie in 0..1",
        ),
        (
            "--config.data.frames=100",
            "data.frames=100 must be a positive multiple of 16 x data.pieces=1",
        ),
        (
            "--config.data.root=nowhere",
            "nowhere: no such folder of recordings",
        ),
        (
            "--config.pretraining.objective=beats",
            "pretraining.objective='beats'; known: eat, masked_autoencoder, distill. Did "
            "you mean 'eat'?",
        ),
        (
            "--config.pretraining.mask_share=1.5",
            "pretraining.mask_share=1.5 must be at least 0 and below 1",
        ),
        (
            "--config.pretraining.mask_share=0",
            "pretraining.mask_share=0 hides no patch, so that nothing is left to predict",
        ),
        (
            "--config.pretraining.objective=distill",
            "pretraining.objective=distill, teachers='': distill needs teachers, and no "
            "other objective has any; e.g. --config.pretraining.objective=distill "
            "--config.pretraining.teachers=my_package.my_module:embed",
        ),
        (
            "--config.pretraining.teachers=a.b:c",
            "pretraining.objective=masked_autoencoder, teachers='a.b:c': distill needs "
            "teachers, and no other objective has any; e.g. "
            "--config.pretraining.objective=distill "
            "--config.pretraining.teachers=my_package.my_module:embed",
        ),
        (
            "--config.data.mix_share=0.5",
            "data.mix_share=0.5: only objective=distill mixes and recolours its sounds; "
            "set --config.data.mix_share=0",
        ),
        (
            "--config.data.mix_low_db=20",
            "data.mix_low_db=20.0 must not exceed mix_high_db=15.0",
        ),
        (
            "--config.pretraining.views=0",
            "pretraining.views=0 must be at least 1",
        ),
        (
            "--config.pretraining.decoder_heads=3",
            "pretraining.decoder_width=32 must be divisible by 4 and by decoder_heads=3",
        ),
        (
            "--config.log.every=0",
            "log.every=0 must be at least 1",
        ),
        (
            "--config.seed=-1",
            "seed=-1 must be at least 0",
        ),
        (
            "--config.data.resampler=linear",
            "data.resampler='linear'; known: soxr, torchaudio.",
        ),
        (
            "--config.optimizer.on_bad_loss=hope",
            "optimizer.on_bad_loss='hope'; known: stop, skip.",
        ),
        (
            "--config.optimizer.learning_rate=0",
            "optimizer.learning_rate=0.0 must be above 0",
        ),
        (
            "--config.model.file_dtype=float8",
            "model.file_dtype='float8'; known: float32, float16. Did you mean 'float32'?",
        ),
        (
            "--config.features.statistics=mine",
            "features.statistics='mine'; known: given, train.",
        ),
        (
            "--config.model.weights=none.safetensors",
            NO_WEIGHTS,
        ),
        (
            "--config.model.heads=7",
            "model: EAT width 64 must be divisible by 7 heads and by 4",
        ),
    ],
)
def test_a_wrong_value_is_named_before_anything_is_written(command, tmp_path, flag, message):
    flags = [SMOKE, f"--workdir={tmp_path / 'run'}", flag]
    fails_cleanly(command, pretrain, flags, message, tmp_path)


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
