"""A filter bank that is a function of the user's own, named package.module:function."""

import importlib
import sys

import numpy as np
import pytest

from asd_jax.features.filter_bank import filter_bank, log_filter_bank
from asd_jax.features.front_end import FrontEnd, SimAM
from asd_jax.features.own import allow_own
from asd_jax.features.settings import Features
from asd_jax.runtime.errors import InputError

MODULE = """
import numpy as np

def even(hz, bins, low_hz, high_hz):
    edges = np.linspace(low_hz, high_hz, bins + 2)[:, None]
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    rise, fall = (hz - left) / (centre - left), (right - hz) / (right - centre)
    weights = np.maximum(0, np.minimum(rise, fall))
    weights[:, -1] = 0
    return weights

def transposed(hz, bins, low_hz, high_hz):
    return np.ones((len(hz), bins))

def negative(hz, bins, low_hz, high_hz):
    return -np.ones((bins, len(hz)))

def silent(hz, bins, low_hz, high_hz):
    return np.zeros((bins, len(hz)), int)

def one(value):
    weights = np.ones((128, 257))
    weights[3, 5] = value
    return lambda hz, bins, low_hz, high_hz: weights

one_negative = one(-1e-9)
no_number = one(np.nan)
endless = one(np.inf)

def of_truths(hz, bins, low_hz, high_hz):
    return np.ones((bins, len(hz)), bool)

number = 3
"""


@pytest.fixture
def module(tmp_path, monkeypatch, request):
    """The name of a module in the working directory, another for each test."""
    name = f"own_bank_{abs(hash(request.node.nodeid))}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield name
    sys.modules.pop(name, None)


def test_the_same_filters_give_the_same_energies_and_front_end(module):
    allow_own(f"{module}:even")
    np.testing.assert_array_equal(filter_bank(f"{module}:even"), filter_bank("even"))
    wave = np.random.default_rng(0).normal(0, 0.1, (1, 4000)).astype(np.float32)
    own = log_filter_bank(wave, spacing=f"{module}:even")
    np.testing.assert_array_equal(own, log_filter_bank(wave, spacing="even"))
    simam = SimAM("none")
    ours = FrontEnd(f"{module}:even", simam=simam)
    theirs = FrontEnd("even", simam=simam)
    np.testing.assert_array_equal(ours.filter_centres, theirs.filter_centres)


@pytest.mark.parametrize("imported", [False, True])
def test_a_name_in_a_file_imports_and_calls_nothing(module, imported):
    if imported:
        importlib.import_module(module)
    front_end = FrontEnd(f"{module}:even", simam=SimAM("none"))
    with pytest.raises(InputError, match=rf'no file may call.*allow_own\("{module}:even"\)'):
        _ = front_end.filters
    assert (module in sys.modules) == imported


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("transposed", r"float64 \(257, 128\); expected weights \(128, 257\)"),
        ("negative", "a weight is negative"),
        ("one_negative", "a weight is negative"),
        ("no_number", "a weight is negative, NaN"),
        ("endless", "a weight is negative, NaN or infinite"),
        ("of_truths", r"bool \(128, 257\); expected weights"),
        ("nothing", "has no attribute 'nothing'"),
        ("number", "is no function"),
    ],
)
def test_what_is_no_filter_bank_is_named(module, name, said):
    with pytest.raises(InputError, match=f"features.spacing={module}:{name}: .*{said}"):
        allow_own(f"{module}:{name}")
        filter_bank(f"{module}:{name}")


def test_weights_may_be_zero_and_whole_numbers(module):
    allow_own(f"{module}:silent")
    found = filter_bank(f"{module}:silent")
    assert found.dtype == np.float64 and not found.any()


def test_the_filter_banks_of_the_package_need_no_leave():
    allow_own("mel")
    assert filter_bank("mel").shape == (128, 257)


def test_the_key_takes_a_name_or_a_spacing_and_nothing_else():
    assert Features(spacing="package.module:function").spacing == "package.module:function"
    for name in ("melody", "a.b", "a:b:c"):
        with pytest.raises(InputError, match="even, mel, gammatone or package.module:function"):
            Features(spacing=name)
