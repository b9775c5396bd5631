"""Claims about tables of alarm cases."""

import csv
import datetime
import io

import pytest

from asd_jax.monitoring import cases
from asd_jax.monitoring.cases import Occurrence
from asd_jax.monitoring.export import COLUMNS, as_audacity_labels, as_csv, clock
from asd_jax.monitoring.store import Store
from asd_jax.runtime.errors import InputError

NOW = 1.8e9


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "plant.db") as made:
        yield made


def test_a_csv_reads_back_with_all_columns_and_times_with_their_offset(store):
    cases.raise_case(store, "pump", Occurrence(NOW, 3.0, 2.0, 'its "level", +6 dB'))
    cases.clear_case(store, "pump", NOW + 60, 4.00004)
    cases.raise_case(store, "pump", Occurrence(NOW + 70, 2.5, 2.0, "back"))
    cases.raise_case(store, "pump", Occurrence(NOW + 90, 2.5, 2.25006, "again", "folder"))
    text = as_csv(cases.cases(store), NOW + 99)
    assert text.count("\n") == 2 and "\r" not in text
    (row,) = csv.DictReader(io.StringIO(text))
    assert tuple(row) == COLUMNS
    raised = datetime.datetime.fromisoformat(row["raised"])
    assert raised.timestamp() == NOW and raised.utcoffset() is not None
    assert (row["state"], row["peak"], row["threshold"]) == ("raised", "4.0", "2.2501")
    assert (row["occurrences"], row["message"], row["evidence"]) == ("3", "again", "folder")
    assert row["cleared"] == row["acknowledged"] == clock(None) == ""


def test_labels_of_an_alarm_that_is_still_on_end_now(store):
    case = cases.raise_case(store, "press", Occurrence(NOW, 3.0, 2.0))
    assert as_audacity_labels([case], NOW, NOW + 7).startswith("0.000000\t7.000000\t")
    assert as_audacity_labels([], NOW, NOW + 7) == ""
    with pytest.raises(InputError, match="no alarm since"):
        as_audacity_labels([case], NOW + 10, NOW + 7)


def test_labels_are_in_the_time_of_the_recording_and_those_before_it_are_left_out(store):
    for start, end in ((0, 10), (20, 30), (40, 50)):
        cases.raise_case(store, "press", Occurrence(NOW + start, 3.0, 2.0, f"from {start}"))
        cases.clear_case(store, "press", NOW + end, 3.0)
    found = as_audacity_labels(cases.cases(store), NOW + 30, NOW + 99)
    assert found == (
        "0.000000\t0.000000\tpress case 1: from 20\n10.000000\t20.000000\tpress case 1: from 40\n"
    )
