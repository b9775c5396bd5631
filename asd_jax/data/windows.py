"""Clips of any length: overlapping windows whose scores are merged, or lengths in buckets."""

import math

import numpy as np
from jaxtyping import Float, Int, Shaped

from asd_jax.data.audio import fit_length
from asd_jax.errors import InputError

FRAME_MS, HOP_MS = 25, 10  # of the filter bank


def cut_windows(wave: Shaped[np.ndarray, "s"], samples: int, hop: int) -> tuple[Shaped[np.ndarray, "w t"], np.ndarray]:
    """Waveform -> overlapping windows of `samples` samples, and the sample at which each starts.

    Windows start every `hop` samples and the last ends with the clip, so that nothing is left unheard. A clip shorter
    than one window gives one window, by `fit_length`.
    """
    starts = np.arange(0, max(1, len(wave) - samples + hop), hop)
    starts = np.minimum(starts, max(0, len(wave) - samples))
    return np.stack([fit_length(wave[start:], samples) for start in starts]), starts


def merge_windows(
    scores: Float[np.ndarray, "w"], clip: Int[np.ndarray, "w"], *, how: str = "mean"
) -> Float[np.ndarray, "b"]:
    """Scores of windows and the number 0..b-1 of the clip of each -> the "mean" or "max" score of each clip.

    Raises:
        InputError: no such way to merge.
    """
    if how not in ("mean", "max"):
        raise InputError(f"no way {how!r} to merge the scores of windows; choose mean or max")
    if how == "mean":
        return np.bincount(clip, scores) / np.bincount(clip)
    merged = np.full(clip.max() + 1, -np.inf)
    np.maximum.at(merged, clip, scores)
    return merged


def bucket_samples(samples: int, *, sample_rate: int = 16000, frames: int = 32) -> int:
    """Length of a clip -> the least length >= it that makes a multiple of `frames` filter-bank frames.

    For clips of their own lengths, brought there by `fit_length`: jit then compiles once for each multiple of 32
    frames (a tile of SimAM, two patches of EAT) instead of once for each length.
    """
    frame, hop = FRAME_MS * sample_rate // 1000, HOP_MS * sample_rate // 1000
    there = max(1, math.ceil((samples - frame) / hop) + 1)
    return frame + (math.ceil(there / frames) * frames - 1) * hop
