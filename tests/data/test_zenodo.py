from pathlib import Path

import pytest
from data.zips import DEV, dev_zip, noise

from asd_jax.data import fetch
from asd_jax.data.clips import find_clips


def test_new_revision_replaces_what_is_there(server, download, tmp_path):
    download(tmp_path, "--machines=fan")
    server.records[DEV]["dev_fan_r2.zip"] = dev_zip("fan", seed=5)
    assert download(tmp_path, "--machines=fan").returncode == 0
    (train,) = (clip.path for clip in find_clips(tmp_path) if clip.split == "train")
    assert Path(train).read_bytes() == noise(5)


def test_record_without_a_machine_is_an_error_if_it_was_asked_for(server, download, tmp_path):
    del server.records[DEV]["dev_fan.zip"]
    done = download(tmp_path, "--machines=fan,valve")
    assert done.returncode == 1 and f"record {DEV}, dev: no archive of fan" in done.stderr
    done = download(tmp_path, "--subset=dev")
    assert done.returncode == 0 and "warning: " in done.stderr and "6 files" in done.stdout


def test_answer_of_something_else_is_refused(server, download, tmp_path):
    server.pages[f"/api/records/{DEV}"] = b"<html>Sign in to the hotel's network</html>"
    del server.records[DEV]
    done = download(tmp_path)
    assert done.returncode == 2 and "not the answer of Zenodo's API" in done.stderr
    assert "what came begins with b\"<html>Sign in to the hotel's network" in done.stderr


RECORDS = {
    "nested": b'{"files": ' + b"[" * 100_000,
    "nested in what is passed over": b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "empty": b"",
    "half": b'{"files": [{"key": "dev_',
    "a number": b"3",
    "files of another shape": b'{"files": {"key": 1}}',
    "not UTF-8": b'{"files": [{"key": "\xff"}]}',
    "larger than any": b" " * (fetch.MOST_BYTES + 1),
}
STATED = [
    {"size": 10**4000},
    {"size": -1},
    {"size": 2.5},
    {"size": "1"},
    {"size": True},
    {"checksum": "md5:none"},
    {"checksum": 3},
    {"key": None},
    {"links": {}},
    {"links": {"self": 1}},
]


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_of_another_shape_is_told_in_one_line(server, download, tmp_path, name):
    server.pages[f"/api/records/{DEV}"] = RECORDS[name]
    del server.records[DEV]
    done = download(tmp_path, "--machines=fan")
    assert done.returncode == 2 and f"/api/records/{DEV}: " in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and len(done.stderr) < 500


@pytest.mark.parametrize("stated", STATED, ids=str)
def test_a_file_of_a_record_that_cannot_be_is_told(server, download, tmp_path, stated):
    server.stated["dev_fan.zip"] = stated
    done = download(tmp_path, "--machines=fan")
    assert done.returncode == 2 and "not the answer of Zenodo's API" in done.stderr
    assert len(done.stderr) < 500 and not server.sent("dev_fan.zip")


@pytest.mark.parametrize(
    "key", ["dev\0_fan.zip", "../dev_fan.zip", "[/x]_fan.zip", "\x1b[2J_fan.zip"]
)
def test_names_that_are_no_archives_are_passed_over(server, download, tmp_path, key):
    server.stated["dev_fan.zip"] = {"key": key}
    done = download(tmp_path, "--machines=fan")
    assert done.returncode == 1 and "no archive of fan" in done.stderr
