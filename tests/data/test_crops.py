import functools

import numpy as np
import pytest
import soundfile

from asd_jax.data.audio import read_clip
from asd_jax.data.crops import crop_batches, training_files
from asd_jax.runtime.errors import InputError

TEST = [f"b/{folder}/three.wav" for folder in ("test", "source_test", "target_test", "test_rename")]


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for name, samples in {
        "a/one.wav": 20000,
        "b/two.flac": 3000,
        **dict.fromkeys(TEST, 9000),
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / name, rng.uniform(-0.5, 0.5, samples), 16000)
    (tmp_path / "readme.txt").write_text("no sound")
    return tmp_path


def test_test_folders_are_left_out(folder):
    assert [p.relative_to(folder).as_posix() for p in training_files(folder)] == [
        "a/one.wav",
        "b/two.flac",
    ]


@pytest.mark.parametrize("what", ["missing", "empty"])
def test_a_folder_without_sound_is_named(tmp_path, what):
    folder = tmp_path / what
    if what == "empty":
        folder.mkdir()
    with pytest.raises(InputError, match=str(folder)):
        training_files(folder)


def test_a_batch_depends_on_seed_and_step_alone(folder):
    files = training_files(folder)
    settings = {"clips": 3, "samples": 4000, "seed": 1, "steps": 6}
    whole = list(crop_batches(files, read_clip, start=0, **settings))
    later = list(crop_batches(files, read_clip, start=4, **settings))
    assert len(whole) == 6 and len(later) == 2
    np.testing.assert_array_equal(whole[4:], later)
    other = next(crop_batches(files, read_clip, start=0, **{**settings, "seed": 2}))
    assert not np.array_equal(whole[0], other)


def test_crops_are_pieces_of_recordings_and_short_ones_repeat(folder):
    files = training_files(folder)
    waves = {path: read_clip(path) for path in files}
    read = functools.partial(dict.__getitem__, waves)
    for crop in next(crop_batches(files, read, clips=16, samples=4000, seed=0, start=0, steps=1)):
        long, short = waves.values()
        repeated = np.array_equal(crop, np.resize(short, 4000))
        starts = (
            []
            if repeated
            else np.flatnonzero(np.isclose(long[: -4000 + 1 or None], crop[0], atol=0))
        )
        assert repeated or any(np.array_equal(long[n : n + 4000], crop) for n in starts)
