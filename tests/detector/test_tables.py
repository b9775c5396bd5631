"""Claims about the tables of a detector's file."""

import re

import numpy as np
import pytest
from detectors import altered

from asd_jax.detector.detector import Detector
from asd_jax.detector.tables import check_tables, check_within
from asd_jax.runtime.errors import InputError

TABLES = ("rows/level", "rows/encoder", "rows/fluctuation", "domain", "group", "recording", "start")
TABLES += ("counted", "raw/level/pca_residual", "patches/recording", "patches/usual", "bank/level")


@pytest.mark.parametrize("table", TABLES)
def test_tables_of_another_rank_are_refused(detector, tmp_path, table):
    path = tmp_path / "a.detector"
    for change in (lambda of: of[:, None], lambda of: of[..., 0]):
        detector.save(path)
        altered(path, lambda t, h, of=change: t.update({table: np.array(of(t[table]), order="C")}))
        with pytest.raises(InputError, match="a.detector"):
            Detector.load(path)


PATCHES = {
    "patches/vectors": np.zeros((4, 7, 6)),
    "patches/recording": np.zeros((4, 7), "i4"),
    "patches/usual": np.zeros((4, 2)),
}


def tables(**changes):
    """Returns the tables of three windows in one view, with these changes."""
    of_windows = ("counted", "domain", "group", "recording", "session", "evidence")
    signs = {"counted": "u1", "domain": "u1", "evidence": "u1"}
    made = {name: np.zeros(3, signs.get(name, "i4")) for name in of_windows}
    made |= {"start": np.zeros(3), "unsteadiness": np.zeros(3), "moved_rows": np.zeros(2, "i4")}
    made |= {"raw/level/knn": np.zeros((3, 1)), "new/level/knn": np.zeros((3, 1))}
    made |= {"moved/level": np.zeros((2, 5)), "bank/level": np.zeros((3, 5))}
    made |= {"rows/level": np.zeros(3, "i4"), "encoder/any": np.zeros(1)}
    return {name: table for name, table in (made | changes).items() if table is not None}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"group": None}, "lacks the table 'group'"),
        ({"extra": np.zeros(3)}, "does not know the table 'extra'"),
        ({"group": np.zeros(3)}, "group of float64 (3,), expected axes n"),
        ({"group": np.zeros(2, "i4")}, "group of int32 (2,), expected axes n with "),
        ({"moved/level": np.zeros((4, 5))}, "moved/level of float64 (4, 5), expected axes m ..."),
        ({"patches/usual": np.zeros((4, 2))}, "lacks the table 'patches/recording'"),
        ({"bank/level": np.zeros(3)}, "bank/level of float64 (3,), expected axes level ..."),
        ({"start": np.zeros((3, 1))}, "start of float64 (3, 1), expected axes n with "),
        ({"rows/level": np.zeros(2, "i4")}, "rows/level of int32 (2,), expected axes level "),
        (
            PATCHES | {"patches/usual": np.zeros((4, 3))},
            "patches/usual of float64 (4, 3), expected",
        ),
    ],
)
def test_a_table_that_is_missing_unknown_or_of_other_axes_is_named(changes, message):
    check_tables(tables(), ["level"], ["level/knn"])
    check_tables(tables(**PATCHES), ["level"], ["level/knn"])
    with pytest.raises(InputError, match=re.escape(f"not a whole detector: {message}")):
        check_tables(tables(**changes), ["level"], ["level/knn"])


@pytest.mark.parametrize("numbers", [[-1, 0], [0, 3]])
def test_numbers_outside_a_table_are_named(numbers):
    check_within({"rows": np.array([0, 2])}, "rows", 3)
    check_within({"rows": np.array([], int)}, "rows", 0)
    message = f"rows has numbers {numbers[0]} to {numbers[1]}, expected 0 to 2"
    with pytest.raises(InputError, match=message):
        check_within({"rows": np.array(numbers)}, "rows", 3)
