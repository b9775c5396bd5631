"""The optimiser: AdamW with linear warm-up, cosine decay and gradient clipping."""

import jax
import optax


def learning_rate_schedule(peak: float, steps: int, warmup_fraction: float) -> optax.Schedule:
    """Step -> learning rate: linear from 0 to `peak`, then a cosine to 0 at `steps`."""
    warmup = int(steps * warmup_fraction)
    return optax.warmup_cosine_decay_schedule(0.0, peak, warmup, max(steps, warmup + 1))


def adamw(schedule: optax.Schedule, *, weight_decay: float, clip_norm: float) -> optax.GradientTransformation:
    """AdamW; weight decay on matrices only (not on biases, norms and CLS); gradients clipped to a global norm."""

    def matrices(params):
        return jax.tree.map(lambda p: p.ndim > 1, params)

    return optax.chain(
        optax.clip_by_global_norm(clip_norm),
        optax.adamw(schedule, weight_decay=weight_decay, mask=matrices),
    )
