import pytest

from asd_jax.data.clips import Clip, find_clips
from asd_jax.data.clips_csv import add_table
from asd_jax.runtime.errors import InputError


@pytest.fixture
def pump(tmp_path):
    for file in ("train/a 1.wav", "train/b.ogg", "test/c.wav", "test/d.flac"):
        path = tmp_path / "pump" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def test_table_says_what_names_do_not(pump):
    (pump / "pump" / "clips.csv").write_text(
        "file,label,domain,attribute\n"
        "train/a 1.wav,normal,source,slow\n"
        "train/b.ogg,,target,\n"
        "test/c.wav,anomaly,target,fast\n"
        "test/d.flac,0,,\n"
    )
    said = {c.path.rsplit("/", 1)[1]: (c.label, c.domain, c.attribute) for c in find_clips(pump)}
    assert said == {
        "a 1.wav": (0, "source", "slow"),
        "b.ogg": (0, "target", ""),
        "c.wav": (1, "target", "fast"),
        "d.flac": (0, "source", ""),
    }


def test_rows_of_commas_say_nothing(pump):
    (pump / "pump" / "clips.csv").write_text("file,label,domain\n,,\ntest/c.wav,1,\n,,\n , ,\n")
    assert [c.label for c in find_clips(pump) if c.split == "test"] == [1, -1]


def test_clips_that_the_table_leaves_out_stay(pump):
    (pump / "pump" / "clips.csv").write_text("file,label\ntest/c.wav,1\n")
    assert [c.label for c in find_clips(pump) if c.split == "test"] == [1, -1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,label\n", "expected a header of file"),
        ("file,label\ntest/x.wav,1\n", "line 2 names 'test/x.wav', which is not there"),
        ("file,label\ntest/c.wav,broken\n", "line 2 has the label 'broken'; write normal, anomaly"),
        ("file,domain\ntest/c.wav,home\n", "line 2 has the domain 'home'; write source, target"),
        ("file,label\ntest/c.wav,0\ntrain/b.ogg,anomaly\n", "line 3 calls train/b.ogg an anomaly"),
        ("file,label\n\0", "clips.csv"),
    ],
)
def test_bad_table_is_refused_by_its_line(pump, text, message):
    (pump / "pump" / "clips.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        find_clips(pump)


@pytest.mark.parametrize("column", ["section", "attribute"])
def test_a_name_that_is_none_is_refused_with_its_line(tmp_path, column):
    (tmp_path / "clips.csv").write_text(f"file,{column}\ntrain/a.wav,{'x' * 5000}\n")
    clip = Clip("a.wav", "fan", "00", "train", "source", 0, "")
    with pytest.raises(InputError, match=f"line 2: {column} 'x+...' is longer than"):
        add_table(tmp_path / "clips.csv", {"train/a.wav": clip})
