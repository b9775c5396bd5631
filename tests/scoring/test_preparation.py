import dataclasses

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scoring.banks import BANK, SOURCE, TARGET, TEST, unit
from scoring.machines import machine, split

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.back_ends.chosen import fit_back_end
from asd_jax.scoring.options import DEFAULT, Scoring
from asd_jax.scoring.preparation import Preparation


def test_euclidean_distances_of_unit_vectors_are_those_of_the_other_toolkits():
    scoring = dataclasses.replace(
        DEFAULT, distance="unit_euclidean", back_end="local_density", k=3, density_k=4
    )
    prepare = Preparation.fit(BANK, scoring, ("clip", "embedding"))
    bank = {domain: prepare(v) for domain, v in BANK.items()}
    test = prepare(TEST)[:, 0]
    found = fit_back_end(bank, scoring, ("clip", "embedding")).score(test)
    for domain, vectors in BANK.items():
        # ASDKit's KnnRescale: distances over those inside the bank, the three smallest averaged
        inside = np.sort(cdist(unit(vectors), unit(vectors)), axis=1)[:, 1:5].mean(1)
        ratios = np.sort(cdist(unit(TEST), unit(vectors)) / inside, axis=1)[:, :3]
        assert found[domain] == pytest.approx(ratios.mean(1), abs=1e-12)
    nearest_two = dataclasses.replace(scoring, back_end="knn", k=2)
    found = fit_back_end(bank, nearest_two, ("clip", "embedding")).score(test)
    expected = np.sort(cdist(unit(TEST), unit(SOURCE)), axis=1)[:, :2].mean(1)
    assert found["source"] == pytest.approx(expected, abs=1e-12)


def test_whitened_source_clips_have_unit_covariance_in_every_band():
    embeddings = machine(shape=(3, 6))
    training = {
        "source": split(embeddings, "train", "source"),
        "target": split(embeddings, "train", "target"),
    }
    prepare = Preparation.fit(training, Scoring(distance="euclidean", whiten=4), embeddings.axes)
    whitened = prepare(training["source"])
    assert whitened.shape == (40, 3, 4)
    for band in range(3):
        assert np.cov(whitened[:, band].T) == pytest.approx(np.eye(4), abs=1e-12)
    assert whitened.mean(0) == pytest.approx(np.zeros((3, 4)), abs=1e-12)
    # No clips are of the new width too, as everything that is compared with the bank.
    assert prepare(training["source"][:0]).shape == (0, 3, 4)


AXES = ("clip", "embedding")


@pytest.mark.parametrize(
    ("clips", "whiten", "components"), [(2, 4, 1), (4, 4, 3), (60, 4, 4), (60, 1000, 8)]
)
def test_whitening_keeps_what_the_clips_span(clips, whiten, components):
    scoring = Scoring(whiten=whiten)
    prepare = Preparation.fit({"source": SOURCE[:clips]}, scoring, AXES)
    assert prepare(TEST).shape == (len(TEST), 1, components)


def test_one_clip_cannot_be_whitened():
    said = "whiten 4: needs at least two source training clips"
    with pytest.raises(InputError, match=f"^{said}$"):
        Preparation.fit({"source": SOURCE[:1]}, Scoring(whiten=4), AXES)


def test_whitening_of_wide_vectors_draws_nothing_at_random():
    wide = {"source": np.random.default_rng(0).normal(size=(20, 600))}
    one, other = (Preparation.fit(wide, Scoring(whiten=4), AXES)(wide["source"]) for _ in range(2))
    assert np.array_equal(one, other)


def test_whitening_comes_after_standardising():
    scoring = Scoring(distance="euclidean", standardize=True, whiten=8)
    found = Preparation.fit(BANK, scoring, AXES)(TEST)[:, 0]
    standardized = {"source": (SOURCE - SOURCE.mean(0)) / SOURCE.std(0)}
    whiten = Preparation.fit(standardized, Scoring(distance="euclidean", whiten=8), AXES)
    expected = whiten((TEST - SOURCE.mean(0)) / SOURCE.std(0))[:, 0]
    assert found == pytest.approx(expected, abs=1e-12)


def test_without_source_clips_all_others_give_the_statistics():
    scoring = Scoring(standardize=True)
    nothing = SOURCE[:0]
    prepare = Preparation.fit({"source": nothing, "target": TARGET}, scoring, AXES)
    assert prepare(TEST)[:, 0] == pytest.approx((TEST - TARGET.mean(0)) / TARGET.std(0), abs=1e-14)
    prepare = Preparation.fit(BANK, scoring, AXES)
    assert prepare(TEST)[:, 0] == pytest.approx((TEST - SOURCE.mean(0)) / SOURCE.std(0), abs=1e-14)
    # No clips at all leave the vectors as they are.
    assert np.array_equal(Preparation.fit({"source": nothing}, scoring, AXES)(TEST)[:, 0], TEST)


def test_a_dimension_that_never_varies_is_not_divided_by_its_rounding():
    constant = np.concatenate([SOURCE, np.full((len(SOURCE), 1), 0.1)], axis=1)
    found = Preparation.fit({"source": constant}, Scoring(standardize=True), AXES)(constant)
    assert np.abs(found[:, 0, 8]).max() < 1e-12 and found[:, 0, :8].std(0) == pytest.approx(1)


@pytest.mark.parametrize(
    ("distance", "parts", "scaled"),
    [
        ("cosine", 1, False),  # which the back ends scale that compare by cosines
        ("cosine", 2, True),
        ("unit_euclidean", 1, True),
        ("unit_euclidean", 2, True),
        ("euclidean", 1, False),
        ("euclidean", 2, False),
    ],
)
def test_parts_have_length_one_where_the_distance_asks_for_it(distance, parts, scaled):
    of = TEST.reshape(len(TEST), parts, -1) if parts > 1 else TEST
    axes = ("clip", "band", "embedding") if parts > 1 else AXES
    found = Preparation.fit({"source": of}, Scoring(distance=distance), axes)(of)
    plain = TEST.reshape(len(TEST), parts, -1)
    length = np.linalg.norm(plain, axis=2, keepdims=True) if scaled else 1
    assert found == pytest.approx(plain / length, abs=1e-15)


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ("mean_score", lambda v: v),
        ("mean_vector", lambda v: v.mean(1, keepdims=True)),
        ("0", lambda v: v[:, :1]),
        ("1", lambda v: v[:, 1:]),
    ],
)
def test_layers_are_chosen_or_averaged_and_bands_are_not(layers, expected):
    scoring = Scoring(distance="euclidean", layers=layers)
    parts = TEST.reshape(-1, 2, 4)
    layered = Preparation.fit({"source": parts}, scoring, ("clip", "layer", "embedding"))
    assert np.array_equal(layered(parts), expected(parts))
    banded = Preparation.fit({"source": parts}, scoring, ("clip", "band", "embedding"))
    assert np.array_equal(banded(parts), parts)


def test_a_layer_that_is_not_there_is_named():
    prepare = Preparation.fit(BANK, Scoring(layers="2"), ("clip", "layer", "embedding"))
    with pytest.raises(InputError, match="^layers 2: the embeddings have layers 0 to 1$"):
        prepare(TEST.reshape(-1, 2, 4))
