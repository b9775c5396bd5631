import threading
import time

import pytest
from machine_sound import RATE, sound
from watch_service import until

from asd_jax.service import evidence as keeper
from asd_jax.service.evidence import EvidenceKeeper


@pytest.fixture(scope="module")
def fault(plain_detector):
    wave = sound(20, 1.0, fault=0.3)
    return plain_detector, wave, RATE, plain_detector.examine(wave, RATE)


def test_evidence_that_a_disk_refuses_is_written_later(fault, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(keeper, "_RETRY_SECONDS", 0.05)
    kept = EvidenceKeeper(tmp_path / "evidence")
    stop = threading.Event()
    (tmp_path / "evidence").write_text("in the way of the folder")
    thread = threading.Thread(target=kept.run, args=(stop,))
    thread.start()
    folder = kept.folder("pump", 1.7e9)
    kept.keep(folder, *fault)
    time.sleep(0.2)
    (tmp_path / "evidence").unlink()
    until(lambda: (folder / "heat_map.svg").exists())
    stop.set()
    thread.join()
    assert "evidence" in capsys.readouterr().err
