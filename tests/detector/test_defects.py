"""Claims about defects of live sound."""

import io

import numpy as np
import pytest
import soundfile
from machine_sound import RATE, sound
from watched import WATCHING, events, lines_of, loudest

from asd_jax.detector.defects import ArrivalRate, another_rate, defects
from asd_jax.detector.sample_format import SampleFormat
from asd_jax.detector.stream import Decoder
from asd_jax.detector.watch import Watch
from asd_jax.detector.watch_bytes import watch_bytes


@pytest.mark.parametrize(
    ("wave", "found"),
    [
        (np.zeros(8000), {"silence"}),
        (np.full(8000, 0.3), {"silence"}),
        (np.sign(sound(0, 0.5)), {"clipping"}),
        (np.where(np.arange(8000) < 5000, 0, sound(0, 0.5)), {"dropout"}),
        (sound(0, 0.5), set()),
    ],
)
def test_defects(wave, found):
    assert defects(wave.astype(np.float32), RATE) == found


def constant(first, last):
    """Returns a second at 1 kHz whose samples from one number to another are equal."""
    wave = np.where(np.arange(1000) % 2, 0.1, -0.1)
    wave[first:last] = 0.5
    return wave


@pytest.mark.parametrize(
    ("wave", "found"),
    [
        (np.where(np.arange(10_000) < 10, 1.0, sound(0, 0.625)), set()),  # a share of 0.001
        (np.where(np.arange(10_000) < 11, 0.999, sound(0, 0.625)), {"clipping"}),
        (np.where(np.arange(10_000) < 11, -0.999, sound(0, 0.625)), {"clipping"}),
        (np.arange(1000) % 2 * 0.9e-4, {"silence"}),
        (np.arange(1000) % 2 * 1e-4, set()),
        (constant(300, 550), set()),  # a quarter of a second
        (constant(300, 551), {"dropout"}),
        (constant(0, 251), {"dropout"}),
        (constant(749, 1000), {"dropout"}),
    ],
)
def test_defects_begin_above_their_limits(wave, found):
    assert defects(wave.astype(np.float32), 1000) == found


def counted(*samples, claimed=16000):
    """Returns the events after each count of 20 s, in which so many samples come in two parts."""
    arrival = ArrivalRate()
    now = 1000.0
    assert arrival.feed(99_999, claimed, now) is None  # they may have waited in a pipe
    events = []
    for count in samples:
        assert arrival.feed(count // 2, claimed, now + 10.0) is None
        now += 20.0
        events.append(arrival.feed(count - count // 2, claimed, now))
    return [event and (event.event, event.message) for event in events]


COMMON = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 88200, 96000, 192000)


@pytest.mark.parametrize("rate", COMMON)
def test_a_common_rate_is_recognised_in_two_counts_of_20_seconds_and_told_once(rate):
    claimed = 48000 if rate == 16000 else 16000
    first, second, third = counted(*[20 * rate] * 3, claimed=claimed)
    assert first is third is None and second[0] == "wrong_rate"
    assert f"--rate={rate}," in second[1]


@pytest.mark.parametrize(
    ("samples", "claimed", "event"),
    [
        (20 * 16464, 44100, "wrong_rate"),  # 2.9 % off a common rate
        (20 * 16496, 44100, None),
        (20 * 15520 - 1, 16000, "gap"),  # less than 97 %
        (20 * 15520, 16000, None),
        (20 * 8500, 16000, "gap"),
        (20 * 7000, 16000, None),  # less than half is another rate, if an unknown one
    ],
)
def test_a_rate_is_known_within_three_percent_and_missing_samples_are_told(samples, claimed, event):
    first, second = counted(samples, samples, claimed=claimed)
    assert first is None and (second and second[0]) == event


def test_two_counts_in_a_row_must_agree():
    found = counted(20 * 44100, 20 * 14000, 20 * 16000, 20 * 14000, 20 * 14000)
    assert [event and event[0] for event in found] == [None] * 4 + ["gap"]


def test_sound_of_a_higher_rate_is_resampled_and_that_of_a_lower_one_is_wrong():
    assert another_rate(48000, 16000).event == "resampled"
    lower = another_rate(8000, 16000)
    assert lower.event == "wrong_rate" and "nothing above 4000 Hz" in lower.message


def paced(rate_claimed, rate_coming, seconds=100.0):
    """Half-second chunks of a stream and when they come."""
    for n in range(int(seconds * 2)):
        yield (np.full(rate_coming // 2, n % 99, "<i2") * 50).tobytes(), n / 2


@pytest.mark.parametrize(
    ("claimed", "coming", "event", "message"),
    [
        (16000, 44100, "wrong_rate", "set --rate=44100"),
        (44100, 16000, "wrong_rate", "set --rate=16000"),
        (16000, 13000, "gap", "19 % of the samples are missing"),
        (16000, 16000, None, ""),
    ],
)
def test_samples_that_come_too_fast_or_too_slowly(claimed, coming, event, message):
    watch = Watch(WATCHING, loudest)
    lines = list(
        watch_bytes(watch, paced(claimed, coming), Decoder(SampleFormat("s16le", claimed)))
    )
    found = [line for line in lines if "message" in line and ("come" in line["message"])]
    assert [line["event"] for line in found] == ([event] if event else [])
    assert not event or message in found[0]["message"]


def test_stream_of_another_rate_is_told():
    for rate, event in ((8000, "wrong_rate"), (48000, "resampled")):
        file = io.BytesIO()
        soundfile.write(file, sound(0, 1.0, rate=rate), rate, format="WAV")
        lines = lines_of(None, [(file.getvalue(), None)])
        assert len(events(lines, event)) == 1 and sum("window" in line for line in lines) == 3
