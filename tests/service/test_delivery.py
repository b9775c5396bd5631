from asd_jax.service.delivery import Delivery


def test_a_new_receiver_gets_no_old_events_and_a_known_one_all(store):
    store.event("pump", 0.0, "silent")
    got = []

    def send(event, stop):
        got.append(event["id"])
        return True

    assert Delivery("new", store, send).deliver() and got == []
    store.event("pump", 1.0, "silent")
    assert Delivery("new", store, send).deliver() and got == [2]
