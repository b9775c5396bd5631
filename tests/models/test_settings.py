import pytest

from asd_jax.models.settings import LoRA, Tokens
from asd_jax.runtime.errors import InputError


def test_impossible_updates_are_refused():
    with pytest.raises(InputError, match="targets key; known: qkv, out, fc1, fc2"):
        LoRA(targets=("qkv", "key"))
    with pytest.raises(InputError, match="rank 0"):
        LoRA(rank=0)


def test_the_averaged_blocks_are_those_that_are_named():
    assert Tokens().block_numbers(-2, 12) == [-2]
    assert Tokens(blocks="3, 4,-1").block_numbers(-2, 12) == [3, 4, -1]
    assert Tokens(blocks="all").block_numbers(-2, 3) == [0, 1, 2]
    with pytest.raises(
        InputError, match="^blocks='3-5'; write numbers with commas, e.g. 3,4,5, or"
    ):
        Tokens(blocks="3-5")


def test_a_mean_of_bands_keeps_them_apart_unless_they_are_joined():
    found = {
        (kind, bands): Tokens(bands=bands).bands_of(kind)
        for kind in ("band_mean", "gem")
        for bands in ("mixed", "apart", "joined")
    }
    assert found.pop(("band_mean", "mixed")) == "apart"
    assert all(bands == given for (_, given), bands in found.items())
