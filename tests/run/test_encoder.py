"""The encoder of a run."""

import jax
import pytest

from asd_jax.config import Size
from asd_jax.features.front_end import SimAM
from asd_jax.features.settings import Features
from asd_jax.run.encoder import eat_config, front_end_of_bank, note_slow_dtype
from asd_jax.runtime.errors import InputError


def test_bfloat16_on_a_cpu_is_said_to_be_slow(monkeypatch, capsys):
    for backend, dtype, said in (
        ("cpu", "bfloat16", "--config.model.dtype=float32"),
        ("cpu", "float32", ""),
        ("gpu", "bfloat16", ""),
    ):
        monkeypatch.setattr(jax, "default_backend", lambda backend=backend: backend)
        note_slow_dtype(Size(dtype=dtype))
        out = capsys.readouterr().out
        assert bool(out) == bool(said) and said in out


def test_every_setting_of_the_filter_bank_reaches_the_front_end():
    of_user = {"spacing": "even", "bins": 64, "low_hz": 100.0, "high_hz": 6000.0}
    of_user |= {"mean": -5.5, "std": 2.5}
    front = front_end_of_bank(Features(**of_user), SimAM("global"))
    assert {name: getattr(front, name) for name in of_user} == of_user
    assert front.simam == SimAM("global")


@pytest.mark.parametrize(
    ("sizes", "bins", "said"),
    [
        ({"width": 3}, 128, "model.width=3 must lie in 4..8192"),
        ({"heads": 5}, 128, "model: EAT width 768 must be divisible by 5 heads and by 4"),
        ({}, 8, "features.bins=8 must lie in 16..512"),
    ],
)
def test_sizes_are_blamed_on_the_keys_that_give_them(sizes, bins, said):
    with pytest.raises(InputError, match=f"^{said}$"):
        eat_config(Size(size="base", **sizes), bins)
