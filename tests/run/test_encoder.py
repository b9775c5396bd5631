"""The encoder of a run."""

import jax
import pytest

from asd_jax.config import RunConfig, Size
from asd_jax.run.encoder import keep_compiled, note_slow_dtype


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
