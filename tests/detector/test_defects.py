"""Claims about defects of live sound."""

import io

import numpy as np
import pytest
import soundfile
from machine_sound import RATE, sound
from watched import WATCHING, events, lines_of, loudest

from asd_jax.detector.defects import defects
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
