import json

import numpy as np
import pytest
import soundfile

import asd_jax.data.inspect
from asd_jax.data.inspect import inspect
from asd_jax.runtime.errors import InputError


@pytest.fixture
def root(tmp_path):
    """A sound fan, and a pump with one problem of each kind."""
    noise = np.random.default_rng(0).normal(0, 0.1, 16000)

    def write(path, samples=noise, rate=16000, **options):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / path, samples, rate, **options)
        return tmp_path / path

    for n, attribute in enumerate(("v_1", "v_1", "v_2")):
        write(f"fan/train/section_00_source_train_normal_000{n}_{attribute}.wav")
    write("fan/train/section_00_target_train_normal_0000_noAttribute.wav", noise[:8000])
    write("fan/test/section_00_target_test_anomaly_0000_v_1.wav")
    write("fan/test/section_00_0001.wav")
    write("pump/test/section_00_sauce.wav")
    write("pump/test/section_00_0000.wav", np.stack([noise] * 2, axis=1), 48000)
    cut = write("pump/test/section_00_0001.wav")
    cut.write_bytes(cut.read_bytes()[:5000])
    write("pump/test/section_00_0002.wav", np.full(16000, np.nan), subtype="FLOAT")
    write("pump/supplemental/section_00_noise_0001_.wav")
    return tmp_path


def test_what_is_there_is_counted(root):
    found = inspect(root)
    fan = found["machines"]["fan"]
    assert (found["clips"], found["training_classes"]) == (10, 3)
    assert fan == {
        "sections": ["00"],
        "train": {"source": 3, "target": 1},
        "test": {"target anomaly": 1, "unknown unknown": 1},
        "supplemental": 0,
        "attributes": {"v_1": 2, "v_2": 1},
        "seconds": {"least": 0.5, "most": 1.0, "total": 5.5},
        "sampling_rates": {"16000": 6},
        "channels": {"1": 6},
        "problems": [],
    }
    assert found["machines"]["pump"]["supplemental"] == 1


def test_every_problem_is_listed(root):
    problems = inspect(root)["machines"]["pump"]["problems"]
    for told in (
        "section_00_sauce.wav: not a DCASE",
        "0001.wav: truncated",
        "no training clips",
        "several sampling rates: 16000 Hz, 48000 Hz",
        "several numbers of channels: 1, 2",
    ):
        assert sum(told in problem for problem in problems) == 1, told
    assert len(problems) == 5


def test_decoding_finds_what_headers_hide(root):
    found = inspect(root, decode=True)
    assert any("0002.wav: NaN" in problem for problem in found["machines"]["pump"]["problems"])
    assert found["machines"]["fan"]["problems"] == []


def test_folder_without_recordings_prints_the_expected_tree(tmp_path):
    (tmp_path / "notes").mkdir()
    with pytest.raises(InputError, match=r"no recordings here; expected tree[^$]*found: notes/"):
        inspect(tmp_path)


def test_command_prints_a_table_and_writes_json(root, command):
    status, out, err = command(
        asd_jax.data.inspect, f"--root={root}", f"--json={root / 'found.json'}"
    )
    assert (status, err) == (0, "")
    (row,) = (line for line in out.splitlines() if "fan" in line)
    cells = [cell.strip() for cell in row.strip("│").split("│")]
    # No machine has normal test clips, so they have no column.
    assert cells == ["fan", "00", "3", "1", "1", "1", "0", "2", "0.5 to 1.0", "16", "1", "0"]
    assert "pump: no training clips" in out
    assert json.loads((root / "found.json").read_text()) == inspect(root)


def test_missing_root_is_bad_input(command):
    assert command(asd_jax.data.inspect)[0] == 2
    status, _, err = command(asd_jax.data.inspect, "--root=nowhere")
    assert status == 2 and "nowhere: no such folder; expected tree" in err
