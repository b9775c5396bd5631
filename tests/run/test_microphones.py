"""What a run says before it cancels the far microphone."""

import numpy as np
import pytest

from asd_jax.config import Recordings
from asd_jax.data.clips import Clip
from asd_jax.data.far_microphone import stereo_clip, write_stereo
from asd_jax.data.synthesis import factory_clip
from asd_jax.run.microphones import check_cancelling
from asd_jax.runtime.errors import InputError


def clips(folder, room_db):
    for seed in range(2):
        clip = factory_clip("fan", seed=seed)
        write_stereo(folder / f"{seed}.wav", stereo_clip(clip, room_db=room_db).wave)
    return [Clip(f"{folder}/{n}.wav", "fan", "00", "train", "source", 0, "") for n in range(2)]


@pytest.mark.parametrize(
    ("channel", "room_db", "warned"),
    [("cancelled", 10, False), ("cancelled", -10, True), ("guarded", -10, False)],
)
def test_a_machine_that_would_be_removed_is_a_warning(tmp_path, capsys, channel, room_db, warned):
    check_cancelling(Recordings(channel=channel), clips(tmp_path, room_db))
    said = capsys.readouterr().out
    assert "fan: cancelling removes" in said and ("WARNING" in said) == warned


def test_two_copies_of_one_channel_are_refused(tmp_path):
    wave = np.random.default_rng(0).normal(size=16000) * 0.05
    write_stereo(tmp_path / "0.wav", np.stack([wave, wave]))
    one = [Clip(f"{tmp_path}/0.wav", "fan", "00", "train", "source", 0, "")]
    with pytest.raises(InputError, match="the two channels of fan are the same sound"):
        check_cancelling(Recordings(channel="cancelled"), one)
