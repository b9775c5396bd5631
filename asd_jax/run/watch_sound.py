"""Runs `detect watch`, given its arguments."""

import argparse
import datetime
import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from asd_jax.data.audio import audio_format
from asd_jax.detector.adaptation import Settling
from asd_jax.detector.chunks import chunks_of_stream, sound_of_file
from asd_jax.detector.detector import Detector
from asd_jax.detector.record import Record
from asd_jax.detector.sample_format import SampleFormat
from asd_jax.detector.stream import Decoder
from asd_jax.detector.watch import Watch
from asd_jax.detector.watch_bytes import watch_bytes
from asd_jax.detector.watch_folder import watch_folder
from asd_jax.detector.watch_settings import WatchSettings, release_score
from asd_jax.monitoring.quiet_hours import QuietHours
from asd_jax.monitoring.store import Store
from asd_jax.run.score_recordings import ANOMALY
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.log import OutputFailed, print_result
from asd_jax.runtime.start import start_quickly


def watch(args: argparse.Namespace) -> int:
    """Monitors a stream, a file or a folder that is being filled, and prints JSON lines.

    There is one line per window, and lines for alarms (start and end) and events. Times are in
    seconds of the stream; for a folder, they are in seconds of the file that the line names
    (start_file, at_file, end_file). Where sound arrives, `time` is when the line was printed.
    """
    # The condition is written so that NaN is refused, too.
    if not (0 <= args.hysteresis <= 1 and args.gap_seconds > 0 and args.settle >= 0):
        raise InputError(
            "--hysteresis must lie in 0..1, --gap_seconds above 0, --settle at least 0 minutes"
        )
    start_quickly()
    detector = Detector.load(args.detector).with_runtime(args.runtime)
    raw = SampleFormat(args.encoding, args.rate, args.channels)
    settings = _watch_settings(args, detector)
    record = _record(args, detector, raw)
    # It is the scorer, and may replace its detector after the first minutes.
    settling = Settling(detector, settings.rate, args.settle)
    # Compiling now avoids a delay once audio arrives.
    settling.compile(settings.samples[0])

    def explain(wave):
        # Settling may have replaced the detector since, so it is looked up now.
        return settling.detector.examine(wave, settings.rate).difference

    watcher = Watch(settings, settling, detector.p_value, record, explain)
    lines = _lines(args, watcher, raw)
    started = settings.start_line(detector.settings.false_alarm_rate)
    # Files of a folder arrive, too.
    arrives = _file(args) is None
    try:
        for line in itertools.chain([started], lines):
            print_result(json.dumps(line | _time_of_day(arrives)))
    except KeyboardInterrupt:  # the usual end of a live stream
        for line in watcher.finish():
            print_result(json.dumps(line | _time_of_day(arrives)))
    # The reader of the lines is gone, so there is nothing more to do.
    except OutputFailed:
        pass
    return ANOMALY if watcher.alarm.count else 0


def _file(args: argparse.Namespace) -> Path | None:
    """Returns the regular file that --input names; None for a stream, a named pipe or a folder."""
    place = Path(args.input)
    return place if args.input != "-" and place.is_file() else None


def _time_of_day(arrives: bool) -> dict[str, str]:
    """Returns {"time": the local time}, nothing for a file, whose lines are always the same."""
    now = datetime.datetime.now().astimezone()
    return {"time": now.isoformat(timespec="seconds")} if arrives else {}


def _watch_settings(args: argparse.Namespace, detector: Detector) -> WatchSettings:
    """Returns the settings of the monitoring."""
    window = detector.settings.window_seconds
    threshold = detector.threshold
    return WatchSettings(
        rate=detector.recorded_rate,
        window_seconds=window,
        hop_seconds=window if args.hop_seconds is None else args.hop_seconds,
        threshold=threshold,
        release=release_score(detector.bank.normal, threshold, args.hysteresis),
        confirm=args.confirm,
        hold_seconds=args.hold_seconds,
        status_seconds=args.status_seconds,
        of=args.of,
        on_delay_seconds=args.on_delay_seconds,
    )


def _record(args: argparse.Namespace, detector: Detector, raw: SampleFormat) -> Record | None:
    """Returns the record of --store, or None."""
    quiet = QuietHours.parse(args.quiet_hours)
    if args.store is None:
        if args.quiet_hours:
            raise InputError("--quiet_hours belongs to --store, which is missing")
        return None
    began = None
    if (file := _file(args)) is not None:
        status = file.stat()
        try:
            seconds = audio_format(file)[0]
        except InputError:  # raw samples have no header
            seconds = status.st_size / raw.frame_bytes / raw.rate
        # A file is last changed when its recording ends.
        began = status.st_mtime - seconds
    store = Store(args.store)
    rate = detector.recorded_rate
    return Record(store, args.machine, detector, rate, quiet=quiet, began=began)


def _lines(args: argparse.Namespace, watcher: Watch, raw: SampleFormat) -> Iterator[dict]:
    """Yields the lines of --input, which is a folder, a file, standard input or a named pipe.

    `raw` is the format of bytes that come without a header.
    """
    place = Path(args.input)
    if args.input == "-":
        if sys.stdin is None:
            raise InputError("--input=-: there is no standard input, it is closed")
        chunks = chunks_of_stream(sys.stdin.buffer, gap_seconds=args.gap_seconds)
    elif place.is_dir():
        # Files of a folder may have any number of channels.
        channel = "mean" if args.channel is None else args.channel
        return watch_folder(watcher, place, once=args.once, channel=channel)
    elif place.is_file():
        raw, chunks = sound_of_file(place, raw)
    elif place.exists():
        # Left open for as long as the stream is watched.
        chunks = chunks_of_stream(open(place, "rb"), gap_seconds=args.gap_seconds)
    else:
        raise InputError(f"--input={place}: no such file or folder; - is standard input")
    return watch_bytes(watcher, chunks, Decoder(raw, channel=args.channel, name=args.input))
