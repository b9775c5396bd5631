"""Builds the optimiser: which parameters are trained, when, and how fast."""

import dataclasses
import re
from collections.abc import Callable

import jax
import optax
from flax.traverse_util import flatten_dict, unflatten_dict
from optax.transforms import conditionally_mask


@dataclasses.dataclass(frozen=True)
class Layerwise:
    """How the blocks of EAT are trained differently.

    Attributes:
        depth: number of blocks that the embedding depends on; those above count as the last.
        decay: block i (from 0) learns at decay^(depth - i) of the rate, all other parameters at the
            full rate (EAT).
        thaw_every: gradual unfreezing (Howard & Ruder, ACL 2018): EAT starts frozen, and one more
            block thaws after each such number of steps, the last block first and what lies below
            the blocks together with the first block; 0 for none.
    """

    depth: int = 0
    decay: float = 1.0
    thaw_every: float = 0.0


def learning_rate_schedule(peak: float, steps: int, warmup_fraction: float) -> optax.Schedule:
    """Returns the schedule: linear from 0 to `peak`, then a cosine to 0 at `steps`."""
    # optax requires more steps in total than for the warm-up.
    warmup = round(steps * warmup_fraction)
    return optax.warmup_cosine_decay_schedule(0.0, peak, warmup, max(steps, warmup + 1))


def adamw(
    schedule: optax.Schedule,
    *,
    weight_decay: float,
    clip_norm: float,
    layers: Layerwise = Layerwise(),
    b2: float = 0.999,
    decay_everything: bool = False,
) -> optax.GradientTransformation:
    """Returns AdamW with weight decay on matrices only, and gradients clipped to a global norm.

    Biases, norms and CLS have no weight decay.

    Args:
        schedule: maps a step to the learning rate.
        weight_decay: multiplied by the learning rate and subtracted from every matrix at each step.
        clip_norm: the largest norm of all gradients together.
        layers: how the blocks of EAT differ; by default they do not.
        b2: decay of the second moment; 0.95 in EAT's pre-training.
        decay_everything: apply weight decay to biases and norms too.
    """

    def matrices(params):
        return jax.tree.map(lambda p: p.ndim > 1, params)

    def decayed(updates, params=None):
        multipliers = by_path(
            updates, lambda path: layer_multiplier(path, layers.decay, layers.depth)
        )
        return jax.tree.map(lambda u, m: u * m, updates, multipliers)

    # Decay after Adam's scaling: decoupled, as in AdamW.
    adam = optax.chain(
        optax.scale_by_adam(b2=b2),
        optax.add_decayed_weights(weight_decay, None if decay_everything else matrices),
    )
    return optax.chain(
        # Excludes the gradients of frozen parameters from the norm.
        _by_stage(optax.identity(), layers),
        # Before Adam, as it divides by the size of the gradients and would hide a large one.
        optax.clip_by_global_norm(clip_norm),
        _by_stage(adam, layers),
        # After Adam, which divides by the size of the gradients and would cancel the factors.
        optax.stateless(decayed) if layers.decay != 1 else optax.identity(),
        optax.scale_by_learning_rate(schedule),
    )


def _by_stage(
    transform: optax.GradientTransformation, layers: Layerwise
) -> optax.GradientTransformation:
    """Returns the transform, applied to each stage's parameters only after they have thawed.

    Its step count begins when the stage thaws.
    """
    if not layers.thaw_every:
        return transform

    def after_thawing(stage: int):
        return conditionally_mask(transform, lambda step: step >= stage * layers.thaw_every)

    return optax.partition(
        {stage: after_thawing(stage) for stage in range(layers.depth + 1)},
        lambda params: by_path(params, lambda path: thaw_stage(path, layers.depth)),
    )


def layer_multiplier(path: str, layer_decay: float, depth: int) -> float:
    """Returns the share of the learning rate that a parameter gets, 1 outside EAT's blocks."""
    block = _block(path)
    # Blocks above the pooled one get no gradients; they count as the last one that does.
    return 1.0 if block is None else layer_decay ** (depth - min(block, depth - 1))


def thaw_stage(path: str, depth: int) -> int:
    """Returns the stage in which a parameter thaws.

    This is 0 for what is trained from the start, 1 for the last block of EAT, and `depth` for the
    first block and what lies below it.
    """
    if "eat/" not in path:
        return 0
    block = _block(path)
    return depth if block is None else depth - min(block, depth - 1)


def _block(path: str) -> int | None:
    found = re.search(r"eat/block_(\d+)/", path)
    return int(found[1]) if found else None


def by_path(params: dict, value: Callable[[str], object]) -> dict:
    """Returns a tree like the parameters, with `value` of each leaf's path, joined by "/"."""
    return unflatten_dict({path: value("/".join(path)) for path in flatten_dict(params)})


def split(params: dict, chosen: Callable[[str], bool]) -> tuple[dict, dict]:
    """Returns the parameters whose path is chosen, and the others; `join` combines them again."""
    flat = flatten_dict(params)
    parts = [
        {path: p for path, p in flat.items() if chosen("/".join(path)) == wanted}
        for wanted in (True, False)
    ]
    return unflatten_dict(parts[0]), unflatten_dict(parts[1])


def join(first: dict, second: dict) -> dict:
    """Returns one tree of two trees that have no leaf in common."""
    return unflatten_dict({**flatten_dict(first), **flatten_dict(second)})
