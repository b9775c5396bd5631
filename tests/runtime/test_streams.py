"""Standard streams that close, fill up, are not there, or know no umlauts; a folder that is gone.
All but those of closed streams fail on 6710c64, in a traceback or in words that nobody can use.
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
    command = f"python -m asd_jax.train --config={ROOT}/configs/quickstart.py:smoke --workdir=x"
    status, _, err = shell(gone + command, cwd=tmp_path)
    assert status == 2 and err.startswith("error: ") and err.count("\n") == 1


def test_a_stream_that_does_not_wait_loses_no_line(recordings, tmp_path):
    """Another process may have set it so; 6710c64 ended in a BlockingIOError."""
    code = (
        "import os, sys\n"
        "os.set_blocking(1, False)\n"
        "from asd_jax.runtime import command\n"
        "command.run(lambda: [print('x' * 99) for _ in range(5000)] and 0)"
    )
    (tmp_path / "many.py").write_text(code)
    status, out, _ = shell(f"python {tmp_path}/many.py | (sleep 1; cat)")
    assert status == 0 and len(out) == 500_000


def test_the_work_goes_on_where_nobody_looks(tmp_path):
    """6710c64 ended a training whose reader left in a traceback."""
    code = (
        "from asd_jax.runtime import command, log\n"
        "def main():\n"
        "    for _ in range(5000): log.print_line('x' * 99)\n"
        "    open('done', 'w').close()\n"
        "command.run(main)"
    )
    (tmp_path / "long.py").write_text(code)
    assert shell(f"python {tmp_path}/long.py | true", cwd=tmp_path) == (0, "", "")
    assert (tmp_path / "done").exists()
    (tmp_path / "done").unlink()
    assert shell(f"python {tmp_path}/long.py > /dev/full", cwd=tmp_path)[0] == 1
    assert (tmp_path / "done").exists()


@pytest.mark.parametrize("to", ["| true", "> /dev/full"])
def test_results_that_go_nowhere_end_the_command(tmp_path, to):
    """6710c64 ended in a traceback."""
    code = (
        "import time\n"
        "from asd_jax.runtime import command, log\n"
        "def main():\n"
        "    for n in range(100):\n"
        "        time.sleep(0.02)\n"
        "        log.print_result(str(n))\n"
        "    open('done', 'w').close()\n"
        "command.run(main)"
    )
    (tmp_path / "rows.py").write_text(code)
    status, _, err = shell(f"python {tmp_path}/rows.py {to}", cwd=tmp_path)
    assert not (tmp_path / "done").exists()
    assert (status, len(err.splitlines())) == ((0, 0) if to == "| true" else (1, 1))


def test_what_the_system_refuses_is_said_in_a_line(tmp_path):
    code = "from asd_jax.runtime import command; command.run(lambda: open('nowhere/x'))"
    (tmp_path / "refused.py").write_text(code)
    status, _, err = shell(f"python {tmp_path}/refused.py", cwd=tmp_path)
    assert (status, err) == (2, "error: nowhere/x: No such file or directory\n")
