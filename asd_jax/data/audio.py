"""Audio files to waveforms: read, pick a channel, resample, bring to length."""

import functools
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soxr
from jaxtyping import Float, Int16, Shaped

from asd_jax.data.decode import Recording, opened
from asd_jax.runtime.errors import InputError

FRAME_MS = 25  # one frame of the filter bank: the least there is to hear
LONGEST_S = 3600  # a recording is held in memory as a whole
RESAMPLERS = ("soxr", "torchaudio")
LOUDEST = 4  # 12 dB over full scale: not a loud recording but another unit
CANCELLED = 1e-4  # of the channels' power left in their mean: one is wired the other way round


def read_clip(
    path: str | Path,
    *,
    sample_rate: int = 16000,
    channel: int | str = "mean",
    resampler: str = "soxr",
) -> Float[np.ndarray, "s"]:
    """Audio file -> float32 waveform in [-1, 1] at `sample_rate`, one channel.

    wav (also RF64, BW64, W64, MP3 in it), flac, ogg, mp3, aiff, au, caf and NIST, of any bit depth
    and rate, up to an hour. Its length is what is there: a file that does not hold what its header
    states, or holds more, is refused. What exceeds full scale a little (loud float files, ringing
    of the resampler) is clipped to it.

    Args:
        path: the file.
        sample_rate: wanted, in Hz.
        channel: "mean" of all, a channel's number from 0, or of a stereo pair as in DCASE 2026
            "near" (left), "far" (right) or "difference" ((near - far) / 2, which cancels sound from
            afar).
        resampler: "soxr", or "torchaudio" for parity (see `resample`).

    Raises:
        InputError: names the file that is missing, not audio, truncated, more than one recording,
            empty, shorter than a 25 ms frame, longer than an hour, without that channel, of
            channels that cancel out, not finite, or float without being scaled to [-1, 1].
    """
    wave = _read(path, sample_rate, channel, resampler)
    return _scaled(wave) if wave.dtype == np.int16 else wave


def read_clip_int16(
    path: str | Path,
    *,
    sample_rate: int = 16000,
    channel: int | str = "mean",
    resampler: str = "soxr",
) -> Int16[np.ndarray, "s"]:
    """`read_clip` in steps of 1/32768: exact for one channel of 16-bit files at that rate, else to
    half a step.
    """
    wave = _read(path, sample_rate, channel, resampler)
    return wave if wave.dtype == np.int16 else to_int16(wave)


def to_int16(wave: Float[np.ndarray, "s"]) -> Int16[np.ndarray, "s"]:
    """Waveform -> the same in steps of 1/32768, clipped to [-1, 1)."""
    return np.clip(np.rint(wave * 32768), -32768, 32767).astype(np.int16)


def audio_format(path: str | Path) -> tuple[float, int, int]:
    """Audio file -> (seconds, sampling rate in Hz, channels): the length by its size where samples
    are as they are, else by decoding it, since the headers of compressed files may be wrong.

    Raises:
        InputError: names the file that is missing, not audio, truncated, empty, shorter than a 25
            ms frame or longer than an hour.
    """
    with opened(path) as sound:
        frames = sound.frames
        if frames is None:
            frames = sum(map(len, _limited(sound)))
        _check_length(frames, sound.rate)
        return frames / sound.rate, sound.rate, sound.channels


def sampling_rate(path: str | Path) -> int:
    """Audio file -> its sampling rate in Hz.

    Raises:
        InputError: names the file that cannot be opened as sound.
    """
    with opened(path) as sound:
        return sound.rate


def resample(
    wave: Float[np.ndarray, "s"], rate: int, to: int, *, method: str = "soxr"
) -> Float[np.ndarray, "r"]:
    """Waveform at `rate` -> float32 waveform at `to` Hz, r = s * to / rate.

    `soxr` is better and faster. `torchaudio` gives what torchaudio.functional.resample gives by
    default, sample for sample: a sinc windowed by a squared cosine, 6 zero crossings wide, cut off
    at 0.99 of the lower Nyquist rate.

    Raises:
        InputError: no such method.
    """
    if method not in RESAMPLERS:
        raise InputError(f"no resampler {method!r}; choose {' or '.join(RESAMPLERS)}")
    wave = wave.astype(np.float32, copy=False)
    if rate == to:
        return wave
    if method == "soxr":
        return soxr.resample(wave, rate, to)
    divisor = math.gcd(rate, to)
    step, phases = rate // divisor, to // divisor
    kernel, width = _sinc_kernel(step, phases)
    padded = np.pad(wave, (width, width + step))
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape[1])[::step]
    return (windows @ kernel.T).reshape(-1)[: -(-phases * len(wave) // step)]


def fit_length(
    wave: Shaped[np.ndarray, "s"], samples: int, *, pad: str = "repeat"
) -> Shaped[np.ndarray, "t"]:
    """Waveform of any length -> the first `samples` samples of it; if it is shorter, repeated from
    its start.

    The one rule for length. Not padded with zeros unless pad="zeros" asks for it: the log filter
    bank of digital silence is ln(2^-23) = -15.9, far below any recording, and the classifier would
    learn the length of a machine's clips instead of its sound.

    Raises:
        InputError: no such way to pad, or nothing to be repeated: digital silence is no sound.
    """
    if not len(wave):
        raise InputError("no samples where a window of a recording is to be heard")
    if pad not in ("repeat", "zeros"):
        raise InputError(f"data.pad={pad!r}; known: repeat, zeros")
    if pad == "zeros" and len(wave) < samples:
        return np.pad(wave, (0, samples - len(wave)))
    return np.resize(wave, samples)


@functools.cache
def _sinc_kernel(step: int, phases: int) -> tuple[Float[np.ndarray, "p k"], int]:
    """One filter for each output phase, in float64 until the end as torchaudio has it, and its half
    width.
    """
    zeros, rolloff = 6, 0.99
    cutoff = min(step, phases) * rolloff
    width = math.ceil(zeros * step / cutoff)
    time = np.arange(-width, width + step) / step - np.arange(phases)[:, None] / phases
    crossings = np.clip(time * cutoff, -zeros, zeros)
    kernel = np.sinc(crossings) * np.cos(crossings * np.pi / zeros / 2) ** 2 * cutoff / step
    return kernel.astype(np.float32), width


def _read(
    path: str | Path, sample_rate: int, channel: int | str, resampler: str
) -> Shaped[np.ndarray, "s"]:
    """The checked waveform: int16 as stored where that is exact, else float32."""
    with opened(path) as sound:
        rate, blocks = sound.rate, [_pick(block, channel) for block in _limited(sound)]
        wave = np.concatenate(blocks) if len(blocks) != 1 else blocks[0]
        if wave.dtype == np.int16:
            if rate == sample_rate:
                return wave
            return resample(_scaled(wave), rate, sample_rate, method=resampler).clip(-1, 1)
        loudest = np.abs(wave).max()
        if not np.isfinite(loudest):
            raise InputError("NaN or infinity among the samples")
        if loudest > LOUDEST:
            raise InputError(f"samples up to {loudest:.4g}; scale the recording to [-1, 1]")
        return resample(wave, rate, sample_rate, method=resampler).clip(-1, 1)


def _limited(sound: Recording) -> Iterator[Shaped[np.ndarray, "s c"]]:
    """The blocks of a recording that is neither too short nor too long."""
    if sound.frames is not None:
        _check_length(sound.frames, sound.rate)
    count = 0
    for block in sound.blocks():
        count += len(block)
        if count > LONGEST_S * sound.rate:
            break
        yield block
    _check_length(count, sound.rate)


def _scaled(wave: Int16[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    return wave * np.float32(1 / 32768)


def _check_length(samples: int, rate: int) -> None:
    if not samples:
        raise InputError("empty, no samples in it")
    if samples * 1000 < FRAME_MS * rate:
        raise InputError(
            f"{samples} samples at {rate} Hz are shorter than one frame of {FRAME_MS} ms"
        )
    if samples > LONGEST_S * rate:
        raise InputError(f"longer than {LONGEST_S} s; split it into clips")


def _pick(block: Shaped[np.ndarray, "s c"], channel: int | str) -> Shaped[np.ndarray, "s"]:
    """One channel of the samples as they are, or a mixture of several in float32."""
    named: dict[int | str, int] = {"mean": 0, "near": 0, "far": 1, "difference": 1}
    number = named.get(channel, channel)
    if isinstance(number, str) and not number.isdigit():
        raise InputError(
            f"no channel {channel!r}; choose mean, near, far, difference or a number from 0"
        )
    channels = block.shape[1]
    if not 0 <= int(number) < channels:
        raise InputError(f"no channel {channel!r} in a file of {channels} channel(s)")
    if channels == 1 or channel not in ("mean", "difference"):
        return np.ascontiguousarray(block[:, int(number)])
    block = _scaled(block) if block.dtype == np.int16 else block
    if channel == "difference":
        return (block[:, 0] - block[:, 1]) / 2
    mean = block.mean(axis=1)
    if np.vdot(mean, mean) * channels < CANCELLED * np.vdot(block, block):
        raise InputError("its channels cancel out in their mean: choose one, e.g. channel 0")
    return mean
