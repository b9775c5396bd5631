"""Scores many recordings in order, reading ahead and using all devices."""

import collections
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from asd_jax.data.audio import sampling_rate
from asd_jax.detector.detector import Detector
from asd_jax.detector.examination import low_rate
from asd_jax.detector.verdict import Verdict
from asd_jax.detector.views import batch_size
from asd_jax.runtime.errors import InputError

AHEAD = 4  # recordings that are read while others are scored


@dataclasses.dataclass(frozen=True)
class Recording:
    """The waveform of a recording, and the sampling rate in Hz at which it was recorded."""

    wave: np.ndarray
    rate: int


def verdicts_of(
    detector: Detector, paths: Sequence[Path], read: Callable[[Path], np.ndarray]
) -> Iterator[tuple[Path, Verdict | InputError]]:
    """Yields each recording, in order, with its verdict or with the error in its file.

    Memory holds AHEAD recordings and those whose windows fill a batch.

    Args:
        detector: the detector.
        paths: paths of the recordings.
        read: function from path to waveform, at the rate given at the fit.
    """
    # In samples: recordings may be of any length.
    full_batch = batch_size() * detector.settings.window_seconds * detector.settings.sample_rate
    batch: list[tuple[Path, Recording | InputError]] = []
    samples = 0
    for path, recording in zip(paths, _read_ahead(read, paths), strict=True):
        batch.append((path, recording))
        samples += 0 if isinstance(recording, InputError) else len(recording.wave)
        if samples >= full_batch:
            yield from _examined(detector, batch)
            batch = []
            samples = 0
    yield from _examined(detector, batch)


def _examined(
    detector: Detector, batch: Sequence[tuple[Path, Recording | InputError]]
) -> Iterator[tuple[Path, Verdict | InputError]]:
    """Yields each recording of a batch with its verdict or its error."""
    waves = [one.wave for _, one in batch if isinstance(one, Recording)]
    # Recordings with errors have no waveform, so there are fewer verdicts than recordings.
    verdicts = iter(detector.examine_all(waves))
    for path, recording in batch:
        if isinstance(recording, InputError):
            yield path, recording
        else:
            yield path, next(verdicts).noted(*low_rate(detector, recording.rate))


def _read_ahead(
    read: Callable[[Path], np.ndarray], paths: Sequence[Path]
) -> Iterator[Recording | InputError]:
    """Yields the recordings in order; AHEAD of them are read while the caller works."""

    def read_or_error(path: Path) -> Recording | InputError:
        try:
            return Recording(read(path), sampling_rate(path))
        # A recording that cannot be read must not end the pass over all others.
        except InputError as error:
            return error

    # Decoding releases the interpreter's lock, so threads read while others compute.
    with ThreadPoolExecutor(AHEAD) as pool:
        waiting: collections.deque = collections.deque()
        for path in paths:
            waiting.append(pool.submit(read_or_error, path))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
