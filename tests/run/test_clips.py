"""What a run hears."""

import numpy as np
import pytest
import soundfile

from asd_jax.config import RunConfig
from asd_jax.data.clips import Clip
from asd_jax.data.windows import Window
from asd_jax.run.clips import readable_clips, window_reader
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


@pytest.fixture
def recording(tmp_path):
    """A loud second, then a quiet one."""
    wave = np.random.default_rng(0).uniform(-1, 1, 32000) * np.repeat([0.5, 0.005], 16000)
    soundfile.write(tmp_path / "pump.wav", wave, 16000, subtype="FLOAT")
    return str(tmp_path / "pump.wav")


def windows_at(level, path):
    read = window_reader(with_values(RunConfig(), {"data.level": level}))
    clip = (path, "pump", "00", "train", "source", 0, "")
    return [read(Window(*clip, start, 16000)) for start in (0, 16000)]


def test_each_window_has_one_level_if_levels_are_normalised(recording):
    kept, normalised = (windows_at(level, recording) for level in ("keep", "normalize"))
    for before, after in zip(kept, normalised, strict=True):
        rms = np.sqrt(np.mean(np.square(after, dtype=np.float64)))
        assert after.dtype == np.float32 and 20 * np.log10(rms) == pytest.approx(-30, abs=1e-4)
        # Only the factor differs.
        np.testing.assert_allclose(after / rms, before / before.std(), rtol=1e-2, atol=1e-2)
    assert kept[0].std() > 50 * kept[1].std()


def test_normalised_silence_stays_silent_and_a_click_is_clipped(tmp_path):
    click = np.zeros(32000)
    click[20000] = 0.5
    soundfile.write(tmp_path / "click.wav", click, 16000, subtype="FLOAT")
    silent, clipped = windows_at("normalize", str(tmp_path / "click.wav"))
    assert not silent.any()
    assert np.abs(clipped).max() == 1 and np.count_nonzero(clipped) == 1


def test_an_unknown_level_is_named():
    with pytest.raises(InputError, match="data.level='loud'; known: keep, normalize"):
        with_values(RunConfig(), {"data.level": "loud"})
