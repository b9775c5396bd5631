"""Claims about the record of alarms."""

import pytest

from asd_jax.monitoring import cases
from asd_jax.monitoring.cases import Occurrence
from asd_jax.monitoring.store import Store
from asd_jax.runtime.errors import InputError

NOW = 1.8e9


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "plant.db") as made:
        yield made


def alarm(started=NOW, peak=3.0):
    return Occurrence(started, peak, 2.0, "score 3 above 2")


def kinds(store):
    return [event["event"] for event in store.events()]


def test_a_case_is_closed_when_it_is_both_cleared_and_acknowledged(store):
    case = cases.raise_case(store, "pump", alarm())
    assert case.state(NOW) == "raised" and case.id == 1
    assert cases.acknowledge(store, 1, NOW + 5, "Ann", "greased").state(NOW + 5) == "acknowledged"
    case = cases.clear_case(store, "pump", NOW + 9, peak=4.0)
    assert case.state(NOW + 9) == "closed" and case.peak == 4.0 and case.note == "greased"
    assert cases.open_case(store, "pump") is None
    assert kinds(store) == [
        "alarm_raised",
        "alarm_acknowledged",
        "alarm_cleared",
        "alarm_closed",
    ]


def test_an_alarm_that_comes_back_is_a_further_occurrence_of_the_open_case(store):
    cases.raise_case(store, "pump", alarm())
    assert cases.clear_case(store, "pump", NOW + 9, 3.0).state(NOW + 9) == "cleared"
    case = cases.raise_case(store, "pump", alarm(NOW + 20, 5.0))
    assert case.id == 1 and case.cleared is None and case.peak == 5.0
    assert [one.ended for one in case.occurrences] == [NOW + 9, None]
    cases.clear_case(store, "pump", NOW + 30, 5.0)
    assert cases.acknowledge(store, 1, NOW + 40).state(NOW + 40) == "closed"
    assert cases.raise_case(store, "pump", alarm(NOW + 50)).id == 2


def test_each_machine_has_its_own_case(store):
    cases.raise_case(store, "pump", alarm())
    cases.raise_case(store, "fan", alarm())
    assert [case.machine for case in cases.cases(store)] == ["fan", "pump"]
    assert cases.clear_case(store, "press", NOW, 1.0) is None


def test_a_case_is_announced_once(store):
    cases.raise_case(store, "pump", alarm())
    assert [case.id for case in cases.announce_due(store, NOW + 1)] == [1]
    assert cases.announce_due(store, NOW + 2) == []
    cases.clear_case(store, "pump", NOW + 9, 3.0)
    cases.raise_case(store, "pump", alarm(NOW + 20))
    assert cases.announce_due(store, NOW + 21) == []


def test_a_quiet_hour_delays_the_announcement_while_the_alarm_lasts(store):
    cases.raise_case(store, "pump", alarm())
    cases.raise_case(store, "fan", alarm())
    assert cases.announce_due(store, NOW + 1, silent=True) == []
    cases.clear_case(store, "fan", NOW + 5, 3.0)
    assert [case.machine for case in cases.announce_due(store, NOW + 9)] == ["pump"]


def test_wrong_requests_say_what_is_there(store):
    cases.raise_case(store, "pump", alarm())
    cases.acknowledge(store, 1, NOW, "Ann")
    with pytest.raises(InputError, match="acknowledged already, by 'Ann'"):
        cases.acknowledge(store, 1, NOW)
    with pytest.raises(InputError, match="no case 7"):
        cases.acknowledge(store, 7, NOW)


def test_a_case_survives_a_restart_and_an_alarm_that_was_never_ended(store):
    cases.raise_case(store, "pump", alarm())
    with Store(store.path, new=False) as again:
        case = cases.raise_case(again, "pump", alarm(NOW + 60))
    assert [one.ended for one in case.occurrences] == [NOW, None]
