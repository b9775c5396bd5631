"""Watches a stream of bytes: decodes it, cuts it into windows, and reports gaps and wrong rates."""

from collections.abc import Iterable, Iterator

from asd_jax.detector.defects import ArrivalRate, another_rate
from asd_jax.detector.stream import Decoder, Event
from asd_jax.detector.watch import Watch
from asd_jax.detector.window_cutter import WindowCutter


def watch_bytes(
    watch: Watch, chunks: Iterable[tuple[bytes, float | None]], decoder: Decoder
) -> Iterator[dict]:
    """Yields lines for a stream of (bytes, arrival time).

    Empty bytes mean that none arrived for a while.

    Raises:
        InputError: the stream does not begin with sound.
    """
    stream = _Stream(watch, decoder)
    for chunk, arrived in chunks:
        yield from stream.feed(chunk, arrived)
    yield from stream.finish()


class _Stream:
    """The state of a stream that is watched."""

    def __init__(self, watch: Watch, decoder: Decoder):
        self.watch = watch
        self.decoder = decoder
        self.cutter = WindowCutter(*watch.settings.samples, watch.settings.rate)
        self.arrival_rate = ArrivalRate()
        self.gap_since: float | None = None
        self.reported_rate = self.cutter.rate  # so that each change is reported once

    def feed(self, chunk: bytes, arrived: float | None) -> Iterator[dict]:
        """Yields the lines of bytes that arrived, or that did not for a while."""
        if arrived is not None:
            yield from self._gap(chunk, arrived)
        if chunk:
            yield from self._lines(self.decoder.feed(chunk), arrived)
            # The event follows the lines of the chunk in which the header of the new rate was.
            yield from self._change_of_rate()

    def finish(self) -> Iterator[dict]:
        """Yields the lines of what remains at the end of the stream, and of the end."""
        yield from self._lines(self.decoder.finish(), None)
        # The resampler holds back some samples, which may complete a window.
        for start, wave in self.cutter.finish():
            yield from self.watch.window(start / self.cutter.rate, wave)
        if not self.watch.windows:
            message = f"{self._seconds:.2f} s of sound are less than one window"
            yield self.watch.event(Event("too_short", message), 0.0)
        yield from self.watch.finish(self.cutter.remaining / self.cutter.rate)

    @property
    def _seconds(self) -> float:
        """Returns the seconds of sound received so far."""
        return self.cutter.received / self.cutter.rate

    def _gap(self, chunk: bytes, arrived: float) -> Iterator[dict]:
        """Yields an event when a gap in the stream begins or ends."""
        if not chunk and self.gap_since is None:
            self.gap_since = arrived
            yield self.watch.event(Event("gap", "no sound is coming"), self._seconds)
        elif chunk and self.gap_since is not None:
            gap = arrived - self.gap_since
            resumed = Event("resumed", f"sound comes again, after a gap of {gap:.1f} s and more")
            # The gap would distort the arrival rate, so counting starts again.
            self.gap_since = None
            self.arrival_rate = ArrivalRate()
            yield self.watch.event(resumed, self._seconds)

    def _lines(self, decoded, arrived: float | None) -> Iterator[dict]:
        """Yields the lines of blocks and events that the decoder yields."""
        rate = self.cutter.rate
        for item in decoded:
            if isinstance(item, Event):
                yield self.watch.event(item, self._seconds)
                continue
            for start, wave in self.cutter.feed(item, self.decoder.format.rate):
                yield from self.watch.window(start / rate, wave, arrived)
            # A file is read as fast as possible, so its arrival says nothing about its rate.
            if arrived is None:
                continue
            if event := self.arrival_rate.feed(len(item), self.decoder.format.rate, arrived):
                yield self.watch.event(event, self._seconds)

    def _change_of_rate(self) -> Iterator[dict]:
        """Yields an event if the stream goes on at a rate that is not the detector's."""
        rate = self.decoder.format.rate
        if rate == self.reported_rate:
            return
        self.reported_rate = rate
        # A stream may also go back to the detector's rate, which needs no event.
        if rate != self.cutter.rate:
            yield self.watch.event(another_rate(rate, self.cutter.rate), self._seconds)
