"""Claims about the delivery of events to one receiver."""

import pytest
from watch_service import soon, until

from asd_jax.monitoring.store import Store
from asd_jax.service.delivery import Delivery


class Receiver:
    """Keeps the ids of the events that it gets, but for those that it refuses."""

    def __init__(self, *refused):
        self.refused = refused
        self.got = []

    def send(self, event, stop):
        if event["id"] in self.refused:
            return False
        self.got.append(event["id"])
        return True


class Waits:
    """Stands for the event that ends a delivery, which is set after so many waits."""

    def __init__(self, most):
        self.most = most
        self.waited = []

    def wait(self, seconds):
        self.waited.append(seconds)

    def is_set(self):
        return len(self.waited) >= self.most


def test_a_new_receiver_gets_no_old_events_and_a_known_one_all(store):
    assert Delivery("first", store, Receiver().send).waiting() == 0
    store.event("pump", 0.0, "silent")
    receiver = Receiver()
    assert Delivery("new", store, receiver.send).deliver() and receiver.got == []
    store.event("pump", 1.0, "silent")
    assert Delivery("new", store, receiver.send).deliver() and receiver.got == [2]
    assert Delivery("first", store, receiver.send).deliver() and receiver.got == [2, 1, 2]


def test_what_follows_a_refused_event_waits_behind_it(store):
    receiver = Receiver(2)
    delivery = Delivery("people", store, receiver.send)
    for second in range(3):
        store.event("pump", float(second), "silent")
    assert delivery.waiting() == 3
    assert delivery.deliver() is False and receiver.got == [1] and delivery.waiting() == 2
    receiver.refused = ()
    assert delivery.deliver() is True and receiver.got == [1, 2, 3] and delivery.waiting() == 0


def test_nothing_is_sent_once_the_service_ends(store):
    receiver = Receiver()
    delivery = Delivery("people", store, receiver.send)
    store.event("pump", 0.0, "silent")
    delivery.stop.set()
    assert delivery.deliver() is False and receiver.got == []


def test_a_record_that_cannot_be_read_delivers_nothing_and_has_no_known_queue(store, tmp_path):
    delivery = Delivery("people", store, Receiver().send)
    with Store(tmp_path / "other.db") as other:
        other.query("DROP TABLE marks")
        delivery.store = other
        assert delivery.deliver() is False and delivery.waiting() is None


@pytest.mark.parametrize(
    ("longest", "waits"),
    [({}, [0.5, 1, 2, 4, 8, 16, 32, 60, 60]), ({"longest_wait": 1.0}, [0.5, 1, 1, 1])],
)
def test_a_receiver_that_refuses_is_asked_less_and_less_often(store, longest, waits):
    delivery = Delivery("people", store, Receiver(1).send, **longest)
    store.event("pump", 0.0, "silent")
    delivery.stop = Waits(len(waits))
    soon(delivery._run)
    assert delivery.stop.waited == waits


def test_a_receiver_that_is_back_is_asked_twice_a_second_again(store):
    receiver = Receiver(1)
    delivery = Delivery("people", store, receiver.send)
    store.event("pump", 0.0, "silent")
    delivery.stop = stop = Waits(6)

    def wait(seconds):
        stop.waited.append(seconds)
        receiver.refused = (1,) if len(stop.waited) < 3 else (2,) if len(stop.waited) > 4 else ()
        if len(stop.waited) == 5:
            store.event("pump", 1.0, "silent")

    stop.wait = wait
    soon(delivery._run)
    assert stop.waited == [0.5, 1, 2, 0.5, 0.5, 0.5] and receiver.got == [1]


def test_a_delivery_runs_until_its_end_and_keeps_no_process_alive(store):
    receiver = Receiver()
    delivery = Delivery("people", store, receiver.send)
    store.event("pump", 0.0, "silent")
    assert delivery.thread.daemon
    delivery.start()
    until(lambda: receiver.got == [1], 5)
    soon(delivery.end)
    assert not delivery.thread.is_alive()
