"""Standard streams that close, fill up, are not there, or know no umlauts; a folder that is gone.
Each fails on 6710c64, in a traceback or in words that nobody can use.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

ROOT = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}


def shell(command, *, cwd=None, **environment):
    """`python` in the command is this one -> (exit status, stdout, stderr)."""
    environment = ENVIRONMENT | {"PY": sys.executable} | environment
    command = "set -o pipefail; " + command.replace("python", '"$PY"')
    done = subprocess.run(["bash", "-c", command], env=environment, cwd=cwd, capture_output=True)
    err = done.stderr.decode()
    assert "Traceback" not in err and "Exception ignored" not in err, err
    return done.returncode, done.stdout.decode(errors="replace"), err


@pytest.fixture
def recordings(tmp_path):
    """A machine whose recordings and folder have names that not every terminal can show."""
    for split in ("train", "test"):
        folder = tmp_path / "L\u00fcfter" / "fan" / split
        folder.mkdir(parents=True)
        soundfile.write(folder / "a.wav", [0.1] * 16000, 16000)
    broken = os.fsencode(tmp_path / "L\u00fcfter" / "fan" / "train") + b"/broken\xff.wav"
    Path(os.fsdecode(broken)).write_bytes(b"x")
    return tmp_path / "L\u00fcfter"


HELP = ["asd_jax.train --help", "asd_jax.detect --help", "asd_jax.dcase_score --help", "asd_jax"]


@pytest.mark.parametrize("command", HELP)
def test_a_reader_that_leaves_is_no_error(command):
    assert shell(f"python -m {command} | true") == (0, "", "")


@pytest.mark.parametrize("command", HELP)
def test_a_full_disk_below_standard_output_is_one_message(command):
    status, _, err = shell(f"python -m {command} > /dev/full")
    assert status == 1
    assert err == "error: standard output cannot be written (No space left on device)\n"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_error(recordings, closed):
    json = recordings.parent / "found.json"
    command = f"python -m asd_jax.data.inspect --root='{recordings}' --json='{json}' {closed}"
    assert shell(command)[0] == 0 and '"clips": 3' in json.read_text()


@pytest.mark.parametrize(
    "encoding", ["ascii:strict", "latin-1:strict", "utf-8:strict", "utf-8:surrogateescape"]
)
def test_any_encoding_shows_any_name(recordings, encoding):
    command = f"python -m asd_jax.data.inspect --root='{recordings}'"
    status, out, _ = shell(command, PYTHONIOENCODING=encoding)
    assert status == 0 and "broken\\udcff.wav" in out and "fan" in out
    assert ("L\u00fcfter" if "utf" in encoding else "fter") in out


@pytest.mark.parametrize("command", HELP[:3])
def test_help_says_what_a_command_does_without_docstrings(command):
    status, out, _ = shell(f"python -OO -m {command}")
    first = out.splitlines()[0]
    assert status == 0 and "None" not in (first, out[-5:].strip()) and len(out) > 300
    assert "score" in out


def test_a_working_directory_that_is_gone_is_said(tmp_path):
    gone = "mkdir gone; cd gone; rmdir ../gone; "
    command = "python -m asd_jax.train --config=configs/quickstart.py --workdir=x"
    status, _, err = shell(gone + command, cwd=tmp_path)
    assert status == 2 and err.startswith("error: ") and err.count("\n") == 1
