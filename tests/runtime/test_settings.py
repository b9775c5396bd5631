import dataclasses
import re

import numpy as np
import pytest

from asd_jax.config import RunConfig
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.settings import (
    CheckedSettings,
    check_settings,
    key,
    like,
    limits_text,
    settings_from,
    to_dict,
    with_values,
)


def test_a_changed_setting_is_checked_and_named_with_its_section():
    config = with_values(RunConfig(), {"optimizer.batch_size": 8, "seed": 3})
    assert (config.optimizer.batch_size, config.seed) == (8, 3)
    with pytest.raises(InputError, match="^optimizer.batch_size=0 must be at least 1$"):
        with_values(config, {"optimizer.batch_size": 0})
    with pytest.raises(InputError, match="^optimizer.size: no such key$"):
        with_values(config, {"optimizer.size": 0})


@dataclasses.dataclass(frozen=True)
class Part(CheckedSettings):
    size: int = key(3, "of the part", least=1, most=9)
    share: float = key(0.5, "of the whole", above=0, below=1)
    way: str = key("plain", "how it is done", choices=("plain", "fancy", ""))
    modes: str = key("none", "one, or by machine", mapping=True)
    active: bool = key(False, "whether it is done")


@dataclasses.dataclass(frozen=True)
class Whole:
    part: Part = dataclasses.field(default_factory=Part)
    seed: int = key(0, "of all draws", least=0)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"size": 0}, "size=0 must lie in 1..9"),
        ({"size": 2.0}, "size=2.0 should be of type int, e.g. 3"),
        ({"size": True}, "size=True should be of type int, e.g. 3"),
        ({"share": 1}, "share=1 must be above 0 and below 1"),
        ({"share": float("nan")}, "share=nan is not a finite number"),
        ({"way": "plane"}, "way='plane'; known: plain, fancy, empty. Did you mean 'plain'?"),
        ({"modes": 3}, "modes=3 should be of type str, e.g. 'none'"),
        ({"active": 1}, "active=1 should be of type bool, e.g. False"),
    ],
)
def test_a_value_out_of_range_is_named_with_what_is_permitted(values, said):
    with pytest.raises(InputError, match=f"^{re.escape(said)}$"):
        Part(**values)


def test_what_is_permitted_is_taken():
    part = Part(np.int64(9), 0.25, "", {"fan": "local"}, True)
    assert type(part.size) is int and to_dict(part)["modes"] == {"fan": "local"}
    copied = dataclasses.make_dataclass("Copy", [("size", int, like(Part, "size"))])
    with pytest.raises(InputError, match="^size=10 must lie in 1..9$"):
        check_settings(copied(10))


def test_settings_come_back_from_their_dictionary():
    settings = Whole(Part(size=4, share=0.1), seed=2)
    assert settings_from(Whole, to_dict(settings)) == settings


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            {"part": 3, "seed": 0},
            "config: part=3 should have keys: size, share, way, modes, active",
        ),
        ({"part": {}, "seed": 0}, "config: lacks 'part.size', e.g. 3"),
        (
            {"part": {"siez": 1}, "seed": 0},
            "config: no key 'part.siez'; part has size, share, way, modes, "
            "active. Did you mean 'size'?",
        ),
        ({"part": to_dict(Part()) | {"size": 10}, "seed": 0}, "part.size=10 must lie in 1..9"),
    ],
)
def test_a_wrong_key_is_named_with_its_section(values, said):
    with pytest.raises(InputError, match=f"^{re.escape(said)}$"):
        settings_from(Whole, values)


def test_limits_are_said_as_the_end_of_a_sentence():
    assert limits_text({"least": 0, "below": 1}) == "be at least 0 and below 1"
    assert limits_text({"least": 1, "most": 9}) == "lie in 1..9"
