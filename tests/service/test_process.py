"""asd_jax.serve as a process, with a real broker, network stream and HTTP client, which fail it."""

import concurrent.futures
import io
import json
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import requests
import soundfile
from machine_sound import RATE, sound
from watch_service import AUTHORIZED, Broker, Listener, Process, Radio, until

import asd_jax.serve
from asd_jax.monitoring.cases import cases
from asd_jax.monitoring.store import Store


@pytest.fixture
def folder(tmp_path, plain_detector):
    plain_detector.save(tmp_path / "pump.detector")
    return tmp_path


@pytest.fixture
def radio():
    radio = Radio()
    yield radio
    radio.end()


def mqtt(port):
    return f'[mqtt]\nhost = "127.0.0.1"\nport = {port}\n'


@pytest.mark.slow
def test_a_stream_is_scored_stalls_and_comes_back_and_a_flood_of_recordings_delays_nothing(
    folder, radio
):
    broker = Broker(folder).start()
    service = Process(folder, {"pump": radio.address}, mqtt(broker.port))
    listener = Listener(broker.port)

    def events():
        return [json.loads(text) for text in listener.of("asd_jax/pump/event")]

    def seen(kind):
        return any(event["event"] == kind for event in events())

    try:
        until(lambda: service.state("pump")["windows"] > 0)
        assert time.monotonic() - service.began < 15

        # Four clients send recordings as fast as they are answered.
        file = io.BytesIO()
        soundfile.write(file, np.tile(sound(0, 10.0), 6), RATE, format="WAV")
        began = time.monotonic()
        before = service.state("pump")["windows"]

        def send(_):
            path = f"{service.address}/api/machines/pump/score"
            answers = []
            while time.monotonic() - began < 4:
                answer = requests.post(path, file.getvalue(), headers=AUTHORIZED, timeout=20)
                answers.append(answer.status_code)
            return answers

        with concurrent.futures.ThreadPoolExecutor(4) as clients:
            answers = sum(clients.map(send, range(4)), [])
        assert {200, 429} == set(answers)
        state = service.state("pump")
        assert state["dropped"] == 0
        assert state["windows"] - before >= time.monotonic() - began - 2.5  # windows of a second

        radio.stalled = True
        stalled = time.monotonic()
        until(lambda: seen("silent"), 12)
        assert time.monotonic() - stalled <= 10
        assert seen("source_lost") and service.state("pump")["microphone"] == "lost"
        assert listener.of("asd_jax/availability") == ["online"]
        radio.stalled = False
        radio.fault = 0.3
        until(lambda: seen("alarm_announced"))
        kinds = [event["event"] for event in events()]
        assert kinds == [
            "source_lost", "silent", "source_back", "sound_again", "alarm_raised", "alarm_announced"
        ]  # fmt: skip
        assert json.loads(listener.of("asd_jax/pump/state")[-1])["alarm"]
        assert service.end(signal.SIGTERM) == 0
        until(lambda: listener.of("asd_jax/availability") == ["online", "offline"])
    finally:
        service.process.kill()
        listener.end()
        broker.stop()


@pytest.mark.slow
def test_events_outlive_kills_and_an_absent_broker_and_come_once_in_order(folder, radio):
    broker = Broker(folder)
    radio.fault = 0.3
    service = Process(folder, {"pump": radio.address}, mqtt(broker.port))
    try:
        until(lambda: service.get("/api/alarms").json())
        service.end(signal.SIGKILL)
        # The alarm was on when the service died, so its case goes on.
        radio.fault = 0.0
        service.start()
        broker.start()
        listener = Listener(broker.port)
        until(lambda: service.get("/api/alarms").json()[0]["state"] == "cleared")
        until(lambda: service.get("/api/health").json()["receivers"][0]["waiting"] == 0)
        came = [json.loads(text) for text in listener.of("asd_jax/pump/event")]
        listener.end()
        assert service.end(signal.SIGTERM) == 0
    finally:
        service.process.kill()
        broker.stop()
    with Store(folder / "state" / "service.db") as store:
        assert [event["id"] for event in came] == [event["id"] for event in store.events()]
        (case,) = cases(store)
        assert len(case.occurrences) == 1
    kinds = [event["event"] for event in came]
    assert kinds == ["alarm_raised", "alarm_announced", "alarm_cleared"]


@pytest.mark.slow
def test_a_full_disk_stops_nothing_and_what_happened_meanwhile_is_written_afterwards(folder, radio):
    service = Process(folder, {"pump": radio.address})
    try:
        until(lambda: service.state("pump")["windows"] > 0)
        # No file of this process may grow beyond what its log holds now, as on a full disk.
        size = (folder / "state" / "service.db-wal").stat().st_size
        whole = resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, (size, -1))
        radio.fault = 0.3
        until(lambda: service.state("pump")["unwritten"] > 3)
        assert "service.db" in service.state("pump")["message"]
        assert service.get("/healthz").status_code == 200
        until(lambda: service.state("pump")["alarm"])
        resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, whole)
        until(lambda: service.state("pump")["unwritten"] == 0)
        until(lambda: service.get("/api/alarms").json())
        state = service.state("pump")
        times = service.get("/api/machines/pump/trend?days=0.01").json()["time"]
        assert service.end(signal.SIGTERM) == 0
    finally:
        service.process.kill()
    with Store(folder / "state" / "service.db") as store:
        readings = store.readings("pump")
    assert len(readings.time) >= state["windows"] and len(times) > 3


@pytest.mark.slow
def test_a_kill_inside_any_write_loses_nothing_that_was_recorded(tmp_path):
    program = [sys.executable, str(Path(__file__).parent / "dies_at_a_write.py")]
    done = subprocess.run(
        [*program, str(tmp_path / "service.db")], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    kills, windows, events = map(int, done.stdout.split())
    assert kills > 50 and windows > 100 and events > 100


def test_wrong_configuration_and_a_missing_library_are_one_clear_error(
    command, tmp_path, monkeypatch
):
    (tmp_path / "m.toml").write_text("[[machine]]\nname = 'pump'\n")
    status, _, err = command(asd_jax.serve, f"--config={tmp_path / 'm.toml'}")
    assert status == 2 and "detector is missing" in err
    monkeypatch.setattr(asd_jax.serve, "LIBRARIES", ("no_such_library.at_all",))
    status, _, err = command(asd_jax.serve, f"--config={tmp_path / 'm.toml'}")
    assert status == 2 and "pip install 'asd_jax[service]'" in err
