import dataclasses

import numpy as np
import pytest

from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import write_json
from asd_jax.scoring import options
from asd_jax.scoring.anomaly_score import (
    SectionScorer,
    fit_sections,
    score_machine,
    score_sections,
)
from asd_jax.scoring.back_ends import chosen
from asd_jax.scoring.back_ends.knn import nearest
from asd_jax.scoring.comparison import compare_back_ends
from asd_jax.scoring.domain_normalization import domain_normalize
from asd_jax.scoring.embeddings import Embeddings
from asd_jax.scoring.options import Scoring
from asd_jax.scoring.results import results


def machine(source=40, target=8, test=10, shape=(6,), sections=("00",), held_out=0, seed=0):
    """Embeddings of one machine: the target domain is shifted, anomalies are spread wider."""
    rng = np.random.default_rng(seed)
    rows = []
    for section in sections:
        rows += [(section, "train", "source", 0)] * source + [
            (section, "train", "target", 0)
        ] * target
        rows += [(section, "held_out", d, 0) for d in ("source", "target") for _ in range(held_out)]
        rows += [
            (section, "test", d, y)
            for d in ("source", "target")
            for y in (0, 1)
            for _ in range(test)
        ]
    section, split, domain, label = (np.array(column) for column in zip(*rows, strict=True))
    vectors = rng.normal(size=(len(rows), *shape)) * (1 + label.reshape(-1, *[1] * len(shape)))
    vectors += 2 + (domain == "target").reshape(-1, *[1] * len(shape)) * np.linspace(
        -1, 2, shape[-1]
    )
    files = np.array([f"section_{s}_{i:04d}.wav" for i, s in enumerate(section)])
    axes = ("clip", "embedding") if len(shape) == 1 else ("clip", "band", "embedding")
    attribute = np.array([""] * len(rows))
    return Embeddings(
        vectors.astype(np.float32), files, section, split, domain, label, attribute, axes
    )


def split(embeddings, name, domain):
    return embeddings.vectors[(embeddings.split == name) & (embeddings.domain == domain)].astype(
        np.float64
    )


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


def test_whitened_source_clips_have_unit_covariance_in_every_band():
    from asd_jax.scoring.preparation import Preparation

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


def test_cosine_of_banded_vectors_is_the_mean_over_bands():
    embeddings = machine(shape=(3, 6))
    found = score_machine(embeddings, Scoring(domains="source", normalization="none")).score
    test, bank = (
        embeddings[embeddings.split == "test"].vectors.astype(float),
        split(embeddings, "train", "source"),
    )
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
    to, held = [], []
    for domain in ("source", "target"):
        bank = split(embeddings, "train", domain)
        to.append(nearest(test, bank)[0][:, 0])
        held.append(nearest(split(embeddings, "held_out", domain), bank)[0][:, 0])
    expected = domain_normalize(*to, train_source=held[0], train_target=held[1], mode="held_out")
    assert found == pytest.approx(expected, abs=1e-12)
    with pytest.raises(InputError, match="held_out: no held-out source, target clips"):
        score_machine(without, Scoring(normalization="held_out"))


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


def test_results_hold_the_contracts_keys_and_the_same_bytes_each_time(tmp_path):
    machines = {"fan": machine(), "pump": machine(seed=1, sections=("00", "01"))}
    for run in "12":
        scored = {name: score_machine(embeddings) for name, embeddings in machines.items()}
        write_json(tmp_path / run, results(scored, Scoring(), 2024))
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()
    found = results(scored, Scoring(), 2024)
    assert {"official_score", "year", "scoring", "machines", "notes"} <= set(found)
    assert list(found["machines"]["pump"]) == ["00", "01"]
    assert {
        "auc_source",
        "auc_target",
        "pauc",
        "precision_source",
        "f1_target",
        "threshold",
    } <= set(found["machines"]["fan"]["00"])
    assert 0.5 < found["official_score"] < 1
    assert "f1_source" in results({"fan": scored["fan"]}, Scoring(), 2021)["machines"]["fan"]["00"]
    # knows no domains
    of_2020 = results({"fan": scored["fan"]}, Scoring(), 2020)["machines"]["fan"]["00"]
    assert "f1" in of_2020 and "f1_source" not in of_2020


def test_an_unlabelled_machine_is_left_out_of_the_official_score_and_named():
    fan, pump = machine(), machine()
    pump = dataclasses.replace(pump, label=np.where(pump.split == "test", -1, pump.label))
    scored = {"fan": score_machine(fan), "pump": score_machine(pump)}
    found, alone = (results(of, Scoring(), 2024) for of in (scored, {"fan": scored["fan"]}))
    assert found["official_score"] == alone["official_score"] > 0.5
    assert list(found["machines"]) == ["fan"]
    said = "pump section 00: test clips carry no label; the official score leaves it out"
    assert found["notes"] == [said]
    assert said in compare_back_ends({"fan": fan, "pump": pump}, back_ends=["knn"])[1]
    unlabelled = results({"pump": scored["pump"]}, Scoring(), 2024)
    assert unlabelled["official_score"] is None
    assert unlabelled["notes"] == ["no official score: pump section 00: test clips carry no label"]


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


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.full((88, 4), 1e300), "of section_00_0000.wav, or a value beyond float32"),
        (np.full((88, 4), np.nan), "NaN or infinity in the vector of section_00_0000.wav"),
        (np.full((88, 4), -(2.0**200)), "beyond float32"),
        (np.empty((88, 0)), r"vectors \(88, 0\), without any value"),
    ],
)
def test_vectors_that_cannot_be_compared_are_refused(vectors, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(machine(), vectors=vectors)


def test_the_largest_vectors_of_float32_are_scored():
    embeddings = machine()
    largest = embeddings.vectors / np.abs(embeddings.vectors).max() * np.finfo(np.float32).max
    for distance in ("cosine", "euclidean"):
        found, expected = (
            score_machine(dataclasses.replace(embeddings, vectors=v), Scoring(distance=distance))
            for v in (largest.astype(np.float32), embeddings.vectors)
        )
        assert found.score == pytest.approx(expected.score, abs=1e-4)


def test_the_grid_equals_scoring_each_combination_by_itself():
    machines = {
        "fan": machine(shape=(2, 6), held_out=5),
        "pump": machine(shape=(2, 6), held_out=5, seed=1),
    }
    scoring = Scoring(components=4)
    pairs = {"knn": "test", "smote": "held_out", "mahalanobis": "none", "pca_residual": "train"}
    grid, notes = compare_back_ends(machines, scoring, 2024, back_ends=list(pairs))
    assert list(grid) == list(pairs) and notes == []
    for back_end, mode in pairs.items():
        options = dataclasses.replace(scoring, back_end=back_end, normalization=mode)
        scored = {name: score_machine(embeddings, options) for name, embeddings in machines.items()}
        assert grid[back_end][mode] == results(scored, options, 2024)["official_score"]


def test_the_grid_leaves_out_what_cannot_be_and_says_why():
    grid, notes = compare_back_ends({"fan": machine()}, back_ends=["knn", "band_matching"])
    assert grid["knn"]["held_out"] is None and grid["knn"]["train"] is not None
    assert set(grid["band_matching"].values()) == {None}
    assert len(notes) == 2 and all("machine fan: " in note for note in notes)


def test_fitted_sections_take_another_normalisation():
    embeddings = machine()
    scorers = fit_sections(embeddings, Scoring())
    found = score_sections(embeddings, scorers, normalization="test").score
    assert np.array_equal(found, score_machine(embeddings, Scoring(normalization="test")).score)


def test_a_section_that_cannot_be_scored_costs_no_other_its_values():
    one_domain = machine(seed=1)
    alone = dataclasses.replace(one_domain, domain=np.full(len(one_domain.files), "source"))
    found = results(
        {"fan": score_machine(machine()), "mine": score_machine(alone)}, Scoring(), 2024
    )
    assert found["official_score"] is None and {"auc_source", "auc_target"} <= set(
        found["machines"]["fan"]["00"]
    )
    assert (
        "auc_source" in found["machines"]["mine"]["00"]
        and "auc_target" not in found["machines"]["mine"]["00"]
    )
    assert found["arithmetic_mean"]["auc_target"] == found["machines"]["fan"]["00"]["auc_target"]
    assert any(
        "no official score: mine section 00: auc_target needs normal" in note
        for note in found["notes"]
    )


def test_options_name_every_back_end_there_is():
    assert set(options.BACK_ENDS) == set(chosen.BACK_ENDS)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"back_end": "knm"}, "back_end='knm'; known: knn.*Did you mean 'knn'"),
        ({"back_end": "knn+foo"}, "back_end='foo'"),
        ({"windows": "median"}, "windows='median'; known: mean, max"),
        ({"k": 0}, "k=0 must lie in 1..1000000"),
        ({"decision_quantile": 2.0}, "decision_quantile=2.0 must be above 0 and below 1"),
        ({"decision_quantile": 1.0}, "decision_quantile=1.0 must be above 0 and below 1"),
        ({"smote_ratio": 1.5}, "smote_ratio=1.5 must be above 0 and at most 1"),
        ({"layers": "-1"}, "layers='-1'"),
        ({"seed": -1}, "seed=-1 must lie in 0..4294967295"),
    ],
)
def test_wrong_options_are_found_at_once(wrong, said):
    with pytest.raises(InputError, match=said):
        Scoring(**wrong)


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


def test_ranks_are_among_all_clips_whatever_the_block(monkeypatch):
    monkeypatch.setattr("asd_jax.scoring.anomaly_score.BLOCK", 7)
    rng = np.random.default_rng(0)
    scoring = Scoring(back_end="knn+mahalanobis", fusion="rank")
    scorer = SectionScorer.fit({"source": rng.normal(size=(30, 8))}, scoring)
    ranks = scorer.bank_scores(rng.normal(size=(50, 8)))["source"]
    assert len(np.unique(ranks)) > 14
