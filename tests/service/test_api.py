"""The page and the REST interface, with a real HTTP client; the service runs in this process."""

import io
import json
import re
import time

import numpy as np
import soundfile
from watch_service import until

from asd_jax import detect
from asd_jax.monitoring.cases import cases
from asd_jax.service import api


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


def test_a_service_that_cannot_go_on_is_unhealthy_to_a_probe(served, monkeypatch):
    assert served.get("/healthz").status_code == 200
    monkeypatch.setattr(served.service, "failure", "score: a fault of a library")
    answer = served.get("/healthz")
    assert answer.status_code == 503 and answer.json() == {"status": "failed"}


def test_an_alarm_is_acknowledged_and_shelved_in_the_record_that_detect_alarms_shows(
    served, capsys, monkeypatch
):
    def listed():
        store = f"--store={served.service.store.path}"
        args = detect.parser().parse_args(["alarms", "list", store, "--json"])
        args.command(args)
        (row,) = map(json.loads, capsys.readouterr().out.splitlines())
        return row["state"], row["acknowledged_by"]

    (alarm,) = served.get("/api/alarms?machine=pump&open=true").json()
    assert alarm["state"] == "raised"
    now = time.time()
    shelved = served.post("/api/machines/pump/shelve?hours=1&by=Ann")
    assert shelved.status_code == 200 and shelved.json()["machine"] == "pump"
    assert 3600 <= shelved.json()["shelved_until"] - now < 3660
    assert served.get(f"/api/alarms/{alarm['id']}").json()["state"] == "shelved"
    assert listed() == ("shelved", "")
    ended = served.post("/api/machines/pump/unshelve").json()
    assert ended == {"machine": "pump", "shelved_until": None}
    monkeypatch.setattr(api, "_LONGEST_TEXT", 15)
    path = f"/api/alarms/{alarm['id']}/acknowledge?by=Ann Somebody-Long&note=bearing ordered today"
    assert served.post(path).json()["state"] == "acknowledged"
    assert listed() == ("acknowledged", "Ann Somebody-Lo")
    again = served.post(path)
    assert again.status_code == 400 and "'Ann Somebody-Lo'" in again.json()["error"]
    (case,) = cases(served.service.store)
    assert (case.acknowledged_by, case.note) == ("Ann Somebody-Lo", "bearing ordered")
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
