"""The encoder of a run."""

import jax
import numpy as np
import pytest

from asd_jax.config import Frozen, Model, RunConfig
from asd_jax.features.front_end import FrontEnd, SimAM
from asd_jax.models.eat import EATConfig
from asd_jax.models.encoder import EncoderConfig, Pooling
from asd_jax.run.encoder import frozen_encoder, keep_compiled
from asd_jax.training.weights import abstract_encoder, embed, save_encoder


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


def test_an_encoder_with_trained_attention_keeps_it_whatever_the_pooling(tmp_path):
    trained = EncoderConfig(FrontEnd(simam=SimAM("none")), EATConfig(32, 1, 2), Pooling(), "se")
    params = jax.tree.map(lambda leaf: np.ones(leaf.shape, leaf.dtype), abstract_encoder(trained))
    save_encoder(tmp_path / "attended.safetensors", trained, params)
    weights = str(tmp_path / "attended.safetensors")
    config = RunConfig(model=Model(weights=weights), frozen=Frozen(pooling="mean", block=-1))
    encoder, params = frozen_encoder(config, [])
    assert encoder.attention == "se" and set(params) == {"attention", "eat"}
    assert embed(encoder, params, np.zeros((1, 16000), np.float32))[0].shape == (1, 32)
