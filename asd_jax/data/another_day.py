"""A recording as it might sound on another day: the microphone a little elsewhere, the machine a
little faster or slower.

It stands for sessions that nobody has recorded. How far sounds move is chosen, not fitted: half of
what the factory's microphones differ by, and the drift of speed within one of its clips.
"""

import zlib

import numpy as np
from jaxtyping import Float

GAIN_DB = 1.5  # standard deviation: input level, distance
TILT_DB = 0.5  # most, an octave
RIPPLE_DB = 0.5  # most, of each of three ripples over octaves: room, direction, mounting
RIPPLES = (0.3, 0.7, 1.3)  # an octave
# Most that a session's level, and each of three smooth colours, is corrected by: three standard
# deviations, and the tilt over half of the octaves heard with the ripples.
COLOUR_DB = (4.5, 3.0, 3.0, 3.0)
SPEED = 0.01  # most: load, temperature, mains


def another_day(wave: Float[np.ndarray, "s"], rate: int) -> Float[np.ndarray, "s"]:
    """Waveform, and its rate in Hz -> the same sound on another day; the same waveform gives the
    same day.
    """
    rng = np.random.default_rng(zlib.crc32(np.ascontiguousarray(wave)))
    samples = np.arange(len(wave))
    place = samples * (1 + rng.uniform(-SPEED, SPEED))
    wave = np.interp(np.where(place > samples[-1], 2 * samples[-1] - place, place), samples, wave)
    hz = np.fft.rfftfreq(len(wave), 1 / rate)
    octaves = np.log2(np.maximum(hz, 60) / 1000)
    decibels = rng.normal(0, GAIN_DB) + rng.uniform(-TILT_DB, TILT_DB) * octaves
    for ripple in RIPPLES:
        phase = 2 * np.pi * (ripple * octaves + rng.random())
        decibels = decibels + rng.uniform(0, RIPPLE_DB) * np.cos(phase)
    return coloured(wave, decibels)


def coloured(wave: Float[np.ndarray, "s"], decibels: np.ndarray) -> Float[np.ndarray, "s"]:
    """Waveform through a gain in dB at each frequency of its real FFT "k"."""
    spectrum = np.fft.rfft(wave) * 10 ** (decibels / 20)
    return np.fft.irfft(spectrum, len(wave)).astype(np.float32)


def smooth_colours(hz: Float[np.ndarray, "f"]) -> Float[np.ndarray, "4 f"]:
    """Frequencies -> a constant and three half cosines over the octaves from 60 Hz to 8 kHz."""
    place = np.log2(np.maximum(hz, 60) / 60) / np.log2(8000 / 60)
    return np.cos(np.pi * np.arange(len(COLOUR_DB))[:, None] * place)
