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


def test_each_change_is_an_event_with_what_it_is_about(store):
    cases.raise_case(store, "pump", Occurrence(NOW, 3.0, 2.0, "score 3", "folder"))
    cases.announce_due(store, NOW + 1)
    cases.clear_case(store, "pump", NOW + 9, 4.0)
    cases.acknowledge(store, 1, NOW + 20, "Ann", "greased")
    about = {"case": 1, "peak": 3.0, "threshold": 2.0, "evidence": "folder"}
    expected = [
        (NOW, "alarm_raised", "score 3", about),
        (NOW + 1, "alarm_announced", "score 3", about),
        (NOW + 9, "alarm_cleared", "after 9 s", {"case": 1, "peak": 4.0}),
        (NOW + 20, "alarm_acknowledged", "greased", {"case": 1, "by": "Ann"}),
        (NOW + 20, "alarm_closed", "", {"case": 1}),
    ]
    assert store.events() == [
        {"id": n, "machine": "pump", "time": time, "event": kind, "message": message} | fields
        for n, (time, kind, message, fields) in enumerate(expected, 1)
    ]


def test_the_last_occurrence_is_announced_and_cleared(store):
    for n in range(3):
        cases.raise_case(store, "pump", Occurrence(NOW + 10 * n, 3.0, 2.0 + n, f"{n}", f"{n}"))
    cases.announce_due(store, NOW + 29)
    announced = store.events()[-1]
    assert [announced[name] for name in ("message", "threshold", "evidence")] == ["2", 4.0, "2"]
    cases.clear_case(store, "pump", NOW + 29, 3.0)
    assert store.events()[-1]["message"] == "after 9 s"


def test_a_clock_that_was_set_during_an_alarm_leaves_the_record_in_order(store):
    cases.raise_case(store, "pump", alarm())
    case = cases.clear_case(store, "pump", NOW - 60, 3.0)
    assert case.cleared == case.occurrences[0].ended == NOW
    cases.raise_case(store, "fan", alarm())
    cases.clear_case(store, "fan", NOW + 3600, 3.0, seconds=7.0)
    cleared = [e["message"] for e in store.events() if e["event"] == "alarm_cleared"]
    assert cleared == ["after 0 s", "after 7 s"]


def test_the_latest_thousand_cases_are_listed_and_the_open_ones_are_always_found(store):
    cases.raise_case(store, "pump", alarm())
    with store.transaction() as execute:
        execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) "
            "INSERT INTO cases (machine, raised, cleared, acknowledged, closed) "
            "SELECT ?, i, i, i, i FROM n",
            (store.number("fan"),),
        )
    listed = cases.cases(store)
    assert [case.id for case in listed] == list(range(1001, 1, -1))
    assert {case.state(NOW) for case in listed} == {"closed"}
    assert [case.id for case in cases.cases(store, "pump")] == [1]
    assert cases.announce_due(store, NOW, machine="fan") == []
    assert [case.id for case in cases.announce_due(store, NOW)] == [1]


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
