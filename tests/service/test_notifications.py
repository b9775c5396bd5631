"""Claims about messages to people, with a web hook that receives them."""

import http.server
import json
import re
import threading

import pytest
from watch_service import free_port

from asd_jax.monitoring.cases import Occurrence, announce_due, clear_case, raise_case
from asd_jax.monitoring.database import NotStored
from asd_jax.monitoring.export import clock
from asd_jax.runtime.errors import InputError
from asd_jax.service.delivery import Delivery
from asd_jax.service.notifications import TITLES, Notifier


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
    assert receiver.bodies == [f"{clock(0.0)} no sound"]


@pytest.mark.parametrize("there", [True, False])
def test_only_what_people_should_know_is_sent(store, monkeypatch, there):
    notifier = Notifier("json://127.0.0.1:1/", store)
    sent = []
    monkeypatch.setattr(
        notifier._apprise, "notify", lambda *, body, title: sent.append((title, body)) or there
    )
    never = threading.Event()
    at = {"machine": "pump", "time": 1.7e9, "message": ""}
    for kind in ("alarm_raised", "alarm_acknowledged", "source_lost", "clock_jump", "ended"):
        assert notifier.send(at | {"event": kind}, never) is True
    assert sent == []
    for kind in TITLES:
        message = at | {"event": kind, "case": 7}  # a case that the record has removed since
        assert notifier.send(message, never) is there
    assert sent == [(f"pump: {title}", clock(1.7e9)) for title in TITLES.values()]


def test_the_end_of_an_announced_alarm_is_told(store, monkeypatch):
    notifier = Notifier("json://127.0.0.1:1/", store)
    sent = []
    monkeypatch.setattr(notifier._apprise, "notify", lambda *, body, title: sent.append(title))
    raise_case(store, "pump", Occurrence(started=0.0, peak=3.0, threshold=2.0))
    announce_due(store, 1.0)
    clear_case(store, "pump", 10.0, 3.0)
    for event in store.events():
        notifier.send(event, threading.Event())
    assert sent == ["pump: alarm", "pump: alarm over"]


def test_a_record_that_cannot_be_read_tells_nothing_too_early(store):
    notifier = Notifier("json://127.0.0.1:1/", store)
    store.query("DROP TABLE cases")
    with pytest.raises(NotStored):
        notifier.send({"machine": "pump", "event": "alarm_cleared", "case": 1}, threading.Event())


def test_each_address_has_a_name_of_its_own_that_does_not_tell_it(store):
    names = [Notifier(f"json://user:{word}@host/", store).name for word in ("one", "two", "one")]
    assert names[0] == names[2] != names[1]
    assert all(re.fullmatch("notify_[0-9a-f]{12}", name) for name in names)


def test_the_end_of_an_alarm_that_nobody_was_told_of_is_not_told_either(store):
    raise_case(store, "pump", Occurrence(started=0.0, peak=3.0, threshold=2.0))
    clear_case(store, "pump", 10.0, 3.0)
    (cleared,) = (e for e in store.events() if e["event"] == "alarm_cleared")
    notifier = Notifier("json://127.0.0.1:1/", store)  # nothing answers there
    assert notifier.send(cleared, threading.Event()) is True


def test_an_address_that_apprise_does_not_know_is_named_without_its_secrets(store):
    with pytest.raises(InputError, match="nosuch://...") as error:
        Notifier("nosuch://user:password@host", store)
    assert "password" not in str(error.value)
