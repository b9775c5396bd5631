"""The encoder of a run."""

import jax

from asd_jax.config import Size
from asd_jax.run.encoder import note_slow_dtype


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
