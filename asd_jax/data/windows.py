"""Brings clips of any length to the lengths the encoder accepts: one fixed length, overlapping
windows, or bucketed lengths.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Shaped

from asd_jax.data.audio import audio_format, fit_length
from asd_jax.data.clips import Clip
from asd_jax.features.front_end import FRAME_MULTIPLE
from asd_jax.features.settings import FRAME_MS, HOP_MS
from asd_jax.runtime.errors import InputError

LENGTHS = ("fit", "window", "bucket")


@dataclasses.dataclass(frozen=True)
class Window(Clip):
    """A segment of a recording as the encoder receives it: `samples` samples from sample `start`
    on.
    """

    start: int = 0
    samples: int = 0


def windows_of(
    clips: Sequence[Clip], *, length: str, samples: int, hop: int = 0, sample_rate: int = 16000
) -> list[Window]:
    """Returns the windows of every clip that the encoder receives, in order.

    Args:
        clips: The recordings. Their headers are read unless `length` is "fit".
        length: "fit" takes the first `samples` samples and repeats shorter clips; "window" takes
            windows of `samples` samples every `hop` (see `cut_windows`); "bucket" takes the whole
            clip, brought to the next multiple of 32 frames so that few different lengths occur.
        samples: Length of a window in samples.
        hop: Distance between the starts of windows in samples.
        sample_rate: Rate in Hz at which the clips are read.

    Raises:
        InputError: `length` is unknown, or a clip cannot be read.
    """
    if length not in LENGTHS:
        raise InputError(f"data.length={length!r}; known: {', '.join(LENGTHS)}")
    windows = []
    for clip in clips:
        known = vars(clip)
        # The length of a clip that is cut or repeated anyway need not be known.
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
    """Returns overlapping windows of `samples` samples, and the sample at which each starts.

    Windows start every `hop` samples, and the last one ends with the clip so that no part of it is
    skipped. A clip shorter than one window gives one window, by `fit_length`.
    """
    starts = window_starts(len(wave), samples, hop)
    return np.stack([fit_length(wave[start:], samples) for start in starts]), starts


def window_starts(length: int, samples: int, hop: int) -> np.ndarray:
    """Returns the samples at which the windows of a clip start (see `cut_windows`)."""
    return np.minimum(np.arange(0, max(1, length - samples + hop), hop), max(0, length - samples))


def bucket_samples(samples: int, *, sample_rate: int = 16000) -> int:
    """Returns the smallest length >= `samples` that makes a multiple of 32 filter-bank frames.

    `fit_length` then brings a clip to that length, so jit compiles once for each multiple of 32
    frames (a tile of SimAM, two patches of EAT) instead of once for each length.
    """
    frame = FRAME_MS * sample_rate // 1000
    hop = HOP_MS * sample_rate // 1000
    # Rounded up, so that no sample of the clip is cut off.
    there = max(1, math.ceil((samples - frame) / hop) + 1)
    return frame + (math.ceil(there / FRAME_MULTIPLE) * FRAME_MULTIPLE - 1) * hop
