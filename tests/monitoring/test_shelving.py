"""Claims about machines whose alarms are not announced for a while."""

import pytest

from asd_jax.monitoring import cases
from asd_jax.monitoring.cases import Occurrence
from asd_jax.monitoring.shelving import LONGEST_SHELF, shelve, unshelve
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
    shelve(store, "pump", NOW, until=NOW + 100)
    unshelve(store, "pump", NOW + 1)
    unshelve(store, "pump", NOW + 2)
    assert cases.cases(store)[0].state(NOW + 2) == "raised"
    assert kinds(store).count("alarm_unshelved") == 1


def test_wrong_requests_say_what_is_there(store):
    with pytest.raises(InputError, match="no machine 'fan'.*it knows: pump"):
        shelve(store, "fan", NOW, NOW + 9)
    for until in (NOW, NOW + LONGEST_SHELF + 1, float("nan")):
        with pytest.raises(InputError, match="must be above 0 and at most 720 h"):
            shelve(store, "pump", NOW, until)
