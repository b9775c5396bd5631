"""Claims about the table of what is known of the recordings."""

import numpy as np
import pytest

from asd_jax.detector.recording_table import RecordingTable
from asd_jax.runtime.errors import InputError


def test_what_nobody_said_is_unknown():
    table = RecordingTable.of(["a", "b"], {"sessions": None})
    assert table == RecordingTable(("a", "b"), ("", ""), ("unknown",) * 2, (False, False))
    assert not table.sessions_given


def test_numbers_and_arrays_become_what_a_file_holds():
    known = {"sessions": [1, 2], "trained": np.array([True, False]), "domains": np.array(["x"] * 2)}
    table = RecordingTable.of(["a", "b"], known)
    assert table.sessions == ("1", "2") and table.sessions_given
    assert [type(value) for value in table.trained + table.domains] == [bool, bool, str, str]


def test_tables_are_joined_and_lose_rows():
    first = RecordingTable.of(["a", "b"], {"sessions": ["1", "2"]})
    both = first + RecordingTable.of(["c"], {"trained": [True]})
    assert both.names == ("a", "b", "c") and both.trained == (False, False, True)
    assert both.without([1]).names == ("a", "c") and both.without([1]).sessions == ("1", "")


@pytest.mark.parametrize("column", ["sessions", "domains", "trained"])
def test_a_column_of_other_recordings_is_named(column):
    with pytest.raises(InputError, match=f"{column} of 1 recordings, but 2 are given"):
        RecordingTable.of(["a", "b"], {column: ["source"]})
