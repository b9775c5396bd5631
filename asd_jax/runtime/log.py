"""Reports the progress of a run: lines on the screen, metrics.jsonl, and the time left."""

import contextlib
import errno
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from asd_jax.runtime import processes
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import atomic_file, open_regular
from asd_jax.runtime.printable import printable

T = TypeVar("T")
_LARGEST = 1e300  # a larger metric, or one that is not a number, means that the line is damaged
_printed_at = time.monotonic()  # when the last line was printed
_lost: OSError | None = None  # the error with which standard output failed, if it did


class OutputFailed(Exception):
    """Standard output cannot be written, and the command has no other output."""


def print_line(*words: object) -> None:
    """Prints one line at once; of several processes, only the first one prints."""
    print_raw(printable(" ".join(map(str, words)), keep="\n\t") + "\n")


def print_raw(text: str) -> None:
    """Prints text unchanged, escape sequences included, and at once.

    Of several processes, only the first one prints. If the reader is gone or the disk is full, the
    work goes on without output.
    """
    global _printed_at
    _printed_at = time.monotonic()
    if processes.is_first():
        try:
            print(text, end="", flush=True)
        except OSError as error:
            discard_output(error)


def print_result(line: str) -> None:
    """Prints one line of results on standard output.

    Raises:
        OutputFailed: the reader is gone or the disk is full, so the command has no reason to go on.
    """
    try:
        print(line, flush=True)
    except OSError as error:
        discard_output(error)
        raise OutputFailed from error


def print_error(line: str) -> None:
    """Prints one line on standard error, for commands whose standard output holds results."""
    global _printed_at
    _printed_at = time.monotonic()
    # If standard error is closed too, there is nowhere left to report to.
    with contextlib.suppress(OSError):
        print(printable(line, keep="\n\t"), file=sys.stderr, flush=True)


def report_replaced(path: str | Path) -> None:
    """Prints to stderr that a file is there which the command will replace."""
    if Path(path).is_file():
        print_error(f"{path} is there and will be replaced")


def quiet_seconds() -> float:
    """Returns the time since the last line was printed, in seconds."""
    return time.monotonic() - _printed_at


def discard_output(error: OSError) -> None:
    """Redirects standard output to the null device after it failed.

    The failure is reported on standard error, unless the reader simply closed the pipe.
    """
    global _lost
    _lost = error
    # The descriptor stays valid, so that later prints do not fail too.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if error.errno != errno.EPIPE:
        print_error(f"error: standard output cannot be written ({error.strerror})")


def output_failed() -> bool:
    """Returns whether standard output failed for another reason than a closed pipe."""
    return _lost is not None and _lost.errno != errno.EPIPE


class TrainingLog:
    """Writes a line every n steps to the screen and to metrics.jsonl, with the rate and the time
    left.

    A resumed run removes the lines of the steps that it will repeat, and reports this.
    """

    def __init__(self, path: str | Path, *, start: int, steps: int, every: int, batch_size: int):
        self.path = Path(path)
        self.steps = steps
        self.every = every
        self.batch_size = batch_size
        self._since = time.perf_counter()
        self._last = start
        self._first = True
        # A resumed run keeps the lines of the steps that it does not repeat.
        rows = read_metrics(self.path) if self.path.exists() else []
        with atomic_file(self.path) as file:
            for row in rows:
                if row["step"] <= start:
                    file.write((json.dumps(row) + "\n").encode())
        last = max((row["step"] for row in rows), default=0)
        if start == steps and start:
            print_line(f"training is finished: all {steps} steps are done")
        elif last > start:
            print_line(
                f"continuing after step {start}: those up to {last} have no whole checkpoint and "
                "are done again"
            )
        elif start:
            print_line(f"continuing after step {start}")

    def due(self, step: int) -> bool:
        """Returns whether the metrics of this step should be written and have not been yet."""
        return step > self._last and (step % self.every == 0 or step in (1, self.steps))

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Writes the metrics of a step that is due: all to the file, the main ones to the screen.

        Raises:
            InputError: the file cannot be written.
        """
        now = time.perf_counter()
        rate = (step - self._last) * self.batch_size / (now - self._since)
        self._since = now
        self._last = step
        row = {"step": step, **metrics, "clips_per_second": round(rate, 2)}
        try:
            with open(
                self.path if processes.is_first() else os.devnull, "a", encoding="utf-8"
            ) as file:
                file.write(json.dumps(row) + "\n")
        except OSError as error:
            raise InputError(
                f"{self.path}: cannot be written ({error.strerror or error})"
            ) from error
        # The rate counts clips, so that the time left is in clips, too.
        left = (self.steps - step) * self.batch_size / rate if rate else 0
        values = "  ".join(
            f"{name} {row[name]:.4g}"
            for name in ("loss", "accuracy", "learning_rate")
            if name in row
        )
        # The first step of a process includes the compilation, so its rate predicts nothing.
        # A rate below one has as many digits as one above.
        shown = f"{rate:.1f}" if rate >= 1 else f"{rate:.2g}"
        speed = "compiled" if self._first else f"{shown} clips/s  {clock(left)} left"
        self._first = False
        print_line(f"step {step:>{len(str(self.steps))}}/{self.steps}  {values}  {speed}")


def read_metrics(path: Path) -> list[dict[str, float | int]]:
    """Returns the rows of a metrics.jsonl, without lines that a killed run left incomplete.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        with open_regular(path) as file:
            lines = file.read().decode(errors="replace").splitlines(keepends=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    return [row for line in lines if (row := _row(line))]


def _row(line: str) -> dict[str, float | int] | None:
    """Returns the row of a line of metrics.jsonl; None if the line is incomplete."""
    try:
        row = json.loads(line) if line.endswith("\n") else None
    except (ValueError, RecursionError):
        return None
    numbers = isinstance(row, dict) and all(
        type(value) in (int, float) and abs(value) < _LARGEST for value in row.values()
    )
    return row if numbers and type(row.get("step")) is int else None


def progress(
    items: Iterable[T],
    total: int,
    what: str,
    per_item: int = 1,
    *,
    report: Callable[[str], None] = print_line,
) -> Iterator[T]:
    """Yields the items, and prints the share done, the rate and the time left every few seconds.

    Args:
        items: the items of a long pass.
        total: number of units, not items.
        what: the units' name, e.g. "clips embedded".
        per_item: units in one item.
        report: prints a line.
    """
    begin = printed = 0.0
    for number, item in enumerate(items):
        yield item
        now = time.perf_counter()
        done = min((number + 1) * per_item, total)
        # The first item includes the compilation, so the rate is measured from its end.
        if not number:
            begin = printed = now
        elif now - printed > 5 and done < total:
            rate = number * per_item / (now - begin)
            printed = now
            report(f"  {done}/{total} {what}  {rate:.1f}/s  {clock((total - done) / rate)} left")


def clock(seconds: float) -> str:
    """Returns a duration in seconds as h:mm:ss or m:ss."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
