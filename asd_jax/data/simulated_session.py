"""Simulates how a recording might sound in another session, e.g. on another day, with a slightly
different microphone position and machine speed.

This replaces sessions that were never recorded. The amounts of change are chosen, not fitted: half
of the variation between the factory's microphones, and the speed drift within one of its clips.
"""

import zlib

import numpy as np
from jaxtyping import Float

# Standard deviation of the level, which depends on the input gain and the distance.
GAIN_DB = 1.5
# The largest tilt per octave.
TILT_DB = 0.5
# The largest amplitude of each of three ripples over octaves, which stand for room, direction and
# mounting.
RIPPLE_DB = 0.5
RIPPLES = (0.3, 0.7, 1.3)  # cycles per octave
# The largest correction of a session's level and of each of three smooth spectral shapes: three
# standard deviations, and the tilt over half of the audible octaves together with the ripples.
COLOUR_DB = (4.5, 3.0, 3.0, 3.0)
# The largest relative change of speed, due to load, temperature or mains frequency.
SPEED = 0.01


def simulated_session(
    wave: Float[np.ndarray, "s"], rate: int, number: int = 0
) -> Float[np.ndarray, "s"]:
    """Returns the waveform as it might sound in another session.

    The change is seeded by the waveform, so the same waveform always gives the same sessions.

    Args:
        wave: The waveform.
        rate: Its sampling rate in Hz.
        number: Number of the session; each number gives another change.
    """
    rng = np.random.default_rng(zlib.crc32(np.ascontiguousarray(wave)) + number)
    samples = np.arange(len(wave))
    place = samples * (1 + rng.uniform(-SPEED, SPEED))
    # A faster clip ends early; it is reflected at its end, which has no click.
    wave = np.interp(np.where(place > samples[-1], 2 * samples[-1] - place, place), samples, wave)
    hz = np.fft.rfftfreq(len(wave), 1 / rate)
    # Constant below 60 Hz, as the tilt would be infinite at 0.
    octaves = np.log2(np.maximum(hz, 60) / 1000)
    decibels = rng.normal(0, GAIN_DB) + rng.uniform(-TILT_DB, TILT_DB) * octaves
    for ripple in RIPPLES:
        phase = 2 * np.pi * (ripple * octaves + rng.random())
        decibels = decibels + rng.uniform(0, RIPPLE_DB) * np.cos(phase)
    return coloured(wave, decibels)


def coloured(wave: Float[np.ndarray, "s"], decibels: np.ndarray) -> Float[np.ndarray, "s"]:
    """Returns the waveform with a gain in dB applied at each frequency of its real FFT."""
    spectrum = np.fft.rfft(wave) * 10 ** (decibels / 20)
    return np.fft.irfft(spectrum, len(wave)).astype(np.float32)


def smooth_colours(hz: Float[np.ndarray, "f"]) -> Float[np.ndarray, "4 f"]:
    """Returns a constant and three half cosines over the octaves from 60 Hz to 8 kHz, at the given
    frequencies.
    """
    place = np.log2(np.maximum(hz, 60) / 60) / np.log2(8000 / 60)
    return np.cos(np.pi * np.arange(len(COLOUR_DB))[:, None] * place)
