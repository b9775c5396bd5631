"""Claims about the tables of a file that agree in their axes, but not in their numbers."""

import json

import numpy as np
import pytest

from asd_jax.detector.detector import Detector
from asd_jax.detector.header import Header, header_of
from asd_jax.detector.restoring import restored_attributes
from asd_jax.detector.tables import tables_of
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.schema import build_checked


def restored(detector, change=lambda tables, entries: None):
    """Returns the detector of the tables and the header of another, after a change to them."""
    tables = tables_of(detector)
    entries = json.loads(json.dumps(header_of(detector)))
    entries.pop("kind")
    change(tables, entries)
    return Detector(**restored_attributes(tables, build_checked(Header, entries), None))


def test_the_tables_give_back_what_was_learned(plain):
    again = restored(plain)
    for table, expected in tables_of(again).items():
        np.testing.assert_array_equal(expected, tables_of(plain)[table])
    assert header_of(again) == header_of(plain)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, e: t.update({"rows/level": 0 * t["rows/level"]}), "level holds a window twice"),
        (lambda t, e: t.update(recording=t["recording"] + 1), "recording has numbers 1 to 24"),
        (lambda t, e: e.update(voting=["level/other"]), "no scorer in it votes"),
        (lambda t, e: e.update(sessions=["monday"]), "sessions of other recordings"),
        (lambda t, e: e.update(colour=[1.0]), "a colour of 1 numbers"),
        (lambda t, e: e["note_kinds"].append("short"), "kinds of "),
        (lambda t, e: t.update({"patches/usual": 0 * t["patches/usual"]}), "its patches are not"),
        (lambda t, e: t.update({"bank/level": t["bank/level"][:, :9]}), "its bank is not of"),
    ],
)
def test_numbers_that_cannot_be_true_are_refused(plain, change, message):
    with pytest.raises(InputError, match=message):
        restored(plain, change)
