"""Cancels in the near microphone what the far one records too, and checks that faults survive.

DCASE 2026 records each machine with a microphone near it and one far from it. The far one records
the same room, and more or less of the machine.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Complex, Float

# samples of the short-time Fourier transform
FRAME = 1024
HOP = 512
_PEAK = 0.9
_FLOOR = 1e-12
# A room is about equally loud at both microphones, so a sound that is 2 dB louder near than far
# comes from the machine.
LOUDER = 1.25


def cancelled(
    near: Float[np.ndarray, "s"], far: Float[np.ndarray, "s"], *, guarded: bool = False
) -> Float[np.ndarray, "s"]:
    """Returns the near channel (s,) without what one linear filter predicts of it from the far one.

    The filter has one complex coefficient per frequency and clip, the least-squares solution
    H = sum_t C conj(F) / (sum_t |F|^2 + 1e-12) on spectra of 1024 samples every 512 (periodic Hann,
    centred, reflected), after both channels are scaled together to a peak of 0.9. This is "W1" of
    github kasahart/asd-experiments.

    Args:
        near: the near channel.
        far: the far channel, which records the machine too.
        guarded: leave frequencies as they are where the filter's gain exceeds LOUDER: what is
            predicted there is the machine, and perhaps a fault.
    """
    peak = max(np.abs(near).max(), np.abs(far).max())
    if not peak:
        return near.astype(np.float32)
    # The public code scales before it fits; the floor of the filter makes a difference.
    scale = _PEAK / float(peak)
    c = _spectra(near * scale)
    f = _spectra(far * scale)
    return (_wave(c - _filter(c, f, guarded) * f, len(near)) / scale).astype(np.float32)


class Cancelling(NamedTuple):
    """What cancelling takes from the near channel, as shares of its energy.

    Attributes:
        removed: all that is removed.
        of_machine: what is removed although it is 2 dB louder near than far, so that it comes from
            the machine; `guarded` keeps this.
    """

    removed: float
    of_machine: float


def cancelling(near: Float[np.ndarray, "s"], far: Float[np.ndarray, "s"]) -> Cancelling:
    """Returns what `cancelled` would remove from the near channel of a clip."""
    c = _spectra(near)
    f = _spectra(far)
    h = _filter(c, f)
    taken = np.sum(np.abs(h * f) ** 2, axis=0)
    whole = max(float(np.sum(np.abs(c) ** 2)), _FLOOR)
    own = np.abs(h) > LOUDER
    return Cancelling(float(taken.sum()) / whole, float(taken[own].sum()) / whole)


def fault_share(
    near: Float[np.ndarray, "s"],
    far: Float[np.ndarray, "s"],
    fault_near: Float[np.ndarray, "s"],
    fault_far: Float[np.ndarray, "s"],
    *,
    guarded: bool = False,
) -> float:
    """Returns the share of a known fault's energy that `cancelled` leaves in a recording of it.

    The filter is fitted to the recording, near and far, and applied to the fault alone.
    """
    h = _filter(_spectra(near), _spectra(far), guarded)
    fault = _spectra(fault_near)
    left = np.abs(fault - h * _spectra(fault_far)) ** 2
    return float(left.sum() / max(np.sum(np.abs(fault) ** 2), _FLOOR))


def _filter(
    c: Complex[np.ndarray, "t k"], f: Complex[np.ndarray, "t k"], guarded: bool = False
) -> np.ndarray:
    h = np.sum(c * f.conj(), axis=0) / (np.sum(np.abs(f) ** 2, axis=0) + _FLOOR)
    return np.where(np.abs(h) > LOUDER, 0, h) if guarded else h


def _spectra(wave: Float[np.ndarray, "s"]) -> Complex[np.ndarray, "t k"]:
    """Returns centred, reflected frames' spectra; a clip shorter than a frame is filled up."""
    wave = np.asarray(wave, np.float64)
    padded = np.pad(wave, FRAME // 2, mode="reflect" if len(wave) > FRAME // 2 else "symmetric")
    # A whole number of hops, as a frame is too, so that no sample is left without a frame.
    padded = np.pad(padded, (0, -len(padded) % HOP))
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[::HOP]
    return np.fft.rfft(frames * _window(), axis=1)


def _wave(spectra: Complex[np.ndarray, "t k"], samples: int) -> Float[np.ndarray, "s"]:
    """Returns the waveform of the spectra by weighted overlap-add."""
    window = _window()
    frames = np.fft.irfft(spectra, FRAME, axis=1) * window
    total = np.zeros((len(frames) - 1) * HOP + FRAME)
    weight = np.zeros_like(total)
    for number, frame in enumerate(frames):
        place = slice(number * HOP, number * HOP + FRAME)
        total[place] += frame
        weight[place] += window**2
    inside = slice(FRAME // 2, FRAME // 2 + samples)
    # The window weighted each frame twice, in `_spectra` and here.
    return total[inside] / weight[inside]


def _window() -> np.ndarray:
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FRAME) / FRAME)
