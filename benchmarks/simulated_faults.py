"""Simulates faults in recordings of a healthy machine, to compare detectors without anomalies.

Each kind changes the sound as a common fault does: a squeal, worn bearings, rubbing, a part that is
missing or loose. Levels are relative to the sound itself in the fault's own band, and range from
barely audible to clear, so that detectors differ. Nothing is fitted to recordings.
"""

import numpy as np
from jaxtyping import Float

from asd_jax.data.simulated_session import coloured

# In dB relative to the power of the sound in the fault's own band.
ADDED_DB = (-6.0, 18.0)
REMOVED_DB = (-20.0, -6.0)
DEPTH = (0.4, 1.0)  # of a modulation
LOWEST_HZ = 150.0
HIGHEST_HZ = 7000.0


def simulated_fault(
    wave: Float[np.ndarray, "s"], rate: int, rng: np.random.Generator
) -> Float[np.ndarray, "s"]:
    """Returns the waveform with a fault of a random kind, frequency and severity.

    Args:
        wave: The waveform.
        rate: Its sampling rate in Hz.
        rng: Source of the randomness.
    """
    kind = (_squeal, _strikes, _rubbing, _missing_band, _modulation)[rng.integers(5)]
    highest = min(HIGHEST_HZ, 0.45 * rate)
    centre = float(np.exp(rng.uniform(np.log(LOWEST_HZ), np.log(highest))))
    return kind(np.asarray(wave, np.float32), rate, centre, rng).astype(np.float32)


def _squeal(wave, rate, centre, rng):
    """Returns the waveform with a tone and two harmonics whose pitch wavers slightly."""
    seconds = np.arange(len(wave)) / rate
    waver = 1 + 0.003 * np.sin(2 * np.pi * rng.uniform(0.2, 3) * seconds)
    phase = 2 * np.pi * np.cumsum(centre * waver) / rate
    orders = [order for order in (1, 2, 3) if order * centre < 0.45 * rate]
    return _added(wave, sum(np.sin(order * phase) / order for order in orders), rate, centre, rng)


def _strikes(wave, rate, centre, rng):
    """Returns the waveform with ringing strikes at nearly regular intervals."""
    interval = rate / rng.uniform(2, 80)
    count = int(len(wave) / interval) + 1
    at = np.cumsum(interval * (1 + rng.normal(0, 0.02, count))).astype(int)
    strikes = np.zeros(len(wave))
    strikes[at[at < len(wave)]] = 1
    ring = np.arange(int(0.02 * rate)) / rate
    decay = np.exp(-ring * np.pi * centre / rng.uniform(8, 20)) * np.sin(2 * np.pi * centre * ring)
    return _added(wave, np.convolve(strikes, decay)[: len(wave)], rate, centre, rng)


def _rubbing(wave, rate, centre, rng):
    """Returns the waveform with a band of noise that comes and goes."""
    noise = _band(rng.standard_normal(len(wave)), rate, centre)
    turn = 2 * np.pi * rng.uniform(0.5, 10) * np.arange(len(wave)) / rate
    contact = np.exp(3 * (np.cos(turn + rng.uniform(0, 2 * np.pi)) - 1))
    return _added(wave, contact * noise, rate, centre, rng)


def _missing_band(wave, rate, centre, rng):
    """Returns the waveform with less power in the octave around the centre."""
    octaves = np.log2(np.maximum(np.fft.rfftfreq(len(wave), 1 / rate), 1) / centre)
    return coloured(wave, rng.uniform(*REMOVED_DB) * np.exp(-np.square(2 * octaves)))


def _modulation(wave, rate, centre, rng):
    """Returns the waveform with the octave around the centre swelling and fading."""
    band = _band(wave, rate, centre)
    turn = 2 * np.pi * rng.uniform(0.5, 20) * np.arange(len(wave)) / rate
    return wave + rng.uniform(*DEPTH) * np.cos(turn + rng.uniform(0, 2 * np.pi)) * band


def _band(wave, rate, centre):
    """Returns the octave around the centre of a waveform."""
    hz = np.fft.rfftfreq(len(wave), 1 / rate)
    inside = (hz > centre / np.sqrt(2)) & (hz < centre * np.sqrt(2))
    return np.fft.irfft(np.fft.rfft(wave) * inside, len(wave))


def _added(wave, fault, rate, centre, rng):
    """Returns the sum of a waveform and a fault, whose level is relative to its own octave."""
    usual = np.sqrt(np.square(_band(wave, rate, centre)).mean())
    own = np.sqrt(np.square(fault).mean())
    gain = usual / max(own, 1e-12) * 10 ** (rng.uniform(*ADDED_DB) / 20)
    return wave + gain * fault
