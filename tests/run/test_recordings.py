"""What a run hears."""

import pytest

from asd_jax.data.clips import Clip
from asd_jax.run import recordings
from asd_jax.runtime.errors import InputError
from configs import base


def test_machine_without_a_readable_training_clip_is_named(tmp_path):
    config = base.get_config()
    config.data.on_bad_clip = "skip"
    clips = [
        Clip(str(tmp_path / f"{split}.wav"), "pump", "00", split, "source", 0, "")
        for split in ("test", "train")
    ]
    said = (
        f"machine pump: none of its training clips can be read; the first, "
        f"{tmp_path}/train.wav: no such file$"
    )
    with pytest.raises(InputError, match=said):
        recordings.readable(config, clips)
