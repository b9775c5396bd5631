"""The page and the REST interface, with a real HTTP client; the service runs in this process."""

import io
import json
import re
import socket
import time

import numpy as np
import pytest
import requests
import soundfile
from machine_sound import RATE, sound
from watch_service import MACHINES, TOKEN, Served, until

from asd_jax import detect
from asd_jax.monitoring.cases import cases
from asd_jax.service import connections


def test_nothing_but_health_is_said_without_the_token(served):
    paths = ("/", "/api/machines", "/api/alarms", "/metrics", "/api/machines/pump/sound.wav")
    for path in (*paths, "/openapi.json", "/api/health"):
        assert requests.get(served.address + path, timeout=5).status_code == 401
        wrong = {"Authorization": "Bearer " + TOKEN[::-1]}
        assert requests.get(served.address + path, headers=wrong, timeout=5).status_code == 401
    health = requests.get(f"{served.address}/healthz", timeout=5)
    assert health.status_code == 200 and health.json() == {"status": "ok"}


def test_a_cookie_opens_the_page_to_a_browser(served):
    with requests.Session() as session:
        address = f"{served.address}/login"
        assert session.post(address, {"token": "wrong"}, timeout=5).status_code == 401
        page = session.post(address, {"token": TOKEN}, timeout=5)
        assert "microphone" in page.text and TOKEN not in str(session.cookies)


def test_a_request_that_another_web_site_caused_is_refused(served):
    other = served.post("/api/machines/pump/shelve", Origin="http://elsewhere.example")
    assert other.status_code == 403
    own = served.post("/api/machines/pump/unshelve", Origin=served.address)
    assert own.status_code == 200


def test_a_recording_that_is_sent_is_scored_as_by_the_detector(served, tmp_path, plain_detector):
    soundfile.write(tmp_path / "clip.wav", sound(3, 2.0), RATE)
    post = served.post("/api/machines/pump/score", (tmp_path / "clip.wav").read_bytes())
    assert post.json()["score"] == pytest.approx(plain_detector.score(sound(3, 2.0)), abs=1e-2)
    assert post.json()["is_anomaly"] is False


@pytest.mark.parametrize(
    "content, status, text",
    [
        (b"x" * 1_000_001, 413, "1000000 bytes"),
        (b"no sound", 400, "the recording: "),
        (iter([b"x" * 600_000] * 2), 413, "1000000 bytes"),
    ],
    ids=["large", "no sound", "large, of unknown size"],
)
def test_what_cannot_be_scored_is_refused(served, content, status, text):
    post = served.post("/api/machines/pump/score", content)
    assert post.status_code == status and text in post.text


def test_state_trend_events_metrics_and_sound_can_be_read(served):
    assert "alarm_raised" in [e["event"] for e in served.get("/api/events?machine=pump").json()]
    trend = served.get("/api/machines/pump/trend").json()
    assert max(trend["highest"]) > max(trend["threshold"]) and min(trend["level"]) > -60, trend
    metrics = served.get("/metrics").text
    assert re.search(r'asd_alarm\{machine="pump"\} 1\.0', metrics)
    assert re.search(r'asd_microphone\{machine="fan",state="lost"\} 1\.0', metrics)
    assert served.get("/api/machines/pump/sound.wav").content[:4] == b"RIFF"
    for path in ("/api/machines/nothing", "/api/machines/nothing/trend"):
        assert served.get(path).status_code == 404


def test_an_alarm_is_acknowledged_and_shelved_in_the_record_that_detect_alarms_shows(
    served, capsys
):
    def listed():
        store = f"--store={served.service.store.path}"
        args = detect.parser().parse_args(["alarms", "list", store, "--json"])
        args.command(args)
        (row,) = map(json.loads, capsys.readouterr().out.splitlines())
        return row["state"], row["acknowledged_by"]

    (alarm,) = served.get("/api/alarms?machine=pump&open=true").json()
    assert alarm["state"] == "raised"
    assert served.post("/api/machines/pump/shelve?hours=1&by=Ann").status_code == 200
    assert served.get(f"/api/alarms/{alarm['id']}").json()["state"] == "shelved"
    assert listed() == ("shelved", "")
    served.post("/api/machines/pump/unshelve")
    path = f"/api/alarms/{alarm['id']}/acknowledge?by=Ann&note=bearing ordered"
    assert served.post(path).json()["state"] == "acknowledged"
    assert listed() == ("acknowledged", "Ann")
    again = served.post(path)
    assert again.status_code == 400 and "'Ann'" in again.json()["error"]
    (case,) = cases(served.service.store)
    assert (case.acknowledged_by, case.note) == ("Ann", "bearing ordered")
    assert served.post("/api/machines/pump/shelve?hours=1000").status_code == 400
    until(lambda: served.get(f"/api/alarms/{alarm['id']}/heat_map.svg").status_code == 200)
    evidence = served.get(f"/api/alarms/{alarm['id']}/sound.wav").content
    wave, rate = soundfile.read(io.BytesIO(evidence))
    assert np.abs(np.fft.rfft(wave)).argmax() == 3150 * len(wave) / rate
    assert served.get(f"/api/alarms/{alarm['id']}/verdict.json").json()["is_anomaly"]
    assert served.get(f"/api/alarms/{alarm['id']}/..%2f..%2fservice.db").status_code in (404, 422)
    assert served.get("/api/alarms/99").status_code == 400
    for path in (f"/api/alarms/{10**20}", f"/api/events?after={10**20}"):
        assert served.get(path).status_code == 400


def test_only_names_of_this_computer_are_answered_where_no_token_is_needed(folder, plain_detector):
    text = MACHINES.replace('token_file = "token"\n', "").replace(
        "sound.wav", "http://127.0.0.1:1/"
    )
    served = Served(folder, 'state = "local"\n' + text)
    try:
        assert requests.get(f"{served.address}/api/machines", timeout=5).status_code == 200
        name = {"Host": "rebound.example"}
        other = requests.get(f"{served.address}/api/machines", headers=name, timeout=5)
        assert other.status_code == 400
    finally:
        served.end()


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


def test_a_form_that_comes_too_slowly_is_refused(served, monkeypatch):
    monkeypatch.setattr("asd_jax.service.uploads.FORM_SECONDS", 0.2)
    with socket.create_connection(("127.0.0.1", served.port), 5) as client:
        client.sendall(b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n")
        began = time.monotonic()
        assert b" 408 " in client.recv(1000) and time.monotonic() - began < 2
