import dataclasses

import numpy as np
import pytest

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.anomaly_score import fit_sections, score_machine
from asd_jax.scoring.embeddings import Embeddings
from asd_jax.scoring.options import Scoring
from asd_jax.scoring.windows import merge_windows


def test_scores_of_windows_are_averaged_or_their_maximum_taken():
    scores = np.array([1.0, 3.0, -2.0, 5.0, 7.0, 0.0])
    clip = np.array([0, 0, 1, 2, 2, 2])
    np.testing.assert_allclose(merge_windows(scores, clip), [2, -2, 4])
    np.testing.assert_array_equal(merge_windows(scores, clip, how="max"), [3, -2, 7])
    with pytest.raises(InputError, match="no way 'median'"):
        merge_windows(scores, clip, how="median")


def windowed(windows=3, spread=0.01, clips=24, seed=0):
    """Clips of `windows` nearly equal windows: source and target normals to train on, and as many
    to test.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for n in range(clips):
        centre = rng.normal(size=8)
        for start in range(windows):
            vector = centre + spread * rng.normal(size=8)
            split = ("train", "test")[n % 2]
            domain = ("source", "target")[n // 2 % 2]
            rows.append((vector, f"{n:02}.wav", "00", split, domain, n % 4 // 2, "", float(start)))
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    return Embeddings(columns[0].astype(np.float32), *columns[1:7], window_start_seconds=columns[7])


@pytest.mark.parametrize("how", ["mean", "max"])
def test_a_windowed_clip_gets_one_score(how):
    embeddings = windowed()
    scores = score_machine(embeddings, Scoring(normalization="none", domains="pooled", windows=how))
    bank = embeddings.vectors[embeddings.split == "train"].astype(np.float64)
    assert scores.clips.files.tolist() == sorted(
        set(embeddings.files[embeddings.split == "test"].tolist())
    )
    for file, score in zip(scores.clips.files, scores.score, strict=True):
        own = embeddings.vectors[embeddings.files == file].astype(np.float64)
        cosine = own @ bank.T / np.linalg.norm(own, axis=1)[:, None] / np.linalg.norm(bank, axis=1)
        assert score == pytest.approx(getattr(np, how)((1 - cosine).min(1)), abs=1e-9)


def test_normal_windows_are_not_compared_with_those_of_their_own_clip():
    """Windows of a clip lie 0.01 apart and clips 4: by leave-one-out every test clip would be
    thousands of std away.
    """
    scores = score_machine(windowed(), Scoring(distance="euclidean"))
    assert np.abs(scores.score).max() < 6


@pytest.mark.parametrize(
    "clips", [24, 80]
)  # 6 and 20 in training a domain: as many folds as clips, and ten
def test_self_scores_are_distances_to_the_clips_of_other_folds(clips):
    embeddings = windowed(clips=clips)
    found = fit_sections(embeddings, Scoring(distance="euclidean"))["00"].self_scores["source"][
        "source"
    ]
    own = embeddings[(embeddings.split == "train") & (embeddings.domain == "source")]
    clip = np.unique(own.files, return_inverse=True)[1]
    fold = clip % 10
    distance = np.linalg.norm(own.vectors[:, None].astype(np.float64) - own.vectors, axis=2)
    nearest = np.array([distance[n, fold != fold[n]].min() for n in range(len(clip))])
    np.testing.assert_allclose(
        found, [nearest[clip == n].mean() for n in range(clip.max() + 1)], rtol=1e-12
    )


@pytest.mark.parametrize("layers", [False, True])
def test_z_scores_of_a_fusion_rest_on_windows_of_other_clips(layers):
    """They have mean 0 on the normal windows; windows of the same clip, 0.01 apart, would make it
    hundreds.
    """
    embeddings = windowed()
    options = Scoring(distance="euclidean", back_end="knn+mahalanobis", fusion="mean")
    if layers:
        vectors = np.stack([embeddings.vectors, embeddings.vectors[:, ::-1]], axis=1)
        embeddings = dataclasses.replace(
            embeddings, vectors=vectors, axes=("clip", "layer", "embedding")
        )
    found = fit_sections(embeddings, options)["00"].self_scores["source"]["source"]
    assert abs(found.mean()) < 1e-9


def test_one_window_a_clip_is_the_clip():
    embeddings = windowed(windows=1)
    plain = dataclasses.replace(embeddings, window_start_seconds=None)
    options = Scoring(normalization="test")
    np.testing.assert_allclose(
        score_machine(embeddings, options).score, score_machine(plain, options).score
    )


def test_windows_are_kept_in_the_file(tmp_path):
    windowed().save(tmp_path / "fan.npz")
    again = Embeddings.load(tmp_path / "fan.npz")
    np.testing.assert_array_equal(again.window_start_seconds, windowed().window_start_seconds)
    assert again.clip.max() == 23
