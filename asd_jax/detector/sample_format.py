"""The format of raw samples, and their conversion to floats."""

import dataclasses
import struct

import numpy as np

from asd_jax.data.decode import FASTEST_HZ, SLOWEST_HZ
from asd_jax.runtime.errors import InputError

# {name: bytes per sample}
ENCODINGS = {"u8": 1, "s16le": 2, "s24le": 3, "s32le": 4, "f32le": 4}
_OF_WAV_TAG = {(1, 8): "u8", (1, 16): "s16le", (1, 24): "s24le", (1, 32): "s32le", (3, 32): "f32le"}


@dataclasses.dataclass(frozen=True)
class SampleFormat:
    """The format of raw samples.

    Attributes:
        encoding: of a sample, one of ENCODINGS.
        rate: sampling rate in Hz.
        channels: number of channels.
    """

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
        # More channels are a sign of a header that was misread.
        if not 1 <= self.channels <= 64:
            raise InputError(f"{self.channels} channels; expected 1 to 64")

    @property
    def frame_bytes(self) -> int:
        """Returns the number of bytes in one sample of all channels."""
        return ENCODINGS[self.encoding] * self.channels


def wav_encoding(chunk: bytes) -> str | None:
    """Returns the encoding in a wav's format chunk; None if it is not supported here or missing."""
    tag, *_, bits = struct.unpack_from("<HHIIHH", chunk.ljust(16, b"\0"))
    # In the extensible format, the tag is the first field of the GUID.
    if tag == 0xFFFE and len(chunk) >= 26:
        tag = struct.unpack_from("<H", chunk, 24)[0]
    return _OF_WAV_TAG.get((tag, bits))


def to_floats(content: bytes, encoding: str) -> np.ndarray:
    """Returns the samples that bytes hold, in [-1, 1] unless they are floats already."""
    # Floats need no conversion and may exceed full scale; the decoder reports that.
    if encoding == "f32le":
        return np.frombuffer(content, "<f4")
    # An integer of n bits reaches from -2^(n - 1) to 2^(n - 1) - 1.
    scale = np.float32(2.0 ** (1 - 8 * ENCODINGS[encoding]))
    if encoding == "u8":
        return (np.frombuffer(content, np.uint8).astype(np.float32) - 128) * scale
    if encoding == "s24le":
        # The 3 bytes become the upper bytes of a 32-bit integer, which keeps their sign.
        high = np.zeros((len(content) // 3, 4), np.uint8)
        high[:, 1:] = np.frombuffer(content, np.uint8).reshape(-1, 3)
        return high.reshape(-1).view("<i4") * np.float32(2.0**-31)
    return np.frombuffer(content, {"s16le": "<i2", "s32le": "<i4"}[encoding]) * scale
