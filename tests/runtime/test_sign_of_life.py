"""Lines during long computations, and at once after Ctrl-C."""

import hashlib
import os
import signal
import threading
import time

import pytest

from asd_jax.runtime import sign_of_life
from asd_jax.runtime.log import print_line
from asd_jax.runtime.sign_of_life import acknowledged, doing


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(sign_of_life, "FIRST_SECONDS", 0.15)
    monkeypatch.setattr(sign_of_life, "SECONDS", 0.2)


def test_what_takes_long_says_so_again_and_again(capsys):
    print_line("begin")
    with doing("writing the page"):
        time.sleep(0.65)
    lines = capsys.readouterr().out.splitlines()[1:]
    assert len(lines) in (2, 3) and set(lines) <= {
        "  writing the page",
        "  writing the page: 0:01 so far",
    }
    assert lines[0] == "  writing the page", "no time is said before a second has passed"


def test_nothing_is_said_while_other_lines_come_or_after_the_end(capsys):
    with doing(lambda: "never"):
        for _ in range(6):
            print_line("step")
            time.sleep(0.05)
    time.sleep(0.3)
    assert capsys.readouterr().out == "step\n" * 6


def test_ctrl_c_is_acknowledged_before_the_computation_in_hand_is_over(monkeypatch):
    """The computation takes 0.1 s or more; Python runs the handler only afterwards."""
    acknowledgements = []
    handled = []
    monkeypatch.setattr(
        sign_of_life,
        "print_error",
        lambda text: acknowledgements.append((time.perf_counter(), text)),
    )
    before = signal.signal(signal.SIGINT, lambda *_: handled.append(time.perf_counter()))
    data = bytes(200_000_000)
    try:
        with acknowledged("stopping"):
            threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGINT)).start()
            hashlib.sha256(data)  # leaves the other threads free, as XLA does
            time.sleep(0.05)
    finally:
        signal.signal(signal.SIGINT, before)
    assert [text for _, text in acknowledgements] == ["stopping"]
    assert acknowledgements[0][0] < handled[0]
    assert signal.set_wakeup_fd(-1) == -1  # as before
