import json

import numpy as np
import pytest

import benchmarks.confirmation
from asd_jax.data.factory import write_factory
from benchmarks.confirmation import separations


def test_a_recording_is_compared_with_the_others_of_its_machine():
    # Two machines of three recordings in two directions; one anomaly of the first lies far off.
    vectors = np.array(
        [[1, 0.0, 0], [1, 0.1, 0], [1, 0.2, 0], [0, 0, 1.0], [0, 0.1, 1], [0, 0.2, 1], [1, 0, -1.0]]
    )
    machine = np.array(["a"] * 3 + ["b"] * 3 + ["a"])
    anomalous = np.arange(7) == 6
    found = separations(vectors, machine, anomalous)
    assert found == {"type": {"a": 1.0, "b": 1.0}, "fault": {"a": 1.0}}
    # In the place of the second normal recording, it ties with that one and is below the others.
    vectors[6] = vectors[1]
    assert separations(vectors, machine, anomalous)["fault"]["a"] == pytest.approx(0.5 / 3)


@pytest.mark.slow
def test_encoders_and_the_detector_are_measured_on_few_recordings(command, tmp_path):
    sizes = {"train_source": 10, "train_target": 2, "test_per_condition": 1}
    machines = ["fan", "valve"]
    write_factory(tmp_path / "data" / "2024", machines=machines, clip_seconds=2.0, **sizes)
    arguments = [f"--root={tmp_path / 'data'}", f"--output={tmp_path / 'found'}"]
    status, out, err = command(benchmarks.confirmation, *arguments)
    assert status == 0, err
    found = json.loads((tmp_path / "found" / "confirmation.json").read_text())
    assert found["box"]["mean"]["type"] > 0.9
    assert found["detector"]["2024/fan"]["faults"] == 2
    assert "detector of 2024/valve" in out


def test_a_folder_of_one_machine_is_refused(command, tmp_path):
    status, _, err = command(
        benchmarks.confirmation, f"--root={tmp_path}", f"--output={tmp_path / 'found'}"
    )
    assert status == 2
    assert err.endswith("two machines with 3 normal recordings are needed\n"), err
