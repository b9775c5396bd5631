import jax
import numpy as np
import pytest

from asd_jax.runtime.errors import InputError
from asd_jax.training.masks import kept_patches

SETTINGS = {"base": (0.8, 0.07, 102), "large": (0.75, 0.1, 128)}


def masks(size, count, grid=(64, 8)):
    mask_share, adjust, _ = SETTINGS[size]
    kept = jax.jit(
        lambda key: kept_patches(
            key, count // 16, 16, grid, mask_share=mask_share, adjust=adjust, block=5
        )
    )(jax.random.key(0))
    seen = np.zeros((count, grid[0] * grid[1]), int)
    np.put_along_axis(seen, np.asarray(kept).reshape(count, -1), 1, axis=1)
    return seen.reshape(count, *grid)


def adjacent_pairs(seen):
    return (seen[:, 1:] & seen[:, :-1]).sum((1, 2)) + (seen[:, :, 1:] & seen[:, :, :-1]).sum((1, 2))


@pytest.mark.parametrize("size", SETTINGS)
def test_every_view_keeps_the_same_number_of_patches(size):
    assert (masks(size, 64).sum((1, 2)) == SETTINGS[size][2]).all()


@pytest.mark.parametrize("size", SETTINGS)
def test_blocks_are_those_of_the_public_generator(golden, size):
    reference = golden("pretrain")
    theirs = 1 - np.unpackbits(reference[f"example_masks_{size}_bits"], axis=1).reshape(
        -1, 64, 8
    ).astype(int)
    ours = masks(size, 2048)
    pairs = adjacent_pairs(theirs)
    assert pairs.mean() == pytest.approx(
        float(reference[f"example_masks_{size}_mean_adjacent_kept_pairs"])
    )
    error = np.hypot(pairs.std() / len(pairs) ** 0.5, adjacent_pairs(ours).std() / len(ours) ** 0.5)
    assert abs(adjacent_pairs(ours).mean() - pairs.mean()) < 3 * error
    # How often each band is kept: the edges less, since squares are clamped there.
    ours = ours.sum(1)
    theirs = theirs.sum(1)
    error = np.hypot(ours.std(0) / len(ours) ** 0.5, theirs.std(0) / len(theirs) ** 0.5)
    assert (abs(ours.mean(0) - theirs.mean(0)) < 4 * error).all()


def test_views_differ_and_the_same_key_gives_the_same_views():
    a = masks("base", 32)
    b = masks("base", 32)
    np.testing.assert_array_equal(a, b)
    assert len(np.unique(a.reshape(32, -1), axis=0)) == 32


def test_a_share_that_hides_everything_is_refused():
    with pytest.raises(InputError, match="`mask_share=0.95` hides all 16 patches"):
        kept_patches(jax.random.key(0), 1, 1, (2, 8), mask_share=0.95, adjust=0.07, block=5)
    # One patch is the least.
    one = jax.eval_shape(
        lambda: kept_patches(
            jax.random.key(0), 1, 1, (2, 8), mask_share=15 / 16, adjust=0.0, block=5
        )
    )
    assert one.shape == (1, 1, 1)


def test_the_centre_of_a_block_is_any_patch():
    """Blocks of one patch are their centres, of which there are as many as are kept."""
    kept = jax.jit(
        lambda key: kept_patches(key, 40, 25, (4, 8), mask_share=31 / 32, adjust=0.0, block=1)
    )(jax.random.key(0))
    assert kept.shape == (40, 25, 1) and set(np.asarray(kept).ravel()) == set(range(32))


@pytest.mark.parametrize("block", [3, 4])
def test_a_block_is_a_square_around_its_centre_clamped_at_the_edges(block):
    """With one block for the patches that are kept, the others are drawn where it is clamped."""
    share = block**2 / 64
    kept = jax.jit(
        lambda key: kept_patches(key, 8, 25, (4, 16), mask_share=1 - share, adjust=0.0, block=block)
    )(jax.random.key(0))
    assert kept.shape == (8, 25, block**2)
    # A square of even size reaches one patch further towards the start.
    offsets = np.arange(block) - block // 2
    squares = {
        (row, column): {
            int(r) * 16 + int(c)
            for r in np.clip(row + offsets, 0, 3)
            for c in np.clip(column + offsets, 0, 15)
        }
        for row in range(4)
        for column in range(16)
    }
    centres = [
        {centre for centre, square in squares.items() if square <= set(view)}
        for view in np.asarray(kept).reshape(-1, block**2).tolist()
    ]
    assert all(centres) and len({*map(frozenset, centres)}) > 30
