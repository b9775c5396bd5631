"""What a config means."""

import jax
import pytest

from asd_jax import experiment
from configs import base


@pytest.mark.parametrize(
    ("backend", "own", "kept"),
    [("gpu", None, "programs"), ("cpu", None, None), ("gpu", "elsewhere", "elsewhere")],
)
def test_compiled_programs_are_kept_on_accelerators_where_nobody_said_otherwise(
    backend, own, kept, monkeypatch, tmp_path
):
    before = jax.config.jax_compilation_cache_dir
    config = base.get_config()
    config.compiled = str(tmp_path / "programs")
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    try:
        jax.config.update("jax_compilation_cache_dir", own)
        experiment.keep_compiled(config)
        found = jax.config.jax_compilation_cache_dir
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
    assert found == (str(tmp_path / kept) if kept == "programs" else kept)
