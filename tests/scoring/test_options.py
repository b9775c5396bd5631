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


def test_the_defaults_are_those_of_the_field_and_of_the_papers():
    assert dataclasses.asdict(DEFAULT) == {
        "back_end": "knn",
        "distance": "cosine",
        "k": 1,
        "standardize": False,
        "whiten": 0,
        "layers": "mean_score",
        "windows": "mean",
        "normalization": "train",
        "domains": "min",
        "deviation": "own",
        "fusion": "z_min",
        "smote_ratio": 0.2,
        "smote_k": 2,
        "density_k": 4,
        "centres": 16,
        "mixup_k": 990,
        "mixup_weight": 0.9,
        "varmin_log": False,
        "varmin_by_band": True,
        "shrinkage": 0.0,
        "components": 20,
        "mixture": 4,
        "decision": "gamma",
        "decision_quantile": 0.9,
        "on_device": False,
        "seed": 0,
    }


COUNTS = ("k", "smote_k", "density_k", "centres", "mixup_k", "components", "mixture")


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        *((name, 1, 1_000_000) for name in COUNTS),
        ("whiten", 0, 1_000_000),
        ("seed", 0, 2**32 - 1),
        ("mixup_weight", 0.0, 1.0),
        ("shrinkage", 0.0, 1.0),
        ("smote_ratio", 1e-9, 1.0),
        ("decision_quantile", 1e-9, 1 - 1e-9),
    ],
)
def test_the_ends_of_a_range_are_within_it(name, least, most):
    step = 1 if isinstance(least, int) else 1e-9
    for value in (least, most):
        assert getattr(Scoring(**{name: value}), name) == value
    for value in (least - step, most + step):
        with pytest.raises(InputError, match=f"^{name}=.* must "):
            Scoring(**{name: value})


@pytest.mark.parametrize(
    "name", ["distance", "windows", "normalization", "domains", "deviation", "fusion", "decision"]
)
def test_a_choice_that_there_is_not_lists_those_that_there_are(name):
    default = getattr(DEFAULT, name)
    with pytest.raises(InputError, match=f"^{name}='odd'; known: .*{default}"):
        Scoring(**{name: "odd"})


def test_a_layer_is_a_number_below_a_thousand_or_a_mean():
    for layers in ("0", "999", "mean_score", "mean_vector"):
        assert Scoring(layers=layers).layers == layers
    for layers in ("1000", "1.5", "", "mean", "9" * 5000):
        with pytest.raises(InputError, match="^layers='.*'; known: mean_score, mean_vector, or a"):
            Scoring(layers=layers)


def test_only_auto_alone_is_chosen_later():
    assert Scoring(back_end="auto").back_end == "auto"
    with pytest.raises(InputError, match="^back_end='auto'; known: knn"):
        Scoring(back_end="knn+auto")


def test_unit_vectors_have_plain_distances():
    distances = ("cosine", "euclidean", "unit_euclidean")
    metrics = [Scoring(distance=name).metric for name in distances]
    assert metrics == ["cosine", "euclidean", "euclidean"]
