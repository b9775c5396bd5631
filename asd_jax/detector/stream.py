"""Decodes a stream of bytes into mono blocks, and reports defects of the stream.

The stream may be cut anywhere and may be damaged.
"""

import dataclasses
import struct
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from asd_jax.data.audio import LOUDEST
from asd_jax.data.chunks import ENDLESS
from asd_jax.detector.foreign import ENOUGH, foreign
from asd_jax.detector.sample_format import SampleFormat, to_floats, wav_encoding
from asd_jax.runtime.errors import InputError

_TO_WAV = "ffmpeg -i FILE -f wav -c:a pcm_s16le -"
_LONGEST_CHUNK = 1 << 20  # longest chunk in bytes that is not samples
_BLOCK = 1 << 15  # frames decoded at a time


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

    def __init__(self, raw: SampleFormat, *, channel: int | None = None, name: str = "the stream"):
        self.format = raw
        self.channel = channel
        self.name = name
        self._bytes = b""  # not decoded yet
        self._state = "start"  # the method _read_... that reads the next bytes
        # Bytes of samples still to come by the header; None if it does not state them.
        self._remaining: int | None = None
        self._padding = 0  # bytes after them that make their number even
        self._before_sound = True
        self._no_format_yet = True
        self._skip = 0  # bytes of a chunk of metadata still to come
        self._ended = False

    def feed(self, chunk: bytes) -> Iterator[Float[np.ndarray, "s"] | Event]:
        """Yields the blocks and events that can be decoded after these bytes.

        Raises:
            InputError: the first header is invalid, or the sound is compressed.
        """
        self._bytes += chunk
        before = None
        # Each call reads one part, such as a chunk, until nothing changes any more.
        while before != (len(self._bytes), self._state):
            before = len(self._bytes), self._state
            yield from getattr(self, f"_read_{self._state}")()

    def finish(self) -> Iterator[Float[np.ndarray, "s"] | Event]:
        """Yields the blocks and events that remain at the end of the stream."""
        self._ended = True
        yield from self.feed(b"")
        if self._state == "header" and (self._before_sound or self._bytes or self._skip):
            yield Event("truncated", "the stream ends inside a wav header")
        elif self._state == "samples":
            yield from self._end_of_samples()

    def _end_of_samples(self):
        """Yields an event if the stream does not end where its header states."""
        if self._remaining is not None and self._remaining < self.format.frame_bytes:
            if (more := len(self._bytes) - self._remaining - self._padding) > 0:
                yield Event("longer", f"{more} bytes after the end that the header states")
        elif self._bytes:
            yield Event(
                "truncated",
                f"the stream ends inside a sample: {len(self._bytes)} bytes are left over",
            )
        elif self._remaining:
            yield Event(
                "truncated",
                f"the stream ends {self._remaining} bytes before the end that its header states",
            )

    def _read_start(self):
        """Recognises the format of the stream by its first bytes."""
        # More bytes than a header are needed to tell compressed files from samples.
        head = self._bytes[:ENOUGH]
        wav = head[:4] == b"RIFF" and head[8:12] == b"WAVE"
        # A wav is recognised by its header; samples without a header need more bytes to be
        # recognised.
        if len(head) < (16 if wav else ENOUGH) and not (self._ended and head):
            return
        if not wav and (found_format := foreign(head, self.format.encoding)):
            raise InputError(
                f"{self.name}: this is {found_format}; pipe raw samples or wav, e.g. {_TO_WAV}"
            )
        if not wav and (head[:4] == b"RIFF" or head[8:12] == b"WAVE" or head[12:16] == b"fmt "):
            yield from self._bad_header("it does not begin with RIFF and WAVE")
        self._state = "header" if wav else "samples"
        self._bytes = self._bytes[12 if wav else 0 :]

    def _read_header(self):
        """Reads one chunk of a wav header."""
        if self._skip:
            skipped = min(self._skip, len(self._bytes))
            self._bytes = self._bytes[skipped:]
            self._skip = self._skip - skipped
        if self._skip or len(self._bytes) < 8:
            return
        name, size = struct.unpack("<4sI", self._bytes[:8])
        if name == b"data" and self._no_format_yet:
            yield from self._bad_header("samples before their format")
        elif name == b"data":
            self._read_data_size(size)
        elif name == b"fmt " and 16 <= size <= 64:
            if len(self._bytes) < 8 + size:
                return
            yield from self._read_format(self._bytes[8 : 8 + size])
            self._bytes = self._bytes[8 + size + size % 2 :]
        elif name == b"RIFF":
            if len(self._bytes) >= 12:
                self._bytes = self._bytes[12:]
                yield Event("new_recording", "another wav begins in the stream")
        elif name.isascii() and name.decode().isprintable() and size < _LONGEST_CHUNK:
            # Programs write PEAK for float samples only.
            if name == b"PEAK" and self.format.encoding != "f32le":
                yield Event(
                    "odd_header",
                    f"a wav header of {self.format.encoding} with the PEAK of float samples",
                )
            self._bytes = self._bytes[8:]
            # Chunks are padded to an even number of bytes.
            self._skip = size + size % 2
        else:
            yield from self._bad_header(f"a chunk {name!r} of {size} bytes in it")

    def _read_data_size(self, size: int) -> None:
        """Reads the header of the chunk of samples, whose size in bytes may be unknown."""
        # A size of 0 means an empty recording or an unknown size; the next 8 bytes tell which.
        if not size and len(self._bytes) < 16 and not self._ended:
            return
        self._before_sound = False
        if not size and len(self._bytes) >= 16 and _is_chunk(self._bytes[8:16]):
            self._bytes = self._bytes[8:]  # the recording is empty and metadata follows
            return
        self._bytes = self._bytes[8:]
        self._state = "samples"
        self._remaining = size if 0 < size < ENDLESS else None
        self._padding = size % 2

    def _read_format(self, content: bytes):
        """Reads the content of a chunk that states the format of the samples."""
        tag, channels, rate, per_second, step, bits = struct.unpack_from("<HHIIHH", content)
        encoding = wav_encoding(content)
        try:
            if encoding is None:
                raise InputError(
                    f"wav format {tag} of {bits} bits is not supported here; convert it, e.g. "
                    f"{_TO_WAV}"
                )
            stated = SampleFormat(encoding, rate, channels)
            # Padded samples, such as 24 bits in 4 bytes, would be read wrongly.
            if step != stated.frame_bytes:
                raise InputError(f"{step} bytes a frame for {channels} channels of {bits} bits")
        except InputError as error:
            yield from self._bad_header(str(error))
            return
        # Some programs write 0. Of two values that disagree, the rate is the one that is used.
        if per_second not in (0, rate * step):
            yield Event(
                "odd_header",
                f"a wav header of {rate} Hz but {per_second} bytes a second: {rate} Hz is taken",
            )
        if not self._before_sound and stated != self.format:
            yield Event(
                "new_format",
                f"the stream goes on as {encoding}, {rate} Hz, {channels} channels",
            )
        self.format = stated
        self._no_format_yet = False

    def _bad_header(self, reason: str):
        """Yields an event about a header that is ignored; the first header must be valid."""
        if self._before_sound:
            raise InputError(f"{self.name}: cannot be read as wav: {reason}")
        yield Event(
            "bad_header", f"another wav header that cannot be used ({reason}): going on as before"
        )
        # What follows is more likely sound than another header.
        self._state = "samples"
        self._remaining = None

    def _read_samples(self):
        """Decodes the whole frames that have arrived."""
        frame = self.format.frame_bytes
        ready = (
            len(self._bytes) if self._remaining is None else min(len(self._bytes), self._remaining)
        )
        # Only whole frames are decoded, so that no channel slips into the place of another.
        ready = min(ready // frame, _BLOCK) * frame
        if ready:
            content = self._bytes[:ready]
            self._bytes = self._bytes[ready:]
            self._remaining = None if self._remaining is None else self._remaining - ready
            yield from self._decode(content)
        elif self._remaining is not None and self._remaining < frame:
            yield from self._read_trailer(self._remaining + self._padding)

    def _read_trailer(self, remaining: int):
        """Handles what follows the samples: a chunk, another recording or more samples."""
        if len(self._bytes) < remaining + 12:
            return
        content = self._bytes[remaining:]
        if content[:4] == b"RIFF" and content[8:12] == b"WAVE":
            self._bytes = content[12:]
            self._state = "header"
            yield Event("new_recording", "another wav begins in the stream")
        elif _is_chunk(content):
            self._bytes = content
            self._state = "header"
        else:
            self._remaining = None
            yield Event("longer", "the stream is longer than its header states: going on as before")

    def _decode(self, content: bytes):
        """Yields the mono block of whole frames, after the events that it causes."""
        values = to_floats(content, self.format.encoding).reshape(-1, self.format.channels)
        if not np.isfinite(values).all():
            yield Event("not_finite", "samples that are no numbers, taken as silence")
            values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
        if np.abs(values).max() > LOUDEST:
            yield Event(
                "not_scaled",
                f"samples up to {np.abs(values).max():.3g}: scale the sound to [-1, 1]",
            )
        # Resamplers overshoot full scale by a little, which is no reason for an event.
        values = values.clip(-1, 1)
        # The number of channels may change with a new header, so it is checked here.
        if self.channel is not None and self.channel >= self.format.channels:
            raise InputError(f"{self.name}: no channel {self.channel} among {self.format.channels}")
        mono = values.mean(1) if self.channel is None else values[:, self.channel]
        yield mono.astype(np.float32, copy=False)


def _is_chunk(head: bytes) -> bool:
    """Returns whether bytes in the middle of a stream begin a chunk rather than being samples."""
    # Four letters and a small size are a chunk; samples hardly ever look like that.
    name, size = struct.unpack("<4sI", head[:8])
    return all(byte == 0x20 or chr(byte).isalnum() or byte == 0x5F for byte in name) and (
        name.isascii() and size < _LONGEST_CHUNK
    )
