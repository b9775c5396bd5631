"""Measures where the time of a training step of EAT goes on a CPU, part by part.

    NPROC=1 python -m benchmarks.training_step --size=base --batch=2 --output=benchmarks/results

Everything is counted in seconds of one core, which other programs on the same machine hardly
change; NPROC=1 makes XLA compute in one thread, and must be set before the process starts. Each
part is compiled alone, forward and backward, and a block as a whole, beside the same block in
PyTorch (extra "torch"). The parts are timed in turn; the figures are medians over rounds.
"""

import functools
import json
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import flags

from asd_jax.models.dot_product_attention import attend
from asd_jax.models.eat import EAT, NORM_EPS, Block, EATConfig, gelu
from asd_jax.runtime.command import run
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import write_json
from benchmarks.cost_model import tokens
from benchmarks.provenance import machine, provenance

FLAGS = flags.FLAGS
Times = dict[str, float]


def define_flags(argv: Sequence[str]) -> None:
    """Defines the flags of the command."""
    flags.DEFINE_enum("size", "base", ["tiny", "base", "large"], "Size of EAT.")
    flags.DEFINE_integer("batch", 2, "Number of clips of 10 s in a batch.", lower_bound=1)
    flags.DEFINE_integer("repeats", 9, "Number of rounds.", lower_bound=1)
    flags.DEFINE_list("torch", ["eager", "compiled"], "PyTorch's ways; empty for none.")
    flags.DEFINE_string("output", None, "Folder for the JSON.")


def main() -> None:
    """Measures the parts, and prints and writes the result."""
    if os.environ.get("NPROC") != "1":
        raise InputError("seconds of one core need one thread: begin the command with NPROC=1")
    eat = getattr(EATConfig, FLAGS.size)()
    rows = medians(programs(eat, FLAGS.batch), FLAGS.repeats)
    blocks = medians(whole_blocks(eat, FLAGS.batch, FLAGS.torch), FLAGS.repeats)
    found = {
        "machine": machine(),
        "provenance": provenance(),
        "size": FLAGS.size,
        "batch": FLAGS.batch,
        "core_seconds": rows,
        "block_core_seconds": blocks,
    }
    print(json.dumps(found, indent=2))
    if FLAGS.output:
        write_json(Path(FLAGS.output) / f"training_step_{FLAGS.size}.json", found)


def medians(made: Mapping[str, Callable[[], object]], rounds: int) -> Times:
    """Returns {name: median core seconds} of functions that run in turn."""
    seconds = {name: [] for name in made}
    for once in made.values():
        once()
    for _ in range(rounds):
        for name, once in made.items():
            began = time.process_time()
            once()
            seconds[name].append(time.process_time() - began)
    return {name: statistics.median(values) for name, values in seconds.items()}


def programs(eat: EATConfig, batch: int) -> dict[str, Callable[[], object]]:
    """Returns {part of one block, or of a step, and direction: a function that runs it once}.

    "backward" is what a step computes of the part after the loss, from what the forward pass keeps.
    """
    n = batch * tokens(eat)
    d = eat.embed_dim
    hidden = int(d * eat.mlp_ratio)
    random = functools.partial(jax.random.normal, jax.random.key(0))
    norm = nn.LayerNorm(NORM_EPS)
    scales = norm.init(jax.random.key(0), random((1, d)))
    heads = (batch, tokens(eat), 3, eat.num_heads, d // eat.num_heads)
    parts = {
        "qkv product": (jnp.matmul, random((n, d)), random((d, 3 * d))),
        "out product": (jnp.matmul, random((n, d)), random((d, d))),
        "fc1 product": (jnp.matmul, random((n, d)), random((d, hidden))),
        "fc2 product": (jnp.matmul, random((n, hidden)), random((hidden, d))),
        "attention": (attend, random(heads)),
        "GELU": (gelu, random((n, hidden))),
        "residual and LayerNorm": (
            lambda scales, x, y: norm.apply(scales, x + y),
            scales,
            random((n, d)),
            random((n, d)),
        ),
    }
    found = {}
    for name, (function, *arguments) in parts.items():
        found |= _both_ways(name, function, *arguments)
    params = EAT(eat).init(jax.random.key(0), jnp.zeros((1, 1024, eat.mel_bins)))["params"]
    optimizer = optax.adamw(1e-4)

    def update(gradients, state):
        updates, moments = optimizer.update(gradients, state[1], state[0])
        return optax.apply_updates(state[0], updates), moments

    state = (params, optimizer.init(params))
    step = jax.jit(update, donate_argnums=1).lower(params, state).compile()
    box = [jax.tree.map(jnp.copy, state)]

    def adamw():
        box[0] = jax.block_until_ready(step(params, box[0]))

    return found | {"AdamW": adamw}


def _both_ways(name, function, *arguments):
    forward = jax.jit(function).lower(*arguments).compile()
    towards = jnp.ones_like(forward(*arguments))
    # The compiler removes what only the forward pass needs.
    backward = (
        jax.jit(lambda towards, *a: jax.vjp(function, *a)[1](towards))
        .lower(towards, *arguments)
        .compile()
    )
    return {
        f"{name}, forward": lambda: jax.block_until_ready(forward(*arguments)),
        f"{name}, backward": lambda: jax.block_until_ready(backward(towards, *arguments)),
    }


def whole_blocks(
    eat: EATConfig, batch: int, ways: Sequence[str]
) -> dict[str, Callable[[], object]]:
    """Returns {framework and direction: a function that runs a block once}; "both" is forward and
    backward.
    """
    x = np.random.default_rng(0).normal(size=(batch, tokens(eat), eat.embed_dim))
    x = x.astype(np.float32)
    block = Block(eat, jnp.float32)
    params = jax.jit(block.init)(jax.random.key(0), x)

    def both(params, x):
        found, back = jax.vjp(lambda *a: block.apply(*a)[0], params, x)
        return back(found)

    forward = jax.jit(lambda *a: block.apply(*a)[0]).lower(params, x).compile()
    step = jax.jit(both).lower(params, x).compile()
    found = {
        "asd_jax, forward": lambda: jax.block_until_ready(forward(params, x)),
        "asd_jax, both": lambda: jax.block_until_ready(step(params, x)),
    }
    for way in filter(None, ways):
        found |= _torch_block(eat, x, way)
    return found


def _torch_block(eat, x, way):
    try:
        import torch
    except ImportError as error:
        raise InputError("--torch: pip install 'asd_jax[torch]', or --torch=") from error
    from benchmarks.stages import TORCH_WAYS
    from benchmarks.torch_eat import Block as TorchBlock

    compiled, fused, _ = TORCH_WAYS[way]
    torch.set_num_threads(1)
    block = TorchBlock(eat.embed_dim, eat.num_heads, int(eat.embed_dim * eat.mlp_ratio))
    block.fused = fused
    apply = torch.compile(block) if compiled else block
    leaf = torch.from_numpy(x).requires_grad_()

    def forward():
        with torch.inference_mode():
            apply(leaf.detach())

    def both():
        block.zero_grad(set_to_none=True)
        leaf.grad = None
        found = apply(leaf)
        found.backward(found.detach())

    return {f"torch {way}, forward": forward, f"torch {way}, both": both}


if __name__ == "__main__":
    run(main, define_flags)
