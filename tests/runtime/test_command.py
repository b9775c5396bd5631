"""What a command prints of an error that the library raised."""

import errno
import re

from absl import flags
from ml_collections import config_dict, config_flags

from asd_jax.runtime.command import run
from asd_jax.runtime.errors import InputError, error_context


def define_config(argv):
    sections = {
        "optimizer": {"batch_size": 8, "threads": 1},
        "data": {"threads": 2},
        "seed": 0,
    }
    config_flags.DEFINE_config_dict("config", config_dict.ConfigDict(sections))


def fails(error):
    def main():
        with error_context("machine fan"):
            raise InputError(error) if isinstance(error, str) else error

    return main


def printed(capsys, monkeypatch, text, define_flags):
    """What is on standard error of a command that fails with a text or with another error."""
    before = set(flags.FLAGS)
    monkeypatch.setattr("sys.argv", ["command"])
    try:
        run(fails(text), define_flags)
    except SystemExit as stop:
        assert stop.code == 2
    finally:
        for name in set(flags.FLAGS) - before:
            delattr(flags.FLAGS, name)
    return capsys.readouterr().err.removesuffix("\n")


ADVICE = "out of memory; try `batch_size=4` or a smaller `batch_size`"


def test_a_setting_is_named_as_a_flag_of_the_config_that_it_stands_in(capsys, monkeypatch):
    assert printed(capsys, monkeypatch, ADVICE, define_config) == (
        "error: machine fan: out of memory; try --config.optimizer.batch_size=4 or a smaller "
        "--config.optimizer.batch_size"
    )


def test_without_a_config_a_setting_is_named_as_the_library_does(capsys, monkeypatch):
    line = printed(capsys, monkeypatch, ADVICE, lambda argv: None)
    assert line == f"error: machine fan: {ADVICE}"


def test_what_is_no_setting_or_one_of_two_sections_stays(capsys, monkeypatch):
    text = "a file `batch_size 4`, `other=1`, `threads=3`"
    assert printed(capsys, monkeypatch, text, define_config) == f"error: machine fan: {text}"


def test_what_names_no_file_is_one_message_that_says_how_to_go_on(capsys, monkeypatch):
    full = OSError(errno.ENOSPC, "No space left on device")
    again = r"to continue:\n  python -m \S+"
    for error, line in (
        (full, r"a file cannot be written or read \(No space left on device\); "),
        (MemoryError("9 GiB"), r"out of memory \(9 GiB\); free some, .* less at a time; "),
        (MemoryError(), r"out of memory \(no more is available\); "),
    ):
        said = printed(capsys, monkeypatch, error, lambda argv: None)
        assert re.fullmatch(f"error: {line}.*{again}", said), said


def test_of_two_names_that_which_is_written_is_told(capsys, monkeypatch):
    error = OSError(errno.ENOSPC, "No space left on device", "from", None, "to")
    assert printed(capsys, monkeypatch, error, lambda argv: None) == (
        "error: to: No space left on device"
    )
