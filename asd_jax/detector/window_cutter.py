"""Cuts a stream of sound into windows of the detector's rate."""

from collections.abc import Iterator

import numpy as np
import soxr
from jaxtyping import Float

# Samples given to the resampler at a time. The number is fixed so that the same sound gives the
# same windows, however the bytes arrive.
_RESAMPLED = 1024


class WindowCutter:
    """Cuts mono blocks of any length into windows of `samples` samples, one every `hop` samples.

    No window is missed or repeated. Keeps one window and one block.
    """

    def __init__(self, samples: int, hop: int, rate: int):
        self.samples = samples
        self.hop = hop
        self.rate = rate
        self.next = 0  # sample at which the next window starts
        self._buffer = np.zeros(0, np.float32)
        self._buffer_start = 0  # number of samples before the buffer
        self._source_rate = rate
        self._resampler = None
        self._unresampled = np.zeros(0, np.float32)

    def feed(
        self, block: Float[np.ndarray, "s"], rate: int
    ) -> Iterator[tuple[int, Float[np.ndarray, "w"]]]:
        """Yields (first sample, window) of each window completed by this block."""
        if rate != self._source_rate:
            # What the old resampler still holds belongs before this block.
            yield from self.finish()
            self._resampler = soxr.ResampleStream(rate, self.rate, 1) if rate != self.rate else None
            self._source_rate = rate
        if self._resampler is None:
            yield from self._cut(block)
            return
        self._unresampled = np.concatenate([self._unresampled, block])
        while len(self._unresampled) >= _RESAMPLED:
            part = self._unresampled[:_RESAMPLED]
            self._unresampled = self._unresampled[_RESAMPLED:]
            yield from self._cut(self._resampler.resample_chunk(part).clip(-1, 1))

    def finish(self) -> Iterator[tuple[int, Float[np.ndarray, "w"]]]:
        """Yields the windows in what the resampler still holds.

        Samples that do not fill a window may remain (see `remaining`).
        """
        if self._resampler is not None:
            rest = self._unresampled
            self._unresampled = self._unresampled[:0]
            yield from self._cut(self._resampler.resample_chunk(rest, last=True).clip(-1, 1))
            self._resampler = None

    @property
    def received(self) -> int:
        """Returns the number of samples received so far, at the rate of the windows."""
        return self._buffer_start + len(self._buffer)

    @property
    def remaining(self) -> int:
        """Returns the number of samples at the end that are in no window."""
        return self.received - max(0, self.next - self.hop + self.samples if self.next else 0)

    def _cut(self, block):
        """Yields the windows that a block at the rate of the windows completes."""
        self._buffer = np.concatenate([self._buffer, block])
        while self.next + self.samples <= self._buffer_start + len(self._buffer):
            at = self.next - self._buffer_start
            # A copy is made, because a view would keep the whole buffer in memory.
            yield self.next, self._buffer[at : at + self.samples].copy()
            # The next window starts a hop later, even if no sample of it has arrived.
            self.next += self.hop
        # With a hop beyond a window, the next start may lie after the end of the buffer.
        gone = min(self.next - self._buffer_start, len(self._buffer))
        self._buffer = self._buffer[gone:]
        self._buffer_start = self._buffer_start + gone
