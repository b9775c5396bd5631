import dataclasses
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asd_jax.data.audio import read_clip
from asd_jax.data.crops import Crop, RandomCrops, crop_batches, training_files
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
    settings = {"clips": 3, "samples": 4000, "seed": 1, "steps": 6, "speed": 0.2}
    crops = RandomCrops(files, read_clip, **settings)
    whole = list(crop_batches(crops, start=0))
    later = list(crop_batches(crops, start=4))
    assert len(whole) == 6 and len(later) == 2
    for (wave, places), (again, places_again) in zip(whole[4:], later, strict=True):
        np.testing.assert_array_equal(wave, again)
        assert places == places_again
    other, _ = next(crop_batches(dataclasses.replace(crops, seed=2), start=0))
    assert not np.array_equal(whole[0][0], other)


def test_crops_are_the_places_they_name_and_short_recordings_repeat(folder):
    files = training_files(folder)
    waves = [read_clip(path) for path in files]
    random = RandomCrops(files, read_clip, clips=16, samples=4000, seed=0, steps=1)
    batch, crops = next(crop_batches(random, start=0))
    assert {crop.file for crop in crops} == {0, 1}
    for wave, crop in zip(batch, crops, strict=True):
        own = waves[crop.file]
        at = (crop.begin + np.arange(4000)) % len(own)
        np.testing.assert_array_equal(wave, own[at])
        assert crop == Crop(crop.file, crop.begin, 4000, 1.0, len(own))


def test_without_a_change_of_speed_the_draws_are_those_of_one_generator_a_step(folder):
    files = training_files(folder)
    lengths = [len(read_clip(path)) for path in files]
    random = RandomCrops(files, read_clip, clips=5, samples=2000, seed=7, steps=4)
    _, crops = next(crop_batches(random, start=3))
    rng = np.random.default_rng([7, 3])
    chosen = rng.integers(2, size=5)
    begins = [rng.integers(max(lengths[n] - 2000, 0) + 1) for n in chosen]
    assert [(crop.file, crop.begin) for crop in crops] == list(zip(chosen, begins, strict=True))


def test_a_quarter_of_the_crops_play_at_the_speed_they_name():
    # A chirp: at each place of the recording another frequency.
    second = np.arange(48000) / 16000
    wave = (0.5 * np.sin(2 * np.pi * (200 + 100 * second) * second)).astype(np.float32)
    settings = {"clips": 200, "samples": 4000, "seed": 0, "steps": 1, "speed": 0.2}
    random = RandomCrops([Path("chirp")], lambda path: wave, **settings)
    batch, crops = next(crop_batches(random, start=0))
    speeds = np.array([crop.speed for crop in crops])
    assert 0.15 < np.mean(speeds != 1) < 0.35
    assert np.abs(speeds - 1).max() <= 0.2 and np.ptp(speeds) > 0.2
    inside = np.arange(200, 3800)  # a resampler rings at the ends
    for heard, crop in zip(batch, crops, strict=True):
        at = crop.begin + inside * crop.speed
        # measured 1.0e-3, the error of linear interpolation at 1.1 kHz included
        np.testing.assert_allclose(
            heard[inside], np.interp(at, np.arange(48000), wave), rtol=0, atol=2e-2
        )


def test_pieces_of_a_crop_are_the_places_they_name(folder):
    files = training_files(folder)
    random = RandomCrops(files, read_clip, clips=8, samples=4000, seed=0, steps=1)
    batch, crops = next(crop_batches(random, start=0))
    for wave, crop in zip(batch, crops, strict=True):
        own = read_clip(files[crop.file])
        for number, piece in enumerate(crop.cut(1000, 4)):
            at = (piece.begin + np.arange(1000)) % piece.length
            np.testing.assert_array_equal(wave[1000 * number :][:1000], own[at])
    twice = Crop(0, 100, 4000, 2.0, 20000).cut(1000, 3)
    assert [piece.begin for piece in twice] == [100, 2100, 4100]
