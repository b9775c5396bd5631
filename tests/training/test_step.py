import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.traverse_util import flatten_dict

from asd_jax.features.front_end import FrontEnd, SimAM
from asd_jax.models.adacos import AdaCos
from asd_jax.models.adaproj import AdaProj
from asd_jax.models.arcface import ArcFace, arcface_loss
from asd_jax.models.eat import EATConfig
from asd_jax.models.encoder import Encoder, EncoderConfig, Pooling
from asd_jax.training import step
from asd_jax.training.loss import augmented_batch
from asd_jax.training.optimizer import Layerwise, split
from asd_jax.training.settings import FineTuning
from asd_jax.training.step import (
    final_params,
    initial_state,
    make_head,
    make_loss_and_gradients,
    make_optimizer,
    make_train_step,
)
from asd_jax.training.weights import random_eat

CONFIG = EncoderConfig(
    FrontEnd(simam=SimAM("local")), EATConfig(16, 2, 2), Pooling(embedding_dim=8)
)
KEY = jax.random.key(0)
BATCH = {
    "wave": 0.1 * jax.random.normal(KEY, (8, 5200)),
    "label": jnp.arange(8) % 3,
    "simam_mode": jnp.full(8, 2),
}


def parts(**changes):
    settings = FineTuning(
        **{"batch_size": 8, "learning_rate": 1e-2, "warmup_fraction": 0.0} | changes
    )
    encoder = Encoder(
        CONFIG, lora=settings.lora, drop_path=settings.drop_path, remat=settings.remat
    )
    head = make_head(3, settings)
    (optimizer, schedule) = make_optimizer(settings, 4, CONFIG.eat.depth)
    state = initial_state(
        encoder, head, optimizer, settings, key=KEY, wave=np.zeros(5200, np.float32)
    )
    return settings, state, encoder, head, optimizer, schedule


def trained(steps=4, **changes):
    """(settings, states before and after every step, metrics)."""
    settings, state, *rest = parts(**changes)
    take = jax.jit(make_train_step(*rest, settings))
    states = [state]
    metrics = []
    for _ in range(steps):
        state, found = take(state, BATCH, KEY)
        states.append(state)
        metrics.append(found)
    return settings, states, metrics


def moved(before, after):
    """Paths of the parameters that differ by at least a bit."""
    before = flatten_dict(before, sep="/")
    after = flatten_dict(after, sep="/")
    return {path for path in before if not np.array_equal(before[path], after[path])}


@pytest.fixture(scope="module")
def whole():
    return gradients(accumulate=1)


def gradients(**changes):
    settings, state, encoder, head, *_ = parts(
        mixup="spectrogram", mixup_probability=1.0, **changes
    )
    both = split(state.params, settings.trains)
    return jax.jit(make_loss_and_gradients(encoder, head, settings))(*both, state.head, BATCH, KEY)


def test_two_parts_of_a_batch_give_the_gradients_of_the_whole(whole):
    in_parts = gradients(accumulate=2)
    assert in_parts[2]["loss"] == pytest.approx(float(whole[2]["loss"]), rel=1e-6)
    largest = max(float(jnp.abs(g).max()) for g in jax.tree.leaves(whole[0]))
    for ours, one in zip(jax.tree.leaves(in_parts[0]), jax.tree.leaves(whole[0]), strict=True):
        np.testing.assert_allclose(ours, one, rtol=0, atol=1e-6 * largest)


@pytest.mark.slow
def test_augmentation_comes_before_simam():
    settings, state, encoder, head, *_ = parts(mixup="spectrogram", mixup_probability=1.0)
    both = split(state.params, settings.trains)
    labels = jax.nn.one_hot(BATCH["label"], 3)
    wave, labels, augment = augmented_batch(BATCH["wave"], labels, KEY, settings)
    spectrogram = augment(CONFIG.front_end.spectrogram(wave, BATCH["simam_mode"]))
    assert (spectrogram == 0).any()  # masked, and SimAM sees it
    variables = {"params": state.params["encoder"]}
    embeddings, _ = encoder.apply(
        variables, spectrogram, wave.shape[1], BATCH["simam_mode"], method="embed"
    )
    (logits, _), _ = head.apply(
        {"params": state.params["head"], **state.head}, embeddings, labels, mutable=["adacos"]
    )
    _, _, metrics = jax.jit(make_loss_and_gradients(encoder, head, settings))(
        *both, state.head, BATCH, KEY
    )
    # measured 0
    assert float(metrics["loss"]) == pytest.approx(float(arcface_loss(logits, labels)), rel=1e-6)


@pytest.mark.parametrize(
    ("changes", "head"),
    [
        ({"scale": 20.0, "margin": 0.2}, ArcFace(3, 20.0, 0.2, (1, 4, 1))),
        ({"head": "adaproj", "subclusters": 5}, AdaProj(3, 5)),
        ({"head": "adacos", "subclusters": 5, "scale_rule": "public"}, AdaCos(3, 1, "public")),
        ({"head": "subcluster_adacos", "subclusters": 5}, AdaCos(3, 5, "nearest")),
    ],
)
def test_the_head_is_that_of_the_settings(changes, head):
    assert make_head(3, FineTuning(**changes), (1, 4, 1)) == head


@pytest.mark.parametrize(("strategy", "every"), [("full", 0.0), ("gradual", 0.25 * 40 / 5)])
def test_the_optimiser_is_that_of_the_settings(monkeypatch, strategy, every):
    seen = []

    def recorded(*arguments, **options):
        seen.append((arguments, options))
        return optax.identity()

    monkeypatch.setattr(step, "adamw", recorded)
    settings = FineTuning(
        strategy=strategy,
        thaw_fraction=0.25,
        layer_decay=0.7,
        weight_decay=0.3,
        clip_norm=2.0,
        learning_rate=0.5,
        warmup_fraction=0.2,
    )
    _, schedule = make_optimizer(settings, 40, 5)
    layers = Layerwise(depth=5, decay=0.7, thaw_every=every)
    assert seen == [((schedule,), {"weight_decay": 0.3, "clip_norm": 2.0, "layers": layers})]
    assert [float(schedule(n)) for n in (0, 4, 8, 40)] == [0, 0.25, 0.5, 0]


def test_training_starts_from_the_pretrained_eat_and_counts_from_zero():
    settings = FineTuning(strategy="lora", lora_rank=2, ema=0.5)
    encoder = Encoder(CONFIG, lora=settings.lora)
    head = make_head(3, settings)
    optimizer, _ = make_optimizer(settings, 4, 2)
    given = random_eat(CONFIG.eat, 7)
    options = {"key": KEY, "wave": np.zeros(5200, np.float32), "pretrained": given}
    state = initial_state(encoder, head, optimizer, settings, **options)
    own = flatten_dict(state.params["encoder"]["eat"], sep="/")
    for path, value in flatten_dict(given, sep="/").items():
        np.testing.assert_array_equal(own.pop(path), value)
    # The low-rank updates remain, of which the second factor is zero at first.
    assert {path[-6:] for path in own} == {"lora_a", "lora_b"} and int(state.step) == 0
    trained = split(state.params, settings.trains)[0]["encoder"]
    jax.tree.map(np.testing.assert_array_equal, state.average, trained)
    assert state.params["head"]["centres"].shape == (3, 8)


@pytest.mark.slow
def test_a_head_with_a_loss_of_its_own_is_trained_by_it(tmp_path, monkeypatch):
    (tmp_path / "own_loss.py").write_text(
        "from asd_jax.models.arcface import ArcFace, arcface_loss\n"
        "class Double(ArcFace):\n"
        "    def loss(self, logits, labels):\n"
        "        return 2 * arcface_loss(logits, labels)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    loss = {head: trained(1, head=head)[2][0]["loss"] for head in ("arcface", "own_loss:Double")}
    # float32: a product with 2 is exact
    assert loss["own_loss:Double"] == 2 * loss["arcface"]


def test_frozen_eat_does_not_move_by_a_bit():
    _, states, metrics = trained(strategy="frozen", warmup_fraction=0.5)
    assert [int(state.step) for state in states] == [0, 1, 2, 3, 4]
    # Half of the four steps of the schedule are its warm-up.
    rates = [float(found["learning_rate"]) for found in metrics]
    assert rates == pytest.approx([0, 5e-3, 1e-2, 5e-3], rel=1e-5)
    assert set(metrics[0]) == {"loss", "accuracy", "learning_rate", "gradient_norm"}
    assert all(found["gradient_norm"] > 0 for found in metrics) and states[-1].average == {}
    everything = set(flatten_dict(states[0].params, sep="/"))
    eat = {path for path in everything if path.startswith("encoder/eat/")}
    assert len(eat) > 20 and moved(states[0].params, states[-1].params) == everything - eat
    assert not any(
        "eat" in jax.tree_util.keystr(path)
        for path, _ in jax.tree.leaves_with_path(states[0].optimizer)
    )


@pytest.mark.slow
def test_lora_moves_its_updates_only_and_ends_as_an_ordinary_model():
    # with all that has a state of its own: averaged weights, AdaCos's scale
    settings, states, metrics = trained(
        strategy="lora",
        lora_rank=2,
        ema=0.5,
        head="subcluster_adacos",
        subclusters=2,
        drop_path=0.3,
        remat=True,
    )
    after = moved(states[0].params, states[-1].params)
    assert {path for path in after if "eat/" in path} == {
        f"encoder/eat/block_{n}/attention/qkv/lora_{x}" for n in (0, 1) for x in "ab"
    }
    assert all(np.isfinite(list(map(float, found.values()))).all() for found in metrics)
    assert float(states[-1].head["adacos"]["scale"]) != float(states[0].head["adacos"]["scale"])
    final = final_params(states[-1], settings)
    ordinary = jax.eval_shape(Encoder(CONFIG).init, KEY, BATCH["wave"], BATCH["simam_mode"])[
        "params"
    ]
    assert jax.tree.map(jnp.shape, final) == jax.tree.map(jnp.shape, ordinary)
    average = np.asarray(states[0].params["encoder"]["embedding"]["kernel"], np.float64)
    for n, state in enumerate(states[1:]):
        decay = min(0.5, (1 + n) / (10 + n))
        average = decay * average + (1 - decay) * state.params["encoder"]["embedding"]["kernel"]
    np.testing.assert_allclose(final["embedding"]["kernel"], average, atol=1e-6)


@pytest.mark.slow
def test_gradual_unfreezing_thaws_the_last_block_first():
    # 4 steps: block 1 after two
    _, states, _ = trained(strategy="gradual", thaw_fraction=1.0, train_centres=False)
    early = moved(states[0].params, states[2].params)
    late = moved(states[2].params, states[4].params)
    assert (
        not any("eat/" in path for path in early)
        and "encoder/pooling/attention_out/kernel" in early
    )
    assert {path.split("/")[2] for path in late if "eat/" in path} == {"block_1"}
    assert "head/centres" not in early | late
