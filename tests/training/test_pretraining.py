import dataclasses
import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.traverse_util import flatten_dict
from golden_eat import flax_names, golden_eat

from asd_jax.features.front_end import FrontEnd, SimAM
from asd_jax.models.eat import EAT, EATConfig
from asd_jax.runtime.errors import InputError
from asd_jax.training import pretraining
from asd_jax.training.optimizer import learning_rate_schedule
from asd_jax.training.pretraining import (
    Student,
    abstract_decoder,
    initial_state,
    losses,
    make_pretraining_step,
)
from asd_jax.training.settings import OBJECTIVES, Pretraining
from convert.eat import convert

CHECKPOINT = Path(__file__).parents[1] / "golden" / "tiny_eat_fairseq.pt"
CONFIG = EATConfig(embed_dim=48, depth=3, num_heads=4)
SETTINGS = Pretraining(decoder_layers=2, mask_noise=0.0)
SMALL = EATConfig(embed_dim=32, depth=2, num_heads=2)
SMALL_SETTINGS = Pretraining(
    steps=8, batch_size=2, views=2, decoder_layers=1, learning_rate=1e-3, warmup_fraction=0.1
)
EVEN = FrontEnd(simam=SimAM("none"))


@pytest.fixture(scope="module")
def reference(golden):
    return golden("pretrain")


@pytest.fixture(scope="module")
def published(reference):
    """(student and decoder, teacher, spectrogram, kept patches) of the golden step."""
    _, student = convert(CHECKPOINT, with_decoder=True)
    _, teacher = convert(CHECKPOINT, weights="ema")
    decoder = student.pop("decoder")
    x = jnp.asarray(reference["x"][:, 0], jnp.float32)
    kept = np.stack([np.flatnonzero(row == 0) for row in reference["mask"]]).reshape(2, 2, -1)
    return {"eat": student, "decoder": decoder}, teacher, x, jnp.asarray(kept, jnp.int32)


@pytest.fixture(scope="module")
def step(published):
    params, teacher, x, kept = published

    def loss(params):
        return losses(Student(CONFIG, SETTINGS), params, teacher, x, kept, jax.random.key(0))

    (value, parts), gradients = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
    return value, parts, gradients


def test_targets_are_the_public_codes(published, reference):
    _, teacher, x, _ = published
    ffn = jax.jit(EAT(CONFIG).apply)({"params": teacher}, x)[1]["ffn"]
    # Measured 2.4e-6 and 7.5e-6.
    np.testing.assert_allclose(ffn[-1][:, 1:], reference["teacher_ffn_last"], rtol=0, atol=5e-6)
    np.testing.assert_allclose(
        pretraining.teacher_targets(ffn), reference["targets"], rtol=0, atol=1.5e-5
    )


def test_predictions_are_the_public_codes(published, reference):
    params, _, x, kept = published
    rows = kept.reshape(4, -1)
    student, _ = jax.jit(EAT(CONFIG).apply)({"params": params["eat"]}, x, kept)
    decode = functools.partial(pretraining.decoder_of(SETTINGS).apply, times=16, bands=8)
    noise = {"noise": jax.random.key(0)}
    predictions = jax.jit(decode)({"params": params["decoder"]}, student[:, 1:], rows, rngs=noise)
    masked = np.asarray(predictions)[reference["mask"].astype(bool)]
    np.testing.assert_allclose(masked, reference["pred_masked"], rtol=0, atol=2e-5)
    np.testing.assert_allclose(student[:, 0], reference["cls_pred"], rtol=0, atol=2e-5)


def test_losses_are_the_public_codes(step, reference):
    value, parts, _ = step
    size = float(reference["sample_size"])
    assert float(parts["frame_loss"]) == pytest.approx(
        float(reference["loss_frame_sum"]) / size, rel=1e-6
    )
    assert float(parts["utterance_loss"]) == pytest.approx(
        float(reference["loss_cls_sum"]) / size, rel=1e-6
    )
    assert float(value) == pytest.approx(float(reference["loss_total_over_sample_size"]), rel=1e-6)
    assert float(parts["prediction_spread"]) == pytest.approx(
        float(reference["pred_var"]), rel=1e-5
    )
    assert float(parts["target_spread"]) == pytest.approx(float(reference["target_var"]), rel=1e-5)


def test_gradients_are_the_public_codes(step, reference):
    _, _, gradients = step
    encoder = flatten_dict(gradients["eat"])
    decoder = flatten_dict(gradients["decoder"])
    theirs = {
        name.removeprefix("grad:"): reference[name]
        for name in reference
        if name.startswith("grad:")
    }
    convolution = theirs.pop("modality_encoders.IMAGE.decoder.blocks.0.0.weight").transpose(
        2, 3, 1, 0
    )
    bias = theirs.pop("modality_encoders.IMAGE.decoder.proj.bias")
    pairs = {("conv_0", "kernel"): convolution, ("out", "bias"): bias}
    errors = {name: relative(decoder[name], value) for name, value in pairs.items()}
    errors |= {
        name: relative(encoder[name], value)
        for name, value in flatten_dict(flax_names(theirs)).items()
    }
    assert len(errors) == 7
    assert max(errors.values()) < 4e-6, errors  # measured 1.9e-6


def relative(ours, theirs):
    return np.abs(np.asarray(ours) - np.asarray(theirs)).max() / np.abs(theirs).max()


def test_schedules_are_the_published_ones(reference):
    peak, low, warmup, total = reference["lr_pretrain_base_cfg"]
    assert low == 0
    schedule = learning_rate_schedule(peak, int(total), Pretraining.warmup_fraction)
    ours = [float(schedule(n)) for n in reference["lr_pretrain_base_steps"]]
    # step 1: 3.7e-12
    np.testing.assert_allclose(ours, reference["lr_pretrain_base"], rtol=1e-5, atol=8e-12)
    start, end, steps = reference["ema_cfg"]
    settings = Pretraining(ema_start=start, ema_end=end, ema_steps=int(steps))
    ours = [
        float(pretraining.teacher_decay(settings, jnp.asarray(n))) for n in reference["ema_steps"]
    ]
    np.testing.assert_allclose(ours, reference["ema_decay"], rtol=1e-7)


def test_the_order_of_kept_patches_does_not_matter():
    params = golden_eat()
    x = jax.random.normal(jax.random.key(1), (1, 64, 128))
    kept = jnp.array([[[3, 9, 14, 30]]])
    apply = jax.jit(EAT(CONFIG).apply)
    forward, _ = apply({"params": params}, x, kept)
    backward, _ = apply({"params": params}, x, kept[..., ::-1])
    np.testing.assert_allclose(forward[:, 1:], backward[:, 1:][:, ::-1], rtol=0, atol=5e-6)


def test_keeping_every_patch_is_the_plain_encoder():
    params = golden_eat()
    x = jax.random.normal(jax.random.key(1), (2, 32, 128))
    plain, _ = jax.jit(EAT(CONFIG).apply)({"params": params}, x)
    kept, _ = jax.jit(EAT(CONFIG).apply)({"params": params}, x, jnp.tile(jnp.arange(16), (2, 1, 1)))
    np.testing.assert_allclose(kept, plain, rtol=0, atol=5e-6)


@pytest.mark.slow
@pytest.mark.parametrize("objective", sorted({*OBJECTIVES} - {"distill"}))  # test_distillation.py
def test_a_few_steps_lower_the_loss(objective):
    settings = dataclasses.replace(
        SMALL_SETTINGS, objective=objective, weighting="mean", decoder_width=32
    )
    optimizer = optax.adam(1e-3)
    student = Student(SMALL, settings)
    state = initial_state(student, optimizer, jax.random.key(0))
    take = jax.jit(
        make_pretraining_step(student, EVEN, optimizer, lambda step: 1e-3),
        donate_argnums=0,
    )
    batch = {"wave": jax.random.normal(jax.random.key(1), (2, 400 + 63 * 160)) * 0.1}
    seen = []
    for _ in range(30):
        state, metrics = take(state, batch, jax.random.key(2))
        seen.append(float(metrics["loss"]))
    assert np.mean(seen[-5:]) < 0.9 * np.mean(seen[:5])
    assert bool(state.teacher) == (objective == "eat")


@pytest.mark.slow
def test_the_teacher_follows_the_student_by_its_decay():
    settings = dataclasses.replace(SMALL_SETTINGS, ema_start=0.75, ema_end=0.75)
    optimizer = optax.sgd(0.1)
    student = Student(SMALL, settings)
    state = initial_state(student, optimizer, jax.random.key(0))
    before = jax.tree.map(np.asarray, state.teacher)
    take = jax.jit(make_pretraining_step(student, EVEN, optimizer, lambda step: 0.1))
    state, _ = take(
        state, {"wave": jax.random.normal(jax.random.key(1), (2, 10480)) * 0.1}, jax.random.key(2)
    )
    expected = jax.tree.map(lambda old, new: 0.75 * old + 0.25 * new, before, state.params["eat"])
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-6), state.teacher, expected
    )
    moved = [
        np.abs(a - b).max()
        for a, b in zip(*map(jax.tree.leaves, (before, state.teacher)), strict=True)
    ]
    assert max(moved) > 0


def test_pixels_are_normalised_patch_by_patch():
    x = jax.random.normal(jax.random.key(0), (1, 32, 128)) * 3 + 5
    pixels = np.asarray(pretraining.patch_pixels(x), np.float64)
    patch = np.asarray(x, np.float64)[0, 16:32, 16:32].ravel()  # time 1, band 1: number 9
    np.testing.assert_allclose(
        pixels[0, 9], (patch - patch.mean()) / np.sqrt(patch.var() + 1e-6), atol=1e-5
    )


def test_a_decoder_that_cannot_be_is_named():
    with pytest.raises(
        InputError, match="`decoder_groups=5` does not divide the encoder.s width, 32"
    ):
        abstract_decoder(SMALL, Pretraining(decoder_groups=5))
    with pytest.raises(InputError, match="decoder_kernel=2 must be odd"):
        Pretraining(decoder_kernel=2)
