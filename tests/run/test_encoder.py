"""The encoder of a run."""

import jax
import pytest

from asd_jax.config import Size
from asd_jax.run.encoder import eat_config, note_slow_dtype
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
