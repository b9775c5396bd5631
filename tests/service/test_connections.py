"""Claims about clients that are too slow or too many."""

import socket
import types
from pathlib import Path

import pytest
from watch_service import until

from asd_jax.service import connections, uploads
from asd_jax.service.connections import TimedProtocol


class Protocol(TimedProtocol):
    """A protocol whose transport notes that it was closed, and whose timers run when told."""

    def __init__(self, open_connections=1):
        self.closed = ""
        self.timers = []
        self.cycle = None
        self.connections = set(range(open_connections))
        self.transport = types.SimpleNamespace(
            is_closing=lambda: bool(self.closed),
            close=lambda: setattr(self, "closed", "closed"),
            abort=lambda: setattr(self, "closed", "aborted"),
        )
        self.loop = types.SimpleNamespace(call_later=lambda *timer: self.timers.append(timer))

    def pass_by(self):
        """Lets the time of the latest timer pass."""
        _, function, seen = self.timers.pop()
        function(seen)


@pytest.fixture
def connected(monkeypatch):
    monkeypatch.setattr(
        "uvicorn.protocols.http.h11_impl.H11Protocol.connection_made",
        lambda protocol, _: protocol.connections.add(protocol),
    )

    def connect(open_connections=1):
        protocol = Protocol(open_connections - 1)
        protocol.connection_made(protocol.transport)
        return protocol

    return connect


def test_a_connection_without_a_request_is_closed_when_the_time_is_over(connected):
    silent = connected()
    assert silent.timers[0][0] == connections.REQUEST_SECONDS and not silent.closed
    silent.pass_by()
    assert silent.closed == "closed" and not silent.timers


def test_the_limits_are_those_of_the_documentation():
    page = (Path(__file__).parents[2] / "docs" / "service.md").read_text()
    assert (
        f"the head of a request must come within {connections.REQUEST_SECONDS:g} s, a recording "
        f"within {uploads.UPLOAD_SECONDS:g} s; at {connections.CONNECTIONS} connections further"
    ) in page
    assert connections.MOST_OPEN == 256  # of the 1024 files that a process may open by default


def test_a_connection_that_its_client_has_closed_is_left_alone(connected):
    client = connected()
    client.closed = "by the client"
    client.pass_by()
    assert client.closed == "by the client" and not client.timers


def test_a_connection_that_asks_again_or_waits_for_an_answer_stays(connected):
    client = connected()
    for complete in (True, False):
        client.cycle = types.SimpleNamespace(response_complete=complete)  # of a further request
        client.pass_by()
        assert not client.closed
    client.pass_by()  # the answer is still being made
    assert not client.closed
    client.cycle.response_complete = True
    client.pass_by()
    assert client.closed == "closed"


def test_one_connection_too_many_is_cut_at_once(connected):
    assert not connected(connections.MOST_OPEN).closed
    assert connected(connections.MOST_OPEN + 1).closed == "aborted"


@pytest.mark.slow
def test_a_client_that_opens_connections_and_says_nothing_is_cut_off(served, monkeypatch):
    monkeypatch.setattr(connections, "REQUEST_SECONDS", 1.0)
    flood = []
    for number in range(300):
        one = socket.create_connection(("127.0.0.1", served.port), 5)
        # Half of them begin a request, which they never finish.
        one.sendall(b"POST /login HTTP/1.1\r\n" if number % 2 else b"")
        flood.append(one)
    assert until(lambda: served.get("/healthz").status_code == 200, 5.0)
    until(lambda: len(served.server.server_state.connections) <= 2, 5.0)
    for one in flood:
        one.close()
    assert served.service.states()[0]["windows"] >= 12
