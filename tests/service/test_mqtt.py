"""Claims about MQTT: what paho is told, without a broker, and what a real broker passes on."""

import json
import threading
import time
import types

import pytest
from watch_service import Listener, until

from asd_jax.monitoring.store import Store
from asd_jax.service.configuration import Mqtt
from asd_jax.service.delivery import Delivery
from asd_jax.service.mqtt import Publisher, discovery


class Message:
    """Stands for paho's record of a message; it is published after so many waits."""

    def __init__(self, waits=1):
        self.waits = waits
        self.waited = []
        self.asked = 0

    def wait_for_publish(self, seconds):
        self.waited.append(seconds)

    def is_published(self):
        self.asked += 1
        return len(self.waited) >= self.waits or self.asked > 100  # nothing is asked for ever


class Client:
    """Stands for paho's client, and notes what it is told.

    Attributes:
        told: {name of a method: arguments of its calls}.
        connected: whether the broker is there.
        message: what the next call of `publish` returns.
    """

    def __init__(self, version, **options):
        self.told = {"Client": [options]}
        self.connected = True
        self.message = Message()

    def __getattr__(self, name):
        return lambda *args, **options: self.told.setdefault(name, []).append((*args, options))

    def is_connected(self):
        return self.connected

    def publish(self, *message):
        self.told.setdefault("publish", []).append(message)
        return self.message


@pytest.fixture
def publisher(monkeypatch):
    """Returns a function that makes a publisher with these settings."""
    monkeypatch.setattr("asd_jax.service.mqtt.paho.Client", Client)

    def publisher(password="", **settings):
        return Publisher(Mqtt(host="broker", **settings), password, ["pump", "fan"])

    return publisher


def test_the_broker_learns_who_connects_and_what_to_say_of_a_death(publisher):
    told = publisher(topic="plant/a").client.told
    assert told == {
        # The session is kept, without which QoS 2 is not exact.
        "Client": [{"client_id": "asd_jax_plant_a", "clean_session": False}],
        "will_set": [("plant/a/availability", "offline", {"qos": 1, "retain": True})],
        "reconnect_delay_set": [(1, 30, {})],
    }


def test_a_name_a_password_and_tls_are_those_of_the_configuration(publisher):
    told = publisher(user="asd").client.told
    assert told["username_pw_set"] == [("asd", None, {})] and "tls_set" not in told
    told = publisher("secret", user="asd", tls=True, ca_file="ca.pem", port=8883).client.told
    assert told["username_pw_set"] == [("asd", "secret", {})]
    assert told["tls_set"] == [({"ca_certs": "ca.pem"},)]
    assert publisher(tls=True).client.told["tls_set"] == [({"ca_certs": None},)]


def test_a_start_waits_for_no_broker_and_an_end_says_goodbye(publisher):
    for connected in (True, False):
        one = publisher(port=1884)
        one.client.connected = connected
        one.start()
        assert one.client.told["connect_async"] == [("broker", 1884, {"keepalive": 15})]
        assert one.client.told["loop_start"] == [({},)]
        one.end()
        goodbye = [("asd_jax/availability", "offline", 1, True)] if connected else None
        assert one.client.told.get("publish") == goodbye
        assert one.client.message.waited == [3] * connected
        assert one.client.told["disconnect"] == one.client.told["loop_stop"] == [({},)]


def test_each_connection_announces_the_service_and_its_machines(publisher, capsys):
    one = publisher()
    works = types.SimpleNamespace(is_failure=False)
    one.client.on_connect(one.client, None, None, works, None)
    online, *machines = one.client.told["publish"]
    assert online == ("asd_jax/availability", "online", 1, True)
    expected = discovery(one.settings, "pump") | discovery(one.settings, "fan")
    assert {topic: json.loads(text) for topic, text, *_ in machines} == expected
    assert {options for *_, qos, retain in machines for options in [(qos, retain)]} == {(1, True)}
    assert capsys.readouterr().err == "MQTT broker broker:1883: connected\n"


def test_a_broker_that_is_away_or_refuses_is_told_once(publisher, capsys):
    class Refused(str):
        is_failure = True

    one = publisher()
    for _ in range(2):
        one.client.on_connect_fail(one.client, None)
    for _ in range(2):
        one.client.on_connect(one.client, None, None, Refused("Not authorized"), None)
    for _ in range(2):
        one.client.on_disconnect(one.client, None, None, "Keep alive timeout", None)
    assert "publish" not in one.client.told
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "MQTT broker broker:1883: cannot be reached",
        "MQTT broker broker:1883: refused the connection (Not authorized)",
        "MQTT broker broker:1883: disconnected (Keep alive timeout)",
    ]


def test_a_state_is_retained_and_left_out_while_the_broker_is_away(publisher):
    one = publisher(topic="plant/a")
    state = {"machine": "pump", "score": 1.5}
    one.state(state)
    one.client.connected = False
    one.state(state | {"score": 2.5})
    assert one.client.told["publish"] == [("plant/a/pump/state", json.dumps(state), 0, True)]


def test_an_event_is_handed_over_once_however_long_the_broker_takes(publisher):
    one = publisher()
    event = {"id": 7, "machine": "pump", "event": "silent"}
    going_on = threading.Event()
    one.client.connected = False
    assert one.event(event, going_on) is False and "publish" not in one.client.told
    one.client.connected = True
    one.client.message = message = Message(waits=4)
    message.wait_for_publish = lambda seconds: (
        message.waited.append(seconds),
        # The connection breaks while the message is under way.
        setattr(one.client, "connected", len(message.waited) != 2),
    )
    assert one.event(event, going_on) is False and message.waited == [0.5, 0.5]
    assert message.rc == 0  # of paho: no error, since it repeats the message itself
    assert one.event(event, going_on) is True and message.waited == [0.5] * 4
    assert one.client.told["publish"] == [("asd_jax/pump/event", json.dumps(event), 2)]
    # What was handed over is under way no more: another event of this number is a new one.
    one.client.message = Message()
    assert one.event(event, going_on) is True and len(one.client.told["publish"]) == 2


def test_the_end_of_the_service_does_not_wait_for_the_broker(publisher):
    one = publisher()
    stop = threading.Event()
    stop.set()
    one.client.message = Message(waits=100)
    assert one.event({"id": 1, "machine": "pump"}, stop) is False
    assert one.client.message.waited == []


def test_home_assistant_learns_what_a_machine_has():
    shared = {
        "state_topic": "plant/a/pump/state",
        "availability_topic": "plant/a/availability",
        "device": {"identifiers": ["plant_a_pump"], "name": "pump", "manufacturer": "asd_jax"},
        "expire_after": 60,
    }
    found = discovery(Mqtt(topic="plant/a", discovery="ha"), "pump")
    for content in found.values():
        assert content.items() >= shared.items() and "value_json." in content["value_template"]
    kinds = {
        topic: (content["name"], content["unique_id"], content.get("device_class"))
        for topic, content in found.items()
    }
    assert kinds == {
        "ha/binary_sensor/plant_a_pump/alarm/config": ("alarm", "plant_a_pump_alarm", "problem"),
        "ha/binary_sensor/plant_a_pump/microphone/config": (
            "microphone", "plant_a_pump_microphone", "connectivity",
        ),
        "ha/sensor/plant_a_pump/score/config": ("score", "plant_a_pump_score", None),
    }  # fmt: skip
    assert discovery(Mqtt(discovery=""), "pump") == {}


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
        listener = Listener(broker.port)
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

    def found():
        return [of.topic for _, of in late.messages if of.topic.startswith("homeassistant/")]

    until(lambda: len(found()) == 3, 10)
    assert all(message.retain for _, message in late.messages)
    sensor = json.loads(late.of("homeassistant/binary_sensor/asd_jax_pump/alarm/config")[0])
    assert sensor["state_topic"] == "asd_jax/pump/state"
    until(lambda: late.of("asd_jax/availability") == ["online"], 10)
    # The socket breaks without a goodbye, as when the process is killed.
    publisher.client.reconnect_delay_set(30, 30)
    publisher.client.socket().shutdown(2)
    until(lambda: late.of("asd_jax/availability") == ["online", "offline"])
    late.end()
    publisher.client.loop_stop()
