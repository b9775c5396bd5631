import numpy as np
import pytest

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.domain_normalization import domain_normalize, normalized

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


def test_equal_training_scores_raise_the_deviation_to_its_floor_and_say_so():
    with pytest.warns(UserWarning, match="raised to 1e-12"):
        found = domain_normalize([1.0, 2.0], None, train_source=[1.0, 1.0])
    assert found == pytest.approx([0, 1e12])


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
