import dataclasses
import threading

import numpy as np
import pytest

from asd_jax.detector.stream import Event
from asd_jax.service.sources import Sound, SourceLost, listen


@dataclasses.dataclass
class Steps:
    """A source of which each attempt gives some blocks of sound and then fails."""

    blocks: list[int]
    seconds: float = 0.0  # of each block

    def __post_init__(self):
        self.now = 0.0
        self.stop = threading.Event()
        self.taken = []

    def read(self, stop):
        if not self.blocks:
            stop.set()
            return
        for _ in range(self.blocks.pop(0)):
            self.now += self.seconds
            yield Sound(np.ones(4, np.float32), 16000, 0.0)
        raise SourceLost("no route")

    def take(self, item):
        self.taken.append(getattr(item, "event", "sound"))


def test_a_source_that_fails_is_opened_again_and_its_loss_reported_once():
    steps = Steps([1, 0, 0, 2, 0])
    listen(steps.read, steps.take, steps.stop, first_wait=0.001)
    assert steps.taken == [
        "sound", "source_lost", "source_back", "sound", "sound", "source_lost",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "seconds, waits",
    [(1.0, [1, 2, 4, 8, 16, 30, 30]), (29.0, [1, 2, 4, 8, 16, 30, 30]), (30.0, [1] * 7)],
    ids=["flaps", "nearly works", "works"],
)
def test_the_wait_begins_anew_only_after_a_source_has_worked_for_long(seconds, waits, monkeypatch):
    steps = Steps([2] * 7, seconds)
    waited = []
    monkeypatch.setattr(steps.stop, "wait", waited.append)
    listen(steps.read, steps.take, steps.stop, clock=lambda: steps.now)
    assert waited == waits


def test_a_loss_lasts_from_the_failure_to_the_first_sound():
    steps = Steps([1, 2], 40.0)
    taken = []
    listen(steps.read, taken.append, steps.stop, first_wait=0.001, clock=lambda: steps.now)
    events = [(item.event, item.message) for item in taken if isinstance(item, Event)]
    assert events == [
        ("source_lost", "no route; trying again"),
        ("source_back", "after 40 s"),
        ("source_lost", "no route; trying again"),
    ]


def test_a_recording_is_told_from_others_by_the_microsecond_of_its_change():
    block = Sound(np.ones(4, np.float32), 16000, 1e9 + 0.25, "a.wav")
    assert block.changed_us == 1_000_000_000_250_000


def test_a_fault_of_a_reader_does_not_end_the_watch(capsys):
    attempts = []

    def read(stop):
        attempts.append(stop)
        if len(attempts) == 1:
            raise ZeroDivisionError("a fault of a library")
        stop.set()
        yield Sound(np.ones(4, np.float32), 16000, 0.0)

    taken = []
    listen(read, taken.append, threading.Event(), first_wait=0.001)
    assert "ZeroDivisionError: a fault" in taken[0].message and isinstance(taken[-1], Sound)
    assert "a fault of a library" in capsys.readouterr().err
