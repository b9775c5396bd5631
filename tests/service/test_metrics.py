"""Claims about the metrics for Prometheus, as its own parser reads them."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from asd_jax.service.metrics import MICROPHONE, Metrics


@pytest.fixture
def read(service, monkeypatch):
    """Returns {(name, labels): value} of the metrics of a pump whose state has these changes."""

    def read(**changes):
        pump, _ = (watcher.state() for watcher in service.watchers.values())
        monkeypatch.setattr(service, "states", lambda: [pump | changes])
        found = {}
        for family in text_string_to_metric_families(Metrics(service).text().decode()):
            for sample in family.samples:
                found[sample.name, *sample.labels.values()] = sample.value
        return found

    return read


def test_a_state_is_read_as_it_is_and_what_is_unknown_is_left_out(read):
    found = read(score=1.5, threshold=2.0, alarm=True, time=None, windows=7, dropped=2)
    assert found["asd_score", "pump"] == 1.5 and found["asd_threshold", "pump"] == 2.0
    assert found["asd_alarm", "pump"] == 1 and ("asd_time", "pump") not in found
    counted = found["asd_windows_total", "pump"], found["asd_dropped_total", "pump"]
    assert counted == (7, 2) and found["process_open_fds",] > 0
    assert "python_info" in {name for name, *_ in found}


@pytest.mark.parametrize("state", MICROPHONE)
def test_a_microphone_has_one_state_of_those_known(read, state):
    found = read(microphone=state)
    there = {kind: found["asd_microphone", "pump", kind] for kind in MICROPHONE}
    assert there == {kind: kind == state for kind in MICROPHONE}


def test_events_that_wait_are_counted_for_each_receiver(service, read, monkeypatch):
    waiting = [{"receiver": "mqtt", "waiting": 3}, {"receiver": "mail", "waiting": None}]
    monkeypatch.setattr(service, "receivers", lambda: waiting)
    found = read()
    assert found["asd_undelivered_events", "mqtt"] == 3
    assert ("asd_undelivered_events", "mail") not in found
