"""Audio files to waveforms: read, pick a channel, resample, bring to length."""

import contextlib
import functools
import io
import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr
from jaxtyping import Float, Int16, Shaped

from asd_jax.runtime.errors import InputError

FRAME_MS = 25  # one frame of the filter bank: the least there is to hear
SLOWEST_HZ, FASTEST_HZ = 1_000, 768_000  # a sampling rate outside is a damaged header
LONGEST_S = 3600
RESAMPLERS = ("soxr", "torchaudio")
_BLOCK = 1 << 22  # values decoded at a time, so that no header decides how much memory is taken
_BYTE_ORDER = {b"RIFF": "<", b"RIFX": ">", b"FORM": ">"}


def read_clip(
    path: str | Path,
    *,
    sample_rate: int = 16000,
    channel: int | str = "mean",
    resampler: str = "soxr",
) -> Float[np.ndarray, "s"]:
    """Audio file -> float32 waveform in [-1, 1] at `sample_rate`, one channel.

    Any container, bit depth and rate that libsndfile reads (wav, flac, ogg, mp3, aiff, ...). What
    exceeds full scale a little (loud float files, ringing of the resampler) is clipped to it.

    Args:
        path: the file.
        sample_rate: wanted, in Hz.
        channel: "mean" of all, a channel's number from 0, or of a stereo pair as in DCASE 2026
            "near" (left), "far" (right) or "difference" ((near - far) / 2, which cancels sound from
            afar).
        resampler: "soxr", or "torchaudio" for parity (see `resample`).

    Raises:
        InputError: names the file that is missing, not audio, truncated, empty, shorter than a 25
            ms frame, without that channel, not finite, or float without being scaled to [-1, 1].
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
    """Audio file -> (seconds, sampling rate in Hz, channels), from its header alone.

    Raises:
        InputError: names the file that is missing, not audio, truncated, empty or shorter than a 25
            ms frame.
    """
    with _errors_named(path), _open(path) as sound:
        _check_length(path, sound.frames, sound.samplerate)
        return sound.frames / sound.samplerate, sound.samplerate, sound.channels


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
        InputError: no such way to pad.
    """
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


@contextlib.contextmanager
def _errors_named(path: str | Path) -> Iterator[None]:
    """Turns what opening and decoding raise into the one error that names the file."""
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except (
        OSError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:  # libsndfile's own error is a RuntimeError
        reason = str(error).rsplit("': ", 1)[-1] or "damaged"
        raise InputError(f"{path}: not readable as audio ({reason})") from error


def _read(
    path: str | Path, sample_rate: int, channel: int | str, resampler: str
) -> Shaped[np.ndarray, "s"]:
    """The checked waveform: int16 as stored where that is exact, else float32."""
    with _errors_named(path), _open(path) as sound:
        rate = sound.samplerate
        blocks = [_pick(block, channel, path) for block in _blocks(sound, path)]
    wave = np.concatenate(blocks) if len(blocks) > 1 else blocks[0]
    _check_length(path, len(wave), rate)
    if wave.dtype == np.int16:
        return (
            wave
            if rate == sample_rate
            else resample(_scaled(wave), rate, sample_rate, method=resampler).clip(-1, 1)
        )
    loudest = np.abs(wave).max()
    if not np.isfinite(loudest):
        raise InputError(f"{path}: NaN or infinity among the samples")
    if loudest > 4:  # 12 dB over full scale: not a loud recording but another unit
        raise InputError(f"{path}: samples up to {loudest:.4g}; scale the recording to [-1, 1]")
    return resample(wave, rate, sample_rate, method=resampler).clip(-1, 1)


def _scaled(wave: Int16[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    return wave * np.float32(1 / 32768)


def _check_length(path: str | Path, samples: int, rate: int) -> None:
    if not samples:
        raise InputError(f"{path}: empty, no samples in it")
    if samples * 1000 < FRAME_MS * rate:
        raise InputError(
            f"{path}: {samples} samples at {rate} Hz are shorter than one frame of {FRAME_MS} ms"
        )


class _PlainWav:
    """A wav of plain 16-bit samples, read as it lies in the file: most of DCASE, in a fraction of
    libsndfile's time.
    """

    format, subtype = "WAV", "PCM_16"

    def __init__(self, file: BinaryIO, size: int, channels: int, rate: int):
        self.file, self.frames, self.channels, self.samplerate = (
            file,
            size // (2 * channels),
            channels,
            rate,
        )

    def read(self, frames: int, **_) -> Int16[np.ndarray, "s c"]:
        samples = np.fromfile(self.file, "<i2", frames * self.channels)
        return samples.astype(np.int16, copy=False).reshape(-1, self.channels)


@contextlib.contextmanager
def _open(path: str | Path) -> Iterator[soundfile.SoundFile | _PlainWav]:
    """Opens the file after checking the length that its header states against its own."""
    with open(path, "rb") as file:
        if not (end := file.seek(0, io.SEEK_END)):
            raise InputError(f"{path}: empty, no bytes in it")
        form, at, stated = _chunks(file)
        left = end - at if at else 0
        if left < stated < 0xFFFFFFFF:
            raise InputError(
                f"{path}: truncated, the header states {stated} bytes of sound but {left} are there"
            )
        tag, channels, rate, _, step, bits = struct.unpack_from("<HHIIHH", form.ljust(16, b"\0"))
        if channels and (tag, step, bits) == (1, 2 * channels, 16):
            file.seek(at)
            opened = _PlainWav(file, left if stated in (0, 0xFFFFFFFF) else stated, channels, rate)
        # written to a pipe and never completed: libsndfile reads on only at 0xFFFFFFFF
        elif stated == 0 < left:
            file.seek(0)
            content = file.read()
            opened = soundfile.SoundFile(
                io.BytesIO(content[: at - 4] + b"\xff\xff\xff\xff" + content[at:])
            )
        else:
            opened = soundfile.SoundFile(str(path))
        if not SLOWEST_HZ <= opened.samplerate <= FASTEST_HZ:
            raise InputError(
                f"{path}: a sampling rate of {opened.samplerate} Hz; expected {SLOWEST_HZ} to "
                f"{FASTEST_HZ}"
            )
        yield opened  # libsndfile's is closed when it is collected, at once


def _chunks(file: BinaryIO) -> tuple[bytes, int, int]:
    """A wav's format chunk, and where a wav's or aiff's samples begin and how many bytes of them
    are stated.

    Empty and zeros for other files, whose readers check themselves.
    """
    file.seek(0)
    order, form, at = _BYTE_ORDER.get(file.read(12)[:4]), b"", 12
    while order and len(head := file.read(8)) == 8:
        name, size = struct.unpack(f"{order}4sI", head)
        at += 8
        if name in (b"data", b"SSND"):
            return form, at, size
        if name == b"fmt " and order == "<" and 16 <= size < 64:
            form = file.read(size)
        at = file.seek(at + size + size % 2)
    return b"", 0, 0


def _blocks(
    sound: soundfile.SoundFile | _PlainWav, path: str | Path
) -> Iterator[Shaped[np.ndarray, "s c"]]:
    """The file's samples, a bounded number at a time: int16 where it holds such, else float32."""
    frames, count = _BLOCK // sound.channels, 0
    dtype = "int16" if sound.subtype == "PCM_16" else "float32"
    while count < sound.frames or not count:
        block = sound.read(min(frames, sound.frames - count), dtype=dtype, always_2d=True)
        # whose length is an estimate
        if not len(block) and count < sound.frames and sound.format != "MP3":
            raise InputError(
                f"{path}: truncated, the header states {sound.frames} samples but {count} are there"
            )
        count += len(block)
        if count > LONGEST_S * sound.samplerate:
            raise InputError(f"{path}: longer than {LONGEST_S} s; split it into clips")
        yield block
        if not len(block):
            return


def _pick(
    block: Shaped[np.ndarray, "s c"], channel: int | str, path: str | Path
) -> Shaped[np.ndarray, "s"]:
    """One channel of the samples as they are, or a mixture of several in float32."""
    named: dict[int | str, int] = {"mean": 0, "near": 0, "far": 1, "difference": 1}
    number = named.get(channel, channel)
    if isinstance(number, str) and not number.isdigit():
        raise InputError(
            f"no channel {channel!r}; choose mean, near, far, difference or a number from 0"
        )
    channels = block.shape[1]
    if not 0 <= int(number) < channels:
        raise InputError(f"{path}: no channel {channel!r} in a file of {channels} channel(s)")
    if channels == 1 or channel not in ("mean", "difference"):
        return np.ascontiguousarray(block[:, int(number)])
    block = _scaled(block) if block.dtype == np.int16 else block
    return block.mean(axis=1) if channel == "mean" else (block[:, 0] - block[:, 1]) / 2
