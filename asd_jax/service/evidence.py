"""Writes the evidence of alarms in a thread of its own, since drawing it takes a second or more."""

import functools
import queue
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np

from asd_jax.detector.detector import Detector
from asd_jax.detector.evidence import complete_evidence, evidence_folder, write_evidence
from asd_jax.detector.verdict import Verdict
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.log import print_error

_WAITING = 32  # pieces of evidence that may wait; each holds a window in memory
_RETRY_SECONDS = 10.0  # between two attempts at a disk that is full


class EvidenceKeeper:
    """Writes evidence below a folder, in the order in which it comes."""

    def __init__(self, root: Path):
        self.root = root
        self._queue: queue.Queue[Callable[[], None]] = queue.Queue(_WAITING)

    def folder(self, machine: str, time: float) -> Path:
        """Returns the folder of the evidence of an alarm that began at a Unix time."""
        return evidence_folder(self.root, machine, time)

    def keep(
        self, folder: Path, detector: Detector, wave: np.ndarray, rate: int, verdict: Verdict
    ) -> None:
        """Queues the evidence of a window for writing; arguments as for `write_evidence`."""
        self._put(folder, functools.partial(write_evidence, folder, detector, wave, rate, verdict))

    def complete(self, folder: Path, detector: Detector) -> None:
        """Queues evidence that an earlier process may have left incomplete."""
        self._put(folder, functools.partial(complete_evidence, folder, detector))

    def _put(self, folder: Path, write: Callable[[], None]) -> None:
        """Queues what writes the evidence in a folder."""
        # The scoring thread must not wait for the disk.
        try:
            self._queue.put_nowait(write)
        except queue.Full:
            print_error(f"{folder}: not written, as {_WAITING} others wait for the disk")

    def run(self, stop: threading.Event) -> None:
        """Writes what comes, until `stop` is set."""
        while not stop.is_set():
            try:
                # The timeout lets the thread notice the end of the service.
                write = self._queue.get(timeout=0.5)
            except queue.Empty:
                continue
            while not stop.is_set():
                try:
                    # After a failure the same piece is tried again, because later ones would meet
                    # the same disk.
                    write()
                    break
                except InputError as error:
                    print_error(str(error))
                    stop.wait(_RETRY_SECONDS)
