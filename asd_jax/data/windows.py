"""Clips of any length: one fixed length, overlapping windows, or lengths in buckets."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Shaped

from asd_jax.data.audio import audio_format, fit_length
from asd_jax.data.clips import Clip
from asd_jax.features.filter_bank import FRAME_MS, HOP_MS
from asd_jax.features.front_end import FRAME_MULTIPLE
from asd_jax.runtime.errors import InputError

LENGTHS = ("fit", "window", "bucket")


@dataclasses.dataclass(frozen=True)
class Window(Clip):
    """A stretch of a recording as the encoder hears it: `samples` samples from sample `start`
    on.
    """

    start: int = 0
    samples: int = 0


def windows_of(
    clips: Sequence[Clip], *, length: str, samples: int, hop: int = 0, sample_rate: int = 16000
) -> list[Window]:
    """Clips -> what is heard of each, in order.

    Args:
        clips: recordings; but for "fit" their headers are read.
        length: "fit", the first `samples` samples, repeated if there are fewer; "window", windows
            of `samples` samples every `hop` (see `cut_windows`); "bucket", the whole clip, brought
            to the next multiple of 32 frames so that few lengths occur.
        samples: of a window.
        hop: samples between windows.
        sample_rate: that the clips are read at, in Hz.

    Raises:
        InputError: no such length, or a clip that cannot be read.
    """
    if length not in LENGTHS:
        raise InputError(f"data.length={length!r}; known: {', '.join(LENGTHS)}")
    windows = []
    for clip in clips:
        known = vars(clip)
        whole = samples if length == "fit" else round(audio_format(clip.path)[0] * sample_rate)
        if length == "bucket":
            windows.append(Window(**known, samples=bucket_samples(whole, sample_rate=sample_rate)))
        else:
            starts = [0] if length == "fit" else window_starts(whole, samples, hop).tolist()
            windows += [Window(**known, start=start, samples=samples) for start in starts]
    return windows


def cut_windows(
    wave: Shaped[np.ndarray, "s"], samples: int, hop: int
) -> tuple[Shaped[np.ndarray, "w t"], np.ndarray]:
    """Waveform -> overlapping windows of `samples` samples, and the sample at which each starts.

    Windows start every `hop` samples and the last ends with the clip, so that nothing is left
    unheard. A clip shorter than one window gives one window, by `fit_length`.
    """
    starts = window_starts(len(wave), samples, hop)
    return np.stack([fit_length(wave[start:], samples) for start in starts]), starts


def window_starts(length: int, samples: int, hop: int) -> np.ndarray:
    """Length of a clip -> where its windows start, in samples (see `cut_windows`)."""
    return np.minimum(np.arange(0, max(1, length - samples + hop), hop), max(0, length - samples))


def bucket_samples(samples: int, *, sample_rate: int = 16000) -> int:
    """Length of a clip -> the least length >= it that makes a multiple of 32 filter-bank frames.

    For clips of their own lengths, brought there by `fit_length`: jit then compiles once for each
    multiple of 32 frames (a tile of SimAM, two patches of EAT) instead of once for each length.
    """
    frame, hop = FRAME_MS * sample_rate // 1000, HOP_MS * sample_rate // 1000
    there = max(1, math.ceil((samples - frame) / hop) + 1)
    return frame + (math.ceil(there / FRAME_MULTIPLE) * FRAME_MULTIPLE - 1) * hop
