"""Turns what other libraries pass around, lists of waveforms or of file names, into waveforms."""

import os
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np
from jaxtyping import Float

from asd_jax.data.audio import read_clip
from asd_jax.runtime.errors import InputError, error_context

Sounds: TypeAlias = Sequence[str | os.PathLike | np.ndarray] | np.ndarray


def waveforms(sounds: Sounds, sample_rate: int) -> list[Float[np.ndarray, "s"]]:
    """Returns one float waveform "s" in [-1, 1] at `sample_rate` per sound.

    Files are read and resampled; waveforms are expected to have the rate already.

    Args:
        sounds: waveforms, which may differ in length, or file names; an array "b s" holds b
            waveforms.
        sample_rate: in Hz.

    Raises:
        InputError: a sound is neither a waveform nor a readable recording, or the whole is not a
            list of sounds. The message names the file or the position in the list.
    """
    listed = list_of_sounds(sounds)
    return [_waveform(sound, number, sample_rate) for number, sound in enumerate(listed)]


def list_of_sounds(sounds: Sounds) -> Sounds:
    """Returns the sounds as a sequence or an array, whatever form another library keeps them in.

    Raises:
        InputError: it is no list of sounds.
    """
    # scikit-learn passes sparse arrays on to estimators unless they refuse.
    if hasattr(sounds, "toarray"):
        raise InputError("a sparse array: waveforms are dense")
    if hasattr(sounds, "__array__"):
        sounds = np.asarray(sounds)
    if isinstance(sounds, str | os.PathLike) or not isinstance(sounds, Iterable):
        raise InputError(f"expected a list of waveforms or file names, got {type(sounds).__name__}")
    if isinstance(sounds, np.ndarray) and sounds.ndim == 1 and sounds.dtype.kind in "fiuc":
        raise InputError("a single waveform where a list is expected: give [wave]")
    return sounds if isinstance(sounds, Sequence | np.ndarray) else list(sounds)


def names_of_sounds(sounds: Sounds) -> list[str]:
    """Returns a name per sound for messages: the file, or "sound N", counted from 0."""
    return [
        os.fspath(sound) if isinstance(sound, str | os.PathLike) else f"sound {number}"
        for number, sound in enumerate(sounds)
    ]


def _waveform(sound, number, sample_rate) -> np.ndarray:
    if isinstance(sound, str | os.PathLike):
        return read_clip(os.fspath(sound), sample_rate=sample_rate)
    with error_context(f"sound {number}"):
        wave = np.asarray(sound)
        if wave.dtype.kind == "c":
            raise InputError("Complex data not supported; give real samples in [-1, 1]")
        if wave.ndim != 1 or wave.dtype.kind != "f":
            raise InputError(
                f"{wave.dtype} of shape {wave.shape}; expected one channel of floats in [-1, 1], "
                "or a file name"
            )
    return wave
