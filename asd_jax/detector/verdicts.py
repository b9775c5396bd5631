"""Scores many recordings in order, reading ahead and using all devices."""

import collections
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
    enough = batch_size() * detector.settings.window_seconds * detector.settings.sample_rate
    together: list[tuple[Path, tuple[np.ndarray, int] | InputError]] = []
    for path, found in zip(paths, _read_ahead(read, paths), strict=True):
        together.append((path, found))
        if (
            sum(len(found[0]) for _, found in together if not isinstance(found, InputError))
            >= enough
        ):
            yield from _judged(detector, together)
            together = []
    yield from _judged(detector, together)


def _judged(detector, together):
    verdicts = iter(
        detector.examine_all(
            [found[0] for _, found in together if not isinstance(found, InputError)]
        )
    )
    for path, found in together:
        yield (
            path,
            found
            if isinstance(found, InputError)
            else next(verdicts).noted(*low_rate(detector, found[1])),
        )


def _read_ahead(read, paths):
    def read_or_error(path):
        try:
            return read(path), sampling_rate(path)
        except InputError as error:
            return error

    with ThreadPoolExecutor(AHEAD) as pool:
        waiting: collections.deque = collections.deque()
        for path in paths:
            waiting.append(pool.submit(read_or_error, path))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
