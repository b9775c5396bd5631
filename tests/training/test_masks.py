import jax
import numpy as np
import pytest

from asd_jax.runtime.errors import InputError
from asd_jax.training.masks import kept_patches

SETTINGS = {"base": (0.8, 0.07, 102), "large": (0.75, 0.1, 128)}


def masks(size, count, grid=(64, 8)):
    mask_share, adjust, _ = SETTINGS[size]
    kept = kept_patches(
        jax.random.key(0), count // 16, 16, grid, mask_share=mask_share, adjust=adjust, block=5
    )
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
