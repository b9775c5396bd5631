"""Publishes states and events to an MQTT broker, and announces machines to Home Assistant."""

import json
import threading
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from asd_jax.runtime.log import print_error
from asd_jax.service.configuration import Mqtt

_EXPIRES_S = 60  # after so long without a state Home Assistant shows "unavailable"


class Publisher:
    """A connection to the broker that is made again whenever it breaks.

    Topics: TOPIC/availability ("online", by last will "offline"), TOPIC/MACHINE/state (JSON,
    retained) and TOPIC/MACHINE/event (JSON, QoS 2, in order).
    """

    def __init__(self, settings: Mqtt, password: str, machines: list[str]):
        self.settings = settings
        self.machines = machines
        self.availability = f"{settings.topic}/availability"
        self._sent: dict[int, Any] = {}  # {id of an event under way: paho's record of its message}
        self._status = ""
        # The broker remembers the session of this name, which is what makes QoS 2 exact.
        self.client = client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"asd_jax_{settings.topic.replace('/', '_')}",
            clean_session=False,
        )
        if settings.user:
            client.username_pw_set(settings.user, password or None)
        if settings.tls:
            client.tls_set(ca_certs=settings.ca_file or None)
        # The broker publishes it when the connection breaks, even after a kill.
        client.will_set(self.availability, "offline", qos=1, retain=True)
        client.reconnect_delay_set(1, 30)
        client.on_connect = self._connected
        client.on_connect_fail = lambda client, data: self._report("cannot be reached")
        client.on_disconnect = self._disconnected

    def start(self) -> None:
        """Begins to connect, in a thread of its own."""
        # The connection is made in the background, so that the watch begins even if the broker is
        # away.
        self.client.connect_async(self.settings.host, self.settings.port, keepalive=15)
        self.client.loop_start()

    def end(self) -> None:
        """Publishes that the service is offline, and disconnects."""
        if self.client.is_connected():
            # An orderly disconnection does not trigger the will.
            self.client.publish(self.availability, "offline", 1, True).wait_for_publish(3)
        self.client.disconnect()
        self.client.loop_stop()

    def _connected(self, client, data, flags, reason, properties) -> None:
        """Announces the service and its machines, whenever a connection was made."""
        if reason.is_failure:
            self._report(f"refused the connection ({reason})")
            return
        self._report("connected")
        # This is published after each reconnection, because the broker has published the will in
        # between.
        client.publish(self.availability, "online", 1, True)
        for machine in self.machines:
            for topic, content in discovery(self.settings, machine).items():
                client.publish(topic, json.dumps(content), 1, True)

    def _disconnected(self, client, data, flags, reason, properties) -> None:
        """Reports that the connection is gone."""
        self._report(f"disconnected ({reason})")

    def _report(self, status: str) -> None:
        """Prints the status of the connection when it changes, not at each attempt."""
        if status != self._status:
            self._status = status
            print_error(f"MQTT broker {self.settings.host}:{self.settings.port}: {status}")

    def state(self, state: dict) -> None:
        """Publishes the state of a machine, if the broker is there; only the latest one counts."""
        if self.client.is_connected():
            topic = f"{self.settings.topic}/{state['machine']}/state"
            self.client.publish(topic, json.dumps(state), 0, True)

    def event(self, event: dict, stop: threading.Event) -> bool:
        """Publishes an event, and returns whether the broker has it.

        A message under way is never sent a second time as a new one: paho repeats it itself when
        the connection is back.
        """
        message = self._sent.get(event["id"])
        if message is None:
            if not self.client.is_connected():
                return False
            topic = f"{self.settings.topic}/{event['machine']}/event"
            message = self.client.publish(topic, json.dumps(event), 2)
            # paho keeps the message even if the connection broke just now.
            message.rc = MQTTErrorCode.MQTT_ERR_SUCCESS
            self._sent[event["id"]] = message
        while not stop.is_set():
            # Waits are short, so that the end of the service is noticed.
            message.wait_for_publish(0.5)
            if message.is_published():
                # Events are sent one at a time, so nothing else is under way.
                self._sent.clear()
                return True
            if not self.client.is_connected():
                return False
        return False


def discovery(settings: Mqtt, machine: str) -> dict[str, dict]:
    """Returns {topic: configuration} of a machine's entities for Home Assistant."""
    if not settings.discovery:
        return {}
    identity = f"{settings.topic.replace('/', '_')}_{machine}"
    shared = {
        "state_topic": f"{settings.topic}/{machine}/state",
        "availability_topic": f"{settings.topic}/availability",
        "device": {"identifiers": [identity], "name": machine, "manufacturer": "asd_jax"},
    }
    entities = {
        ("binary_sensor", "alarm"): {
            "device_class": "problem",
            "value_template": "{{ 'ON' if value_json.alarm else 'OFF' }}",
        },
        ("binary_sensor", "microphone"): {
            "device_class": "connectivity",
            "value_template": "{{ 'ON' if value_json.microphone == 'listening' else 'OFF' }}",
        },
        ("sensor", "score"): {
            "state_class": "measurement",
            "value_template": "{{ value_json.score }}",
        },
    }
    return {
        f"{settings.discovery}/{kind}/{identity}/{name}/config": {
            **shared,
            **fields,
            "name": name,
            "unique_id": f"{identity}_{name}",
            # A service that hangs publishes no state, and must not look healthy.
            "expire_after": _EXPIRES_S,
        }
        for (kind, name), fields in entities.items()
    }
