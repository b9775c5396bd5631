"""The page and the REST interface, with a real HTTP client; the service runs in this process."""

import io
import json
import re
import time
import types

import numpy as np
import pytest
import soundfile
from machine_sound import RATE
from watch_service import until

from asd_jax import detect
from asd_jax.monitoring.cases import Occurrence, acknowledge, cases, clear_case, raise_case
from asd_jax.monitoring.database import NotStored
from asd_jax.monitoring.series import Reading
from asd_jax.monitoring.store import DAY
from asd_jax.service import api


def test_states_and_health_are_those_of_the_service(served):
    def agree():
        # The state of a machine may change between two questions.
        states = served.get("/api/machines").json()
        of_fan = served.get("/api/machines/fan").json()
        health = served.get("/api/health").json()
        return [states[1], states, health] == [
            of_fan, served.service.states(), served.service.health()[1]
        ] and [state["machine"] for state in states]  # fmt: skip

    assert until(agree, 5) == ["pump", "fan"]
    assert served.get("/metrics").headers["content-type"] == (
        "text/plain; version=0.0.4; charset=utf-8"
    )


def test_the_description_for_programs_has_no_page_that_loads_scripts(served):
    assert served.get("/openapi.json").json()["info"]["title"] == "asd_jax"
    for path in ("/docs", "/redoc"):
        assert served.get(path).status_code == 404


def test_events_are_those_after_a_number_and_of_a_machine(served):
    served.service.store.event("fan", 1e9, "test")
    every = served.get("/api/events").json()
    known = len(every)  # further ones may come at any moment
    assert [event["id"] for event in every] == list(range(1, known + 1))
    assert every == served.service.store.events()[:known]
    assert served.get("/api/events?after=1").json()[: known - 1] == every[1:]
    of_fan = [event for event in every if event["machine"] == "fan"]
    assert served.get("/api/events?machine=fan").json()[: len(of_fan)] == of_fan


def test_a_trend_covers_the_days_asked_for(served):
    now = time.time()
    for days in (100.0, 7.5, 6.5, 0.2):
        served.service.store.add("fan", Reading(now - days * DAY, 10.0, days, 2.0))

    def scores(query):
        return served.get(f"/api/machines/fan/trend{query}").json()["score"]

    assert scores("") == [6.5, 0.2] and scores("?days=8") == [7.5, 6.5, 0.2]
    assert scores("?days=0.5") == [0.2] and scores("?days=0.1") == []
    assert scores("?days=4000")[0] == 100
    for days in ("0", "-1", "4000.5", "nan"):
        answer = served.get(f"/api/machines/fan/trend?days={days}")
        assert answer.status_code == 400 and "give 0 to 4000" in answer.json()["error"]


def test_the_last_window_is_played_as_it_was_scored(served):
    answer = served.get("/api/machines/pump/sound.wav")
    assert answer.headers["content-type"] == "audio/wav"
    file = io.BytesIO(answer.content)
    assert soundfile.info(file).subtype == "PCM_16"
    file.seek(0)
    wave, rate = soundfile.read(file)
    last = served.service.watchers["pump"].last
    assert rate == RATE and np.abs(wave - last.wave).max() <= 1 / 32768
    none = served.get("/api/machines/fan/sound.wav")
    assert none.status_code == 404 and none.json() == {"detail": "no window was scored yet"}


@pytest.mark.parametrize("path", ["", "/trend", "/sound.wav", "/score", "/shelve", "/unshelve"])
def test_a_machine_that_there_is_not_is_named(served, path):
    ask = served.post if path in ("/score", "/shelve", "/unshelve") else served.get
    answer = ask(f"/api/machines/nothing{path}")
    assert answer.status_code == 404 and answer.json() == {"detail": "no machine 'nothing'"}


def test_a_record_that_cannot_be_read_now_may_be_asked_again(served, monkeypatch):
    def full(*_):
        raise NotStored("the disk is full")

    monkeypatch.setattr(served.service.web_store, "query", full)
    answer = served.get("/api/alarms")
    assert answer.status_code == 503 and answer.json() == {"error": "the disk is full"}


def test_alarms_are_listed_by_machine_and_openness_with_their_latest_evidence(
    served, tmp_path, monkeypatch
):
    store = served.service.store
    folder = tmp_path / "evidence"
    folder.mkdir()
    (folder / "verdict.json").write_text("{}")
    for evidence in ("", "", str(folder)):
        case = raise_case(store, "fan", Occurrence(1e9, 3.0, 2.0, evidence=evidence))
    monkeypatch.chdir(folder)  # a relative name would lead here
    assert served.get(f"/api/alarms/{case.id}/verdict.json").json() == {}
    missing = served.get(f"/api/alarms/{case.id}/sound.wav")
    assert missing.status_code == 404 and "removed since" in missing.json()["detail"]
    clear_case(store, "fan", 1e9 + 1, 3.0)
    acknowledge(store, case.id, 1e9 + 2)
    other = raise_case(store, "fan", Occurrence(1e9 + 3, 3.0, 2.0))
    assert served.get(f"/api/alarms/{other.id}/verdict.json").status_code == 404

    def listed(query):
        alarms = served.get(f"/api/alarms{query}").json()
        return {alarm["id"]: alarm["state"] for alarm in alarms if alarm["machine"] == "fan"}

    both = {other.id: "raised", case.id: "closed"}
    assert listed("") == listed("?machine=fan") == both and listed("?machine=pump") == {}
    assert listed("?open=true") == {other.id: "raised"}


def test_a_machine_is_shelved_for_eight_hours_unless_others_are_asked_for(served, monkeypatch):
    monkeypatch.setattr(api, "time", types.SimpleNamespace(time=lambda: 2e9))
    name = "Ann " + "x" * 300
    for query, hours in ((f"?by={name}", 8), ("?hours=0.5", 0.5)):
        shelved = served.post(f"/api/machines/fan/shelve{query}")
        assert shelved.json() == {"machine": "fan", "shelved_until": 2e9 + 3600 * hours}
    served.post(f"/api/machines/fan/unshelve?by={name}")
    events = served.get("/api/events?machine=fan").json()
    by = [event["by"] for event in events if "shelved" in event["event"]]
    assert by == [name[:200], "", name[:200]]


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
    served, capsys
):
    def listed():
        store = f"--store={served.service.store.path}"
        args = detect.parser().parse_args(["alarms", "list", store, "--json"])
        args.command(args)
        rows = map(json.loads, capsys.readouterr().out.splitlines())
        (row,) = (row for row in rows if row["machine"] == "pump")
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
    name = "Ann " + "x" * 300
    path = f"/api/alarms/{alarm['id']}/acknowledge?by={name}&note=bearing {name}"
    assert served.post(path).json()["state"] == "acknowledged"
    assert listed() == ("acknowledged", name[:200])
    again = served.post(path)
    assert again.status_code == 400 and repr(name[:200]) in again.json()["error"]
    (case,) = cases(served.service.store, "pump")
    assert (case.acknowledged_by, case.note) == (name[:200], f"bearing {name}"[:200])
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
