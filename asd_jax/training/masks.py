"""Draws inverse block masks: which patches of a clip the student sees in pre-training.

The method is that of EAT, utils/data_utils.py.
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
    """Returns the indices "b m k" of the patches kept in each view; k is the same in all views.

    Squares of block x block patches around random centres are kept, clamped at the edges of the
    grid. If these are too many patches, random ones are dropped; if too few, random ones are added.
    All others are masked.

    Args:
        key: the random key.
        clips: number of clips b.
        views: number of views m of each clip.
        grid: number of patches in time and in frequency.
        mask_share: share of the patches to mask; EAT-base 0.8, EAT-large 0.75.
        adjust: added to the kept share when the number of centres is computed, because blocks
            overlap; 0.07 and 0.1.
        block: edge of the squares in patches; 5.

    Raises:
        InputError: no patch would be kept.
    """
    times, bands = grid
    patches = times * bands
    share = 1 - mask_share
    kept = int(patches * share)
    # As many blocks as would cover the share if none overlapped, and a few more.
    centres = int(patches * (share + adjust) / block**2)
    if not kept:
        raise InputError(
            f"`mask_share={mask_share}` hides all {patches} patches: lower it, or use longer clips"
        )

    def one(key):
        centre_key, luck_key = jax.random.split(key)
        centre = jax.random.randint(centre_key, (centres, 1, 1), 0, patches)
        offset = jnp.arange(block)[None] - block // 2
        # Patches are numbered along the bands first: number = time x bands + band.
        time = jnp.clip(centre // bands + offset[..., None], 0, times - 1)
        band = jnp.clip(centre % bands + offset[:, None], 0, bands - 1)
        marked = jnp.zeros(patches).at[(time * bands + band).ravel()].set(1)
        # Marked patches rank above unmarked ones, and the order within both is random.
        return jax.lax.top_k(marked + jax.random.uniform(luck_key, (patches,)), kept)[1]

    return jax.vmap(jax.vmap(one))(jax.random.split(key, (clips, views)))
