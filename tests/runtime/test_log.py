import json

import pytest

from asd_jax.runtime.errors import InputError
from asd_jax.runtime.log import TrainingLog, clock, progress, read_metrics


def log(path, start=0):
    return TrainingLog(path, start=start, steps=9, every=4, batch_size=4)


def test_a_cut_off_line_of_metrics_does_not_stop_a_resumed_run(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "loss": 2.0}\n{"step": 5, "loss": 1.0}\n{"step": 2, "lo')
    log(path, start=2)
    assert path.read_text() == '{"step": 1, "loss": 2.0}\n'


@pytest.mark.parametrize(
    "odd",
    [
        b"\xff\xfe",
        b"[1]",
        b'{"step": "2"}',
        b'{"step": 1, "loss": "low"}',
        b'{"step": 1, "loss": 1' + b"0" * 400 + b"}",
        b"[" * 100_000,
        b"{}",
        b"null",
    ],
)
def test_a_line_that_is_no_metrics_is_left_out(tmp_path, odd):
    """6710c64 ended in a traceback, some while training, others in the report."""
    path = tmp_path / "metrics.jsonl"
    good = b'{"step": 1, "loss": 2.0}\n'
    path.write_bytes(odd + b"\n" + good + odd)
    assert read_metrics(path) == [{"step": 1, "loss": 2.0}]
    log(path, start=2)
    assert path.read_bytes() == good


def test_metrics_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(InputError, match="metrics.jsonl: cannot be read"):
        (tmp_path / "metrics.jsonl").mkdir()
        read_metrics(tmp_path / "metrics.jsonl")


def test_first_last_and_every_nth_step_are_due(tmp_path):
    assert [step for step in range(1, 10) if log(tmp_path / "m").due(step)] == [1, 4, 8, 9]


def test_a_line_says_what_the_file_holds(tmp_path, capsys):
    log(tmp_path / "m").write(4, {"loss": 1.5, "accuracy": 0.25, "learning_rate": 1e-3})
    row = json.loads((tmp_path / "m").read_text())
    assert (row["step"], row["loss"], row["accuracy"]) == (4, 1.5, 0.25) and row[
        "clips_per_second"
    ] > 0
    assert "step 4/9  loss 1.5  accuracy 0.25  learning_rate 0.001" in capsys.readouterr().out


def test_time_left_is_not_guessed_from_the_step_that_compiles(tmp_path, capsys):
    metrics = {"loss": 1.5, "accuracy": 0.25, "learning_rate": 1e-3}
    this = log(tmp_path / "m")
    this.write(1, metrics)
    this.write(4, metrics)
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith("compiled") and second.endswith("left") and "clips/s" in second


def test_progress_passes_everything_on_and_clock_is_readable():
    assert list(progress(range(5), 5, "things")) == list(range(5))
    assert [clock(s) for s in (0.0, 61.0, 3661.0)] == ["0:00", "1:01", "1:01:01"]
