"""Which recordings are meant, and what their names and folders say."""

import numpy as np
import pytest
import soundfile

from asd_jax.detector.recordings import names_of, normal_files, normal_recordings, recordings
from asd_jax.runtime.errors import InputError


def tree(root, *files):
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / file, np.ones(800, np.int16), 16000)
    return root


def test_one_recording_may_be_given_as_a_file(tmp_path):
    tree(tmp_path, "long.wav", "other.wav")
    clips = normal_recordings(tmp_path / "long.wav")
    names = names_of(clips, str(tmp_path / "long.wav"))
    assert names == ["long.wav"] and clips[0].domain == "unknown"
    assert normal_files(names, [str(tmp_path / "long.wav")]) == {"long.wav": tmp_path / "long.wav"}


@pytest.mark.parametrize("folder", ["Source", "SOURCE", "source"])
def test_domains_are_known_in_capitals(tmp_path, folder):
    tree(tmp_path, f"{folder}/a.wav", "Target/fast/b.wav")
    said = [(clip.domain, clip.attribute) for clip in normal_recordings(tmp_path)]
    assert sorted(said) == [("source", ""), ("target", "fast")]


def test_no_name_of_a_normal_recording_is_refused_but_an_anomalys(tmp_path):
    names = ("section_1_monday.wav", "section_00_target_test_normal_0001_vel_1.wav", "a b.wav")
    said = [(c.domain, c.attribute) for c in normal_recordings(tree(tmp_path, *names))]
    assert said == [("unknown", ""), ("target", "vel_1"), ("unknown", "")]
    tree(tmp_path, "anomaly_id_00_00000001.wav")
    with pytest.raises(InputError, match="an anomaly by its name"):
        normal_recordings(tmp_path)


def test_the_system_s_folders_are_not_scored(tmp_path):
    tree(tmp_path, "a.wav", ".Trash-1000/files/deleted.wav")
    assert recordings([str(tmp_path)]) == [tmp_path / "a.wav"]
