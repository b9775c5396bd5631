"""The optimiser: which parameters are trained, when, and how fast."""

import re
from collections.abc import Callable

import jax
import optax
from flax.traverse_util import flatten_dict, unflatten_dict
from optax.transforms import conditionally_mask


def learning_rate_schedule(peak: float, steps: int, warmup_fraction: float) -> optax.Schedule:
    """Step -> learning rate: linear from 0 to `peak`, then a cosine to 0 at `steps`."""
    warmup = round(steps * warmup_fraction)
    return optax.warmup_cosine_decay_schedule(0.0, peak, warmup, max(steps, warmup + 1))


def adamw(
    schedule: optax.Schedule,
    *,
    weight_decay: float,
    clip_norm: float,
    layer_decay: float = 1.0,
    depth: int = 0,
    thaw_every: float = 0.0,
    b2: float = 0.999,
    decay_everything: bool = False,
) -> optax.GradientTransformation:
    """AdamW; weight decay on matrices only (not on biases, norms and CLS); gradients clipped to a
    global norm.

    Args:
        schedule: step -> learning rate.
        weight_decay: times the learning rate, taken off every matrix at each step.
        clip_norm: of all gradients together.
        layer_decay: block i of EAT (from 0) learns at layer_decay^(depth - i) of the rate, the rest
            at all of it (EAT).
        depth: blocks of EAT that the embedding is made of; those above count as the last.
        thaw_every: gradual unfreezing (Howard & Ruder, ACL 2018): EAT starts frozen, and after
            every so many steps one more block thaws, the last first and what lies below the blocks
            with the first; 0 for none.
        b2: decay of the second moment; 0.95 in EAT's pre-training.
        decay_everything: weight decay on biases and norms too.
    """

    def matrices(params):
        return jax.tree.map(lambda p: p.ndim > 1, params)

    def by_stage(transform: optax.GradientTransformation) -> optax.GradientTransformation:
        """The transform, at work and counting steps for each stage's parameters only once they have
        thawed.
        """
        if not thaw_every:
            return transform
        stages = {
            stage: conditionally_mask(
                transform, lambda step, stage=stage: step >= stage * thaw_every
            )
            for stage in range(depth + 1)
        }
        return optax.partition(
            stages, lambda params: by_path(params, lambda path: thaw_stage(path, depth))
        )

    def decayed(updates, params=None):
        multipliers = by_path(updates, lambda path: layer_multiplier(path, layer_decay, depth))
        return jax.tree.map(lambda u, m: u * m, updates, multipliers)

    adam = optax.chain(
        optax.scale_by_adam(b2=b2),
        optax.add_decayed_weights(weight_decay, None if decay_everything else matrices),
    )
    return optax.chain(
        by_stage(optax.identity()),  # gradients of frozen parameters do not count towards the norm
        optax.clip_by_global_norm(clip_norm),
        by_stage(adam),
        optax.stateless(decayed) if layer_decay != 1 else optax.identity(),
        optax.scale_by_learning_rate(schedule),
    )


def layer_multiplier(path: str, layer_decay: float, depth: int) -> float:
    """Share of the learning rate that a parameter gets: only EAT's blocks are scaled."""
    block = _block(path)
    return 1.0 if block is None else layer_decay ** (depth - min(block, depth - 1))


def thaw_stage(path: str, depth: int) -> int:
    """0 for what is trained from the start, 1 for the last block of EAT, `depth` for the first and
    what lies below.
    """
    if "eat/" not in path:
        return 0
    block = _block(path)
    return depth if block is None else depth - min(block, depth - 1)


def _block(path: str) -> int | None:
    found = re.search(r"eat/block_(\d+)/", path)
    return int(found[1]) if found else None


def by_path(params: dict, value: Callable[[str], object]) -> dict:
    """A tree like the parameters, each leaf `value` of its path joined by "/"."""
    return unflatten_dict({path: value("/".join(path)) for path in flatten_dict(params)})


def split(params: dict, chosen: Callable[[str], bool]) -> tuple[dict, dict]:
    """Parameters -> those whose path is chosen, and the rest; `join` puts them together again."""
    flat = flatten_dict(params)
    parts = [
        {path: p for path, p in flat.items() if chosen("/".join(path)) == wanted}
        for wanted in (True, False)
    ]
    return unflatten_dict(parts[0]), unflatten_dict(parts[1])


def join(first: dict, second: dict) -> dict:
    """Two trees without a common leaf -> one."""
    return unflatten_dict({**flatten_dict(first), **flatten_dict(second)})
