"""The encoder of a run."""

import jax
import pytest

from asd_jax.config import RunConfig, Size
from asd_jax.run.encoder import eat_config, keep_compiled, note_slow_dtype
from asd_jax.runtime.errors import InputError


@pytest.mark.parametrize(
    ("backend", "own", "kept"),
    [("gpu", None, "programs"), ("cpu", None, None), ("gpu", "elsewhere", "elsewhere")],
)
def test_compiled_programs_are_kept_on_accelerators_where_nobody_said_otherwise(
    backend, own, kept, monkeypatch, tmp_path
):
    before = jax.config.jax_compilation_cache_dir
    config = RunConfig(compiled=str(tmp_path / "programs"))
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    try:
        jax.config.update("jax_compilation_cache_dir", own)
        keep_compiled(config)
        found = jax.config.jax_compilation_cache_dir
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
    assert found == (str(tmp_path / kept) if kept == "programs" else kept)


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
