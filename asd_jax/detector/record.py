"""Keeps what a watch finds: readings and alarm cases in a store, and the evidence of each alarm."""

import re
import time as clock
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from asd_jax.data.audio import resample
from asd_jax.detector.detector import Detector
from asd_jax.detector.evidence import SOUND, remove_older, write_window
from asd_jax.detector.page import write_score_page
from asd_jax.detector.verdict import Verdict
from asd_jax.monitoring.alarms import Alarm, Moment
from asd_jax.monitoring.cases import Occurrence
from asd_jax.monitoring.quiet_hours import QuietHours
from asd_jax.monitoring.recorder import Recorder
from asd_jax.monitoring.store import Store
from asd_jax.runtime.errors import InputError

MOST_EVIDENCE = 200  # folders that are kept of each machine
# Some systems do not allow these characters in the name of a folder.
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


class Record:
    """The record of one machine that is watched."""

    def __init__(
        self,
        store: Store,
        machine: str,
        detector: Detector,
        rate: int,
        *,
        quiet: QuietHours | None = None,
        began: float | None = None,
    ):
        """Makes a record.

        Args:
            store: the store.
            machine: name of the machine.
            detector: explains the windows that raise an alarm.
            rate: sampling rate of the windows, in Hz.
            quiet: hours in which an alarm is recorded but not announced.
            began: Unix time of the first sample of a recording; None for a live stream.
        """
        self.recorder = Recorder(store, machine, quiet=quiet)
        self.detector = detector
        self.rate = rate
        self.began = began
        # The folder lies beside the store, so that both are moved and copied together.
        self.evidence = store.path.with_name(store.path.name + ".evidence")

    def resume(self, alarm: Alarm) -> None:
        """Takes up an alarm that was on when an earlier process ended."""
        case = self.recorder.open_case()
        if case is not None and case.cleared is None:
            # Moments are counted from the start of this stream, so the alarm seems to begin with
            # it.
            alarm.resume(Moment(0.0), Moment(0.0), case.peak)

    def time(self, start: float, seconds: float) -> float:
        """Returns the Unix time of the start of a window.

        Args:
            start: seconds from the beginning of the stream.
            seconds: length of the window, whose end a live stream has just reached.
        """
        return clock.time() - seconds if self.began is None else self.began + start

    def window(
        self, time: float, wave: np.ndarray, alarm: Alarm, score: float, change: dict | None
    ) -> Iterator[dict]:
        """Records a window that starts at a Unix time, and yields the lines to report.

        Args:
            time: start of the window.
            wave: its samples.
            alarm: the alarm after this window.
            score: score of the window.
            change: the event that the window caused in the alarm, if any.
        """
        seconds = len(wave) / self.rate
        threshold = alarm.threshold
        self.recorder.window(time, wave, self.rate, score=score, threshold=threshold)
        if change and change["event"] == "alarm_start":
            # Only the start of an alarm is explained, as that costs another pass of the encoder.
            message, folder = self._keep_evidence(time, wave)
            # The alarm dates from the first window that counted, which was some windows ago.
            started = time - (alarm.ended.processed - seconds - alarm.started.processed)
            self.recorder.raised(
                Occurrence(started, float(alarm.peak), threshold, message, evidence=folder)
            )
        elif change:
            self.recorder.cleared(time + seconds, float(change["peak"]))
        yield from self.recorder.tick(time + seconds)

    def _keep_evidence(self, time: float, wave: np.ndarray) -> tuple[str, str]:
        """Returns (what is anomalous in a window, folder of the evidence, "" if none was kept)."""
        verdict = self.detector.examine(wave, self.rate)
        message = verdict.alarm_message
        stamp = clock.strftime("%Y-%m-%d_%H-%M-%S", clock.localtime(time))
        machine = self.evidence / _UNSAFE.sub("_", self.recorder.machine)
        folder = machine / stamp
        # Evidence that the disk refuses must not end the watch.
        try:
            self._write(folder, verdict, wave)
            remove_older(machine, MOST_EVIDENCE)
        except (OSError, InputError, soundfile.SoundFileError) as error:
            return f"{message}; no evidence was kept ({error})", ""
        return message, str(folder)

    def _write(self, folder: Path, verdict: Verdict, wave: np.ndarray) -> None:
        """Writes the sound, the verdict and the page of a window."""
        write_window(folder, wave, self.rate, verdict)
        # The page reads sound at the rate of the fit.
        rate = self.detector.settings.sample_rate
        resampled = resample(wave, self.rate, rate)
        name = f"{self.recorder.machine}, alarm of {folder.name}"
        write_score_page(
            folder / "page.html",
            self.detector,
            [(SOUND, verdict)],
            lambda _: resampled,
            name=name,
        )
