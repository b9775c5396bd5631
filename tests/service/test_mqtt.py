import json
import threading
import time

import paho.mqtt.client as paho

from asd_jax.monitoring.store import Store
from asd_jax.service.configuration import Mqtt
from asd_jax.service.delivery import Delivery
from asd_jax.service.mqtt import Publisher


class Listener:
    """A client that keeps what it receives."""

    def __init__(self, port, name):
        self.came, self.there = [], threading.Event()
        self.client = paho.Client(
            paho.CallbackAPIVersion.VERSION2, client_id=name, clean_session=True
        )
        self.client.on_connect = lambda client, *_: client.subscribe("#", 2)
        self.client.on_subscribe = lambda *_: self.there.set()
        self.client.on_message = lambda client, data, message: self.came.append(message)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        assert self.there.wait(5)

    def of(self, topic):
        return [message.payload.decode() for message in list(self.came) if message.topic == topic]

    def end(self):
        self.client.disconnect()
        self.client.loop_stop()


def until(true, seconds=10.0):
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.05)
    assert true()


def test_events_of_an_hour_without_broker_come_once_and_in_order(broker, tmp_path):
    with Store(tmp_path / "s.db") as store:
        publisher = Publisher(Mqtt(host="127.0.0.1", port=broker.port), "", ["pump"])
        publisher.client.reconnect_delay_set(0.1, 0.2)
        publisher.start()
        delivery = Delivery("mqtt", store, publisher.event)
        until(publisher.client.is_connected)
        store.event("pump", 0.0, "silent", "before")
        assert delivery.deliver()
        broker.stop()
        until(lambda: not publisher.client.is_connected())
        for minute in range(60):
            store.event("pump", 60.0 * minute, "alarm_raised", minute=minute)
        assert not delivery.deliver() and store.mark("mqtt") == 1
        broker.start()
        listener = Listener(broker.port, "listener")
        until(publisher.client.is_connected)
        assert delivery.deliver() and store.mark("mqtt") == 61
        until(lambda: len(listener.of("asd_jax/pump/event")) >= 60)
        time.sleep(0.2)
        came = [json.loads(text)["minute"] for text in listener.of("asd_jax/pump/event")]
        assert came == list(range(60))
        listener.end()
        publisher.end()


def test_state_and_discovery_are_retained_and_the_will_tells_of_a_death(broker):
    publisher = Publisher(Mqtt(host="127.0.0.1", port=broker.port), "", ["pump"])
    publisher.start()
    until(publisher.client.is_connected)
    publisher.state({"machine": "pump", "alarm": True, "microphone": "listening", "score": 3.5})
    time.sleep(0.3)
    late = Listener(broker.port, "late")
    until(lambda: late.of("asd_jax/pump/state"))
    assert json.loads(late.of("asd_jax/pump/state")[0])["alarm"] is True
    found = [message.topic for message in late.came if message.topic.startswith("homeassistant/")]
    assert len(found) == 3 and all(message.retain for message in late.came)
    sensor = json.loads(late.of("homeassistant/binary_sensor/asd_jax_pump/alarm/config")[0])
    assert sensor["state_topic"] == "asd_jax/pump/state"
    assert late.of("asd_jax/availability") == ["online"]
    # The socket breaks without a goodbye, as when the process is killed.
    publisher.client.reconnect_delay_set(30, 30)
    publisher.client.socket().shutdown(2)
    until(lambda: late.of("asd_jax/availability") == ["online", "offline"])
    late.end()
    publisher.client.loop_stop()
