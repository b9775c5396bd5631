"""Stored targets: which frames a crop gets, and files that are none."""

import os
from pathlib import Path

import numpy as np
import pytest

from asd_jax.data.crops import Crop, RandomCrops, crop_batches
from asd_jax.data.targets import TargetFile, crop_frames
from asd_jax.runtime.errors import InputError

RECORDINGS = {"a/one.wav": 3, "two.wav": 1, "long/three.wav": 5}


def arrays(**changes):
    frames = np.array(list(RECORDINGS.values()))
    vectors = np.arange(frames.sum() * 2, dtype=np.float16).reshape(-1, 2)
    return {"files": np.array(list(RECORDINGS)), "frames": frames, "vectors": vectors, **changes}


def saved(path, **changes):
    np.savez(path, **{k: v for k, v in arrays(**changes).items() if v is not None})
    return path


def test_a_recording_is_found_by_its_place_below_the_root_or_by_its_whole_path(
    tmp_path, monkeypatch
):
    files = np.array(["a/one.wav", str(tmp_path / "two.wav"), "long/three.wav"])
    targets = TargetFile(saved(tmp_path / "targets.npz", files=files))
    assert targets.of(tmp_path / "a" / "one.wav", tmp_path).tolist() == [[0, 1], [2, 3], [4, 5]]
    assert targets.of(tmp_path / "two.wav", tmp_path).tolist() == [[6, 7]]
    assert targets.of(tmp_path / "long" / "three.wav", tmp_path).tolist()[-1] == [16, 17]
    assert targets.of(tmp_path / "one.wav", tmp_path) is None
    monkeypatch.chdir(tmp_path)
    here = Path(".")
    assert targets.of(here / "two.wav", here).tolist() == [[6, 7]]
    assert targets.of(here / "a" / "one.wav", here).shape == (3, 2)


def expected(frames, crop, count, fine=64000):
    """The means, from the frames drawn out over the samples of the recording."""
    drawn = np.repeat(frames, fine // len(frames), axis=0)
    moments = (np.arange(count * 5000) + 0.5) / (count * 5000) * crop.samples * crop.speed
    at = ((crop.begin + moments) % crop.length / crop.length * len(drawn)).astype(int)
    return drawn[at].reshape(count, 5000, -1).mean(1)


@pytest.mark.parametrize(
    "crop",
    [
        Crop(0, 0, 32000, 1.0, 32000),
        Crop(0, 4321, 16000, 1.0, 32000),
        Crop(0, 0, 32000, 1.0, 9000),  # repeated three and a half times
        Crop(0, 22000, 10000, 1.0, 9000),  # a piece of such a crop
        Crop(0, 1000, 16000, 1.1, 32000),
    ],
    ids=["whole", "part", "repeated", "piece", "faster"],
)
@pytest.mark.parametrize("stored", [1, 4, 100])
def test_frames_are_means_over_the_parts_of_the_crop(crop, stored):
    frames = np.random.default_rng(0).normal(size=(stored, 3)).astype(np.float16)
    found = crop_frames(frames, crop, 5)
    assert found.dtype == np.float32
    # measured 8e-4, of the sums over 5000 moments
    np.testing.assert_allclose(found, expected(frames, crop, 5), rtol=0, atol=1.6e-3)


def test_crops_of_recordings_get_the_frames_of_the_places_they_play():
    # Each sample tells its place in the recording, and so does each of the stored frames.
    lengths = (48000, 20000, 5000)
    waves = [np.arange(n, dtype=np.float32) / n for n in lengths]
    frames = [((np.arange(n // 100) + 0.5) / (n // 100))[:, None] for n in lengths]
    random = RandomCrops(
        [Path(str(n)) for n in range(3)],
        lambda path: waves[int(path.name)],
        clips=24,
        samples=16000,
        seed=0,
        steps=1,
    )
    batch, crops = next(crop_batches(random, start=0))
    assert {crop.file for crop in crops} == {0, 1, 2}
    for wave, crop in zip(batch, crops, strict=True):
        for number, piece in enumerate(crop.cut(4000, 4)):
            heard = wave[4000 * number :][:4000].reshape(8, 500).mean(1)
            found = crop_frames(frames[crop.file], piece, 8)[:, 0]
            np.testing.assert_allclose(found, heard, rtol=0, atol=4e-3)  # measured: half a sample


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames": None}, "no array 'frames'; a file of targets has files, frames, vectors"),
        ({"frames": np.array([3.0, 1, 5])}, "frames is float64 .* expected integers with 1 axes"),
        ({"frames": np.array([3, 1, 4])}, "sum 8 and vectors .* do not fit together"),
        ({"frames": np.array([3, 1])}, "do not fit together"),
        ({"frames": np.array([9, 0, 0])}, "do not fit together"),
        ({"frames": np.array([-1, 5, 5])}, "do not fit together"),
        ({"files": np.array([b"a", b"b", b"c"])}, "files is .S1 .* expected text"),
        ({"files": np.array(["a", "b", "a"])}, "has a more than once"),
        ({"vectors": np.zeros(9, np.float32)}, "expected floats with 2 axes"),
        ({"vectors": np.zeros((9, 2), int)}, "vectors is int64 .* expected floats"),
        ({"vectors": np.full((9, 2), np.nan)}, "NaN or infinity among the vectors"),
    ],
)
def test_arrays_that_are_no_targets_are_named(tmp_path, changes, message):
    path = saved(tmp_path / "targets.npz", **changes)
    with pytest.raises(InputError, match=message) as error:
        TargetFile(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("what", ["missing", "text", "truncated", "one array", "objects"])
def test_a_file_that_is_no_npz_is_named(tmp_path, what):
    path = saved(tmp_path / "targets.npz")
    if what == "missing":
        path.unlink()
    elif what == "text":
        path.write_text("files,frames,vectors")
    elif what == "truncated":
        os.truncate(path, path.stat().st_size // 2)
    elif what == "one array":
        with open(path, "wb") as file:
            np.save(file, np.zeros(3))
    else:
        saved(path, files=np.array(["a", "b", None], object))
    with pytest.raises(InputError, match=f"{path}: not a readable npz file"):
        TargetFile(path)
