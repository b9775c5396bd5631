"""Shows that a command is at work: lines during long computations, and at once after Ctrl-C."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator

from asd_jax.runtime.log import clock, print_error, print_line, quiet_seconds

FIRST_SECONDS = 10.0  # of silence before the first line
SECONDS = 15.0  # of silence before each further one


@contextlib.contextmanager
def doing(what: str | Callable[[], str]) -> Iterator[None]:
    """Context manager: prints what is being done and for how long, if nothing else is printed.

        with doing("writing the page"):
            write_report(...)

    Args:
        what: the words, or a function that returns them.
    """
    begin = time.monotonic()
    ended = threading.Event()

    def remind():
        wait = FIRST_SECONDS
        while not ended.wait(max(0.1, wait - quiet_seconds())):
            if quiet_seconds() >= wait:
                words = what if isinstance(what, str) else what()
                elapsed = time.monotonic() - begin
                # The silence may be older than what is being done, e.g. of imports.
                now = round(elapsed) == 0
                print_line(f"  {words}" if now else f"  {words}: {clock(elapsed)} so far")
                wait = SECONDS

    # A daemon, as it must not keep the process alive.
    thread = threading.Thread(target=remind, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextlib.contextmanager
def acknowledged(text: str) -> Iterator[None]:
    """Context manager: prints the text as soon as Ctrl-C or SIGTERM arrives.

    Python runs a signal's handler only when the main thread is back from a computation, which may
    take minutes. The number of the signal is written to a pipe at once, and a thread reads it.
    """
    # Only the main thread can ask for that.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)

    def wait():
        while numbers := os.read(reading, 1):
            if numbers[0] in (signal.SIGINT, signal.SIGTERM):
                print_error(text)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(writing)
        thread.join()
        os.close(reading)
