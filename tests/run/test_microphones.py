"""What a run says before it cancels the far microphone."""

import numpy as np
import pytest

from asd_jax.config import Recordings
from asd_jax.data.clips import Clip
from asd_jax.data.far_microphone import stereo_clip, write_stereo
from asd_jax.data.synthesis import factory_clip
from asd_jax.data.two_microphones import Cancelling
from asd_jax.run import microphones
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


@pytest.fixture
def found(monkeypatch):
    """What cancelling takes from each clip, and the reads that were asked for."""
    found = {"shares": [Cancelling(0.5, 0.0)], "reads": []}

    def read_clip(path, **options):
        found["reads"].append((path, options))
        return np.ones(3)

    def cancelling(near, far):
        path = found["reads"][-1][0]
        return found["shares"][int(path) % len(found["shares"])]

    monkeypatch.setattr(microphones, "read_clip", read_clip)
    monkeypatch.setattr(microphones, "cancelling", cancelling)
    return found


def named(count, machine="fan", split="train"):
    return [Clip(f"{n}", machine, "00", split, "source", 0, "") for n in range(count)]


def said(capsys):
    return " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(("count", "chosen"), [(10, "0369"), (4, "0123"), (2, "01"), (1, "0")])
def test_four_training_clips_stand_for_all_and_none_is_read_twice(found, count, chosen):
    clips = named(count) + named(9, split="test")
    check_cancelling(Recordings(channel="cancelled", resampler="torchaudio"), clips)
    options = [
        {"sample_rate": 16000, "channel": c, "resampler": "torchaudio"} for c in ("near", "far")
    ]
    assert found["reads"] == [(n, one) for n in chosen for one in options]


def test_every_machine_has_the_mean_share_of_its_clips(found, capsys):
    found["shares"] = [Cancelling(0.2, 0.05), Cancelling(0.4, 0.15)]
    clips = named(2, "pump") + named(1, "fan")
    check_cancelling(Recordings(channel="cancelled"), clips)
    assert said(capsys) == (
        "fan: cancelling removes 20 % of the near channel's energy "
        "pump: cancelling removes 30 % of the near channel's energy"
    )
    # Guarded, what comes from the machine stays.
    check_cancelling(Recordings(channel="guarded"), clips[:2])
    assert said(capsys) == "pump: cancelling removes 20 % of the near channel's energy"


@pytest.mark.parametrize(
    ("share", "channel", "warned"),
    [(0.1, "cancelled", False), (0.11, "cancelled", True), (0.11, "guarded", False)],
)
def test_more_than_a_tenth_from_the_machine_is_a_warning(found, capsys, share, channel, warned):
    found["shares"] = [Cancelling(0.5, share)]
    check_cancelling(Recordings(channel=channel), named(1))
    text = said(capsys)
    assert text.startswith("WARNING: ") == warned and ("11 % at frequencies" in text) == warned


@pytest.mark.parametrize(("removed", "refused"), [(0.98, False), (0.981, True)])
def test_what_two_microphones_never_share_is_one_sound(found, removed, refused):
    found["shares"] = [Cancelling(removed, 0.0)]
    if refused:
        with pytest.raises(InputError, match="data.channel=guarded: the two channels of fan"):
            check_cancelling(Recordings(channel="guarded"), named(1))
    else:
        check_cancelling(Recordings(channel="guarded"), named(1))
