import dataclasses

import numpy as np
import pytest
from scoring.machines import machine, split

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.anomaly_score import (
    SectionScorer,
    fit_sections,
    is_about,
    score_machine,
    score_sections,
)
from asd_jax.scoring.back_ends.fitted import Fitted
from asd_jax.scoring.back_ends.knn import nearest
from asd_jax.scoring.domain_normalization import domain_normalize
from asd_jax.scoring.embeddings import Embeddings
from asd_jax.scoring.options import Scoring
from asd_jax.scoring.threshold import threshold


def test_the_default_is_cosine_1_nn_with_train_statistics_and_the_minimum():
    embeddings = machine()
    banks = {domain: split(embeddings, "train", domain) for domain in ("source", "target")}
    test = embeddings.vectors[embeddings.split == "test"].astype(np.float64)
    to = {domain: nearest(test, bank)[0][:, 0] for domain, bank in banks.items()}
    own = {
        f"train_{d}": nearest(bank, bank, leave_one_out=True)[0][:, 0] for d, bank in banks.items()
    }
    found = score_machine(embeddings)
    assert found.score == pytest.approx(
        domain_normalize(to["source"], to["target"], **own), abs=1e-12
    )
    assert np.array_equal(found.decision, found.score > found.threshold["00"])
    assert found.notes == ()


def test_both_domains_can_be_divided_by_the_targets_deviation():
    embeddings = machine()
    found = score_machine(embeddings, Scoring(deviation="target")).score
    (scorer,) = fit_sections(embeddings).values()
    test = scorer.fitted.score(embeddings.vectors[embeddings.split == "test"])
    own = {domain: scorer.self_scores[domain][domain] for domain in ("source", "target")}
    each = [(test[d] - own[d].mean()) / own["target"].std() for d in own]
    assert found == pytest.approx(np.min(each, axis=0), abs=1e-12)


def test_standardisation_uses_the_source_training_clips():
    embeddings = machine()
    source = split(embeddings, "train", "source")
    by_hand = (embeddings.vectors.astype(np.float64) - source.mean(0)) / source.std(0)
    plain = Scoring(distance="euclidean")
    expected = score_machine(dataclasses.replace(embeddings, vectors=by_hand), plain)
    found = score_machine(embeddings, dataclasses.replace(plain, standardize=True))
    assert found.score == pytest.approx(expected.score, abs=1e-10)


def test_cosine_of_banded_vectors_is_the_mean_over_bands():
    embeddings = machine(shape=(3, 6))
    found = score_machine(embeddings, Scoring(domains="source", normalization="none")).score
    test = embeddings[embeddings.split == "test"].vectors.astype(float)
    bank = split(embeddings, "train", "source")
    cosine = [
        1 - (t * bank).sum(-1) / np.linalg.norm(t, axis=-1) / np.linalg.norm(bank, axis=-1)
        for t in test
    ]
    assert found == pytest.approx([c.mean(1).min() for c in cosine], abs=1e-12)


def test_sections_are_scored_as_if_alone():
    both = machine(sections=("00", "02"))
    together = score_machine(both)
    for section in ("00", "02"):
        alone = score_machine(both[both.section == section])
        here = together.clips.section == section
        assert np.array_equal(together.score[here], alone.score)
        assert together.threshold[section] == alone.threshold[section]


def test_held_out_clips_give_statistics_but_no_neighbours():
    embeddings = machine(held_out=6)
    without = embeddings[embeddings.split != "held_out"]
    assert np.array_equal(score_machine(embeddings).score, score_machine(without).score)
    found = score_machine(embeddings, Scoring(normalization="held_out")).score
    test = embeddings.vectors[embeddings.split == "test"]
    to = []
    held = []
    for domain in ("source", "target"):
        bank = split(embeddings, "train", domain)
        to.append(nearest(test, bank)[0][:, 0])
        held.append(nearest(split(embeddings, "held_out", domain), bank)[0][:, 0])
    expected = domain_normalize(*to, train_source=held[0], train_target=held[1], mode="held_out")
    assert found == pytest.approx(expected, abs=1e-12)
    with pytest.raises(InputError, match="held_out: no held-out source, target clips"):
        score_machine(without, Scoring(normalization="held_out"))


def line(train, test):
    """Source clips on a line."""
    x = np.array([*train, *test])
    text = [["00"] * len(x), ["train"] * len(train) + ["test"] * len(test), ["source"] * len(x)]
    columns = [np.array(column) for column in text]
    label = np.where(columns[1] == "train", 0, -1)
    files = np.array([f"{n}.wav" for n in range(len(x))])
    return Embeddings(x[:, None], files, *columns, label, np.full(len(x), ""))


PLAIN = Scoring(distance="euclidean", normalization="none")
NO_TARGET = "section 00: no target training clips: that bank is left out"


@pytest.mark.parametrize("decision", ["quantile", "gamma"])
def test_three_different_normal_scores_give_a_threshold(decision):
    options = dataclasses.replace(PLAIN, decision=decision, decision_quantile=0.7)
    found = score_machine(line([0, 1, 3, 7.0], [9.0]), options)
    normal = [1.0, 1, 2, 4]  # to the nearest other
    assert found.threshold == {"00": threshold(normal, decision=decision, quantile=0.7)}
    assert found.notes == (NO_TARGET,)


def test_of_fewer_the_highest_is_the_threshold_and_no_score_as_high_is_anomalous():
    found = score_machine(line([0, 1, 3.0], [5, 5.5, 2]), PLAIN)
    assert found.threshold == {"00": 2} and found.score.tolist() == [2, 2.5, 1]
    assert found.decision.tolist() == [0, 1, 0]
    said = "section 00: too few normal scores to fit a threshold: 2, the highest of them, is used"
    assert found.notes == (NO_TARGET, said)
    assert found.clips.files.tolist() == ["3.wav", "4.wav", "5.wav"]
    assert found.clips.vectors.tolist() == [[0], [0], [0]]  # not kept


def test_without_any_normal_score_nothing_is_anomalous():
    found = score_machine(line([0.0], [1e9]), PLAIN)
    assert found.threshold == {"00": np.inf} and found.decision.tolist() == [0]


@pytest.mark.parametrize(
    ("expected", "least", "most"), [(4.0, 0, 10), (16.0, 4, 32), (50.0, 25, 100), (0.25, 0, 1)]
)
def test_a_count_is_as_asked_within_a_factor_of_two_or_three_deviations(expected, least, most):
    found = [count for count in range(200) if is_about(count, expected)]
    assert found == list(range(least, most + 1))


def test_scores_stay_with_their_clips_whatever_their_order():
    embeddings = machine(sections=("00", "02"))
    order = np.random.default_rng(0).permutation(len(embeddings.files))
    one, other = (score_machine(of) for of in (embeddings, embeddings[order]))
    assert other.clips.files.tolist() == [
        f for f in embeddings.files[order] if f in one.clips.files
    ]
    of_file = dict(zip(one.clips.files, one.score, strict=True))
    assert other.score == pytest.approx([of_file[f] for f in other.clips.files], abs=1e-12)


def test_the_targets_deviation_needs_a_target():
    embeddings = machine(target=0)
    found = score_machine(embeddings, Scoring(deviation="target")).score
    assert np.array_equal(found, score_machine(embeddings).score)


def test_held_out_windows_count_as_clips():
    embeddings = machine(source=20, target=20, held_out=12)
    files = np.array([f"{n // 2:03}.wav" for n in range(len(embeddings.files))])
    starts = np.tile([0.0, 1.0], len(files) // 2)
    windowed = dataclasses.replace(embeddings, files=files, window_start_seconds=starts)
    options = Scoring(normalization="held_out", windows="max", decision="quantile")
    test = []
    held = []
    for domain in ("source", "target"):
        bank = split(embeddings, "train", domain)
        of = [split(embeddings, "held_out", name) for name in ("source", "target")]
        near = [nearest(one, bank)[0].reshape(-1, 2).max(1) for one in of]
        vectors = embeddings.vectors[embeddings.split == "test"]
        own = near[domain == "target"]
        test.append((nearest(vectors, bank)[0].reshape(-1, 2).max(1) - own.mean()) / own.std())
        held.append([(one - own.mean()) / own.std() for one in near])
    found = score_machine(windowed, options)
    assert found.score == pytest.approx(np.min(test, axis=0), abs=1e-12)
    normal = np.concatenate([np.minimum(one, other) for one, other in zip(*held, strict=True)])
    assert found.threshold["00"] == pytest.approx(np.quantile(normal, 0.9), abs=1e-12)


def test_clips_left_out_with_their_group_have_no_score_where_nothing_is_left():
    training = {"source": np.array([[0.0], [1], [5]]), "target": np.array([[2.0], [3]])}
    scorer = SectionScorer.fit(training, PLAIN)
    groups = {"source": np.array([0, 0, 1]), "target": np.array([0, 0])}
    found = scorer.self_scores_without(groups)
    assert found["source"]["source"].tolist() == [5, 4, 4]
    assert found["source"]["target"].tolist() == [2, 1, 2]
    assert np.isnan(found["target"]["target"]).all()
    windows = {"train": {"source": np.array([4, 4, 7]), "target": np.array([1, 1])}, "held_out": {}}
    merged = SectionScorer.fit(training, PLAIN, windows=windows).self_scores_without(groups)
    assert merged["source"]["source"].tolist() == [4.5, 4]


@pytest.mark.parametrize("normalization", ["train", "none"])
def test_a_clip_scores_alone_as_it_does_among_others(normalization):
    embeddings = machine()
    all_of_them = score_machine(embeddings, Scoring(normalization=normalization))
    first = np.flatnonzero(embeddings.split == "test")[0]
    keep = embeddings.split == "train"
    keep[first] = True
    alone = score_machine(embeddings[keep], Scoring(normalization=normalization))
    assert (alone.score[0], alone.threshold) == (all_of_them.score[0], all_of_them.threshold)


def test_duplicated_training_clips_change_no_score_without_normalisation():
    embeddings = machine()
    double = embeddings[
        np.r_[np.arange(len(embeddings.files)), np.flatnonzero(embeddings.split == "train")]
    ]
    plain = Scoring(normalization="none")
    assert score_machine(double, plain).score == pytest.approx(
        score_machine(embeddings, plain).score, abs=1e-15
    )


def test_normal_clips_are_called_anomalous_about_as_often_as_the_quantile_says():
    embeddings = machine(source=400, target=100, test=300)
    found = score_machine(embeddings)
    false_alarms = found.decision[found.clips.label == 0].mean()
    assert 0.05 < false_alarms < 0.15  # 10 %, with the spread of 600 clips


def test_a_threshold_that_normal_scores_do_not_bear_out_is_noted():
    embeddings = machine(source=400, target=0, shape=(40,))
    # doubles have no distance, so the scores no one shape
    again = np.flatnonzero(embeddings.split == "train")[:100]
    embeddings = embeddings[np.r_[np.arange(len(embeddings.files)), again]]
    (note,) = (note for note in score_machine(embeddings).notes if "threshold" in note)
    assert "of 500 normal scores lie above the threshold, 50 were asked for" in note
    told = score_machine(embeddings, Scoring(decision="quantile")).notes
    assert not any("threshold" in note for note in told)


@pytest.mark.parametrize(
    "target, note", [(0, "no target training clips"), (1, "target: fewer than two")]
)
def test_small_domains_are_scored_and_noted(target, note):
    found = score_machine(machine(target=target))
    assert np.isfinite(found.score).all()
    assert any(note in one for one in found.notes)


def test_clips_without_domain_share_one_bank():
    embeddings = machine()
    nameless = dataclasses.replace(embeddings, domain=np.full(len(embeddings.files), "unknown"))
    found = score_machine(nameless)
    assert np.array_equal(found.score, score_machine(embeddings, Scoring(domains="pooled")).score)
    assert "one pooled bank" in found.notes[0]


@pytest.mark.parametrize(
    "embeddings, scoring, said",
    [
        (machine(test=0), {}, "no test clips"),
        (machine(source=0, target=0), {}, "section 00: no normal training clips"),
        (machine(), {"back_end": "forest"}, "'forest'.*knn, smote"),
        (machine(), {"normalization": "best"}, "normalization='best'; known: train"),
        (machine(), {"domains": "left"}, "domains='left'; known: min"),
        (machine(), {"distance": "city"}, "'city'"),
        (machine(), {"decision": "dice"}, "'dice'"),
        (machine(target=0), {"domains": "target"}, "no target bank"),
    ],
)
def test_what_cannot_be_done_is_named(embeddings, scoring, said):
    with pytest.raises(InputError, match=said):
        score_machine(embeddings, Scoring(**scoring))


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_two_target_clips_do_not_drown_the_source(distance):
    """Each is the other's neighbour, so their self-scores are equal."""
    embeddings = machine(target=2, test=50)
    plain = score_machine(embeddings, Scoring(distance=distance, normalization="none"))
    scored = score_machine(embeddings, Scoring(distance=distance))
    assert np.abs(scored.score).max() < 100
    assert scored.notes == (
        "section 00: target: all its scores are equal, statistics of source used",
    )
    # One bank's statistics for both banks move all scores alike: the ranks are the plain minimum's.
    assert np.array_equal(np.argsort(scored.score), np.argsort(plain.score))


def test_the_largest_vectors_of_float32_are_scored():
    embeddings = machine()
    largest = embeddings.vectors / np.abs(embeddings.vectors).max() * np.finfo(np.float32).max
    for distance in ("cosine", "euclidean"):
        found, expected = (
            score_machine(dataclasses.replace(embeddings, vectors=v), Scoring(distance=distance))
            for v in (largest.astype(np.float32), embeddings.vectors)
        )
        assert found.score == pytest.approx(expected.score, abs=1e-4)


def test_fitted_sections_take_another_normalisation():
    embeddings = machine()
    scorers = fit_sections(embeddings, Scoring())
    found = score_sections(embeddings, scorers, normalization="test").score
    assert np.array_equal(found, score_machine(embeddings, Scoring(normalization="test")).score)


@pytest.mark.parametrize("back_end", ["knn", "mahalanobis", "pca_residual+local_density"])
def test_scoring_in_blocks_changes_no_score(back_end, monkeypatch):
    rng = np.random.default_rng(0)
    training = {"source": rng.normal(size=(30, 8)), "target": rng.normal(size=(5, 8))}
    scorer = SectionScorer.fit(training, Scoring(back_end=back_end))
    test = rng.normal(size=(50, 8))
    whole = scorer.bank_scores(test)
    monkeypatch.setattr("asd_jax.scoring.anomaly_score.BLOCK", 7)
    for name, scores in scorer.bank_scores(test).items():
        np.testing.assert_allclose(scores, whole[name], rtol=1e-12)
    assert all(len(of) == 0 for of in scorer.bank_scores(test[:0]).values())


@pytest.mark.parametrize(
    ("options", "sizes"),
    [
        ({}, [7, 7, 6]),
        ({"back_end": "knn+mahalanobis"}, [7, 7, 6]),
        ({"back_end": "own:function"}, [20]),
        ({"back_end": "knn+mahalanobis", "fusion": "rank"}, [20]),
    ],
)
def test_only_scores_that_may_depend_on_other_clips_take_all_at_once(monkeypatch, options, sizes):
    monkeypatch.setattr("asd_jax.scoring.anomaly_score.BLOCK", 7)
    scorer = SectionScorer.fit({"source": np.arange(9.0)[:, None]})
    scorer.scoring = Scoring(**options)
    seen = []
    fitted = scorer.fitted
    scorer.fitted = Fitted(lambda v: seen.append(len(v)) or fitted.score(v), fitted.self_scores)
    assert len(scorer.bank_scores(np.ones((20, 1)))["source"]) == 20 and seen == sizes


def test_ranks_are_among_all_clips_whatever_the_block(monkeypatch):
    monkeypatch.setattr("asd_jax.scoring.anomaly_score.BLOCK", 7)
    rng = np.random.default_rng(0)
    scoring = Scoring(back_end="knn+mahalanobis", fusion="rank")
    scorer = SectionScorer.fit({"source": rng.normal(size=(30, 8))}, scoring)
    ranks = scorer.bank_scores(rng.normal(size=(50, 8)))["source"]
    assert len(np.unique(ranks)) > 14
