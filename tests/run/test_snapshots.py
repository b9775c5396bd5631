"""Embeddings by the weights that a run kept on its way."""

import jax
import numpy as np

from asd_jax.config import RunConfig
from asd_jax.run.snapshots import embed_snapshots
from asd_jax.run.workdir import Run
from asd_jax.training.weights import load_pipeline, save_encoder


def test_every_snapshot_embeds_the_clips_by_its_own_weights(
    encoder_file, tmp_path, monkeypatch, capsys
):
    pipeline = load_pipeline(encoder_file)
    run = Run(tmp_path)
    for step, factor in ((5, 1.0), (12, 2.0)):
        params = jax.tree.map(lambda x, by=factor: by * np.asarray(x), pipeline.params)
        save_encoder(run.snapshots / f"step_{step:07}.safetensors", pipeline.config, params)
    asked = {}

    def embed_clips(config, encoder, params, clips, folder):
        asked[folder.relative_to(run.embeddings)] = (encoder, params["eat"]["cls"], clips)

    monkeypatch.setattr("asd_jax.run.snapshots.embed_clips", embed_clips)
    embed_snapshots(RunConfig(), pipeline.config, (), run)
    said = [f"embedding by step_{step:07}.safetensors" for step in (5, 12)]
    assert capsys.readouterr().out.splitlines() == said
    assert [str(folder) for folder in asked] == ["snapshots/step_0000005", "snapshots/step_0000012"]
    for (encoder, cls, clips), factor in zip(asked.values(), (1.0, 2.0), strict=True):
        assert encoder == pipeline.config and clips == ()
        np.testing.assert_allclose(cls, factor * pipeline.params["eat"]["cls"])
