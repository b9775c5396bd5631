import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.domain_normalization import (
    all_equal,
    domain_normalize,
    domain_statistics,
    normalized,
)

RNG = np.random.default_rng(0)
SOURCE, TARGET, TRAIN_SOURCE, TRAIN_TARGET = (
    RNG.gamma(2, scale, n) for scale, n in ((1, 9), (5, 9), (1, 50), (5, 10))
)


def z(scores, of):
    return (scores - np.mean(of)) / np.std(of)


def test_train_statistics_are_those_of_each_banks_own_clips():
    found = domain_normalize(SOURCE, TARGET, train_source=TRAIN_SOURCE, train_target=TRAIN_TARGET)
    assert found == pytest.approx(
        np.minimum(z(SOURCE, TRAIN_SOURCE), z(TARGET, TRAIN_TARGET)), abs=1e-14
    )


def test_train_statistics_score_a_clip_alone_as_among_others():
    train = {"train_source": TRAIN_SOURCE, "train_target": TRAIN_TARGET}
    alone = [domain_normalize(SOURCE[i : i + 1], TARGET[i : i + 1], **train)[0] for i in range(9)]
    assert alone == domain_normalize(SOURCE, TARGET, **train).tolist()


def test_test_statistics_are_those_of_the_test_clips():
    found = domain_normalize(SOURCE, TARGET, mode="test")
    assert found == pytest.approx(np.minimum(z(SOURCE, SOURCE), z(TARGET, TARGET)), abs=1e-14)


def test_none_is_the_plain_minimum():
    assert np.array_equal(domain_normalize(SOURCE, TARGET, mode="none"), np.minimum(SOURCE, TARGET))


def test_normalisation_undoes_a_domains_scale_and_offset():
    one = domain_normalize(SOURCE, TARGET, train_source=TRAIN_SOURCE, train_target=TRAIN_TARGET)
    other = domain_normalize(
        SOURCE, 7 * TARGET + 3, train_source=TRAIN_SOURCE, train_target=7 * TRAIN_TARGET + 3
    )
    assert one == pytest.approx(other, abs=1e-13)


@pytest.mark.parametrize("empty", [None, np.empty(0)])
def test_a_domain_without_bank_is_left_out(empty):
    assert domain_normalize(SOURCE, empty, train_source=TRAIN_SOURCE) == pytest.approx(
        z(SOURCE, TRAIN_SOURCE)
    )
    assert domain_normalize(empty, TARGET, train_target=TRAIN_TARGET) == pytest.approx(
        z(TARGET, TRAIN_TARGET)
    )


@pytest.mark.parametrize("few", [[3.0], [np.nan], []])
def test_one_clip_uses_the_other_domains_statistics_and_says_so(few):
    with pytest.warns(UserWarning, match="target: .* statistics of source"):
        found = domain_normalize(SOURCE, TARGET, train_source=TRAIN_SOURCE, train_target=few)
    assert found == pytest.approx(np.minimum(z(SOURCE, TRAIN_SOURCE), z(TARGET, TRAIN_SOURCE)))


def test_two_scores_are_enough_to_learn_from():
    found = domain_normalize([5.0], [9.0], train_source=[1.0, 3.0], train_target=[2.0, 6.0])
    assert found.tolist() == [2.5]  # (9 - 4) / 2 and (5 - 2) / 1


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_test_clip_alone_has_no_deviation_of_its_own():
    with pytest.warns(UserWarning, match="all scores are equal: their standard deviation counts"):
        assert domain_normalize([5.0], [9.0], mode="test").tolist() == [0]


@pytest.mark.parametrize(
    ("scores", "equal"),
    [
        ([0, 1.9e-12], True),
        ([0, 2.1e-12], False),  # a deviation above 1e-12
        ([1, 1 + 1.9e-9], True),
        ([1, 1 + 2.1e-9], False),  # above a billionth of the largest
        ([-1, -1 - 1.9e-9], True),
        ([1e-13, 1e-6], False),
    ],
)
def test_scores_that_differ_by_rounding_are_equal(scores, equal):
    assert all_equal(np.array(scores)) == equal


def test_the_statistics_of_none_change_nothing_and_need_no_scores():
    assert domain_statistics({}, {"source": np.empty(0)}, "none") == ({"source": (0, 1)}, [])


def test_statistics_ignore_clips_without_neighbour():
    reference = {"source": np.array([1.0, np.nan, 3.0])}
    assert domain_statistics({}, reference, "train") == ({"source": (2, 1)}, [])


def test_normalised_scores_are_those_of_the_banks_that_are_asked_for():
    statistics = {"source": (0.0, 1.0), "target": (0.0, 2.0)}
    scores = {"source": SOURCE, "target": TARGET}
    for domains in ("min", "pooled"):
        expected = np.minimum(SOURCE, TARGET / 2)
        assert np.array_equal(normalized(scores, statistics, domains), expected)
    assert np.array_equal(normalized(scores, statistics, "source"), SOURCE)
    with pytest.raises(InputError, match="^domains 'both': must be one of min, source, target, po"):
        normalized(scores, statistics, "both")
    said = "^domains target: no target bank here; found: source$"
    with pytest.raises(InputError, match=said):
        normalized({"source": SOURCE}, statistics, "target")
    with pytest.raises(InputError, match="^domains target: no target bank here; found: none$"):
        normalized({}, statistics, "target")
    said = r"^scores of 9 clips \(source\), 8 clips \(target\): every bank must score the same"
    with pytest.raises(InputError, match=said):
        normalized({"source": SOURCE, "target": TARGET[:8]}, statistics)
    with pytest.raises(
        InputError, match="^scores of no bank: every bank must score the same clips"
    ):
        normalized({}, statistics)


@pytest.mark.parametrize("equal", [[2.0, 2.0], [0.0, 0.0], [1e6, 1e6 * (1 + 1e-15)]])
def test_equal_scores_use_the_other_domains_statistics_and_say_so(equal):
    with pytest.warns(UserWarning, match="target: all its scores are equal, statistics of source"):
        found = domain_normalize(SOURCE, TARGET, train_source=TRAIN_SOURCE, train_target=equal)
    assert found == pytest.approx(np.minimum(z(SOURCE, TRAIN_SOURCE), z(TARGET, TRAIN_SOURCE)))


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("few", [None, [4.0], [2.0, 2.0, 2.0]])
def test_without_any_deviation_it_counts_as_one_and_that_is_said(few):
    to_target = None if few is None else [1.5, 9.0]
    with pytest.warns(UserWarning, match="source: all scores are equal: .* counts as 1"):
        found = domain_normalize(
            [1.0, 2.0], to_target, train_source=[1.0, 1.0, 1.0], train_target=few
        )
    assert found == pytest.approx({None: [0, 1], 1: [0, 1], 3: [-0.5, 1]}[few and len(few)])


SCORES = st.lists(st.sampled_from([0.0, 1e-3, 0.1, 0.1 + 1e-16, 0.5, 2.0]), max_size=5)


@pytest.mark.filterwarnings("ignore::UserWarning")
@given(SCORES, SCORES, st.sampled_from(["train", "held_out", "test"]))
def test_no_scores_are_blown_up_by_a_deviation_of_rounding(source, target, mode):
    try:
        found = domain_normalize(
            [0.0, 0.3, 2.0], [0.1] * 3, train_source=source, train_target=target, mode=mode
        )
    except InputError as error:
        assert "at least two" in str(error) and max(len(source), len(target)) < 2
    else:
        assert np.isfinite(found).all() and np.abs(found).max() < 1e4


@pytest.mark.parametrize(
    "given, said",
    [
        ({"mode": "best"}, "must be one of"),
        ({}, "at least two"),
        ({"train_source": [1.0], "train_target": [2.0]}, "at least two"),
    ],
)
def test_missing_statistics_and_unknown_modes_are_errors(given, said):
    with pytest.raises(InputError, match=said):
        domain_normalize(SOURCE, TARGET, **given)


def test_lengths_must_agree_and_some_bank_must_be_there():
    with pytest.raises(InputError, match="same clips"):
        domain_normalize(SOURCE, TARGET[:-1], mode="none")
    with pytest.raises(InputError):
        domain_normalize(None, None, mode="none")


def test_one_domain_alone_can_be_asked_for():
    statistics = {"source": (0.0, 1.0), "target": (0.0, 2.0)}
    scores = {"source": SOURCE, "target": TARGET}
    assert np.array_equal(normalized(scores, statistics, "target"), TARGET / 2)
    with pytest.raises(InputError, match="no source bank"):
        normalized({"pooled": SOURCE}, {"pooled": (0.0, 1.0)}, "source")
