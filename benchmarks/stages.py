"""Provides the stages of the main job as functions to time, and the parts of a forward pass."""

import functools
import math
import time
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from asd_jax.data.resident import draw_batch
from asd_jax.features.front_end import FrontEnd
from asd_jax.models.dot_product_attention import attend
from asd_jax.models.eat import EAT, NORM_EPS, Block, EATConfig
from asd_jax.models.encoder import Encoder, EncoderConfig
from asd_jax.training.settings import FineTuning
from asd_jax.training.step import initial_state, make_head, make_optimizer, make_train_step
from asd_jax.training.weights import embed
from benchmarks.compiled_program import peak_bytes
from benchmarks.cost_model import forward_flops, front_end_flops, tokens

# 10 s at 16 kHz.
SAMPLES = 160_000
# PyTorch variants as (compiled, fused attention, bfloat16).
TORCH_WAYS = {
    "eager": (False, False, False),
    "eager_sdpa": (False, True, False),
    "compiled": (True, True, False),
    "eager_bfloat16": (False, True, True),
    "compiled_bfloat16": (True, True, True),
}
STAGES = ("front_end", "forward", "forward_scanned", "train", "embedding", "fine_tuning")


def prepare(
    stage: str, eat: EATConfig, batch: int, dtype
) -> tuple[Callable[[], object], int, float]:
    """Returns a function that runs a stage once and waits for it, its peak memory in bytes, and its
    operations.

    The stages are "front_end": waveforms to spectrograms; "forward": EAT on spectrograms;
    "forward_scanned": the same with a scan over the blocks instead of separate blocks; "train":
    forward, backward and AdamW on the mean square of the tokens; "embedding": waveforms to
    embeddings; "fine_tuning": the real step, which draws resident clips, augments them and learns
    to classify. Weights and clips are random.
    """
    key = jax.random.key(0)
    wave = 0.1 * jax.random.normal(key, (batch, SAMPLES))
    model = EAT(eat, dtype)
    config = EncoderConfig(eat=eat)
    forward = batch * forward_flops(eat)
    front = batch * front_end_flops()
    if stage == "front_end":
        front_end = FrontEnd()

        def spectrogram(wave):
            return front_end.attend(front_end.spectrogram(wave), None, SAMPLES)

        return *_compiled(spectrogram, wave), front
    if stage == "embedding":
        params = jax.jit(Encoder(config).init)(key, wave[:1])["params"]
        return *_compiled(
            functools.partial(embed, config, dtype=dtype), params, wave
        ), forward + front
    if stage == "fine_tuning":
        return *_fine_tuning(config, batch, dtype), 3 * forward + front
    x = jax.random.normal(key, (batch, 1024, 128))
    params = jax.jit(model.init)(key, x[:1])["params"]
    if stage == "forward":
        return *_compiled(
            lambda params, x: model.apply({"params": params}, x)[0], params, x
        ), forward
    if stage == "forward_scanned":
        return *_compiled(functools.partial(scanned, eat, dtype), params, x), forward
    optimizer = optax.adamw(1e-4)

    def step(state, x):
        def loss(params):
            return jnp.square(model.apply({"params": params}, x)[0].astype(jnp.float32)).mean()

        gradients = jax.grad(loss)(state[0])
        updates, moments = optimizer.update(gradients, state[1], state[0])
        return optax.apply_updates(state[0], updates), moments

    return *_compiled_step(step, (params, jax.jit(optimizer.init)(params)), x), 3 * forward


def scanned(eat: EATConfig, dtype, params: dict, x) -> jax.Array:
    """Returns EAT's tokens "b n d" of spectrograms "b t f".

    The block is compiled once and scanned over the stacked weights of all blocks.
    """
    names = [f"block_{i}" for i in range(eat.depth)]
    # Only "pre_norm" is used, so the compiler drops the blocks after it.
    tokens = EAT(eat, dtype).apply({"params": params}, x)[1]["pre_norm"]
    stacked = jax.tree.map(lambda *of: jnp.stack(of), *(params[name] for name in names))
    block = Block(eat, dtype)
    return jax.lax.scan(lambda x, of: (block.apply({"params": of}, x)[0], None), tokens, stacked)[0]


def _fine_tuning(config: EncoderConfig, batch: int, dtype):
    settings = FineTuning(batch_size=batch)
    clips = 4 * batch
    classes = 50
    encoder = Encoder(config, dtype)
    head = make_head(classes, settings)
    optimizer, schedule = make_optimizer(settings, 1000, config.backbone.depth)
    key = jax.random.key(0)
    state = initial_state(
        encoder, head, optimizer, settings, key=key, wave=np.zeros(SAMPLES, np.float32)
    )
    train_step = make_train_step(encoder, head, optimizer, schedule, settings)
    numbers = jnp.arange(clips)
    waves = jax.random.randint(key, (clips, SAMPLES), -3000, 3000).astype(jnp.int16)
    data = {
        "wave": waves,
        "clip": numbers,
        "label": numbers % classes,
        "simam_mode": jnp.full(clips, 2),
    }
    return _compiled_step(
        lambda state, data: train_step(state, draw_batch(data, state.step, key, batch), key)[0],
        state,
        data,
    )


def _compiled(function, *arguments):
    program = jax.jit(function).lower(*arguments).compile()
    return lambda: jax.block_until_ready(program(*arguments)), peak_bytes(program)


def _compiled_step(step, state, data):
    program = jax.jit(step, donate_argnums=0).lower(state, data).compile()
    box = [jax.tree.map(jnp.copy, state)]

    def once():
        box[0] = jax.block_until_ready(program(box[0], data))

    return once, peak_bytes(program)


def matmul_rate(dtype, size: int, products: int = 8) -> Callable[[], float]:
    """Returns a function that measures the device's own rate of products of square matrices, in
    FLOP/s.
    """
    a, b = (
        jax.random.normal(jax.random.key(n), (size, size), dtype) / math.sqrt(size)
        for n in range(2)
    )

    @jax.jit
    def chain(a, b):
        return jax.lax.fori_loop(0, products, lambda _, x: (x @ b).astype(dtype), a)

    jax.block_until_ready(chain(a, b))

    def measure():
        began = time.perf_counter()
        jax.block_until_ready(chain(a, b))
        return products * 2 * size**3 / (time.perf_counter() - began)

    return measure


def parts(eat: EATConfig, batch: int, dtype) -> dict[str, tuple[Callable[[], object], int]]:
    """Returns, for each part of EAT, a function that runs it once, and how often a forward pass
    runs it.

    The parts show what EAT's time is spent on.
    """
    n = tokens(eat)
    d = eat.embed_dim
    heads = eat.num_heads
    hidden = int(eat.embed_dim * eat.mlp_ratio)

    def random(*shape):
        return jax.random.normal(jax.random.key(len(shape)), shape).astype(dtype)

    x = random(batch * n, d)
    h = random(batch * n, hidden)
    norm = nn.LayerNorm(NORM_EPS, dtype=dtype)
    variables = norm.init(jax.random.key(0), x)
    made = {
        "qkv product": (jnp.matmul, x, random(d, 3 * d)),
        "attention": (attend, random(batch, n, 3, heads, d // heads)),
        "out product": (jnp.matmul, x, random(d, d)),
        "fc1 product": (jnp.matmul, x, random(d, hidden)),
        "GELU": (functools.partial(jax.nn.gelu, approximate=False), h),
        "fc2 product": (jnp.matmul, h, random(hidden, d)),
    }
    found = {name: (_compiled(*what)[0], eat.depth) for name, what in made.items()}
    normed = _compiled(lambda x, y: norm.apply(variables, x + y), x, x)[0]
    return found | {"residual and LayerNorm": (normed, 2 * eat.depth)}
