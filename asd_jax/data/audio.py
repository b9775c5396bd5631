"""Reads audio files as waveforms: decodes, selects a channel, resamples and sets the length."""

import functools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import soxr
from jaxtyping import Float, Int16, Shaped

from asd_jax.data.decode import Recording, open_recording
from asd_jax.data.two_microphones import cancelled
from asd_jax.features.settings import FRAME_MS
from asd_jax.runtime.errors import InputError

# A whole recording is held in memory, which limits its length.
LONGEST_S = 3600
RESAMPLERS = ("soxr", "torchaudio")
LEVEL_DB = -30.0  # RMS against full scale of a clip whose level is normalised
QUIETEST = 1e-5  # RMS below which it is silence, which is not scaled up further
# 12 dB above full scale. Samples beyond it are not a loud recording but in another unit.
LOUDEST = 4
# If less than this share of the channels' power is left in their mean, one channel is wired with
# inverted polarity.
CANCELLED = 1e-4


def read_clip(
    path: str | Path,
    *,
    sample_rate: int = 16000,
    channel: int | str = "mean",
    resampler: str = "soxr",
) -> Float[np.ndarray, "s"]:
    """Returns one channel of an audio file as a float32 waveform in [-1, 1] at `sample_rate`.

    Reads wav (also RF64, BW64, W64 and wav files that contain MP3), flac, ogg, mp3, aiff, au, caf
    and NIST files of any bit depth and rate, up to an hour long. The length is determined by what
    the file contains: a file that holds less or more than its header states is rejected. Samples
    that exceed full scale slightly (loud float files, ringing of the resampler) are clipped.

    Args:
        path: The file.
        sample_rate: The rate wanted, in Hz.
        channel: "mean" of all channels, the number of a channel counted from 0, or, for a stereo
            pair as in DCASE 2026, "near" (left), "far" (right), "difference" ((near - far) / 2,
            which cancels distant sound), "cancelled" (the near channel without what a filter
            predicts of it from the far one) or "guarded" (likewise, but what is louder near than
            far is kept; see asd_jax.data.two_microphones).
        resampler: "soxr", or "torchaudio" for parity (see `resample`).

    Raises:
        InputError: The file is missing, not audio, truncated, more than one recording, empty,
            shorter than a 25 ms frame, longer than an hour, without that channel, has channels that
            cancel each other, has samples that are not finite, or is float without being scaled to
            [-1, 1]. The message names the file.

    Example:
        wave = read_clip("fan.wav")  # float32, 16 kHz
        near = read_clip("stereo.wav", channel="near")
    """
    wave = _read(path, sample_rate, channel, resampler)
    return to_float32(wave)


def read_clip_int16(
    path: str | Path,
    *,
    sample_rate: int = 16000,
    channel: int | str = "mean",
    resampler: str = "soxr",
) -> Int16[np.ndarray, "s"]:
    """Returns what `read_clip` does, as int16 in steps of 1/32768.

    This is exact for one channel of a 16-bit file at `sample_rate`, and rounded to half a step
    otherwise.
    """
    wave = _read(path, sample_rate, channel, resampler)
    return wave if wave.dtype == np.int16 else to_int16(wave)


def to_int16(wave: Float[np.ndarray, "*s"]) -> Int16[np.ndarray, "*s"]:
    """Returns the waveform as int16 in steps of 1/32768, clipped to [-1, 1)."""
    # Rounded here, because soundfile would scale floats by 32767.
    return np.clip(np.rint(wave * 32768), -32768, 32767).astype(np.int16)


def to_float32(samples: Shaped[np.ndarray, "*s"]) -> Float[np.ndarray, "*s"]:
    """Returns int16 samples as float32 in [-1, 1); floats are returned unchanged."""
    return samples * np.float32(1 / 32768) if samples.dtype == np.int16 else samples


def audio_format(path: str | Path) -> tuple[float, int, int]:
    """Returns the duration in seconds, the sampling rate in Hz and the number of channels of a
    file.

    The duration follows from the file's size if the samples are uncompressed. A compressed file is
    decoded, since its header may be wrong.

    Raises:
        InputError: The file is missing, not audio, truncated, empty, shorter than a 25 ms frame or
            longer than an hour. The message names the file.
    """
    with open_recording(path) as sound:
        frames = sound.frames
        if frames is None:
            frames = sum(map(len, _limited(sound)))
        _check_length(frames, sound.rate)
        return frames / sound.rate, sound.rate, sound.channels


def sampling_rate(path: str | Path) -> int:
    """Returns the sampling rate of an audio file in Hz.

    Raises:
        InputError: The file cannot be opened as sound. The message names it.
    """
    with open_recording(path) as sound:
        return sound.rate


def resample(
    wave: Float[np.ndarray, "s"], rate: int, to: int, *, method: str = "soxr"
) -> Float[np.ndarray, "r"]:
    """Returns the waveform resampled from `rate` to `to` Hz as float32, of length r = s * to /
    rate.

    `soxr` is better and faster. `torchaudio` matches the default of torchaudio.functional.resample
    sample for sample: a sinc windowed by a squared cosine, 6 zero crossings wide, with its cutoff
    at 0.99 of the lower Nyquist rate.

    Raises:
        InputError: The method is unknown.
    """
    if method not in RESAMPLERS:
        raise InputError(f"no resampler {method!r}; choose {' or '.join(RESAMPLERS)}")
    # soxr would return float64 for float64, and every later step expects float32.
    wave = wave.astype(np.float32, copy=False)
    if rate == to:
        return wave
    if method == "soxr":
        return soxr.resample(wave, rate, to)
    divisor = math.gcd(rate, to)
    step = rate // divisor
    phases = to // divisor
    # At a ratio of step to phases, the filters repeat after `phases` output samples.
    kernel, width = _sinc_kernel(step, phases)
    # Zeros around the waveform and a length rounded up, as in torchaudio.
    padded = np.pad(wave, (width, width + step))
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape[1])[::step]
    return (windows @ kernel.T).reshape(-1)[: -(-phases * len(wave) // step)]


def fit_length(
    wave: Shaped[np.ndarray, "s"], samples: int, *, pad: str = "repeat"
) -> Shaped[np.ndarray, "t"]:
    """Returns the first `samples` samples of a waveform, which is repeated from its start if it is
    shorter.

    All code that needs a fixed length uses this function. Zeros are used only with pad="zeros": the
    log filter bank of digital silence is ln(2^-23) = -15.9, far below any recording, and the
    classifier would learn the length of a machine's clips instead of their sound.

    Raises:
        InputError: The padding is unknown, or the waveform has no samples to repeat. An empty
            waveform is not replaced by digital silence.
    """
    if not len(wave):
        raise InputError("no samples where a window of a recording is to be read")
    if pad not in ("repeat", "zeros"):
        raise InputError(f"data.pad={pad!r}; known: repeat, zeros")
    if pad == "zeros" and len(wave) < samples:
        return np.pad(wave, (0, samples - len(wave)))
    # np.resize repeats from the start, and cuts where there is more.
    return np.resize(wave, samples)


def leveled(wave: Float[np.ndarray, "s"]) -> Float[np.ndarray, "s"]:
    """Returns the waveform with an RMS of LEVEL_DB, in [-1, 1]; silence stays silent.

    A peak 30 dB above the RMS, as of a single click, is clipped.
    """
    # float64, because float32 sums over a long recording lose digits.
    rms = np.sqrt(np.mean(np.square(wave), dtype=np.float64))
    return np.clip(wave * np.float32(10 ** (LEVEL_DB / 20) / max(rms, QUIETEST)), -1, 1)


@functools.cache
def _sinc_kernel(step: int, phases: int) -> tuple[Float[np.ndarray, "p k"], int]:
    """Returns one filter for each output phase, and its half width.

    The filters are computed in float64 and rounded at the end, as torchaudio does.
    """
    zeros = 6
    # torchaudio's defaults.
    rolloff = 0.99
    cutoff = min(step, phases) * rolloff
    width = math.ceil(zeros * step / cutoff)
    time = np.arange(-width, width + step) / step - np.arange(phases)[:, None] / phases
    # np.clip limits the window to its zero crossings, beyond which the kernel is zero.
    crossings = np.clip(time * cutoff, -zeros, zeros)
    kernel = np.sinc(crossings) * np.cos(crossings * np.pi / zeros / 2) ** 2 * cutoff / step
    return kernel.astype(np.float32), width


def _read(
    path: str | Path, sample_rate: int, channel: int | str, resampler: str
) -> Shaped[np.ndarray, "s"]:
    """Returns the checked waveform: int16 as stored if that is exact, otherwise float32."""
    with open_recording(path) as sound:
        # The filter needs both channels; every other choice is decided block by block.
        pair = channel in ("cancelled", "guarded")
        names = ("near", "far") if pair else (channel,)
        blocks = [[_pick(block, name) for name in names] for block in _limited(sound)]
        waves = [
            _resampled(_joined(parts), sound.rate, sample_rate, resampler)
            for parts in zip(*blocks, strict=True)
        ]
        if not pair:
            return waves[0]
        near, far = map(to_float32, waves)
        return cancelled(near, far, guarded=channel == "guarded").clip(-1, 1)


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if len(parts) != 1 else parts[0]


def _resampled(
    wave: Shaped[np.ndarray, "s"], rate: int, to: int, resampler: str
) -> Shaped[np.ndarray, "r"]:
    """Returns the checked waveform at the rate `to`: int16 as it is if possible, else float32."""
    if wave.dtype == np.int16:
        if rate == to:
            return wave
        return resample(to_float32(wave), rate, to, method=resampler).clip(-1, 1)
    # A single NaN among the samples makes the maximum NaN too.
    loudest = np.abs(wave).max()
    if not np.isfinite(loudest):
        raise InputError("NaN or infinity among the samples")
    if loudest > LOUDEST:
        raise InputError(f"samples up to {loudest:.4g}; scale the recording to [-1, 1]")
    return resample(wave, rate, to, method=resampler).clip(-1, 1)


def _limited(sound: Recording) -> Iterator[Shaped[np.ndarray, "s c"]]:
    """Yields the blocks of a recording, and raises if it is too short or too long."""
    # A stated length is checked before decoding; a compressed file is checked as it is decoded.
    if sound.frames is not None:
        _check_length(sound.frames, sound.rate)
    count = 0
    for block in sound.blocks():
        count += len(block)
        if count > LONGEST_S * sound.rate:
            break
        yield block
    _check_length(count, sound.rate)


def _check_length(samples: int, rate: int) -> None:
    if not samples:
        raise InputError("empty, no samples in it")
    # In whole numbers, so that exactly one frame is long enough at any rate.
    if samples * 1000 < FRAME_MS * rate:
        raise InputError(
            f"{samples} samples at {rate} Hz are shorter than one frame of {FRAME_MS} ms"
        )
    if samples > LONGEST_S * rate:
        raise InputError(f"longer than {LONGEST_S} s; split it into clips")


def _pick(block: Shaped[np.ndarray, "s c"], channel: int | str) -> Shaped[np.ndarray, "s"]:
    """Returns one channel of the samples unchanged, or a mixture of several in float32."""
    named: dict[int | str, int] = {"mean": 0, "near": 0, "far": 1, "difference": 1}
    number = named.get(channel, channel)
    if isinstance(number, str) and not number.isdigit():
        raise InputError(
            f"no channel {channel!r}; choose mean, near, far, difference, cancelled, guarded or a "
            "number from 0"
        )
    channels = block.shape[1]
    if not 0 <= int(number) < channels:
        raise InputError(f"no channel {channel!r} in a file of {channels} channel(s)")
    # A mono file has no other channels to mix with.
    if channels == 1 or channel not in ("mean", "difference"):
        return np.ascontiguousarray(block[:, int(number)])
    block = to_float32(block)
    if channel == "difference":
        return (block[:, 0] - block[:, 1]) / 2
    mean = block.mean(axis=1)
    # Equal channels keep all their power: |mean|^2 times their number is |block|^2.
    if np.vdot(mean, mean) * channels < CANCELLED * np.vdot(block, block):
        raise InputError("its channels cancel out in their mean: choose one, e.g. channel 0")
    return mean
