"""Inverse block masks: which patches of a clip the student of pre-training may see (EAT,
utils/data_utils.py).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from asd_jax.runtime.errors import InputError


def kept_patches(
    key: jax.Array,
    clips: int,
    views: int,
    grid: tuple[int, int],
    *,
    mask_share: float,
    adjust: float,
    block: int,
) -> Int[Array, "b m k"]:
    """Numbers of the patches kept in each of `views` views of each clip, "b m k"; k is the same in
    all.

    Squares of block x block patches around random centres are kept, clamped at the edges of the
    grid; a random surplus is dropped, a lack filled up with random patches. The rest is masked.

    Args:
        key: of the randomness.
        clips: b.
        views: m.
        grid: patches in time and in frequency.
        mask_share: share of the patches to mask; EAT-base 0.8, EAT-large 0.75.
        adjust: added to the kept share when centres are counted, since blocks overlap; 0.07 and
            0.1.
        block: edge of the squares in patches; 5.

    Raises:
        InputError: no patch would be kept.
    """
    times, bands = grid
    patches, share = times * bands, 1 - mask_share
    kept, centres = int(patches * share), int(patches * (share + adjust) / block**2)
    if not kept:
        raise InputError(
            f"pretraining.mask_share={mask_share} hides all {patches} patches: lower it, or use "
            "longer clips"
        )

    def one(key):
        centre_key, luck_key = jax.random.split(key)
        centre = jax.random.randint(centre_key, (centres, 1, 1), 0, patches)
        offset = jnp.arange(block)[None] - block // 2
        time = jnp.clip(centre // bands + offset[..., None], 0, times - 1)
        band = jnp.clip(centre % bands + offset[:, None], 0, bands - 1)
        marked = jnp.zeros(patches).at[(time * bands + band).ravel()].set(1)
        # Marked patches come first, in random order; unmarked ones fill up.
        return jax.lax.top_k(marked + jax.random.uniform(luck_key, (patches,)), kept)[1]

    return jax.vmap(jax.vmap(one))(jax.random.split(key, (clips, views)))
