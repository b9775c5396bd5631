import dataclasses
import resource
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from machine_sound import RATE, sound
from watched import WATCHING, events, lines_of, loudest

from asd_jax.detector import watch as module
from asd_jax.detector.defects import MESSAGES
from asd_jax.detector.record import Record
from asd_jax.detector.stream import Event
from asd_jax.detector.watch import Watch, memory_mb

WAVE = sound(0, 0.5)


@pytest.fixture
def now(monkeypatch):
    """The clock, and the time that the process has computed, which a test sets."""
    times = {"clock": 100.0, "cpu": 50.0}
    monkeypatch.setattr(module.time, "perf_counter", lambda: times["clock"])
    monkeypatch.setattr(module.time, "process_time", lambda: times["cpu"])
    return times


def test_the_line_of_a_window_has_rounded_numbers(now):
    settings = dataclasses.replace(WATCHING, threshold=0.50004)
    watch = Watch(settings, lambda wave: 0.123456, lambda score: 2 * score / 3)
    (line,) = watch.window(1.23456, WAVE, 100.0 - 5.23456)
    expected = {
        "window": 0,
        "start": 1.235,
        "end": 1.735,
        "score": 0.1235,
        "threshold": 0.5,
        "p_value": 0.082304,
        "is_anomaly": False,
        "alarm": False,
        "flags": [],
        "latency_ms": 5234.6,
    }
    assert line == expected
    (line,) = watch.window(1.23456, WAVE, file="a.wav")
    assert line == expected | {"window": 1, "file": "a.wav", "latency_ms": None}
    (line,) = Watch(WATCHING, lambda wave: 0.5).window(0.0, WAVE)
    assert not line["is_anomaly"] and np.isnan(line["p_value"])


def test_an_alarm_is_explained_when_it_starts_and_its_times_are_rounded():
    watch = Watch(WATCHING, lambda wave: wave[0], explain=lambda wave: f"from {wave[0]:.1f}")
    found = []
    for n, score in enumerate((0.9, 0.8, 0, 0, 0, 0)):
        wave = np.where(np.arange(8000) % 2, 0.01, score)
        found += watch.window(0.12345 + n / 4, wave)
    start, end = events(found, "alarm_start", "alarm_end")
    assert start == {
        "event": "alarm_start",
        "start": 0.123,
        "at": 0.873,
        "peak": 0.9,
        "message": "from 0.8",
    }
    assert end == {
        "event": "alarm_end",
        "start": 0.123,
        "end": 0.873,
        "seconds": 0.75,
        "peak": 0.9,
    }


def test_the_news_of_a_scorer_are_told_once():
    class Scorer:
        news = {"event": "settled"}

        def __call__(self, wave):
            return 0.0

    watch = Watch(WATCHING, Scorer())
    assert list(watch.window(1.23456, WAVE))[1:] == [{"event": "settled", "at": 1.735}]
    assert len(list(watch.window(1.5, WAVE))) == 1


def test_a_defect_is_told_with_its_file_when_it_begins_and_when_it_is_over():
    watch = Watch(WATCHING, loudest)
    begun = list(watch.window(1.23456, np.zeros(8000), file="a.wav"))[1:]
    line = {"event": "silence", "file": "a.wav", "at": 1.235, "message": MESSAGES["silence"]}
    assert begun == [line]
    assert list(watch.window(2.0, WAVE))[1:] == [{"event": "silence", "at": 2.0, "message": "over"}]


def test_the_state_is_told_after_each_status_time_of_sound(now, monkeypatch):
    monkeypatch.setattr(module, "memory_mb", lambda: 12.345)
    watch = Watch(dataclasses.replace(WATCHING, status_seconds=1.0), loudest)
    told = []
    for n in range(9):
        now["clock"] += 0.05
        now["cpu"] += 0.012345
        # The last sample came 1, 2, 3 ... ms ago; at the end of a file there is no arrival.
        arrived = None if n == 8 else now["clock"] - 0.00112 * (n + 1)
        told += [(n, line) for line in watch.window(n / 4, WAVE, arrived) if "event" in line]
    assert [n for n, _ in told] == [3, 7]
    assert told[0][1] == {
        "event": "status",
        "windows": 4,
        "alarms": 0,
        "cpu_share": 0.2469,
        "times_real_time": 5.0,
        "memory_mb": 12.3,
        "latency_ms": {"median": 2.8, "max": 4.5},
    }
    now["clock"] += 0.03
    state = watch.status()
    assert state["times_real_time"] == 4.69 and state["latency_ms"] == {"median": 5.0, "max": 9.0}


def test_a_watch_of_files_has_no_latency_and_the_rest_is_told_at_the_end():
    watch = Watch(WATCHING, loudest)
    list(watch.window(0.0, WAVE))
    (end,) = watch.finish(0.12345)
    assert end["event"] == "end" and end["unheard_seconds"] == 0.123 and "latency_ms" not in end
    assert list(watch.finish())[0]["unheard_seconds"] == 0
    line = watch.event(Event("gap", "no sound"), 1.23456, file="a.wav")
    assert line == {"event": "gap", "at": 1.235, "file": "a.wav", "message": "no sound"}


def test_the_latency_is_that_of_the_last_thousand_windows(now):
    watch = Watch(WATCHING, lambda wave: 0.0)
    for n in range(1001):
        list(watch.window(0.0, WAVE[:100], now["clock"] - (9.0 if n == 0 else 0.001)))
    assert watch.status()["latency_ms"] == {"median": 1.0, "max": 1.0}


def test_windows_are_recorded_with_the_time_of_the_stream_or_of_the_file():
    record = Mock(spec=Record)
    record.time.return_value = 70.0
    record.window.return_value = [{"event": "alarm"}]
    watch = Watch(WATCHING, lambda wave: 0.9, record=record)
    record.resume.assert_called_once_with(watch.alarm)
    assert list(watch.window(1.0, WAVE))[-1] == {"event": "alarm"}
    record.time.assert_called_once_with(1.0, 0.5)
    assert record.window.call_args.args[0] == 70.0
    *_, start, _ = watch.window(1.25, WAVE, time_of_file=50.0)
    time, wave, alarm, score, change = record.window.call_args.args
    assert (time, score, alarm) == (51.25, 0.9, watch.alarm) and wave is WAVE
    assert change["event"] == start["event"] == "alarm_start"


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="only Linux tells it here")
def test_the_memory_is_that_of_the_process_or_its_peak(monkeypatch):
    with open("/proc/self/status") as status:
        (kilobytes,) = [int(line.split()[1]) for line in status if line.startswith("VmRSS")]
    assert memory_mb() == pytest.approx(kilobytes * 1024 / 1e6, rel=0.05)

    def unreadable(path):
        raise OSError

    monkeypatch.setattr(Path, "read_text", unreadable)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    assert memory_mb() == pytest.approx(peak, rel=0.05)


def test_one_line_a_window_with_start_and_end_of_the_alarm():
    wave = sound(0, 6.0)
    wave[2 * RATE : 3 * RATE] = 0.9
    lines = lines_of(wave)
    windows = [line for line in lines if "window" in line]
    assert [line["start"] for line in windows] == list(np.arange(0, 5.51, 0.25))
    start, end = events(lines, "alarm_start", "alarm_end")
    assert (start["start"], end["start"], end["end"]) == (1.75, 1.75, 3.25)
    assert [line["alarm"] for line in windows].count(True) > 4 and lines[-1]["event"] == "end"
    assert lines[-1]["alarms"] == 1 and lines[-1]["unheard_seconds"] == 0


def test_alarm_comes_within_the_stated_latency():
    from benchmarks.watch import alarm_latency

    figures, broken = alarm_latency(5)
    assert not broken and 2.5 < figures["longest_seconds"] <= figures["stated_seconds"] == 3.0


def test_defects_of_the_sound_are_told_once_each_way():
    wave = sound(1, 8.0)
    wave[2 * RATE : 3 * RATE] = np.sign(wave[2 * RATE : 3 * RATE])
    wave[4 * RATE : 6 * RATE] = 0
    lines = lines_of(wave)
    told = [line["event"] for line in events(lines, "clipping", "silence", "dropout")]
    assert told == ["clipping", "clipping", "silence", "silence"]
    assert [line["at"] for line in events(lines, "silence")] == [4.0, 5.75]


def test_the_status_says_how_many_times_faster_than_the_sound_the_watch_is(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("asd_jax.detector.watch.time.perf_counter", lambda: now[0])
    watch = Watch(WATCHING, loudest)
    for n in range(8):
        now[0] += 0.05
        list(watch.window(n / 4, sound(0, 0.5), now[0]))
    assert watch.status()["times_real_time"] == 8 * 0.25 / 0.4  # each window adds a hop of sound


def test_memory_does_not_grow_with_the_stream():
    from benchmarks.watch import endurance

    figures, broken = endurance(0.2, loudest, 0.5)
    assert not broken and figures["windows"] == 1440
