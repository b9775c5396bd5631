"""What a run hears."""

import pytest

from asd_jax.config import RunConfig
from asd_jax.data.clips import Clip
from asd_jax.run.clips import readable_clips
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.settings import with_values


def test_machine_without_a_readable_training_clip_is_named(tmp_path):
    config = with_values(RunConfig(), {"data.on_bad_clip": "skip"})
    clips = [
        Clip(str(tmp_path / f"{split}.wav"), "pump", "00", split, "source", 0, "")
        for split in ("test", "train")
    ]
    said = (
        f"machine pump: none of its training clips can be read; the first, {tmp_path}/train.wav: "
        "no such file$"
    )
    with pytest.raises(InputError, match=said):
        readable_clips(config, clips)
