import numpy as np
import pytest
import soundfile

from asd_jax.detector.recordings import normal_recordings, sessions_of
from asd_jax.detector.sessions import named_sessions, stretches


@pytest.mark.parametrize(
    ("names", "said", "modified", "sessions", "how"),
    [
        (["a/1", "b/1"], ["a", "b"], None, ["a", "b"], "named"),
        (["a/1", "2"], ["a", ""], None, ["a", "unnamed"], "named"),
        (["ON_20200318T204454.wav", "ON_20210210T012001.wav"], ["", ""], [0.0, 0.0],
         ["2020-03-18", "2021-02-10"], "dates"),
        (["2024-05-01/1.wav", "2024-05-02/1.wav"], ["", ""], None,
         ["2024-05-01", "2024-05-02"], "dates"),
        (["2.wav", "1.wav", "3.wav"], [""] * 3, [4000.0, 0.0, 8000.0],
         ["session 2", "session 1", "session 3"], "gaps"),
        (["1.wav", "2.wav"], ["", ""], [0.0, 3600.0], None, "unknown"),
        (["1.wav", "2.wav"], ["", ""], [0.0, 3600.5], ["session 1", "session 2"], "gaps"),
        (["20240501.wav", "2.wav"], ["", ""], None, None, "unknown"),
        (["1.wav", "2.wav"], ["a", "a"], None, None, "unknown"),
        (["1.wav"], [""], [5.0], None, "unknown"),
        (["id_00_00000004.wav", "20209999.wav"], ["", ""], [0.0, 0.0], None, "unknown"),
    ],
)  # fmt: skip
def test_what_tells_sessions_apart(names, said, modified, sessions, how):
    found, known = named_sessions(names, said, modified)
    assert found == sessions and how in known


def test_recordings_no_farther_apart_than_halves_of_one_are_one_stretch():
    rng = np.random.default_rng(0)
    place = np.repeat(np.arange(4), 6)
    level = rng.normal(size=(4, 32))[place] + 0.1 * rng.normal(size=(24, 32))
    unsteadiness = np.full(24, 0.2)
    apart = np.zeros(24, np.int64)
    found = stretches(level, unsteadiness, np.arange(24), apart)
    assert [len(set(found[place == n])) for n in range(4)] == [1] * 4 and len(set(found)) == 4
    assert len(set(stretches(level, unsteadiness / 10, np.arange(24), apart))) == 24
    assert len(set(stretches(level, unsteadiness, np.arange(24), np.arange(24) % 2))) == 8
    assert len(set(stretches(level, unsteadiness, place, apart))) == 4


@pytest.mark.parametrize(("unsteadiness", "stretches_found"), [(0.5, 1), (0.49, 2)])
def test_recordings_that_differ_by_twice_the_difference_of_halves_are_one_stretch(
    unsteadiness, stretches_found
):
    level = np.repeat([[0.0], [1.0]], 9, axis=1)  # they differ by 1
    apart = np.zeros(2, np.int64)
    found = stretches(level, np.full(2, unsteadiness), np.arange(2), apart)
    assert len(set(found)) == stretches_found


def test_sessions_from_subfolders_lists_and_their_order(tmp_path):
    for day in ("monday", "source/tuesday"):
        (tmp_path / day).mkdir(parents=True)
        soundfile.write(tmp_path / day / "a.wav", np.zeros(1600), 16000)
    clips = normal_recordings(tmp_path)
    assert sessions_of(clips, tmp_path)[0] == ["monday", "tuesday"]
    table = tmp_path / "list.csv"
    table.write_text("file,session\nmonday/a.wav,1\nsource/tuesday/a.wav,2\n")
    assert sessions_of(normal_recordings(table), table)[0] == ["1", "2"]
    assert sessions_of(clips[:1], tmp_path)[0] is None


def test_folders_of_domains_are_no_sessions_in_capitals_either(tmp_path):
    for domain in ("Source", "TARGET"):
        (tmp_path / domain).mkdir()
        soundfile.write(tmp_path / domain / "a.wav", np.zeros(1600), 16000)
    clips = normal_recordings(tmp_path)
    assert [clip.domain for clip in clips] == ["source", "target"]
    assert sessions_of(clips, tmp_path)[0] is None
