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
    cases.raise_case(store, "pump", Occurrence(NOW + 90, 2.5, 2.25006, "again"))
    (row,) = csv.DictReader(io.StringIO(as_csv(cases.cases(store), NOW + 99)))
    assert tuple(row) == COLUMNS
    raised = datetime.datetime.fromisoformat(row["raised"])
    assert raised.timestamp() == NOW and raised.utcoffset() is not None
    assert (row["state"], row["peak"], row["threshold"]) == ("raised", "4.0", "2.2501")
    assert (row["occurrences"], row["message"]) == ("2", "again")
    assert row["cleared"] == row["acknowledged"] == clock(None) == ""


def test_labels_of_an_alarm_that_is_still_on_end_now(store):
    case = cases.raise_case(store, "press", Occurrence(NOW, 3.0, 2.0))
    assert as_audacity_labels([case], NOW, NOW + 7).startswith("0.000000\t7.000000\t")
    with pytest.raises(InputError, match="no alarm since"):
        as_audacity_labels([case], NOW + 10, NOW + 7)
