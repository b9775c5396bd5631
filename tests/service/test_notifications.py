"""Claims about messages to people, with a web hook that receives them."""

import http.server
import json
import threading

import pytest
from watch_service import free_port

from asd_jax.monitoring.cases import Occurrence, clear_case, raise_case
from asd_jax.runtime.errors import InputError
from asd_jax.service.delivery import Delivery
from asd_jax.service.notifications import Notifier


class Receiver:
    """A web hook; nothing answers at its port before `start`."""

    def __init__(self):
        self.port = free_port()
        self.titles = []
        self.bodies = []

    def start(self):
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                got = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                receiver.titles.append(got["title"])
                receiver.bodies.append(got["message"])
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.HTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def address(self):
        return f"json://127.0.0.1:{self.port}/"


def test_notifications_reach_a_receiver_that_was_away(store):
    receiver = Receiver()
    delivery = Delivery("people", store, Notifier(receiver.address, store).send)
    store.event("pump", 0.0, "clock_jump", "not for people")
    store.event("pump", 0.0, "silent", "no sound")
    assert not delivery.deliver() and delivery.waiting() == 1
    receiver.start()
    assert delivery.deliver() and delivery.deliver() and delivery.waiting() == 0
    receiver.server.shutdown()
    assert receiver.titles == ["pump: the microphone went silent"]
    assert receiver.bodies[0].startswith("19") and receiver.bodies[0].endswith("no sound")


def test_the_end_of_an_alarm_that_nobody_was_told_of_is_not_told_either(store):
    raise_case(store, "pump", Occurrence(started=0.0, peak=3.0, threshold=2.0))
    clear_case(store, "pump", 10.0, 3.0)
    (cleared,) = (e for e in store.events() if e["event"] == "alarm_cleared")
    notifier = Notifier("json://127.0.0.1:1/", store)  # nothing answers there
    assert notifier.send(cleared, threading.Event())


def test_an_address_that_apprise_does_not_know_is_named_without_its_secrets(store):
    with pytest.raises(InputError, match="nosuch://...") as error:
        Notifier("nosuch://user:password@host", store)
    assert "password" not in str(error.value)
