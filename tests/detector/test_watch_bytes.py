"""A stream of bytes that is watched: gaps, and sound that is too short."""

from machine_sound import sound
from watched import events, lines_of


def test_gap_and_resumption_are_told_and_no_window_is_lost():
    content = (sound(2, 2.0) * 32767).astype("<i2").tobytes()
    chunks = [(content[:30001], 1.0), (b"", 3.0), (b"", 5.0), (content[30001:], 6.0)]
    lines = lines_of(None, chunks)
    assert [line["event"] for line in events(lines, "gap", "resumed")] == ["gap", "resumed"]
    assert sum("window" in line for line in lines) == 7


def test_too_short_a_stream_is_told():
    lines = lines_of(sound(0, 0.4))
    assert (
        events(lines, "too_short")
        and lines[-1]["windows"] == 0
        and lines[-1]["unheard_seconds"] == 0.4
    )
