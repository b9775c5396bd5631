"""Sound levels of a waveform: overall and in one-third octaves."""

import functools

import numpy as np
from jaxtyping import Float

LOWEST_HZ = 25.0  # nominal; microphones of phones and USB give nothing below
SILENCE_DB = -200.0  # of a waveform of zeros
_G = 10**0.3  # octave ratio to the base ten, IEC 61260-1:2014, 3.1
_ORDER = 3  # of the Butterworth filters; the lowest that meets class 1


def mid_band_hz(count: int) -> Float[np.ndarray, "b"]:
    """Returns the exact mid-band frequencies in Hz of the first one-third octaves from 25 Hz on.

    They are 1000 x G^(x/3) for whole x (IEC 61260-1:2014, 5.2).
    """
    first = round(3 * np.log(LOWEST_HZ / 1000) / np.log(_G))
    return 1000 * _G ** ((first + np.arange(count)) / 3)


def third_octaves(rate: int) -> Float[np.ndarray, "b"]:
    """Returns the mid-band frequencies in Hz of the one-third octaves below half the rate."""
    # 60 third octaves reach 20 octaves up from 25 Hz, beyond every rate.
    centres = mid_band_hz(60)
    return centres[centres * _G ** (1 / 6) <= rate / 2]


def band_gains(
    hz: Float[np.ndarray, "f"], centres: Float[np.ndarray, "b"]
) -> Float[np.ndarray, "b f"]:
    """Returns the power gain "b f" at frequencies in Hz of the one-third-octave filters.

    They are analogue Butterworth band-pass filters of order 3, which meet class 1 of IEC 61260-1.
    """
    # The DFT begins at 0 Hz, where the gain is 0 but the ratio infinite.
    ratio = np.maximum(hz, 1e-3)[None] / centres[:, None]
    # This is the quality of a band-pass filter with edges a sixth of an octave from its centre.
    quality = 1 / (_G ** (1 / 6) - _G ** (-1 / 6))
    return 1 / (1 + (quality * (ratio - 1 / ratio)) ** (2 * _ORDER))


def sound_levels(wave: Float[np.ndarray, "s"], rate: int) -> tuple[float, Float[np.ndarray, "b"]]:
    """Returns (overall level, levels "b" of the one-third octaves) of a waveform, in dB.

    The level is that of the mean square over the whole waveform, without a frequency weighting; 0
    dB is a mean square of 1, so a sine at full scale has -3 dB.
    """
    # The constant offset of a sound card is no sound.
    power = np.square(np.abs(np.fft.rfft(wave - np.mean(wave)))) / len(wave) ** 2
    # All bins but the first and, of an even length, the last stand for two.
    power[1 : (len(wave) + 1) // 2] *= 2
    overall = power.sum()
    bands = _gains(len(wave), rate) @ power
    return _decibels(overall), np.asarray(_decibels(bands))


@functools.lru_cache(maxsize=4)
def _gains(samples: int, rate: int) -> np.ndarray:
    """Returns `band_gains` at the frequencies of a waveform's DFT."""
    return band_gains(np.fft.rfftfreq(samples, 1 / rate), third_octaves(rate))


def _decibels(power):
    """Returns a level in dB, at least that of silence."""
    # Silence has no logarithm.
    level = 10 * np.log10(np.maximum(power, 10 ** (SILENCE_DB / 10)))
    return float(level) if np.ndim(level) == 0 else level
