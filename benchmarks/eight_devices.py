"""Compares programs compiled for eight devices with the formulas, and their results with rounding
error.

`python -m benchmarks.scaling` prints the tables, using eight fake CPU devices.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from asd_jax.features.front_end import FrontEnd, SimAM
from asd_jax.models.eat import EATConfig
from asd_jax.models.encoder import Encoder, EncoderConfig, Pooling
from asd_jax.training import mesh as meshes
from asd_jax.training import step as steps
from asd_jax.training.settings import FineTuning
from benchmarks.compiled_program import collectives, instructions
from benchmarks.cost_model import BACKWARD, CLIP_SECONDS, forward_flops, front_end_flops, parameters

CLIPS = 8
CLASSES = 3
STEPS = 20
SMALL = EncoderConfig(
    FrontEnd(simam=SimAM("local")), EATConfig(64, 1, 2), Pooling(embedding_dim=32)
)
# These settings draw nothing that depends on a clip's place in the batch, or that float64 would
# draw differently.
PLAIN = FineTuning(
    batch_size=CLIPS, learning_rate=1e-3, mixup="none", mask_frames=0, mask_filters=0
)


def shapes_of(tree, sharding=None):
    """Returns the shapes and dtypes of arrays, to compile for them without allocating them."""
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), tree
    )


def compiled_step(shards: int, eat: EATConfig, seconds: float = 1.0) -> tuple[Any, int]:
    """Returns the compiled program of a fine-tuning step with one clip per device, and the number
    of parameters.

    Args:
        shards: Number of shards of the training state.
        eat: Sizes of EAT.
        seconds: Length of a clip in seconds.
    """
    config = EncoderConfig(eat=eat)
    settings = FineTuning(batch_size=CLIPS)
    encoder = Encoder(config)
    head = steps.make_head(16, settings)
    optimizer, schedule = steps.make_optimizer(settings, 10, config.backbone.depth)
    key = jax.random.key(0)
    wave = np.zeros(round(16000 * seconds), np.float32)
    state = jax.eval_shape(
        lambda: steps.initial_state(encoder, head, optimizer, settings, key=key, wave=wave)
    )
    mesh = meshes.make_mesh(CLIPS, shards=shards)
    lying = meshes.shardings(mesh, state)
    placed = jax.tree.map(shapes_of, state, lying)
    labels = np.zeros(CLIPS, np.int32)
    batch = meshes.shard_batch(
        mesh, {"wave": np.tile(wave, (CLIPS, 1)), "label": labels, "simam_mode": labels}
    )
    train_step = steps.make_train_step(encoder, head, optimizer, schedule, settings)

    def step(state, batch, key):
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return train_step(state, batch, key)

    compiled = (
        jax.jit(step, donate_argnums=0, out_shardings=(lying, None))
        .lower(placed, batch, key)
        .compile()
    )
    return compiled, sum(leaf.size for leaf in jax.tree.leaves(state.params))


def collective_table() -> str:
    """Returns a Markdown table of traffic and memory, by formula and in compiled programs."""
    lines = [
        "A step of EAT-tiny on 8 clips of 1 s, compiled for eight fake devices: how many "
        "collectives, and the size of their results. On CPUs a reduce-scatter is an all-reduce.",
        "",
        "| state | all-reduce | MB | gradients by formula, MB | all-gather | MB | parameters and "
        "waveforms, MB | state a device, MB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, shards in (("a copy each", 1), ("eight shards", 0)):
        program, count = compiled_step(shards, EATConfig.tiny())
        found = collectives(list(instructions(program.as_text())))
        waves = CLIPS * 16000 * 4
        reduced = found["all-reduce"]
        gathered = found["all-gather"]
        expected = waves if shards else waves + 4 * count
        held = program.memory_analysis().argument_size_in_bytes
        lines.append(
            f"| {name} | {reduced['count']} | {reduced['bytes'] / 1e6:.2f} | "
            f"{4 * count / 1e6:.2f} | {gathered['count']} | {gathered['bytes'] / 1e6:.2f} | "
            f"{expected / 1e6:.2f} | {held / 1e6:.2f} |"
        )
    return "\n".join(lines)


def operation_table() -> str:
    """Returns a Markdown table of operations, by formula and as the compiler counts them."""
    lines = [
        f"Operations on one clip of {CLIP_SECONDS} s: by the formula, which counts the matrix "
        "products of filter bank and EAT and AdamW's update, and as XLA counts them in the "
        "program of one of eight devices, all else included.",
        "",
        "| EAT | embedding: by formula, GFLOP | compiled | ratio | step: by formula | compiled | "
        "ratio |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in ("tiny", "base"):
        eat = getattr(EATConfig, name)()
        embedding = front_end_flops() + forward_flops(eat)
        step = front_end_flops() + (1 + BACKWARD) * forward_flops(eat) + 12 * parameters(eat)
        row = f"| {name}"
        for formula, program in (
            (embedding, compiled_embedding(eat)),
            (step, compiled_step(1, eat, CLIP_SECONDS)[0]),
        ):
            counted = program.cost_analysis()["flops"]
            row += f" | {formula / 1e9:.2f} | {counted / 1e9:.2f} | {counted / formula:.3f}"
        lines.append(row + " |")
    return "\n".join(lines)


def compiled_embedding(eat: EATConfig) -> Any:
    """Returns the program that embeds one clip."""
    encoder = Encoder(EncoderConfig(eat=eat))
    arguments = (
        jax.ShapeDtypeStruct((1, 16000 * CLIP_SECONDS), np.float32),
        jax.ShapeDtypeStruct((1,), np.int32),
    )
    variables = jax.eval_shape(encoder.init, jax.random.key(0), *arguments)
    return jax.jit(lambda *args: encoder.apply(*args)[0]).lower(variables, *arguments).compile()


def twenty_steps(
    mesh: Mesh, settings: FineTuning = PLAIN, dtype: str = "float32", order: int | None = None
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Trains a small EAT on tones in noise, and returns (loss of each step, gradients of the first
    step by parameter).

    Args:
        mesh: The devices.
        settings: Settings of fine-tuning.
        dtype: The dtype of waveforms, parameters and computation.
        order: Seed of another order of the clips within each batch.
    """
    rng = np.random.default_rng(0)
    shuffled = np.random.default_rng(order)
    encoder = Encoder(SMALL, jnp.dtype(dtype))
    head = steps.make_head(CLASSES, settings)
    optimizer, schedule = steps.make_optimizer(settings, STEPS, SMALL.backbone.depth)
    train_step = steps.make_train_step(encoder, head, optimizer, schedule, settings)
    key = jax.random.key(0)
    # float64 would draw other weights, so every dtype starts from those of float32.
    wave = np.zeros(4000, np.float32)
    state = steps.initial_state(Encoder(SMALL), head, optimizer, settings, key=key, wave=wave)
    with jax.enable_x64(dtype == "float64"):
        state = jax.tree.map(
            lambda leaf: leaf.astype(dtype) if leaf.dtype == np.float32 else leaf, state
        )
        state = meshes.place_state(mesh, state)

        @jax.jit
        def step(state, batch, key):
            with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
                state, metrics = train_step(state, batch, key)
            return jax.lax.with_sharding_constraint(state, meshes.shardings(mesh, state)), metrics[
                "loss"
            ]

        losses = []
        gradients = {}
        for _ in range(STEPS):
            label = rng.integers(CLASSES, size=CLIPS).astype(np.int32)
            tone = np.sin(2 * np.pi * (500 + 1500 * label[:, None]) * np.arange(4000) / 16000)
            batch = {"wave": 0.1 * tone + 0.03 * rng.normal(size=tone.shape), "label": label}
            batch |= {
                "wave": batch["wave"].astype(np.float32).astype(dtype),
                "simam_mode": np.full_like(label, 2),
            }
            rows = np.arange(CLIPS) if order is None else shuffled.permutation(CLIPS)
            state, loss = step(
                state, meshes.shard_batch(mesh, {name: x[rows] for name, x in batch.items()}), key
            )
            losses.append(float(loss))
            # Adam's first moments are a tenth of the gradients.
            if not gradients:
                moments = jax.tree.leaves_with_path(optax.tree.get(state.optimizer, "mu"))
                gradients = {
                    jax.tree_util.keystr(path): np.asarray(leaf, np.float64)
                    for path, leaf in moments
                }
    # This gradient is exactly zero, because softmax is invariant to the bias.
    del gradients["['encoder']['pooling']['attention_out']['bias']"]
    return np.array(losses), gradients


def rounding_table() -> str:
    """Returns a Markdown table of differences in gradients and losses from one device.

    The rows are eight devices, and one device that sums in a different order.
    """
    one = meshes.one_device()
    shards = meshes.make_mesh(CLIPS, shards=0)
    copies = meshes.make_mesh(CLIPS)
    alone = twenty_steps(one)
    exact = twenty_steps(one, dtype="float64")
    rows = {
        "one device": [alone],
        "one device, the clips of each batch in other orders (5)": [
            twenty_steps(one, order=n) for n in range(5)
        ],
        "one device, batches in 8 parts": [
            twenty_steps(one, dataclasses.replace(PLAIN, accumulate=8))
        ],
        "eight devices, a copy each": [twenty_steps(copies)],
        "eight devices, eight shards": [twenty_steps(shards)],
        "eight devices, eight shards, float64": [twenty_steps(shards, dtype="float64")],
    }
    lines = [
        f"{STEPS} steps of a small EAT on {CLIPS} clips. Greatest relative difference of the "
        "first step's gradients (of a tensor, over its greatest value) and of any step's loss, "
        "from those of one device in float32 and in float64. One device that adds up in another "
        "order is the noise to compare eight with.",
        "",
        "| | gradients, off one device | off float64 | loss, off one device | off float64 |",
        "|---|---|---|---|---|",
    ]
    for name, runs in rows.items():
        off = [_greatest(difference(run, other) for run in runs) for other in (alone, exact)]
        lines.append(
            f"| {name} | {off[0][1]:.1e} | {off[1][1]:.1e} | {off[0][0]:.1e} | {off[1][0]:.1e} |"
        )
    return "\n".join(lines)


def difference(run: tuple, other: tuple) -> tuple[float, float]:
    """Returns the largest relative differences of (losses, gradients) between two runs."""
    losses, gradients = run
    their_losses, theirs = other
    off = [
        np.abs(g - theirs[name]).max() / np.abs(theirs[name]).max() for name, g in gradients.items()
    ]
    return float(np.abs(losses / their_losses - 1).max()), float(max(off))


def _greatest(pairs: Iterable[Sequence[float]]) -> list[float]:
    return [max(column) for column in zip(*pairs, strict=True)]
