import dataclasses

import pytest

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.options import DEFAULT, LATER, Scoring


def test_options_that_came_later_are_recorded_only_where_they_are_set():
    assert not set(LATER) & set(DEFAULT.recorded())
    changed = dataclasses.replace(DEFAULT, deviation="target")
    assert changed.recorded() == {**DEFAULT.recorded(), "deviation": "target"}


def test_the_name_has_one_form():
    assert Scoring(back_end="a.b:c+knn").back_end == "a.b:c+knn"
    for name in ("a.b", ":c", "a:", "a:b:c", "/tmp/a.py:c", "a b:c"):
        with pytest.raises(InputError, match="package.module:function"):
            Scoring(back_end=name)


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
