"""What a run says while it works: lines on the screen, metrics.jsonl, progress of long passes."""

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
from asd_jax.runtime.files import open_regular, whole_file
from asd_jax.runtime.printable import printable

T = TypeVar("T")
_LARGEST = 1e300  # that a metric may be; what is larger, or no number, is damage
_lost: OSError | None = None  # why standard output takes no more


class ScreenLost(Exception):
    """Standard output takes no more of what is wanted there alone."""


def say(*words: object) -> None:
    """One line on the screen, at once; of several processes, the first one's."""
    put(printable(" ".join(map(str, words)), keep="\n\t") + "\n")


def put(text: str) -> None:
    """Text on the screen as it is, escape sequences too, at once; of several processes, the first
    one's.

    Where nobody reads any more, or the disk is full, the work goes on without.
    """
    if processes.first():
        try:
            print(text, end="", flush=True)
        except OSError as error:
            lose_screen(error)


def print_result(line: str) -> None:
    """One line of results on standard output.

    Raises:
        ScreenLost: nobody reads any more, or the disk is full; there is nothing to go on for.
    """
    try:
        print(line, flush=True)
    except OSError as error:
        lose_screen(error)
        raise ScreenLost from error


def tell(line: str) -> None:
    """One line on standard error, where standard output is for results."""
    with contextlib.suppress(OSError):  # nobody is left to be told
        print(printable(line, keep="\n\t"), file=sys.stderr, flush=True)


def lose_screen(error: OSError) -> None:
    """Sends what is still printed nowhere, after standard output refused to take more; says so,
    unless nobody reads it.
    """
    global _lost
    _lost = error
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if error.errno != errno.EPIPE:
        tell(f"error: standard output cannot be written ({error.strerror})")


def screen_lost() -> bool:
    """Whether something that somebody wanted to see did not reach standard output."""
    return _lost is not None and _lost.errno != errno.EPIPE


class TrainingLog:
    """A line every n steps on the screen and in metrics.jsonl, with rate and time left.

    A resumed run drops the lines of steps that it will do again, and says so.
    """

    def __init__(self, path: str | Path, *, start: int, steps: int, every: int, batch_size: int):
        self.path, self.steps, self.every, self.batch_size = Path(path), steps, every, batch_size
        self._since, self._last, self._first = time.perf_counter(), start, True
        rows = read_metrics(self.path) if self.path.exists() else []
        with whole_file(self.path) as file:
            for row in rows:
                if row["step"] <= start:
                    file.write((json.dumps(row) + "\n").encode())
        last = max((row["step"] for row in rows), default=0)
        if start == steps and start:
            say(f"training is finished: all {steps} steps are done")
        elif last > start:
            say(
                f"continuing after step {start}: those up to {last} have no whole checkpoint and "
                "are done again"
            )
        elif start:
            say(f"continuing after step {start}")

    def due(self, step: int) -> bool:
        """Whether the metrics of this step are wanted, and not yet written."""
        return step > self._last and (step % self.every == 0 or step in (1, self.steps))

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Reports the metrics of a step that is due: all of them in the file, the main ones on the
        screen.

        Raises:
            InputError: the file cannot be written.
        """
        now = time.perf_counter()
        rate = (step - self._last) * self.batch_size / (now - self._since)
        self._since, self._last = now, step
        row = {"step": step, **metrics, "clips_per_second": round(rate, 2)}
        try:
            with open(
                self.path if processes.first() else os.devnull, "a", encoding="utf-8"
            ) as file:
                file.write(json.dumps(row) + "\n")
        except OSError as error:
            raise InputError(
                f"{self.path}: cannot be written ({error.strerror or error})"
            ) from error
        left = (self.steps - step) * self.batch_size / rate if rate else 0
        values = "  ".join(
            f"{name} {row[name]:.4g}"
            for name in ("loss", "accuracy", "learning_rate")
            if name in row
        )
        # The first step of a process compiles: its rate says nothing of what is left.
        speed = "compiled" if self._first else f"{rate:.1f} clips/s  {clock(left)} left"
        self._first = False
        say(f"step {step:>{len(str(self.steps))}}/{self.steps}  {values}  {speed}")


def read_metrics(path: Path) -> list[dict[str, float | int]]:
    """The rows of a metrics.jsonl, without those that a killed run left half written.

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
    """A line of metrics.jsonl; None where it is not whole."""
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
    tell: Callable[[str], None] = say,
) -> Iterator[T]:
    """Passes the items on; says the share done, the rate and the time left every few seconds.

    Args:
        items: of a long pass.
        total: number of units, not items.
        what: the units' name, e.g. "clips embedded".
        per_item: units in one item.
        tell: where to say it.
    """
    begin = said = 0.0
    for number, item in enumerate(items):
        yield item
        now, done = time.perf_counter(), min((number + 1) * per_item, total)
        if not number:  # the first one waits for the compiler
            begin = said = now
        elif now - said > 5 and done < total:
            rate, said = number * per_item / (now - begin), now
            tell(f"  {done}/{total} {what}  {rate:.1f}/s  {clock((total - done) / rate)} left")


def clock(seconds: float) -> str:
    """Seconds -> h:mm:ss or m:ss."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
