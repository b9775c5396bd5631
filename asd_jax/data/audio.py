"""Audio files to waveforms: read, pick a channel, resample, bring to length, cut into windows."""

import functools
import io
import math
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr
from jaxtyping import Float

from asd_jax.errors import InputError

FRAME_MS = 25  # one frame of the filter bank: the least there is to hear
SLOWEST_HZ, FASTEST_HZ = 1_000, 768_000  # a sampling rate outside is a damaged header
LONGEST_S = 3600
_BLOCK = 1 << 22  # values decoded at a time, so that no header decides how much memory is taken
_BYTE_ORDER = {b"RIFF": "<", b"RIFX": ">", b"FORM": ">"}


def read_clip(
    path: str | Path, *, sample_rate: int = 16000, channel: int | str = "mean", resampler: str = "soxr"
) -> Float[np.ndarray, "s"]:
    """Audio file -> float32 waveform in [-1, 1] at `sample_rate`, one channel.

    Any container, bit depth and rate that libsndfile reads (wav, flac, ogg, mp3, aiff, ...). What exceeds full scale
    a little (loud float files, ringing of the resampler) is clipped to it.

    Args:
        path: the file.
        sample_rate: wanted, in Hz.
        channel: "mean" of all, a channel's number from 0, or of a stereo pair as in DCASE 2026 "near" (left), "far"
            (right) or "difference" ((near - far) / 2, which cancels sound from afar).
        resampler: "soxr", or "torchaudio" for parity (see `resample`).

    Raises:
        InputError: names the file that is missing, not audio, truncated, empty, shorter than a 25 ms frame, without
            that channel, not finite, or float without being scaled to [-1, 1].
    """
    try:
        with _open(path) as sound:
            rate = sound.samplerate
            if not SLOWEST_HZ <= rate <= FASTEST_HZ:
                raise InputError(f"{path}: a sampling rate of {rate} Hz; expected {SLOWEST_HZ} to {FASTEST_HZ} Hz")
            blocks = [_pick(block, channel, path) for block in _blocks(sound, path)]
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except (OSError, RuntimeError, TypeError, ValueError) as error:  # libsndfile's own error is a RuntimeError
        reason = str(error).rsplit("': ", 1)[-1] or "damaged"
        raise InputError(f"{path}: not readable as audio ({reason})") from error
    if not blocks:
        raise InputError(f"{path}: empty, no samples in it")
    wave = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
    if len(wave) * 1000 < FRAME_MS * rate:
        raise InputError(f"{path}: {len(wave)} samples at {rate} Hz are shorter than one frame of {FRAME_MS} ms")
    loudest = np.abs(wave).max()
    if not np.isfinite(loudest):
        raise InputError(f"{path}: NaN or infinity among the samples")
    if loudest > 4:  # 12 dB over full scale: not a loud recording but another unit
        raise InputError(f"{path}: samples up to {loudest:.4g}; scale the recording to [-1, 1]")
    return np.clip(resample(wave, rate, sample_rate, method=resampler), -1, 1)


def resample(wave: Float[np.ndarray, "s"], rate: int, to: int, *, method: str = "soxr") -> Float[np.ndarray, "r"]:
    """Waveform at `rate` -> float32 waveform at `to` Hz, r = s * to / rate.

    `soxr` is better and faster. `torchaudio` gives what torchaudio.functional.resample gives by default, sample for
    sample: a sinc windowed by a squared cosine, 6 zero crossings wide, cut off at 0.99 of the lower Nyquist rate.

    Raises:
        InputError: no such method.
    """
    if method not in ("soxr", "torchaudio"):
        raise InputError(f"no resampler {method!r}; choose soxr or torchaudio")
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


def fit_length(wave: Float[np.ndarray, "s"], samples: int) -> Float[np.ndarray, "t"]:
    """Waveform of any length -> the first `samples` samples of it, repeated from its start if it is shorter.

    The one rule for length. Not padded with zeros: the log filter bank of digital silence is ln(2^-23) = -15.9, far
    below any recording, and the classifier would learn the length of a machine's clips instead of its sound.
    """
    return np.resize(wave, samples)


@functools.cache
def _sinc_kernel(step: int, phases: int) -> tuple[Float[np.ndarray, "p k"], int]:
    """One filter for each output phase, in float64 until the end as torchaudio has it, and its half width."""
    zeros, rolloff = 6, 0.99
    cutoff = min(step, phases) * rolloff
    width = math.ceil(zeros * step / cutoff)
    time = np.arange(-width, width + step) / step - np.arange(phases)[:, None] / phases
    crossings = np.clip(time * cutoff, -zeros, zeros)
    kernel = np.sinc(crossings) * np.cos(crossings * np.pi / zeros / 2) ** 2 * cutoff / step
    return kernel.astype(np.float32), width


def _open(path: str | Path) -> soundfile.SoundFile:
    """Opens the file after checking the length that its header states against its own."""
    with open(path, "rb") as file:
        at, stated, left = _data_chunk(file)
        if stated == 0 < left:  # written to a pipe and never completed: libsndfile reads on only at 0xFFFFFFFF
            file.seek(0)
            content = bytearray(file.read())
            content[at : at + 4] = b"\xff\xff\xff\xff"
            return soundfile.SoundFile(io.BytesIO(content))
    if left < stated < 0xFFFFFFFF:
        raise InputError(f"{path}: truncated, the header states {stated} bytes of sound but {left} are there")
    return soundfile.SoundFile(str(path))


def _data_chunk(file) -> tuple[int, int, int]:
    """Place of the data chunk's size in a wav or aiff file, that size, and the bytes after it; zeros in others."""
    end = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = file.read(12)
    order = _BYTE_ORDER.get(head[:4])
    at = 12
    while order and at + 8 <= end:
        file.seek(at)
        name, size = struct.unpack(f"{order}4sI", file.read(8))
        if name in (b"data", b"SSND"):
            return at + 4, size, end - at - 8
        at += 8 + size + size % 2
    return 0, 0, 0


def _blocks(sound: soundfile.SoundFile, path: str | Path) -> Iterator[Float[np.ndarray, "s c"]]:
    """The file's samples, a bounded number at a time."""
    frames, count = max(1, _BLOCK // sound.channels), 0
    while count < sound.frames:
        block = sound.read(min(frames, sound.frames - count), dtype="float32", always_2d=True)
        if not len(block):
            raise InputError(f"{path}: truncated, the header states {sound.frames} samples but {count} are there")
        count += len(block)
        if count > LONGEST_S * sound.samplerate:
            raise InputError(f"{path}: longer than {LONGEST_S} s; split it into clips")
        yield block


def _pick(block: Float[np.ndarray, "s c"], channel: int | str, path: str | Path) -> Float[np.ndarray, "s"]:
    channels = block.shape[1]
    if channel == "mean":
        return block[:, 0] if channels == 1 else block.mean(axis=1)
    number = {"near": 0, "far": 1, "difference": 1}.get(channel, channel)
    if isinstance(number, str) and not number.isdigit():
        raise InputError(f"no channel {channel!r}; choose mean, near, far, difference or a number from 0")
    if not 0 <= int(number) < channels:
        raise InputError(f"{path}: no channel {channel!r} in a file of {channels} channel(s)")
    return (block[:, 0] - block[:, 1]) / 2 if channel == "difference" else np.ascontiguousarray(block[:, int(number)])
