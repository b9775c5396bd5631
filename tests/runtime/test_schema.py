"""One schema for callers and files: the same ranges, whoever gives the numbers."""

import dataclasses
import json

import jaxtyping
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asd_jax.detector.settings import Settings
from asd_jax.features.front_end import FrontEnd, SimAM
from asd_jax.models.eat import EATConfig
from asd_jax.models.encoder import EncoderConfig, Pooling
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.schema import build_checked
from asd_jax.scoring.options import Scoring

KINDS = (EATConfig, FrontEnd, SimAM, Pooling, EncoderConfig, Scoring, Settings)
ABSURD = [
    (EATConfig, "depth", 10**9),
    (EATConfig, "depth", 3000),
    (EATConfig, "depth", 2.0),
    (EATConfig, "depth", 1e308),
    (EATConfig, "num_heads", True),
    (EATConfig, "num_heads", "4"),
    (EATConfig, "embed_dim", 4 * 10**9),
    (EATConfig, "embed_dim", 10**30),
    (EATConfig, "embed_dim", 64.0),
    (EATConfig, "mlp_ratio", float("inf")),
    (EATConfig, "mlp_ratio", float("nan")),
    (EATConfig, "mlp_ratio", None),
    (EATConfig, "mel_bins", 1_600_000),
    (FrontEnd, "bins", 1_600_000_000),
    (FrontEnd, "bins", 128.0),
    (FrontEnd, "sample_rate", 10**12),
    (FrontEnd, "sample_rate", 16000.0),
    (FrontEnd, "sample_rate", 99),
    (FrontEnd, "mean", float("nan")),
    (FrontEnd, "mean", "x"),
    (FrontEnd, "std", float("inf")),
    (FrontEnd, "std", False),
    (FrontEnd, "frames", "998"),
    (FrontEnd, "high_hz", 10**400),
    (SimAM, "tile", [32.0, 32]),
    (SimAM, "tile", [32]),
    (SimAM, "mode", 3),
    (SimAM, "mode", [["fan"]]),
    (SimAM, "ignores_padding", 1),
    (Pooling, "block", 1.0),
    (Pooling, "block", "1"),
    (Pooling, "embedding_dim", -3),
    (Pooling, "kind", ["mean"]),
    (Scoring, "k", 10**9),
    (Scoring, "seed", -1),
    (Scoring, "layers", "²"),
    (Scoring, "layers", "9" * 5000),
    (Settings, "sample_rate", "16000"),
    (Settings, "window_seconds", 1e12),
    (Settings, "false_alarm_rate", 1 - 1e-12),
    (Settings, "false_alarm_rate", 1e-310),
    (Settings, "tokens", 1),
]


@pytest.mark.parametrize(("kind", "name", "value"), ABSURD)
def test_absurd_numbers_and_types_are_refused_of_callers_and_of_files(
    kind, name, value, monkeypatch
):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as for users
    with pytest.raises(InputError) as error:
        build_checked(kind, {name: value})
    assert len(str(error.value)) < 600
    with pytest.raises(InputError):
        kind(**{name: value})


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_written_comes_back(kind):
    assert build_checked(kind, json.loads(json.dumps(dataclasses.asdict(kind())))) == kind()
    with pytest.raises(InputError, match="no field 'colour'"):
        build_checked(kind, {"colour": 1})
    for value in ([], None, "x", 3):
        with pytest.raises(InputError):
            build_checked(kind, value)


def test_unknown_fields_are_named_where_they_stand():
    with pytest.raises(InputError, match="no field 'front_end.simam.tille'. Did you mean 'tile'"):
        build_checked(EncoderConfig, {"front_end": {"simam": {"tille": [32, 32]}}})


def test_scalars_of_numpy_are_numbers(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as for users
    settings = Settings(np.int64(16000), np.float32(2.0))
    assert type(settings.sample_rate) is int and type(settings.window_seconds) is float
    assert settings == Settings(16000, 2.0) and EATConfig(np.int32(64), 2, 2).embed_dim == 64


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-3, 300)
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([10**30, 2.0, "even", "mean", [32, 32], [], {}, {"fan": "local"}])
)


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is slow
@given(data=st.data())
def test_any_header_is_refused_or_within_the_ranges(kind, data):
    names = [field.name for field in dataclasses.fields(kind)]
    values = data.draw(st.dictionaries(st.sampled_from(names), SCALARS, max_size=3))
    try:
        made = build_checked(kind, values)
    except InputError:
        return
    assert (
        build_checked(kind, json.loads(json.dumps(dataclasses.asdict(made), allow_nan=False)))
        == made
    )
    hash(made)  # static arguments of compiled functions
