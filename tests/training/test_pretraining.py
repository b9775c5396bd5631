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
from asd_jax.models.decoder import ConvolutionDecoder, PixelDecoder
from asd_jax.models.eat import EAT, EATConfig
from asd_jax.runtime.errors import InputError
from asd_jax.training import pretraining
from asd_jax.training.distillation import TargetScale
from asd_jax.training.loop import BadState
from asd_jax.training.optimizer import learning_rate_schedule
from asd_jax.training.pretraining import (
    CollapseWatch,
    PretrainingState,
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
TINY = EATConfig(embed_dim=16, depth=1, num_heads=2)
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


def test_a_step_updates_the_student_and_the_teacher_follows_it_by_its_decay(monkeypatch):
    """With a loss of two parameters in place of EAT's."""
    seen = []

    def squares(student, params, teacher, spectrogram, kept, key):
        seen.append((teacher, spectrogram, kept))
        return jnp.square(params["eat"]["w"]).sum(), {"frame_loss": 2 * params["decoder"]["v"]}

    def distilled(config, scales, params, spectrogram, kept, batch, dtype):
        assert (config, dtype, scales[0].name) == (TINY, jnp.bfloat16, "a")
        assert "target_0" in batch and kept.shape == (2, 1, 1) and (spectrogram == 700).all()
        return jnp.abs(params["eat"]["w"]).max() + params["decoder"]["v"], {"explained_0": 0.25}

    monkeypatch.setattr(pretraining, "losses", squares)
    monkeypatch.setattr(pretraining, "_kept", lambda *of: jnp.zeros((2, 1, 1), jnp.int32))
    monkeypatch.setattr(FrontEnd, "spectrogram", lambda self, wave: jnp.ones((2, 32, 128)))
    monkeypatch.setattr(FrontEnd, "attend", lambda self, x, mode, samples: x * samples)
    settings = dataclasses.replace(SMALL_SETTINGS, ema_start=0.75, ema_end=0.95, ema_steps=4)
    optimizer = optax.sgd(0.25)
    params = {"eat": {"w": jnp.array([3.0, 4.0])}, "decoder": {"v": jnp.array(1.0)}}
    teacher = {"w": jnp.array([0.0, 8.0])}
    state = PretrainingState(jnp.int32(2), params, optimizer.init(params), teacher)
    step = make_pretraining_step(Student(TINY, settings), EVEN, optimizer, lambda n: 0.1 * n)
    after, metrics = step(state, {"wave": jnp.ones((2, 700))}, jax.random.key(2))
    assert seen[0][0] is teacher and (seen[0][1] == 700).all() and seen[0][2].shape == (2, 1, 1)
    # The gradient is twice the parameters; half of the way from 0.75 to 0.95 is done.
    assert int(after.step) == 3 and after.params["eat"]["w"].tolist() == [1.5, 2.0]
    np.testing.assert_allclose(after.teacher["w"], [0.15 * 1.5, 0.85 * 8 + 0.15 * 2], rtol=1e-6)
    found = {name: float(value) for name, value in metrics.items()}
    expected = {"loss": 25.0, "learning_rate": 0.2, "gradient_norm": 10.0, "frame_loss": 2.0}
    assert found == pytest.approx(expected, rel=1e-6)
    monkeypatch.setattr(pretraining, "distillation_losses", distilled)
    other = dataclasses.replace(settings, objective="distill", teachers="a.b:c")
    scales = (TargetScale("a", np.zeros(3, np.float32), 0.5),)
    student = Student(TINY, other, jnp.bfloat16, scales)
    step = make_pretraining_step(student, EVEN, optimizer, lambda n: 0.1 * n)
    batch = {"wave": jnp.ones((2, 700)), "target_0": jnp.ones((2, 1, 3))}
    _, metrics = step(state, batch, jax.random.key(2))
    assert float(metrics["loss"]) == 5.0 and float(metrics["explained_0"]) == 0.25
    without = step(state._replace(teacher={}), batch, jax.random.key(2))
    assert without[0].teacher == {}


def test_the_optimiser_is_that_of_the_settings(monkeypatch):
    seen = []

    def recorded(*arguments, **options):
        seen.append((arguments, options))
        return optax.identity()

    monkeypatch.setattr(pretraining, "adamw", recorded)
    settings = Pretraining(
        steps=40,
        learning_rate=0.5,
        warmup_fraction=0.2,
        weight_decay=0.3,
        clip_norm=2.0,
        decay_everything=False,
    )
    _, schedule = pretraining.make_optimizer(settings)
    options = {"weight_decay": 0.3, "clip_norm": 2.0, "b2": 0.95, "decay_everything": False}
    assert seen == [((schedule,), options)]
    assert [float(schedule(n)) for n in (0, 4, 8, 40)] == [0, 0.25, 0.5, 0]


def test_the_decoder_is_that_of_the_settings():
    settings = Pretraining(
        decoder_layers=2,
        decoder_kernel=5,
        decoder_groups=4,
        mask_noise=0.1,
        decoder_width=32,
        decoder_heads=2,
    )
    decoder = ConvolutionDecoder(2, 5, 4, 0.1, jnp.bfloat16)
    assert Student(SMALL, settings, jnp.bfloat16).decoder == decoder
    pixels = dataclasses.replace(settings, objective="masked_autoencoder")
    assert pretraining.decoder_of(pixels) == PixelDecoder(2, 32, 2, jnp.float32)


@pytest.mark.parametrize("objective", ["eat", "masked_autoencoder", "distill"])
def test_pretraining_starts_from_what_is_given_with_a_teacher_where_one_teaches(
    monkeypatch, objective
):
    monkeypatch.setattr(EAT, "init", lambda self, key, x: {"params": {"w": jnp.ones(2)}})
    decoder = {"v": jnp.full(2, 3.0)}
    heads = {"u": jnp.full(3, 4.0)}
    monkeypatch.setattr(pretraining, "_initial_decoder", lambda config, settings, key: decoder)
    monkeypatch.setattr(pretraining, "initial_heads", lambda config, scales, key: heads)
    teachers = "a.b:c" if objective == "distill" else ""
    settings = dataclasses.replace(SMALL_SETTINGS, objective=objective, teachers=teachers)
    student = Student(TINY, settings)
    assert (student.dtype, student.scales) == (jnp.float32, ())
    state = initial_state(student, optax.trace(0.9), jax.random.key(0))
    given = initial_state(
        student, optax.trace(0.9), jax.random.key(0), {"eat": {"w": jnp.zeros(2)}}
    )
    own = heads if objective == "distill" else decoder
    for found, value in ((state, 1), (given, 0)):
        assert int(found.step) == 0 and found.params["eat"]["w"].tolist() == [value] * 2
        jax.tree.map(np.testing.assert_array_equal, found.params["decoder"], own)
        assert jax.tree.map(jnp.shape, found.optimizer.trace) == jax.tree.map(
            jnp.shape, found.params
        )
        if objective == "eat":
            assert found.teacher["w"].tolist() == [value] * 2
            # A buffer of its own, because a step donates that of the student.
            assert found.teacher["w"] is not found.params["eat"]["w"]
        else:
            assert found.teacher == {}


LOSS_PARTS = (jnp.float32(3.0), jnp.float32(8.0))


@pytest.mark.parametrize(
    ("changes", "frame", "utterance", "total"),
    [
        ({}, 3 / 12, 8.0, 3 / 12 + 8.0),
        ({"weighting": "mean"}, 3 / 12, 8 / 4, 3 / 12 + 8 / 4),
        ({"utterance_weight": 0.5}, 3 / 12, 8.0, 3 / 12 + 4.0),
    ],
)
def test_the_losses_are_weighted_as_the_settings_say(monkeypatch, changes, frame, utterance, total):
    """Two clips of four patches, of which each of two views hides three."""
    shapes = {}

    def recorded(predictions, cls, targets, masked):
        shapes.update(cls=cls.shape, targets=targets.shape, masked=masked.tolist())
        np.testing.assert_array_equal(targets[0], targets[1])
        return LOSS_PARTS

    def applied(self, variables, *arguments, **options):
        if isinstance(self, ConvolutionDecoder):
            shapes.update(options)
            return jnp.ones((4, 4, 16))
        tokens = jnp.ones((2, 5, 16)) * jnp.arange(2)[:, None, None]
        return jnp.ones((4, 2, 16)), {"ffn": [tokens]}

    monkeypatch.setattr(pretraining, "eat_losses", recorded)
    monkeypatch.setattr(EAT, "apply", applied)
    monkeypatch.setattr(ConvolutionDecoder, "apply", applied)
    student = Student(
        dataclasses.replace(TINY, mel_bins=32), dataclasses.replace(SMALL_SETTINGS, **changes)
    )
    params = {"eat": {}, "decoder": {}}
    kept = jnp.array([[[0], [1]], [[2], [3]]], jnp.int32)
    key = jax.random.key(0)
    loss, parts = losses(student, params, {}, jnp.ones((2, 32, 32)), kept, key)
    assert (
        shapes["rngs"] == {"noise": key}
        and shapes["targets"] == (4, 4, 16)
        and shapes["cls"] == (4, 16)
    )
    assert shapes["masked"] == (1 - np.eye(4)).tolist()
    found = [float(value) for value in (parts["frame_loss"], parts["utterance_loss"], loss)]
    assert found == pytest.approx([frame, utterance, total])


def test_a_masked_autoencoder_predicts_the_pixels_of_masked_patches(monkeypatch):
    """The loss is the mean squared error there alone."""
    x = jax.random.normal(jax.random.key(0), (1, 32, 32))
    pixels = pretraining.patch_pixels(x)
    off = jnp.array([9.0, 1.0, 2.0, 3.0])[None, :, None]

    def applied(self, variables, *arguments, **options):
        return jnp.ones((1, 2, 16)), {}

    monkeypatch.setattr(EAT, "apply", applied)
    monkeypatch.setattr(PixelDecoder, "apply", lambda *of, **options: pixels + off)
    settings = dataclasses.replace(SMALL_SETTINGS, objective="masked_autoencoder")
    student = Student(dataclasses.replace(TINY, mel_bins=32), settings)
    params = {"eat": {}, "decoder": {}}
    kept = jnp.zeros((1, 1, 1), jnp.int32)
    loss, parts = losses(student, params, {}, x, kept, jax.random.key(0))
    assert float(loss) == pytest.approx((1 + 4 + 9) / 3, rel=1e-6)
    assert set(parts) == {"target_spread", "prediction_spread"}


def test_the_patches_that_are_kept_are_those_of_the_settings(monkeypatch):
    seen = []

    def recorded(*arguments, **options):
        seen.append((arguments, options))
        return jnp.zeros((3, 2, 5), jnp.int32)

    monkeypatch.setattr(pretraining, "kept_patches", recorded)
    settings = Pretraining(views=2, mask_share=0.6, mask_adjust=0.2, mask_block=3)
    key = jax.random.key(0)
    pretraining._kept(Student(SMALL, settings), jnp.zeros((3, 64, 128)), key)
    options = {"mask_share": 0.6, "adjust": 0.2, "block": 3}
    assert seen == [((key, 3, 2, (4, 8)), options)]


def test_a_collapse_is_noticed_only_below_the_least_spread_and_after_the_warm_up():
    settings = dataclasses.replace(SMALL_SETTINGS, steps=30, warmup_fraction=0.1, least_spread=0.2)
    watch = CollapseWatch.of(settings)
    assert (watch.least, watch.after) == (0.2, 3) and "ema_start" in watch.advice
    watch(3, {"target_spread": 0.1})
    watch(4, {"target_spread": 0.2, "prediction_spread": 0.2, "loss": 0.0})
    for name in ("target_spread", "prediction_spread"):
        with pytest.raises(BadState, match=f"step 4: .*, {name} is 0.19 [(]least_spread 0.2[)]"):
            watch(4, {name: 0.19})
    fixed = CollapseWatch.of(dataclasses.replace(settings, objective="masked_autoencoder"))
    assert (fixed.least, fixed.advice) == (0.0, "")


def test_pixels_are_normalised_patch_by_patch():
    x = jax.random.normal(jax.random.key(0), (1, 32, 128)) * 3 + 5
    pixels = np.asarray(pretraining.patch_pixels(x), np.float64)
    patch = np.asarray(x, np.float64)[0, 16:32, 16:32].ravel()  # time 1, band 1: number 9
    np.testing.assert_allclose(
        pixels[0, 9], (patch - patch.mean()) / np.sqrt(patch.var() + 1e-6), atol=1e-5
    )
    # The 1e-6 keeps a patch that hardly varies from being all noise.
    quiet = np.asarray(pretraining.patch_pixels(x / 3000), np.float64)[0, 9]
    variance = (patch / 3000).var() / ((patch / 3000).var() + 1e-6)
    assert quiet.var() == pytest.approx(variance, rel=1e-4) and 0.4 < variance < 0.6


def test_places_of_one_vector_have_a_spread_of_a_thousandth():
    masked = jnp.ones((2, 4))
    assert float(pretraining.channel_std(jnp.ones((2, 4, 3)), masked)) == pytest.approx(1e-3)


@pytest.mark.parametrize("objective", ["eat", "masked_autoencoder"])
def test_the_shapes_of_a_decoder_follow_from_one_patch(objective):
    settings = dataclasses.replace(SMALL_SETTINGS, objective=objective, decoder_width=32)
    tokens = jnp.zeros((2, 5, TINY.embed_dim))
    kept = jnp.zeros((2, 5), jnp.int32)
    keys = {"params": jax.random.key(0), "noise": jax.random.key(0)}
    init = functools.partial(pretraining.decoder_of(settings).init, times=4, bands=8)
    whole = jax.eval_shape(init, keys, tokens, kept)["params"]
    assert whole and abstract_decoder(TINY, settings) == whole


def test_a_decoder_that_cannot_be_is_named():
    with pytest.raises(
        InputError, match="`decoder_groups=5` does not divide the encoder.s width, 32"
    ):
        abstract_decoder(SMALL, Pretraining(decoder_groups=5))
    with pytest.raises(InputError, match="decoder_kernel=2 must be odd"):
        Pretraining(decoder_kernel=2)
