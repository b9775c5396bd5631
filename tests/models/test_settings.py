import dataclasses
import re

import pytest

from asd_jax.models.settings import LoRA, Tokens
from asd_jax.runtime.errors import InputError


def test_impossible_updates_are_refused():
    with pytest.raises(InputError, match="targets key; known: qkv, out, fc1, fc2"):
        LoRA(targets=("qkv", "key"))
    with pytest.raises(InputError, match="targets none; known"):
        LoRA(targets=())
    assert LoRA(rank=1, alpha=0.5).alpha == 0.5
    for wrong in ({"rank": 0}, {"alpha": 0.0}, {"alpha": -1.0}, {"alpha": float("nan")}):
        with pytest.raises(InputError, match="both must be positive"):
            LoRA(**wrong)


def test_the_defaults_are_those_of_recorded_runs():
    lora = {"rank": 64, "alpha": 64.0, "targets": ("qkv",), "init": "peft"}
    assert dataclasses.asdict(LoRA()) == lora
    tokens = {"blocks": "", "conditioning": "none", "condition_low": 0.1, "condition_high": 0.5}
    tokens |= {"bands": "mixed", "gem_power": 3.0, "gwrp_decay": 0.9, "rdp_gamma": 1.0}
    assert dataclasses.asdict(Tokens()) == tokens
    for one in (LoRA(), Tokens()):  # they are part of the name of a compiled program
        assert hash(one) == hash(dataclasses.replace(one))


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("condition_low", -1e6, 1e6),
        ("condition_high", -1e6, 1e6),
        ("gem_power", 0.5, 100.0),
        ("gwrp_decay", 0.0, 1.0),
        ("rdp_gamma", 0.0, 100.0),
    ],
)
def test_a_number_may_be_at_the_end_of_its_range_and_not_beyond(name, least, most):
    for value in (least, most):
        assert getattr(Tokens(**{name: value}), name) == value
    for value in (least - (0.5 if least == 0.5 else 1), most + 0.5):
        with pytest.raises(InputError, match=f"^{name}={re.escape(str(value))} must"):
            Tokens(**{name: value})


@pytest.mark.parametrize(
    ("name", "said"),
    [("conditioning", "known: none, clamp, zero"), ("bands", "known: mixed, apart, joined")],
)
def test_what_can_be_done_with_tokens_is_named(name, said):
    with pytest.raises(InputError, match=f"{name}='other'; {said}"):
        Tokens(**{name: "other"})


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
