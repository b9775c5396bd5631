"""Claims about verdicts, moments and bands."""

import dataclasses
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
from detectors import HEALTHY
from machine_sound import RATE, sound

from asd_jax.detector.examination import low_rate, worst_second
from asd_jax.detector.notes import Kind
from asd_jax.detector.views import mel_front_end
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
        (1.3000625, (1.0, 1.3), (0.3, 1.3)),  # to milliseconds
    ],
)
def test_no_moment_is_left_out_and_none_lies_outside_the_sound(plain, seconds, burst, worst):
    wave = sound(7, seconds)
    first, last = (round(moment * RATE) for moment in burst)
    wave[first:last] += 0.3 * np.sin(2 * np.pi * 3150 * np.arange(last - first) / RATE).astype(
        np.float32
    )
    assert plain.examine(wave).worst_seconds == worst


def test_a_verdict_names_the_band_of_a_new_tone(plain):
    tone = 0.02 * np.sin(2 * np.pi * 3150 * np.arange(2 * RATE) / RATE)
    verdict = plain.examine((sound(7) + tone).astype(np.float32))
    assert verdict.band.low_hz < 3150 < verdict.band.high_hz
    assert verdict.band.high_hz - verdict.band.low_hz < 700 and verdict.band.decibels > 6
    assert "kHz, +" in str(verdict.band) and verdict.band.low_hz > 2600


def test_files_without_patches_are_still_read(plain):
    with pytest.raises(InputError, match="fit it again"):
        dataclasses.replace(plain, patches=None).explain(HEALTHY[0])


def test_waveforms_that_are_examined_together_have_the_verdicts_of_each_alone(plain):
    waves = [sound(7), sound(8, 4.0, fault=0.05), sound(9)]
    together = plain.examine_all(waves)
    assert [len(verdict.windows) for verdict in together] == [1, 2, 1]
    for verdict, wave in zip(together, waves, strict=True):
        alone = plain.examine(wave)
        assert verdict.score == pytest.approx(alone.score, rel=1e-4)
        assert (verdict.view, verdict.worst_seconds) == (alone.view, alone.worst_seconds)
        scores, _ = plain.process(wave.reshape(-1, 2 * RATE))
        worst = alone.windows.argmax()
        assert alone.view == max(scores, key=lambda scorer: scores[scorer][worst]).split("/")[0]
    assert plain.examine_all([]) == []


@pytest.mark.parametrize("name", ["a.wav", b"a.wav", Path("a.wav")])
def test_a_name_is_no_waveform(plain, name, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as for users
    with pytest.raises(InputError, match="is a name, but a waveform is expected"):
        plain.examine_all([name])


def test_the_notes_of_a_verdict_are_on_its_length_its_defects_and_its_rate(plain):
    wave = np.sign(sound(7, 1.0, rate=8000))
    wave[:4000] = 0
    kinds = [note.kind for note in plain.examine(wave.astype(np.float32), 8000).notes]
    assert kinds == [Kind.SHORT, Kind.CLIPPING, Kind.DROPOUT, Kind.RATE]
    assert low_rate(plain, RATE) == () and low_rate(plain, RATE - 1)[0].kind == Kind.RATE


def test_the_nearest_normal_window_is_named_with_its_place(plain, normal):
    windows = dataclasses.replace(plain.bank.windows, start=np.arange(24.0))
    bank = dataclasses.replace(plain.bank, windows=windows)
    seen = dataclasses.replace(plain, bank=bank).explain(np.concatenate([normal[3], normal[5]]))
    number = 3 if seen.start == 0 else 5
    assert seen.nearest == plain.names[number] and seen.nearest_start == number


def test_a_filter_that_is_restless_does_not_decide_which_second_is_the_worst(plain):
    """Filters up to 64 vary by 10, the others by 0.1; the worst second differs by 1 in one."""
    vectors = {
        "level": np.zeros((24, 128), np.float32),
        "fluctuation": np.where(np.arange(128) < 64, 10, 0.1)[None].astype(np.float32),
    }
    seconds = np.zeros((3, 128), np.float32)
    seconds[0, 3] = 5
    seconds[2, [3, 100]] = [5, 1]
    settings = dataclasses.replace(plain.settings, window_seconds=3.0)
    bank = dataclasses.replace(plain.bank, vectors=vectors)
    start, band = worst_second(dataclasses.replace(plain, bank=bank, settings=settings), seconds)
    centres = mel_front_end(RATE).filter_centres
    assert start == 1.98 and band.low_hz < centres[100] < band.high_hz
    assert band.decibels == pytest.approx(10 / np.log(10), rel=1e-5)
