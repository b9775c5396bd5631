"""The error that a user can cause, and what is added to it on its way."""

import pytest

from asd_jax.runtime.errors import InputError, config_section, did_you_mean, error_context


def test_contexts_name_the_item_from_the_outside_in():
    with pytest.raises(InputError, match="^run: machine fan: no clips$") as raised:
        with error_context("run"), error_context("machine fan"):
            raise InputError("no clips")
    assert str(raised.value.__cause__) == "machine fan: no clips"


def test_a_section_stands_before_the_key():
    with pytest.raises(InputError, match="^optimizer.ema=2 is too much$"):
        with config_section("optimizer."):
            raise InputError("ema=2 is too much")


def test_other_errors_pass_as_they_are():
    with pytest.raises(KeyError, match="^'a'$"), error_context("run"), config_section("a."):
        raise KeyError("a")


def test_only_a_near_name_is_suggested():
    assert did_you_mean("knm", ["knn", "gmm"]) == " Did you mean 'knn'?"
    assert did_you_mean("forest", iter(["knn", "gmm"])) == ""
