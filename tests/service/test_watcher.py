import dataclasses

import numpy as np
import pytest
from machine_sound import RATE, sound

from asd_jax.detector.stream import Event
from asd_jax.monitoring.store import Store
from asd_jax.service.configuration import Machine
from asd_jax.service.sources import Sound
from asd_jax.service.watcher import WAITING, Scored, Watcher

MACHINE = Machine(name="pump", detector="d", source="-")


class Clock:
    def __init__(self):
        self.wall, self.steady = 1.7e9, 0.0

    def pass_by(self, seconds):
        self.wall += seconds
        self.steady += seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def watcher(plain_detector, tmp_path, clock):
    with Store(tmp_path / "s.db") as store:
        yield Watcher(
            MACHINE, plain_detector, store, clock=lambda: clock.wall, monotonic=lambda: clock.steady
        )


def kinds(watcher):
    return [event["event"] for event in watcher.store.events()]


def hear(watcher, clock, wave):
    clock.pass_by(len(wave) / RATE)
    watcher.take(Sound(wave, RATE, clock.wall))
    while watcher.score_next():
        pass
    watcher.tick()


def test_a_fault_raises_one_alarm_with_its_sound_and_it_clears(watcher, clock):
    for second in range(4):
        hear(watcher, clock, sound(second, 1.0))
    for second in range(4):
        hear(watcher, clock, sound(second, 1.0, fault=0.3))
    assert kinds(watcher) == ["alarm_raised"] and watcher.state()["alarm"]
    assert np.abs(np.fft.rfft(watcher.evidence.wave)).argmax() == 3150
    for second in range(40):
        hear(watcher, clock, sound(second % 12, 1.0))
    assert kinds(watcher) == ["alarm_raised", "alarm_cleared"]
    series = watcher.store.readings("pump")
    assert len(series.time) == 48 and np.allclose(np.diff(series.time), 1, atol=1e-3)


@pytest.mark.parametrize("wave", [None, np.zeros(RATE, np.float32)], ids=["nothing", "zeros"])
def test_a_silent_microphone_is_told_within_ten_seconds_and_once(watcher, clock, wave):
    hear(watcher, clock, sound(0, 1.0))
    for _ in range(10):
        if wave is None:
            clock.pass_by(1)
            watcher.tick()
        else:
            hear(watcher, clock, wave)
    events = [event for event in watcher.store.events() if event["event"] == "silent"]
    assert len(events) == 1 and events[0]["time"] - 1.7e9 - 1 <= 10
    assert watcher.state()["microphone"] == "silent"
    hear(watcher, clock, sound(0, 1.0))
    assert "sound" in kinds(watcher) and watcher.state()["microphone"] == "listening"


def test_a_clock_that_jumps_is_told_and_neither_silences_nor_alarms(watcher, clock):
    hear(watcher, clock, sound(0, 1.0))
    for jump in (3600, -7200):
        clock.wall += jump
        hear(watcher, clock, sound(1, 1.0))
    assert kinds(watcher) == ["clock_jump"] * 2 and watcher.windows == 3


def test_a_full_disk_delays_the_record_and_loses_nothing(watcher, clock):
    for second in range(3):
        hear(watcher, clock, sound(second, 1.0))
    pages = watcher.store.query("PRAGMA page_count")[0][0]
    watcher.store.query(f"PRAGMA max_page_count = {pages}")
    for number in range(300):
        watcher.note("test", "x" * 200, number=number)
    assert watcher.unwritten > 100 and "full" in watcher.state()["message"]
    watcher.store.query("PRAGMA max_page_count = 1000000")
    watcher.tick()
    numbers = [event["number"] for event in watcher.store.events()]
    assert watcher.unwritten == 0 and numbers == list(range(300))


def test_a_live_source_drops_the_oldest_window_when_scoring_falls_behind(watcher, clock):
    watcher.take(Sound(np.tile(sound(0, 1.0), WAITING + 3), RATE, clock.wall))
    assert watcher.state()["dropped"] == 3


def test_windows_span_no_two_recordings_of_a_folder(watcher, clock):
    for name in "ab":
        watcher.take(Sound(sound(0, 1.5), RATE, clock.wall, name))
    assert sum(iter(watcher.score_next, False)) == 2


def test_a_source_that_is_lost_is_the_state_of_the_microphone(watcher):
    watcher.take(Event("lost", "no route; trying again"))
    assert watcher.state()["microphone"] == "lost" and kinds(watcher) == ["lost"]


@pytest.mark.slow
def test_memory_does_not_grow_over_a_day(watcher, clock):
    from asd_jax.detector.watch import memory_mb

    verdict = watcher.detector.examine(sound(0, 1.0), RATE)
    wave, memory = sound(0, 10.0), []
    for window in range(8640):
        clock.pass_by(10)
        score = 9.0 if window % 700 < 5 else 0.0
        watcher.judged(
            Scored(wave.copy(), RATE, clock.wall, dataclasses.replace(verdict, score=score))
        )
        watcher.tick()
        if window > 864:
            memory.append(memory_mb())
    assert max(memory) - memory[0] < 20
