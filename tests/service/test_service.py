"""Claims about the threads of the watch, and about what it is made of."""

import threading

import pytest
from watch_service import MACHINES

from asd_jax.runtime.errors import InputError
from asd_jax.service.configuration import read_configuration
from asd_jax.service.service import Service


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


def test_a_thread_that_cannot_go_on_ends_the_service_and_says_why(service, monkeypatch, capsys):
    def score():
        raise ZeroDivisionError("a fault of a library")

    works, found = service.health()
    assert works and found["status"] == "ok" and found["not_listening"] == ["pump", "fan"]
    monkeypatch.setattr(service, "_score", score)
    monkeypatch.setattr(service, "_read", lambda name: None)
    failed = threading.Event()
    service.start(failed.set)
    assert failed.wait(5)
    works, found = service.health()
    service.end()
    assert not works and found["status"] == "failed"
    assert found["failure"] == "score: ZeroDivisionError: a fault of a library"
    assert "the service ends: score: ZeroDivisionError" in capsys.readouterr().err
