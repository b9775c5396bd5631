"""Decodes a stream of bytes into mono blocks and windows, and reports defects of the stream.

The stream may be cut anywhere and may be damaged.
"""

import dataclasses
import struct
from collections.abc import Iterator

import numpy as np
import soxr
from jaxtyping import Float

from asd_jax.data.audio import LOUDEST
from asd_jax.data.decode import FASTEST_HZ, SLOWEST_HZ
from asd_jax.detector.foreign import ENOUGH, foreign
from asd_jax.runtime.errors import InputError

ENCODINGS = {  # name: (bytes per sample, value of full scale)
    "u8": (1, 128.0),
    "s16le": (2, 2.0**15),
    "s24le": (3, 2.0**23),
    "s32le": (4, 2.0**31),
    "f32le": (4, 1.0),
}
_WAV = {(1, 8): "u8", (1, 16): "s16le", (1, 24): "s24le", (1, 32): "s32le", (3, 32): "f32le"}
_TO_WAV = "ffmpeg -i FILE -f wav -c:a pcm_s16le -"
# A program that does not know the size of its output states at least this (see data/containers.py).
_ENDLESS = 2_000_000_000
_LONGEST_CHUNK = 1 << 20  # longest chunk in bytes that is not samples
_BLOCK = 1 << 15  # frames decoded at a time
# Frames given to the resampler at a time. The number is fixed so that the same sound gives the same
# windows, however the bytes arrive.
_RESAMPLED = 1024


@dataclasses.dataclass(frozen=True)
class Form:
    """The format of raw samples: encoding of a sample, sampling rate in Hz, number of channels."""

    encoding: str = "s16le"
    rate: int = 16000
    channels: int = 1

    def __post_init__(self):
        if self.encoding not in ENCODINGS:
            raise InputError(f"samples of {self.encoding!r}; known: {', '.join(ENCODINGS)}")
        if not SLOWEST_HZ <= self.rate <= FASTEST_HZ:
            raise InputError(
                f"a sampling rate of {self.rate} Hz; expected {SLOWEST_HZ} to {FASTEST_HZ}"
            )
        if not 1 <= self.channels <= 64:
            raise InputError(f"{self.channels} channels; expected 1 to 64")

    @property
    def frame(self) -> int:
        """Returns the number of bytes in one sample of all channels."""
        return ENCODINGS[self.encoding][0] * self.channels


@dataclasses.dataclass(frozen=True)
class Event:
    """A message about the stream for the user.

    Attributes:
        event: kind of the event, e.g. "truncated".
        message: description in words.
    """

    event: str
    message: str


class Decoder:
    """Decodes chunks of bytes, cut anywhere, into mono float32 blocks and events.

    The first bytes tell whether the stream is raw samples or wav. The decoder keeps at most one
    block of bytes.
    """

    def __init__(self, raw: Form, *, channel: int | None = None, name: str = "the stream"):
        self.form = raw
        self.channel = channel
        self.name = name
        self._bytes = b""
        self._state = "start"
        self._left: int | None = None  # bytes of samples still to come according to the header
        self._first = True
        self._unformed = True
        self._skip = 0
        self._ended = False

    def feed(self, chunk: bytes) -> Iterator[Float[np.ndarray, "s"] | Event]:
        """Yields the blocks and events that can be decoded after these bytes.

        Raises:
            InputError: the first header is invalid, or the sound is compressed.
        """
        self._bytes += chunk
        before = None
        while before != (len(self._bytes), self._state):
            before = len(self._bytes), self._state
            yield from getattr(self, f"_{self._state}")()

    def finish(self) -> Iterator[Float[np.ndarray, "s"] | Event]:
        """Yields the blocks and events that remain at the end of the stream."""
        self._ended = True
        yield from self.feed(b"")
        if self._state == "header" and (self._first or self._bytes or self._skip):
            yield Event("truncated", "the stream ends inside a wav header")
        elif self._state == "samples" and self._left is not None and self._left < self.form.frame:
            if (more := len(self._bytes) - self._left) > 0:
                yield Event("longer", f"{more} bytes after the end that the header states")
        elif self._state == "samples" and self._bytes:
            yield Event(
                "truncated",
                f"the stream ends inside a sample: {len(self._bytes)} bytes are left over",
            )
        elif self._state == "samples" and self._left:
            yield Event(
                "truncated",
                f"the stream ends {self._left} bytes before the end that its header states",
            )

    def _start(self):
        head = self._bytes[:ENOUGH]
        wav = head[:4] == b"RIFF" and head[8:12] == b"WAVE"
        # A wav is recognised by its header; samples without a header need more bytes to be
        # recognised.
        if len(head) < (16 if wav else ENOUGH) and not (self._ended and head):
            return
        if not wav and (what := foreign(head, self.form.encoding)):
            raise InputError(
                f"{self.name}: this is {what}; pipe raw samples or wav, e.g. {_TO_WAV}"
            )
        if not wav and (head[:4] == b"RIFF" or head[8:12] == b"WAVE" or head[12:16] == b"fmt "):
            yield from self._bad("it does not begin with RIFF and WAVE")
        self._state = "header" if wav else "samples"
        self._bytes = self._bytes[12 if wav else 0 :]

    def _header(self):
        """Reads one chunk of a wav header."""
        if self._skip:
            gone = min(self._skip, len(self._bytes))
            self._bytes = self._bytes[gone:]
            self._skip = self._skip - gone
        if self._skip or len(self._bytes) < 8:
            return
        name, size = struct.unpack("<4sI", self._bytes[:8])
        if name == b"data" and self._unformed:
            yield from self._bad("samples before their format")
        elif name == b"data":
            # A size of 0 means an empty recording or an unknown size; the next 8 bytes tell which.
            if not size and len(self._bytes) < 16 and not self._ended:
                return
            self._first = False
            if not size and len(self._bytes) >= 16 and _is_chunk(self._bytes[8:16]):
                self._bytes = self._bytes[8:]  # the recording is empty and metadata follows
                return
            self._bytes = self._bytes[8:]
            self._state = "samples"
            self._left = size + size % 2 if 0 < size < _ENDLESS else None
        elif name == b"fmt " and 16 <= size <= 64:
            if len(self._bytes) < 8 + size:
                return
            yield from self._read_form(self._bytes[8 : 8 + size])
            self._bytes = self._bytes[8 + size + size % 2 :]
        elif name == b"RIFF":
            if len(self._bytes) >= 12:
                self._bytes = self._bytes[12:]
                yield Event("new_recording", "another wav begins in the stream")
        elif name.isascii() and name.decode().isprintable() and size < _LONGEST_CHUNK:
            # Programs write PEAK for float samples only.
            if name == b"PEAK" and self.form.encoding != "f32le":
                yield Event(
                    "odd_header",
                    f"a wav header of {self.form.encoding} with the PEAK of float samples",
                )
            self._bytes = self._bytes[8:]
            self._skip = size + size % 2
        else:
            yield from self._bad(f"a chunk {name!r} of {size} bytes in it")

    def _read_form(self, content):
        tag, channels, rate, per_second, step, bits = struct.unpack_from("<HHIIHH", content)
        encoding = wav_encoding(content)
        try:
            if encoding is None:
                raise InputError(
                    f"wav format {tag} of {bits} bits is not supported here; convert it, e.g. "
                    f"{_TO_WAV}"
                )
            form = Form(encoding, rate, channels)
            if step != form.frame:
                raise InputError(f"{step} bytes a frame for {channels} channels of {bits} bits")
        except InputError as error:
            yield from self._bad(str(error))
            return
        if per_second not in (0, rate * step):
            yield Event(
                "odd_header",
                f"a wav header of {rate} Hz but {per_second} bytes a second: {rate} Hz is taken",
            )
        if not self._first and form != self.form:
            yield Event(
                "new_format",
                f"the stream goes on as {form.encoding}, {form.rate} Hz, {form.channels} channels",
            )
        self.form = form
        self._unformed = False

    def _bad(self, reason):
        if self._first:
            raise InputError(f"{self.name}: not to be heard as wav: {reason}")
        yield Event(
            "bad_header", f"another wav header that cannot be used ({reason}): going on as before"
        )
        self._state = "samples"
        self._left = None

    def _samples(self):
        frame = self.form.frame
        ready = len(self._bytes) if self._left is None else min(len(self._bytes), self._left)
        ready = min(ready // frame, _BLOCK) * frame
        if ready:
            content = self._bytes[:ready]
            self._bytes = self._bytes[ready:]
            self._left = None if self._left is None else self._left - ready
            yield from self._decoded(content)
        elif self._left is not None and self._left < frame:
            yield from self._after(self._left)

    def _after(self, left: int):
        """Handles what follows the samples: a chunk, another recording or more samples."""
        if len(self._bytes) < left + 12:
            return
        content = self._bytes[left:]
        if content[:4] == b"RIFF" and content[8:12] == b"WAVE":
            self._bytes = content[12:]
            self._state = "header"
            yield Event("new_recording", "another wav begins in the stream")
        elif _is_chunk(content):
            self._bytes = content
            self._state = "header"
        else:
            yield Event("longer", "the stream is longer than its header states: going on as before")
        if self._state == "samples":
            self._left = None

    def _decoded(self, content):
        values = _floats(content, self.form.encoding).reshape(-1, self.form.channels)
        if not np.isfinite(values).all():
            yield Event("not_finite", "samples that are no numbers, taken as silence")
            values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
        if len(values) and np.abs(values).max() > LOUDEST:
            yield Event(
                "not_scaled",
                f"samples up to {np.abs(values).max():.3g}: scale the sound to [-1, 1]",
            )
        values = values.clip(-1, 1)
        if self.channel is not None and self.channel >= self.form.channels:
            raise InputError(f"{self.name}: no channel {self.channel} among {self.form.channels}")
        mono = values.mean(1) if self.channel is None else values[:, self.channel]
        yield mono.astype(np.float32, copy=False)


class Windows:
    """Cuts mono blocks of any length into windows of `samples` samples, one every `hop` samples.

    No window is missed or repeated. Keeps one window and one block.
    """

    def __init__(self, samples: int, hop: int, rate: int):
        self.samples = samples
        self.hop = hop
        self.rate = rate
        self.next = 0  # sample at which the next window starts
        # _begin: first sample of _held
        self._held = np.zeros(0, np.float32)
        self._begin = 0
        self._from = rate
        self._resampler = None
        self._waiting = np.zeros(0, np.float32)

    def feed(
        self, block: Float[np.ndarray, "s"], rate: int
    ) -> Iterator[tuple[int, Float[np.ndarray, "w"]]]:
        """Yields (first sample, window) of each window completed by this block."""
        if rate != self._from:
            yield from self.finish()
            self._resampler = soxr.ResampleStream(rate, self.rate, 1) if rate != self.rate else None
            self._from = rate
        if self._resampler is None:
            yield from self._cut(block)
            return
        self._waiting = np.concatenate([self._waiting, block])
        while len(self._waiting) >= _RESAMPLED:
            part = self._waiting[:_RESAMPLED]
            self._waiting = self._waiting[_RESAMPLED:]
            yield from self._cut(self._resampler.resample_chunk(part).clip(-1, 1))

    def finish(self) -> Iterator[tuple[int, Float[np.ndarray, "w"]]]:
        """Yields the windows in what the resampler still holds.

        Samples that do not fill a window may remain (see `left`).
        """
        if self._resampler is not None:
            rest = self._waiting
            self._waiting = self._waiting[:0]
            yield from self._cut(self._resampler.resample_chunk(rest, last=True).clip(-1, 1))
            self._resampler = None

    @property
    def heard(self) -> int:
        """Returns the number of samples received so far, at the rate of the windows."""
        return self._begin + len(self._held)

    @property
    def left(self) -> int:
        """Returns the number of samples at the end that are in no window."""
        return self.heard - max(0, self.next - self.hop + self.samples if self.next else 0)

    def _cut(self, block):
        self._held = np.concatenate([self._held, block])
        while self.next + self.samples <= self._begin + len(self._held):
            at = self.next - self._begin
            yield self.next, self._held[at : at + self.samples].copy()
            # The next window starts a hop later, even if no sample of it has arrived.
            self.next += self.hop
        gone = min(self.next - self._begin, len(self._held))
        self._held = self._held[gone:]
        self._begin = self._begin + gone


def wav_encoding(form: bytes) -> str | None:
    """Returns the encoding in a wav's format chunk; None if it is not supported here or missing."""
    tag, *_, bits = struct.unpack_from("<HHIIHH", form.ljust(16, b"\0"))
    # In the extensible format, the tag is the first field of the GUID.
    if tag == 0xFFFE and len(form) >= 26:
        tag = struct.unpack_from("<H", form, 24)[0]
    return _WAV.get((tag, bits))


def _is_chunk(head: bytes) -> bool:
    """Returns whether bytes in the middle of a stream begin a chunk rather than being samples."""
    name, size = struct.unpack("<4sI", head[:8])
    return all(byte == 0x20 or chr(byte).isalnum() or byte == 0x5F for byte in name) and (
        name.isascii() and size < _LONGEST_CHUNK
    )


def _floats(content: bytes, encoding: str) -> np.ndarray:
    if encoding == "f32le":
        return np.frombuffer(content, "<f4")
    scale = np.float32(1 / ENCODINGS[encoding][1])
    if encoding == "u8":
        return (np.frombuffer(content, np.uint8).astype(np.float32) - 128) * scale
    if encoding == "s24le":
        # The 3 bytes become the upper bytes of a 32-bit integer, which keeps their sign.
        high = np.zeros((len(content) // 3, 4), np.uint8)
        high[:, 1:] = np.frombuffer(content, np.uint8).reshape(-1, 3)
        return high.reshape(-1).view("<i4") * np.float32(2.0**-31)
    return np.frombuffer(content, {"s16le": "<i2", "s32le": "<i4"}[encoding]) * scale
