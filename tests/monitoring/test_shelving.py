"""Claims about machines whose alarms are not announced for a while."""

import pytest

from asd_jax.monitoring import cases
from asd_jax.monitoring.cases import Occurrence
from asd_jax.monitoring.shelving import LONGEST_SHELF, move_shelving, shelve, unshelve
from asd_jax.monitoring.store import Store
from asd_jax.runtime.errors import InputError

NOW = 1.8e9


@pytest.fixture
def store(tmp_path):
    """A store in which the pump has an alarm."""
    with Store(tmp_path / "plant.db") as made:
        cases.raise_case(made, "pump", Occurrence(NOW, 3.0, 2.0, "score 3 above 2"))
        yield made


def kinds(store):
    return [event["event"] for event in store.events()]


def test_a_shelved_machine_is_announced_when_the_time_is_over(store):
    shelve(store, "pump", NOW, until=NOW + 100, by="Ann")
    assert cases.cases(store)[0].state(NOW + 50) == "shelved"
    assert cases.announce_due(store, NOW + 50) == []
    assert [case.id for case in cases.announce_due(store, NOW + 100)] == [1]
    shelve(store, "pump", NOW, until=NOW + 100, by="Ann")
    unshelve(store, "pump", NOW + 1, by="Bob")
    unshelve(store, "pump", NOW + 2)
    assert cases.cases(store)[0].state(NOW + 2) == "raised"
    shelved, unshelved = store.events()[-2:]
    assert (shelved["until"], shelved["by"]) == (NOW + 100, "Ann")
    assert (unshelved["event"], unshelved["by"]) == ("alarm_unshelved", "Bob")
    assert kinds(store).count("alarm_unshelved") == 1


def test_a_shelving_lasts_as_long_as_was_meant_when_the_clock_is_set(store):
    shelve(store, "pump", NOW, until=NOW + 100)
    move_shelving(store, "pump", 3600.0)
    case = cases.cases(store)[0]
    assert case.shelved_until == NOW + 3700 and case.state(NOW + 3699.5) == "shelved"


def test_the_longest_shelving_is_of_thirty_days(store):
    shelve(store, "pump", NOW, until=NOW + 30 * 86400)
    case = cases.cases(store)[0]
    # A clock that was set back makes it no longer.
    assert (case.state(NOW), case.state(NOW - 1)) == ("shelved", "raised")
    shelve(store, "pump", NOW, until=NOW + 0.5)
    assert cases.cases(store)[0].state(NOW) == "shelved"


def test_a_shelved_machine_is_shelved_whether_its_alarm_is_over_or_not(store):
    shelve(store, "pump", NOW, until=NOW + 100)
    assert cases.clear_case(store, "pump", NOW + 9, 3.0).state(NOW + 9) == "shelved"
    assert cases.acknowledge(store, 1, NOW + 10).state(NOW + 10) == "closed"


def test_wrong_requests_say_what_is_there(store):
    with pytest.raises(InputError, match="no machine 'fan'.*it knows: pump"):
        shelve(store, "fan", NOW, NOW + 9)
    for until in (NOW, NOW + LONGEST_SHELF + 1, float("nan")):
        with pytest.raises(InputError, match="must be above 0 and at most 720 h"):
            shelve(store, "pump", NOW, until)
    with Store(store.path.with_name("empty.db")) as empty:
        with pytest.raises(InputError, match="it knows: none"):
            shelve(empty, "pump", NOW, NOW + 9)
