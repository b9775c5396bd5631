"""A detector fitted to real normal sounds alone: a fan (10 clips), a drone in noise."""

import json

import numpy as np

import asd_jax.detect
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
    assert status == 3, err
    rows = [json.loads(line) for line in out.splitlines()]
    label = np.array(["anomaly" in row["file"].rsplit("/")[-1] for row in rows])
    called = np.array([row["is_anomaly"] for row in rows])
    score = np.array([row["score"] for row in rows])
    return auc(*tie_groups(label, score)), called[~label].mean(), called[label].mean()


def test_fan(shared, command, tmp_path):
    found, false_alarms, hits = judged(
        command, tmp_path, shared / "audio" / "mimii_fan_id00" / "fan"
    )
    print(f"fan: AUC {found:.3f}, false alarms {false_alarms:.2f}, found {hits:.2f}")
    assert found >= 0.95 and false_alarms <= 0.1 and hits >= 0.5


def test_drone(shared, command, tmp_path):
    found, false_alarms, hits = judged(command, tmp_path, shared / "audio" / "uav_noisy" / "UAV")
    print(f"drone: AUC {found:.3f}, false alarms {false_alarms:.2f}, found {hits:.2f}")
    assert found >= 0.75 and false_alarms <= 0.15 and hits > 2 * false_alarms
