"""Files beside the embeddings."""

import json
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from any_json import ANY_JSON, PROPERTY
from hypothesis import given

from asd_jax.config import RunConfig
from asd_jax.data.clips import Clip
from asd_jax.features.front_end import FrontEnd
from asd_jax.models.eat import EATConfig
from asd_jax.models.encoder import EncoderConfig, Pooling
from asd_jax.run import embed
from asd_jax.run.embed import SKIPPED, read_skipped
from asd_jax.runtime.errors import InputError
from asd_jax.scoring.embeddings import Embeddings


@PROPERTY
@given(content=ANY_JSON)
def test_a_list_of_skipped_clips_of_any_shape_is_one_or_refused(tmp_path, content):
    path = tmp_path / SKIPPED
    path.write_text(json.dumps(content))
    try:
        found = read_skipped(path)
    except InputError as error:
        assert str(path) in str(error)
    else:
        assert (
            all({"file", "reason"} == set(clip) for clip in found) and found == content["skipped"]
        )


def test_shards_that_a_killed_process_had_joined_are_removed_by_the_next_run(tmp_path, monkeypatch):
    def vectors(config, encoder, params, clips):
        ones = np.ones((len(clips), 2), np.float32)
        columns = ("section", "split", "domain", "label", "attribute")
        files = np.array([Path(clip.path).name for clip in clips])
        values = [np.array([getattr(clip, name) for clip in clips]) for name in columns]
        return (Embeddings(ones, files, *values),) * 2

    monkeypatch.setattr(embed, "embed_machine", vectors)
    (tmp_path / "0.wav").write_text("")
    clips = [Clip(str(tmp_path / "0.wav"), "fan", "00", "train", "source", 0, "")]
    encoder = EncoderConfig(FrontEnd("even"), EATConfig(32, 1, 2), Pooling("mean", -1, 0))
    arguments = RunConfig(), encoder, {}, clips, tmp_path / "run"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(embed, "_remove", mock.Mock(side_effect=KeyboardInterrupt))
        embed.embed_clips(*arguments)
    shard = tmp_path / "run" / "shards" / "fan" / "000000"
    (shard / ".lock").write_text("process 1 on a-host\n")
    assert (shard / "encoder.npz").exists()
    assert embed.embed_clips(*arguments) == 0
    left = {path.relative_to(tmp_path / "run").as_posix() for path in tmp_path.glob("run/**/*")}
    assert left == {"fan.npz", "filter_bank", "filter_bank/fan.npz", "made_of.json"}
