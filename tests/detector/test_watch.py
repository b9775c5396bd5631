import numpy as np
from machine_sound import RATE, sound
from watched import WATCHING, events, lines_of, loudest

from asd_jax.detector.watch import Watch


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
