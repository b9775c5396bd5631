from pathlib import Path

import pytest
from data.zips import DEV, noise

from asd_jax.data import fetch
from asd_jax.data.clips import find_clips
from asd_jax.data.dcase import EDITIONS
from asd_jax.data.fetch import DownloadError, fetch_file, new_session
from asd_jax.runtime.lock import lock_folder


def test_an_edition_arrives_and_is_read(server, download, tmp_path):
    done = download(tmp_path, "--subset=dev")
    assert done.returncode == 0, done.stderr
    assert "7 files" in done.stdout and "room needed" in done.stdout
    clips = find_clips(tmp_path)
    assert sorted({clip.machine for clip in clips}) == sorted(EDITIONS[2024].dev)
    assert len(clips) == 14 and not list(tmp_path.rglob("*.zip"))
    assert (tmp_path / "dev_data/raw/fan/attributes_00.csv").exists()
    assert Path(clips[0].path).read_bytes() == noise(1)


def test_cut_connections_are_resumed_where_they_broke(server, download, tmp_path):
    size = len(server.records[DEV]["dev_fan.zip"])
    server.faults["dev_fan.zip"] = [("cut", 100_000), ("cut", 50_000), ("cut", 1)]
    assert download(tmp_path, "--machines=fan").returncode == 0
    asked = server.sent("dev_fan.zip")
    assert [header for header, _ in asked] == [
        None,
        "bytes=100000-",
        "bytes=150000-",
        "bytes=150001-",
    ]
    assert sum(count for _, count in asked) == size


def test_partial_file_of_an_earlier_run_is_completed(server, download, tmp_path):
    (tmp_path / ".download").mkdir()
    (tmp_path / ".download" / "dev_fan.zip.part").write_bytes(
        server.records[DEV]["dev_fan.zip"][:123_456]
    )
    assert download(tmp_path, "--machines=fan").returncode == 0
    assert [header for header, _ in server.sent("dev_fan.zip")] == ["bytes=123456-"]
    assert len(find_clips(tmp_path)) == 2


def test_server_that_refuses_ranges_sends_the_file_anew(server, download, tmp_path):
    server.no_ranges.add("dev_fan.zip")
    server.faults["dev_fan.zip"] = [("cut", 100_000)]
    assert download(tmp_path, "--machines=fan").returncode == 0
    assert len(server.sent("dev_fan.zip")) == 2 and len(find_clips(tmp_path)) == 2


def test_busy_server_is_asked_again_when_it_says(server, download, tmp_path):
    server.faults[f"/api/records/{DEV}"] = [(429, 1)]
    server.faults["dev_fan.zip"] = [(503, 1)]
    assert download(tmp_path, "--machines=fan").returncode == 0
    for name in (f"/api/records/{DEV}", "dev_fan.zip"):
        first, second = (at for at, what, _, _ in server.log if what == name)
        assert second - first >= 1


def test_wrong_md5_is_fetched_again_and_twice_is_an_error(server, download, tmp_path):
    server.faults["dev_fan.zip"] = ["corrupt"]
    assert download(tmp_path / "once", "--machines=fan").returncode == 0
    server.faults["dev_fan.zip"] = ["corrupt", "corrupt"]
    done = download(tmp_path / "twice", "--machines=fan,valve")
    assert (
        done.returncode == 1
        and "the md5 of what came is" in done.stderr
        and "Traceback" not in done.stderr
    )
    assert [clip.machine for clip in find_clips(tmp_path / "twice")] == ["valve", "valve"]


def test_stuck_connection_is_given_up_with_the_way_on(server, tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "BACKOFF_S", 0)
    server.faults["dev_fan.zip"] = [("cut", 10)] + [("cut", 0)] * 9
    size = len(server.records[DEV]["dev_fan.zip"])
    with pytest.raises(DownloadError, match=rf"stuck at 10 of {size} bytes.*run again to go on"):
        url = f"{server.url}/api/records/{DEV}/files/dev_fan.zip/content"
        fetch_file(new_session(), url, tmp_path / "a", size=size, md5="")
    assert len(server.sent("dev_fan.zip")) == 1 + fetch.STALLS


def test_dry_run_lists_sizes_and_writes_nothing(server, download, tmp_path):
    done = download(tmp_path / "data", "--machines=fan", "--dry_run")
    assert done.returncode == 0 and "dev_fan.zip" in done.stdout and "0.4 MB" in done.stdout
    assert not (tmp_path / "data").exists() and not server.sent("dev_fan.zip")


def test_disk_is_checked_before_the_first_byte(server, download, tmp_path):
    server.stated["dev_fan.zip"] = {"size": 10**17}
    done = download(tmp_path, "--machines=fan")
    assert (
        done.returncode == 2 and "GB are needed" in done.stderr and not server.sent("dev_fan.zip")
    )


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--machines=fann"], 2, "Did you mean 'fan'"),
        (["--machines=Scanner", "--subset=dev"], 2, "subset dev, has no machine Scanner"),
        (["--subset=eval"], 1, "the server answers 404"),
        (["--subset=other"], 2, "subset"),
        (["--parallel=0"], 2, "parallel"),
        (["--base_url=localhost:80"], 2, "--base_url=localhost:80: no address"),
    ],
)
def test_what_cannot_be_is_one_line(server, download, tmp_path, arguments, status, message):
    done = download(tmp_path, *arguments)
    assert done.returncode == status and message in done.stderr and "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_output_that_cannot_be_written_is_bad_input(download, tmp_path):
    (tmp_path / "file").touch()
    done = download(tmp_path / "file", "--machines=fan")
    assert done.returncode == 2 and "file/.download: no folder to write to" in done.stderr


def test_a_folder_that_another_download_fills_is_left_to_it(download, tmp_path):
    with lock_folder(tmp_path / ".download"):
        done = download(tmp_path, "--machines=fan")
        assert done.returncode == 2 and "in use by process" in done.stderr
        assert "use another --output" in done.stderr and not (tmp_path / "dev_data").exists()
        assert download(tmp_path, "--machines=fan", "--dry_run").returncode == 0
    assert download(tmp_path, "--machines=fan").returncode == 0


@pytest.mark.parametrize("asked", ["31536000", "9" * 5000, "Fri, 01 Jan 2100 00:00:00 GMT"])
def test_a_server_that_asks_to_wait_a_year_is_not_waited_for(server, download, tmp_path, asked):
    server.faults["dev_fan.zip"] = [(503, asked)]
    done = download(tmp_path, "--machines=fan")
    assert done.returncode == 1 and f"asks to wait {asked[:40]} (Retry-After)" in done.stderr
    assert len(server.sent("dev_fan.zip")) == 1


def test_every_wait_is_said_and_there_are_only_so_many(server, download, tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "_BUSY_S", 0.0)
    monkeypatch.setattr(fetch, "BACKOFF_S", 0)
    server.faults["dev_fan.zip"] = [(503, "soon")] * fetch.STALLS
    done = download(tmp_path, "--machines=fan")
    assert done.returncode == 1 and len(server.sent("dev_fan.zip")) == fetch.STALLS
    for turn in range(2, fetch.STALLS + 1):
        assert f"503 Service Unavailable; try {turn} of {fetch.STALLS} in 0 s" in done.stderr


def test_another_file_than_the_records_is_told_and_spares_what_is_there(server, download, tmp_path):
    begun = server.records[DEV]["dev_fan.zip"][:123_456]
    (tmp_path / ".download").mkdir()
    (tmp_path / ".download" / "dev_fan.zip.part").write_bytes(begun)
    server.no_ranges.add("dev_fan.zip")
    server.records[DEV]["dev_fan.zip"] = b"<html>Sign in</html>"
    server.stated["dev_fan.zip"] = {"size": 400_000}
    done = download(tmp_path, "--machines=fan,valve")
    assert done.returncode == 2 and "20 bytes of no type where the record says" in done.stderr
    assert "what came begins with b'<html>Sign in</html>'" in done.stderr
    assert (tmp_path / ".download" / "dev_fan.zip.part").read_bytes() == begun
    assert {clip.machine for clip in find_clips(tmp_path)} == {"valve"}


def test_what_a_killed_process_left_of_an_unpacked_archive_is_removed(server, download, tmp_path):
    assert download(tmp_path, "--machines=fan").returncode == 0
    (tmp_path / ".download" / "dev_fan.zip").write_bytes(b"whole")
    part = tmp_path / "dev_data" / "raw" / ".dev_fan.zip.part"
    part.mkdir()
    (part / "left.wav").write_bytes(b"")
    assert download(tmp_path, "--machines=fan", "--dry_run").returncode == 0 and part.exists()
    assert download(tmp_path, "--machines=fan").returncode == 0
    assert not part.exists() and not (tmp_path / ".download" / "dev_fan.zip").exists()
    assert len(server.sent("dev_fan.zip")) == 1 and len(find_clips(tmp_path)) == 2
