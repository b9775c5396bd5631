"""Watches a folder that is being filled with recordings."""

import time
from collections.abc import Iterator
from pathlib import Path

from asd_jax.data.audio import read_clip, sampling_rate
from asd_jax.data.folders import FileState, file_states, list_recursively
from asd_jax.data.windows import cut_windows
from asd_jax.detector.defects import another_rate
from asd_jax.detector.settings import SHORT
from asd_jax.detector.stream import Event
from asd_jax.detector.watch import Watch
from asd_jax.runtime.errors import InputError


def watch_folder(
    watch: Watch,
    folder: Path,
    *,
    once: bool,
    poll_seconds: float = 1.0,
    channel: int | str = "mean",
) -> Iterator[dict]:
    """Yields lines for the recordings in a folder and its subfolders; never ends unless `once`.

    A file is processed when it no longer grows, unless the watch keeps a record that knows it: one
    that is started again must not raise old alarms again. All times are relative to the start of a
    file: for windows, the file named in the line, and for alarms the files in `start_file`,
    `at_file` and `end_file`.

    Args:
        watch: scores the windows.
        folder: the folder.
        once: whether to process the files that are there and stop.
        poll_seconds: time between two looks at the folder.
        channel: number of the channel to use, or "mean".

    Raises:
        InputError: the folder has disappeared.
    """
    state = _Folder(watch, folder, channel)
    yield from state.report_recorded()
    while True:
        yield from state.look(once)
        if once:
            break
        time.sleep(poll_seconds)
    yield from watch.finish()


class _Folder:
    """The state of a folder that is watched."""

    def __init__(self, watch: Watch, folder: Path, channel: int | str):
        self.watch = watch
        self.folder = folder
        self.channel = channel
        self.recorder = watch.record.recorder if watch.record else None
        # {name: time of change in us} of the files that an earlier process scored
        self.recorded = (
            self.recorder.store.read_files(self.recorder.machine) if self.recorder else {}
        )
        self.processed: dict[str, FileState] = {}
        self.changing: dict[str, FileState] = {}  # files as the last look found them
        self.left_out: frozenset[str] = frozenset()
        self.seconds = 0.0  # of sound processed so far

    def report_recorded(self) -> Iterator[dict]:
        """Yields an event if files of the folder are in the record already."""
        files, _ = _files(self.folder)
        count = sum(self._is_recorded(name, state) for name, state in files.items())
        if count:
            # This is said once, because a folder of months may have thousands of files.
            message = f"{count} recordings are in the record already, and are not scored again"
            yield self.watch.event(Event("read_before", message), 0.0)

    def look(self, once: bool) -> Iterator[dict]:
        """Yields the lines of the files that are new and, unless `once`, no longer grow."""
        files, left_out = _files(self.folder)
        for line in sorted(left_out - self.left_out):
            yield self.watch.event(Event("left_out", line), 0.0)
        self.left_out = left_out
        # An empty folder may be a share that is not mounted.
        if files:
            self._forget_removed(files)
        # Oldest first, so that alarms come in the order of the recordings.
        by_time = sorted(files, key=lambda name: (files[name], name))
        new = [name for name in by_time if self.processed.get(name) != files[name]]
        for name in new:
            if not once and self.changing.get(name) != files[name]:
                continue  # the file is new or still growing
            self.processed[name] = files[name]
            if not self._is_recorded(name, files[name]):
                yield from self._file(name, files[name])
        self.changing = {name: files[name] for name in new}

    def _is_recorded(self, name: str, state: FileState) -> bool:
        """Returns whether an earlier process scored a file that was not changed since."""
        return self.recorded.get(name) == state[0] // 1000

    def _forget_removed(self, files: dict[str, FileState]) -> None:
        """Forgets the files that were removed, so that memory and record stay bounded."""
        if self.recorder:
            known = self.processed.keys() | self.recorded.keys()
            self.recorder.forget_read(known - files.keys())
        self.recorded = {name: us for name, us in self.recorded.items() if name in files}
        self.processed = {name: state for name, state in self.processed.items() if name in files}

    def _file(self, name: str, state: FileState) -> Iterator[dict]:
        """Yields the lines of a recording, and puts it into the record."""
        samples, hop = self.watch.settings.samples
        rate = self.watch.settings.rate
        try:
            # Reading may fail although the size no longer changes: the file is no sound.
            wave = read_clip(self.folder / name, sample_rate=rate, channel=self.channel)
            rate_of_file = sampling_rate(self.folder / name)
        except InputError as error:
            yield self.watch.event(Event("unreadable", str(error)), 0.0, file=name)
            return
        if rate_of_file < rate:
            yield self.watch.event(another_rate(rate_of_file, rate), 0.0, file=name)
        if len(wave) < SHORT * samples:
            message = (
                f"{len(wave) / rate:.2f} s of sound are less than one window: the score is "
                "not comparable"
            )
            yield self.watch.event(Event("too_short", message), 0.0, file=name)
        arrived = time.perf_counter()
        # A file is last changed when its recording ends.
        began = state[0] / 1e9 - len(wave) / rate
        for window, start in zip(*cut_windows(wave, samples, hop), strict=True):
            yield from self.watch.window(
                start / rate,
                window,
                arrived,
                file=name,
                seconds_before=self.seconds,
                time_of_file=began,
            )
        self.seconds += len(wave) / rate
        if self.recorder:
            # The file is recorded only now, so that a file whose scoring was interrupted is scored
            # again.
            self.recorder.read(name, state[0] // 1000)


def _files(folder: Path) -> tuple[dict[str, FileState], frozenset[str]]:
    """Returns {name: state} of the recordings in a folder, and lines about what is left out."""
    listing = list_recursively(folder)
    files = {
        path.relative_to(folder).as_posix(): state
        for path, state in file_states(listing.files).items()
    }
    return files, frozenset(listing.left_out)
