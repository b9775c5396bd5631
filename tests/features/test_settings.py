"""The settings of the front end."""

import dataclasses
import re

import pytest

from asd_jax.features.settings import (
    FRAME_MS,
    HOP_MS,
    Features,
    PretrainingFeatures,
    modes_by_machine,
)
from asd_jax.runtime.errors import InputError


@pytest.mark.parametrize(
    "text",
    [
        "{ToyCar: local, fan: global}",
        '{"ToyCar": "local", "fan": "global"}',
        "{'ToyCar':local,'fan' : 'global'}",
    ],
)
def test_modes_by_machine_are_read_with_and_without_quotes(text):
    assert modes_by_machine(text) == {"ToyCar": "local", "fan": "global"}
    assert Features(simam=text).simam_modes == {"ToyCar": "local", "fan": "global"}


def test_a_mode_is_for_all_machines_or_a_mapping():
    assert Features(simam="global").simam_modes == "global"
    assert Features(simam={"fan": "none"}).simam_modes == {"fan": "none"}
    said = "simam='{local}'; write a mapping as \"{ToyCar: local, fan: global}\""
    with pytest.raises(InputError, match=f"^{re.escape(said)}$"):
        _ = Features(simam="{local}").simam_modes


def test_the_default_is_the_front_end_of_the_paper_and_of_the_public_encoders():
    """Embeddings of other defaults are others: recorded runs and shipped weights have these."""
    bank = {"spacing": "even", "bins": 128, "low_hz": 20.0, "high_hz": 8000.0}
    audioset = {"statistics": "given", "mean": -4.268, "std": 4.569}
    simam = {"simam": "local", "simam_lambda": 1e-4}
    simam |= {"simam_tile_frames": 32, "simam_tile_filters": 32}
    simam |= {"simam_before_normalization": False, "simam_ignores_padding": False}
    assert dataclasses.asdict(Features()) == bank | audioset | simam
    assert dataclasses.asdict(PretrainingFeatures()) == bank | audioset
    assert (FRAME_MS, HOP_MS) == (25, 10)


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("bins", 1, 512),
        ("low_hz", 0.0, 48_000.0),
        ("high_hz", 0.5, 48_000.0),
        ("mean", -1000.0, 1000.0),
        ("std", 0.5, 1000.0),
        ("simam_lambda", 0.5, 1e9),
        ("simam_tile_frames", 1, 32),
        ("simam_tile_filters", 1, 512),
    ],
)
def test_a_number_may_be_at_the_end_of_its_range_and_not_beyond(name, least, most):
    for value in (least, most):
        assert getattr(Features(**{name: value}), name) == value
    for value in (least - (0.5 if least == 0.5 else 1), most + 1):
        with pytest.raises(InputError, match=f"^{name}={re.escape(str(value))} must"):
            Features(**{name: value})


def test_statistics_come_from_what_there_is():
    assert Features(statistics="weights").statistics == "weights"
    for cls, name in ((Features, "test"), (PretrainingFeatures, "weights")):
        with pytest.raises(InputError, match=f"statistics='{name}'; known: given, train"):
            cls(statistics=name)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"bins": 513}, "bins=513 must lie in 1..512"),
        ({"high_hz": 0.0}, "high_hz=0.0 must be above 0 and at most 48000"),
        (
            {"spacing": "mell"},
            "spacing='mell'; known: even, mel, gammatone or package.module:function. Did you mean "
            "'mel'?",
        ),
        ({"simam_tile_frames": 33}, "simam_tile_frames=33 must lie in 1..32"),
    ],
)
def test_settings_out_of_range_are_named(values, said):
    with pytest.raises(InputError, match=f"^{re.escape(said)}$"):
        Features(**values)
