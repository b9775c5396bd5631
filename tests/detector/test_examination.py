"""Claims about verdicts, moments and bands."""

import dataclasses

import numpy as np
import pytest
from detectors import HEALTHY
from machine_sound import RATE, sound

from asd_jax.runtime.errors import InputError


def test_verdict_names_the_moment(plain):
    wave = sound(7, 6.0)
    wave[4 * RATE : 5 * RATE] += 0.6 * np.sin(2 * np.pi * 3150 * np.arange(RATE) / RATE).astype(
        np.float32
    )
    verdict = plain.examine(wave)
    assert verdict.is_anomaly and verdict.worst_seconds == (4.0, 5.0) and len(verdict.windows) == 3
    assert (
        verdict.score == verdict.windows.mean() == plain.score(wave)
        and verdict.windows.argmax() == 2
    )
    assert verdict.p_value == pytest.approx(1 / 25) and verdict.threshold == plain.threshold


@pytest.mark.parametrize(
    ("seconds", "burst", "worst"),
    [
        (2.0, (1.6, 1.9), (0.98, 1.98)),  # the last second ends with the window, of 198 frames
        (5.0, (4.7, 4.9), (3.98, 4.98)),  # as the last window ends with the sound
        (1.3, (1.0, 1.3), (0.3, 1.3)),  # repeated to fill the window, heard again from 1.3 s on
        (0.7, (0.2, 0.5), (0.0, 0.7)),
    ],
)
def test_no_moment_is_left_out_and_none_lies_outside_the_sound(plain, seconds, burst, worst):
    wave = sound(7, seconds)
    first, last = (round(moment * RATE) for moment in burst)
    wave[first:last] += 0.3 * np.sin(2 * np.pi * 3150 * np.arange(last - first) / RATE).astype(
        np.float32
    )
    assert plain.examine(wave).worst_seconds == pytest.approx(worst)


def test_a_verdict_names_the_band_of_a_new_tone(plain):
    tone = 0.02 * np.sin(2 * np.pi * 3150 * np.arange(2 * RATE) / RATE)
    verdict = plain.examine((sound(7) + tone).astype(np.float32))
    assert verdict.band.low_hz < 3150 < verdict.band.high_hz
    assert verdict.band.high_hz - verdict.band.low_hz < 700 and verdict.band.decibels > 6
    assert "kHz, +" in str(verdict.band) and verdict.band.low_hz > 2600


def test_files_without_patches_are_still_read(plain):
    with pytest.raises(InputError, match="fit it again"):
        dataclasses.replace(plain, patches=None).explain(HEALTHY[0])
