"""Detectors fitted to real normal sounds alone: two fans, a drone in noise, motors."""

import json

import numpy as np
import pytest

import asd_jax.detect
from asd_jax import Detector
from asd_jax.data.audio import read_clip
from asd_jax.scoring.auc import auc, tie_groups


def judged(command, tmp_path, machine):
    """Fits to train/, scores test/ -> (AUC, share of false alarms, share of faults found)."""
    path = tmp_path / "machine.detector"
    status, _, err = command(
        asd_jax.detect, "fit", f"--normal={machine / 'train'}", f"--output={path}"
    )
    assert status == 0, err
    status, out, err = command(
        asd_jax.detect, "score", f"--detector={path}", machine / "test", "--json"
    )
    rows = [json.loads(line) for line in out.splitlines()]
    assert status == (3 if any(row["is_anomaly"] for row in rows) else 0), err
    label = np.array(["anomaly" in row["file"].rsplit("/")[-1] for row in rows])
    called = np.array([row["is_anomaly"] for row in rows])
    score = np.array([row["score"] for row in rows])
    return auc(*tie_groups(label, score)), called[~label].mean(), called[label].mean()


def test_fan(shared, command, tmp_path):
    found, false_alarms, hits = judged(
        command, tmp_path, shared / "audio" / "mimii_fan_id00" / "fan"
    )
    print(f"fan: AUC {found:.3f}, false alarms {false_alarms:.2f}, found {hits:.2f}")
    assert found >= 0.95 and false_alarms <= 0.2 and hits >= 0.85


def test_drone(shared, command, tmp_path):
    found, false_alarms, hits = judged(command, tmp_path, shared / "audio" / "uav_noisy" / "UAV")
    print(f"drone: AUC {found:.3f}, false alarms {false_alarms:.2f}, found {hits:.2f}")
    # Measured .867 and .00. The threshold of one session finds nothing of these faults.
    assert found >= 0.83 and false_alarms <= 0.15


def test_desk_fan_on_other_days_recordings(shared, command, tmp_path):
    machine = shared / "audio" / "desk_fan" / "DeskFan"
    found, false_alarms, hits = judged(command, tmp_path, machine)
    print(f"desk fan: AUC {found:.3f}, false alarms {false_alarms:.2f}, found {hits:.2f}")
    assert false_alarms <= 2 / 24 and hits == 1


def test_motors_at_other_speeds(shared, command, tmp_path):
    machine = shared / "audio" / "bldc_motor" / "BLDCMotor"
    found, false_alarms, hits = judged(command, tmp_path, machine)
    print(f"motors: AUC {found:.3f}, false alarms {false_alarms:.2f}, found {hits:.2f}")
    assert false_alarms <= 0.1 and hits >= 0.6


@pytest.mark.parametrize("count", [10, 15, 16, 19, 20])
def test_more_recordings_of_the_fan_never_blind_it(shared, count):
    folder = shared / "audio" / "mimii_fan_id00" / "fan"
    files = sorted(folder.glob("*/*.wav"), key=lambda path: path.name)
    normal = [path for path in files if path.name.startswith("normal")]
    faults = [path for path in files if path.name.startswith("anomaly")]

    def read(paths):
        return [read_clip(path, sample_rate=16000) for path in paths]

    detector = Detector.fit(read(normal[:count]), 16000)
    found = sum(verdict.is_anomaly for verdict in detector.examine_all(read(faults)))
    unseen = detector.examine_all(read(normal[count : count + 5]))
    assert found >= 17 and sum(verdict.is_anomaly for verdict in unseen) <= 1
