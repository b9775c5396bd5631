"""Claims about the threads of the watch, and about what it is made of."""

import threading
import time
import types
from pathlib import Path

import numpy as np
import pytest
from machine_sound import RATE, sound
from watch_service import MACHINES, soon, until, write_service

from asd_jax.detector.detector import Detector
from asd_jax.detector.stream import Event
from asd_jax.monitoring.cases import cases
from asd_jax.monitoring.recorder import Recorder
from asd_jax.runtime.errors import InputError
from asd_jax.service.configuration import read_configuration
from asd_jax.service.delivery import LONGEST_WAIT
from asd_jax.service.service import Service
from asd_jax.service.sources import Sound


class Receiver:
    """Stands for the broker's publisher, and for a delivery; notes what it is asked."""

    name = "receiver"

    def __init__(self):
        self.calls = []
        self.states = []

    def start(self):
        self.calls.append("start")

    def end(self):
        self.calls.append("end")

    def waiting(self):
        return 3

    def state(self, state):
        self.states.append(state)


class Seconds:
    """Stands for the event that ends a service, and for its clock: no wait takes any time.

    Attributes:
        now: the seconds since the service began.
    """

    def __init__(self, most, at=lambda now: None):
        self.now = 0.0
        self.most = most
        self.at = at

    def wait(self, seconds):
        self.now += seconds
        self.at(self.now)
        return self.now > self.most

    def is_set(self):
        return False

    def monotonic(self):
        return self.now


@pytest.fixture
def supervised(service):
    """Returns a function that supervises a service for so many seconds, which take no time."""

    def supervised(most, at=lambda now: None):
        seconds = Seconds(most, at)
        service._steady = seconds.monotonic
        service._stop = seconds
        service._supervise()

    return supervised


def test_machines_of_one_detector_share_it(service):
    pump, fan = service.watchers.values()
    assert pump.detector is fan.detector and pump.live is False and fan.live is True


def test_a_detector_that_is_missing_is_named_with_its_machine(folder, tmp_path):
    for name in ("pump.detector", "sound.wav", "token"):
        (tmp_path / name).symlink_to(folder / name)
    machines = MACHINES.replace(
        'detector = "pump.detector"\nsource = "http', 'detector = "x"\nsource = "http'
    )
    (tmp_path / "machines.toml").write_text(machines)
    with pytest.raises(InputError, match=r"^machine fan: .*/x: no such detector"):
        Service(read_configuration(tmp_path / "machines.toml"))


def test_every_receiver_of_the_configuration_gets_the_events(tmp_path, plain_detector):
    write_service(tmp_path, plain_detector)
    (tmp_path / "secret").write_text("of the broker")
    (tmp_path / "machines.toml").write_text(
        'notify = ["json://127.0.0.1:1/"]\n[mqtt]\nhost = "127.0.0.1"\nuser = "asd"\n'
        'password_file = "secret"\n' + MACHINES
    )
    service = Service(read_configuration(tmp_path / "machines.toml"))
    try:
        broker, people = service.deliveries
        assert service.publisher.machines == ["pump", "fan"]
        assert service.publisher.client.password == "of the broker"
        assert broker.name == "mqtt" and broker.send == service.publisher.event
        # paho itself waits between two attempts to connect.
        assert (broker.longest_wait, people.longest_wait) == (1.0, LONGEST_WAIT)
        service.store.event("pump", 0.0, "silent")
        waiting = [{"receiver": name, "waiting": 1} for name in ("mqtt", people.name)]
        assert service.receivers() == waiting == service.health()[1]["receivers"]
    finally:
        service.close()


def test_a_service_announces_an_alarm_and_keeps_its_evidence(served):
    (case,) = cases(served.service.store, "pump")
    assert case.announced is not None
    evidence = Path(case.occurrences[-1].evidence)
    assert evidence.parent == served.service.configuration.state / "evidence" / "pump"
    until(lambda: (evidence / "heat_map.svg").exists(), 10)
    pump, fan = served.service.states()
    assert (pump["machine"], pump["microphone"], pump["windows"]) == ("pump", "ended", 12)
    assert (fan["machine"], fan["microphone"], fan["windows"]) == ("fan", "lost", 0)


def test_nothing_of_a_service_that_has_ended_runs_on_though_a_reader_waits(service, monkeypatch):
    monkeypatch.setattr(service, "_score", lambda: None)  # so that the queue of the pump is full
    service.publisher = Receiver()
    service.deliveries = [Receiver()]
    service.start(lambda: None)
    assert all(thread.daemon for thread in service._threads)
    until(lambda: service.states()[0]["microphone"] == "listening", 10)
    began = time.monotonic()
    service.end()
    assert time.monotonic() - began < 5
    assert not any(thread.is_alive() for thread in service._threads)
    assert service.publisher.calls == service.deliveries[0].calls == ["start", "end"]
    for store in (service.store, service.web_store):
        with pytest.raises(InputError, match="closed database"):
            store.query("SELECT 1")


def test_states_are_published_every_ten_seconds_and_changes_at_once(service, supervised):
    def at(now):
        if now == 15:
            service.watchers["fan"].take(Event("ended", "for good"))

    published = []
    service.publisher = types.SimpleNamespace(
        state=lambda state: published.append(
            (service._stop.now, state["machine"], state["microphone"])
        )
    )
    supervised(24, at)
    assert published == [
        (1, "pump", "starting"), (1, "fan", "starting"),
        (11, "pump", "starting"), (11, "fan", "starting"),
        (15, "fan", "ended"),
        (21, "pump", "starting"), (21, "fan", "ended"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("scoring_at", "most", "stuck"), [(0, 60, False), (0, 61, True), (None, 200, False)]
)
def test_a_minute_without_a_sign_of_the_scoring_thread_ends_the_service(
    service, supervised, scoring_at, most, stuck
):
    service._scoring_at = scoring_at  # None: programs are being compiled
    supervised(most)
    assert service.failure == ("no window was scored for 60 s" if stuck else "")


def test_programs_are_compiled_before_the_first_window_comes(service, monkeypatch):
    examined = []
    monkeypatch.setattr(
        Detector, "examine", lambda _, wave, rate: examined.append((wave.shape, wave.dtype, rate))
    )
    service._stop.set()
    soon(service._score)
    assert examined == [((RATE,), np.float32, RATE)]  # once, as both machines have one detector


def test_a_window_that_cannot_be_scored_is_told_and_the_next_ones_are_scored(service, monkeypatch):
    pump, fan = service.watchers.values()
    verdict = pump.detector.examine(sound(0, 1.0), RATE)
    seconds = Seconds(0)
    at = []

    def examine(_, wave, rate):
        at.append((seconds.now, service._scoring_at))
        seconds.now += 40  # so that each window by itself is a sign of life
        if len(at) == 4:
            raise InputError("an odd window")
        return verdict

    def wait(seconds):
        # The first wait is over at once, as there is work; the next one ends the service.
        waits.append((len(at), seconds))
        if len(waits) == 2:
            service._stop.set()

    waits = []
    cleared = []
    for watcher, windows in ((pump, 3), (fan, 1)):
        watcher.take(Sound(np.tile(sound(0, 1.0), windows), RATE, 1e9))
    monkeypatch.setattr(Detector, "examine", examine)
    service._steady = seconds.monotonic
    service._work = types.SimpleNamespace(wait=wait, clear=lambda: cleared.append(len(waits)))
    soon(service._score)
    # One for the compilation, then all windows without another wait.
    assert waits == [(1, 1.0), (5, 1.0)] and cleared == [1, 2]
    assert (pump.windows, fan.windows) == (2, 1)
    assert [began for _, began in at] == [None, *(began for began, _ in at[1:])]
    (event,) = service.store.events()
    assert (event["machine"], event["event"], event["message"]) == (
        "pump", "not_scored", "an odd window",
    )  # fmt: skip


def test_what_a_source_gives_is_scored_at_once(service):
    items = [Sound(sound(0, 1.0), RATE, 1e9), Event("ended", "to its end")]
    service._readers["pump"] = lambda stop: iter(items)
    soon(service._read, "pump")
    assert service._work.is_set() and service.watchers["pump"].microphone == "ended"
    assert service.watchers["pump"].score_next() and service.watchers["fan"].windows == 0


def test_health_names_what_does_not_work(service, monkeypatch):
    found = {"status": "ok", "failure": "", "receivers": [], "not_written": []}
    found |= {"not_listening": ["pump", "fan"]}
    assert service.health() == (True, found)
    service.watchers["pump"].microphone = "listening"
    unwritten = property(lambda recorder: 4 * (recorder.machine == "pump"))
    monkeypatch.setattr(Recorder, "unwritten", unwritten)
    service.deliveries = [Receiver()]
    found |= {"not_listening": ["fan"], "not_written": ["pump"]}
    found |= {"receivers": [{"receiver": "receiver", "waiting": 3}]}
    assert service.health() == (True, found)


def test_a_thread_that_cannot_go_on_ends_the_service_and_says_why(service, monkeypatch, capsys):
    def score():
        raise ZeroDivisionError("a fault of a library")

    monkeypatch.setattr(service, "_score", score)
    monkeypatch.setattr(service, "_read", lambda name: None)
    failed = threading.Semaphore(0)
    service.start(failed.release)
    assert failed.acquire(timeout=5)
    service._fail("another fault")  # the first one is the reason
    assert not failed.acquire(blocking=False)
    works, found = service.health()
    service.end()
    assert not works and found["status"] == "failed"
    assert found["failure"] == "score: ZeroDivisionError: a fault of a library"
    said = capsys.readouterr().err
    assert "the service ends: score: ZeroDivisionError" in said and "Traceback" in said


def test_a_fault_while_the_service_ends_is_no_failure(service):
    service._stop.set()
    service._fail("a thread that was cut off")
    assert service.failure == "" and service.health()[0]
