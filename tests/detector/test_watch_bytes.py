"""A stream of bytes that is watched: gaps, and sound that is too short."""

import io

import numpy as np
import soundfile
from machine_sound import sound
from watched import events, lines_of


def wav(rate, seconds):
    file = io.BytesIO()
    soundfile.write(file, sound(0, seconds, rate=rate), rate, format="WAV")
    return file.getvalue()


def test_gap_and_resumption_are_told_and_no_window_is_lost():
    content = (sound(2, 2.0) * 32767).astype("<i2").tobytes()
    chunks = [(content[:30001], 1.0), (b"", 3.0), (b"", 5.0), (content[30001:], 6.0)]
    lines = lines_of(None, chunks)
    gap, resumed = events(lines, "gap", "resumed")
    # 15,000 samples had come; nothing came from 3 s to 6 s.
    assert gap["at"] == resumed["at"] == 0.938 and "a gap of 3.0 s" in resumed["message"]
    assert sum("window" in line for line in lines) == 7


def test_gaps_do_not_count_as_missing_samples():
    def chunks():
        now = 0.0
        for n in range(4 * 30):
            yield np.full(8000, n % 99 + 1, "<i2").tobytes(), now
            now += 0.5
            if n % 30 == 29:  # 15 s of sound, and 10 s without
                yield b"", now
                now += 10.0

    lines = lines_of(None, chunks())
    assert len(events(lines, "resumed")) == 3
    assert not [line for line in events(lines, "gap") if "missing" in line["message"]]


def test_a_change_of_the_rate_is_told_once_and_the_way_back_is_not():
    low = wav(8000, 1.0)
    content = low + wav(16000, 0.5)
    cut = [content[: len(low) // 2], content[len(low) // 2 : len(low)], content[len(low) :]]
    lines = lines_of(None, [(chunk, None) for chunk in cut])
    (told,) = events(lines, "wrong_rate", "resampled")
    assert told["event"] == "wrong_rate" and 0 < told["at"] < 0.5


def test_the_last_window_of_a_resampled_stream_is_scored_in_its_place():
    lines = lines_of(None, [(wav(48000, 1.0), None)])
    assert [line["start"] for line in lines if "window" in line] == [0, 0.25, 0.5]


def test_too_short_a_stream_is_told():
    lines = lines_of(sound(0, 0.4))
    (told,) = events(lines, "too_short")
    assert told["at"] == 0 and told["message"].startswith("0.40 s of sound are less than one")
    assert lines[-1]["windows"] == 0 and lines[-1]["unheard_seconds"] == 0.4
