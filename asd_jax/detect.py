"""Detects anomalous sounds of your own machine: learns from normal recordings, then scores new
ones.

  python -m asd_jax.detect fit    --normal=recordings/ --output=pump.detector
  python -m asd_jax.detect score  --detector=pump.detector today.wav recordings/
  arecord -q -f S16_LE -r 16000 -t raw | python -m asd_jax.detect watch \\
  --detector=pump.detector --input=-
  python -m asd_jax.detect update --detector=pump.detector --normal=confirmed/ \\
      --output=pump_2.detector
  python -m asd_jax.detect adapt  --detector=pump.detector --normal=first_minutes/ \\
      --output=today.detector
  python -m asd_jax.detect set-rate --detector=pump.detector --false_alarm_rate=0.01 \\
      --output=rare.detector
  python -m asd_jax.detect info   --detector=pump.detector
  python -m asd_jax.detect trend  --store=plant.db
  python -m asd_jax.detect alarms list --store=plant.db

Each subcommand has its own --help. Exit status: 0 success, 2 bad input, 3 (score, watch) an anomaly
was found, 1 any other failure.
"""

import argparse
import collections
import contextlib
import itertools
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from asd_jax.monitoring import commands as monitoring
from asd_jax.runtime.command import docstring, run
from asd_jax.runtime.errors import InputError, error_context
from asd_jax.runtime.files import check_output
from asd_jax.runtime.log import OutputFailed, print_error, print_raw, print_result, progress

ANOMALY = 3  # exit status
_PARSED = argparse.Namespace()


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        raise InputError(f"{message} ({self.prog} --help says more)")

    # argparse's own method ignores write errors, such as a full disk.
    def _print_message(self, message, file=None):
        print_raw(message)


def define_flags(argv: list[str]) -> None:
    """Parses the subcommand and its arguments, and removes them from argv before absl sees it."""
    # The namespace is global, so the values of an earlier command must be removed.
    vars(_PARSED).clear()
    parser().parse_args(argv[1:], _PARSED)
    del argv[1:]


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the subcommands and their arguments."""
    form = argparse.RawDescriptionHelpFormatter
    top = _Parser(
        prog="python -m asd_jax.detect",
        description=docstring(sys.modules[__name__]),
        formatter_class=form,
        allow_abbrev=False,
    )
    metavar = "fit | score | watch | update | adapt | set-rate | info | trend | alarms"
    commands = top.add_subparsers(metavar=metavar, required=True)

    def add_parser(name, function, to=commands):
        made = to.add_parser(
            name,
            description=docstring(function),
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
            allow_abbrev=False,
        )
        made.set_defaults(command=function)
        return made

    for function, define in (
        (fit, _fit_flags),
        (score, _score_flags),
        (watch, _watch_flags),
        (update, _update_flags),
        (adapt, _adapt_flags),
        (set_rate, _set_rate_flags),
        (info, _info_flags),
    ):
        define(add_parser(function.__name__.replace("_", "-"), function).add_argument)
    monitoring.add_commands(add_parser)
    return top


def main() -> int | None:
    """Runs the subcommand and returns its exit status."""
    return _PARSED.command(_PARSED)


def _channel_flag(add) -> None:
    add(
        "--channel",
        default="mean",
        help="of recordings with several: mean, near, far, difference, cancelled, guarded, or a "
        "number",
    )


def _fit_flags(add) -> None:
    add(
        "--normal",
        required=True,
        help="folder (or csv list) of recordings of the healthy machine, or one file; up to an "
        "hour each",
    )
    add("--output", required=True, help="detector file to write")
    add(
        "--weights",
        default="box",
        help="encoder beside the filter bank: box (in the package), a file, or filter_bank",
    )
    add(
        "--false_alarm_rate",
        type=float,
        default=0.05,
        help="share of normal windows that may be called anomalous",
    )
    add(
        "--window_seconds",
        type=float,
        help="heard at once; default: the recordings' usual length, at most 10",
    )
    add(
        "--coreset",
        type=_count,
        default=0,
        help="keep so many windows of the encoder's bank; 0: all",
    )
    add(
        "--tokens",
        action="store_true",
        help="heat maps from the encoder's tokens, not from filter-bank patches",
    )
    _channel_flag(add)
    add("--machine", help="whose SimAM mode to use, where the weights have one per machine")
    add(
        "--fine_tune",
        action="store_true",
        help="first train the encoder to tell the subfolders (or attributes) apart",
    )
    add("--keep_odd", action="store_true", help="learn also from recordings far from all others")
    add("--json", action="store_true", help="the check of the recordings as one JSON object")
    add("--epochs", type=int, default=10, help="of --fine_tune")
    add("--seed", type=_count, default=0, help="of --fine_tune")


def fit(args: argparse.Namespace) -> None:
    """Fits a detector to recordings of the healthy machine and writes it to a file.

    Sets the threshold, and prints a check of the recordings.
    """
    from asd_jax.data.audio import audio_format
    from asd_jax.detector.detector import Detector
    from asd_jax.detector.grouping import check_domains
    from asd_jax.detector.recordings import names_of, normal_recordings, sessions_of
    from asd_jax.detector.settings import Settings, check_window, usual_window
    from asd_jax.detector.views import for_machine, load_pipeline_or_eat, rate_of
    from asd_jax.runtime.start import keep_compiled
    from asd_jax.training.weights import origin_entries as origin_of

    clips = normal_recordings(args.normal)
    _check_output("--output", args.output)
    keep_compiled()
    seconds, rates, _ = zip(*(audio_format(clip.path) for clip in clips), strict=True)
    window = usual_window(seconds) if args.window_seconds is None else args.window_seconds
    pipeline, origin, trained = None, {}, None
    if args.weights != "filter_bank":
        pipeline = for_machine(load_pipeline_or_eat(args.weights), args.machine)
        origin = origin_of(args.weights)
    # A rate above that of the recordings adds nothing, and the encoder uses nothing above its own.
    rate = min(max(rates), rate_of(pipeline))
    _tell_slow(rates, rate)
    # Wrong settings must be reported before any training begins.
    Settings(rate, window, args.false_alarm_rate, args.tokens)
    if args.window_seconds is not None:
        check_window(window, seconds)
    check_domains([clip.domain for clip in clips], [clip.path for clip in clips])
    sessions, known_by = sessions_of(clips, args.normal)
    if sessions:
        print_error(f"{len(set(sessions))} sessions: {known_by}")
    if args.fine_tune:
        from asd_jax.detector.fine_tuned import fine_tuned

        pipeline, trained = fine_tuned(
            pipeline,
            clips,
            _reader(args.channel, rate_of(pipeline)),
            window_seconds=window,
            epochs=args.epochs,
            seed=args.seed,
            workdir=_training_of(args, clips, weights=origin, window_seconds=window),
        )
        origin |= {"fine_tuned": "on these recordings"}
    read = _reader(args.channel, rate)
    detector = Detector.fit(
        progress((read(clip) for clip in clips), len(clips), "recordings", tell=print_error),
        rate,
        names=names_of(clips, args.normal),
        domains=[clip.domain for clip in clips],
        weights=pipeline,
        window_seconds=window,
        false_alarm_rate=args.false_alarm_rate,
        coreset_size=args.coreset,
        tokens=args.tokens,
        trained=trained,
        origin=origin,
        sessions=sessions,
        keep_odd=args.keep_odd,
    )
    _save(detector, args.output, as_json=args.json)


@contextlib.contextmanager
def _training_of(args: argparse.Namespace, clips, **made_with) -> Iterator[Path]:
    """Context manager: yields the folder of the fine-tuning, locked for this process.

    A training that was begun there with other recordings or settings is removed first.
    """
    from asd_jax.run.manifest import provenance_hash
    from asd_jax.run.workdir import Run
    from asd_jax.runtime.files import read_json, write_json
    from asd_jax.runtime.lock import lock_folder

    run = Run(args.output + ".training")
    made_with |= {name: getattr(args, name) for name in ("machine", "channel", "epochs", "seed")}
    config = {"made_of": provenance_hash(made_with, [], clips)}
    with lock_folder(run.workdir):
        if not run.config.exists() or read_json(run.config) != config:
            if run.checkpoints.exists():
                print_error(
                    f"{run.workdir} holds a training with other recordings or settings: it is "
                    "removed, and begun anew"
                )
            run.remove()
            write_json(run.config, config)
        yield run.workdir


def _tell_slow(rates: Sequence[int], rate: int) -> None:
    if slow := sum(one < rate for one in rates):
        print_error(
            f"{slow} of {len(rates)} recordings are of less than {rate} Hz, which spoils the "
            "threshold: leave them out"
        )


def _update_flags(add) -> None:
    add("--detector", required=True, help="file that fit wrote")
    add(
        "--normal",
        required=True,
        help="folder (or csv list) of further recordings, confirmed to be normal, or one",
    )
    add("--output", required=True, help="detector file to write; the old one stays")
    add("--keep_odd", action="store_true", help="learn also from recordings far from all others")
    _channel_flag(add)


def update(args: argparse.Namespace) -> None:
    """Adds further normal recordings to a detector and writes the result to a new file."""
    from asd_jax.data.audio import sampling_rate
    from asd_jax.detector.detector import Detector
    from asd_jax.detector.recordings import names_of, normal_recordings, sessions_of

    detector, clips = Detector.load(args.detector), normal_recordings(args.normal)
    _check_output("--output", args.output)
    _tell_slow([sampling_rate(clip.path) for clip in clips], detector.recorded_rate)
    read = _reader(args.channel, detector.settings.sample_rate)
    waves = progress((read(clip) for clip in clips), len(clips), "recordings", tell=print_error)
    domains = [clip.domain for clip in clips]
    before = detector.threshold
    sessions, _ = sessions_of(clips, args.normal)
    # The detector knows sessions but these recordings name none, so they count as one new session.
    if sessions is None and any(detector.sessions):
        sessions = [f"added to {len(set(detector.sessions))}"] * len(clips)
    detector = detector.update(
        waves,
        names=names_of(clips, args.normal, detector.names),
        domains=domains,
        sessions=sessions,
        keep_odd=args.keep_odd,
    )
    print_error(f"threshold {before:.3f} before, {detector.threshold:.3f} now")
    _save(detector, args.output)


def _adapt_flags(add) -> None:
    add("--detector", required=True, help="file that fit wrote")
    add("--normal", required=True, help="folder (or csv list): minutes of the new session")
    add("--output", required=True, help="detector file to write, for this session")
    _channel_flag(add)


def adapt(args: argparse.Namespace) -> None:
    """Adapts a detector to a new session from a few healthy minutes of it, and writes a new file.

    The new detector takes its level and spectral colour from the session. A fault that is already
    present is reported, not learnt.
    """
    from asd_jax.detector.adaptation import adapted
    from asd_jax.detector.detector import Detector
    from asd_jax.detector.recordings import normal_recordings

    detector, clips = Detector.load(args.detector), normal_recordings(args.normal)
    _check_output("--output", args.output)
    read = _reader(args.channel, detector.settings.sample_rate)
    found = adapted(detector, [read(clip) for clip in clips])
    print_error(found.said())
    if not found.settled:
        raise InputError(f"{args.normal}: {found.said()}; {args.output} is not written")
    found.detector.save(args.output)
    print_error(f"wrote {args.output}")


def _set_rate_flags(add) -> None:
    add("--detector", required=True, help="file that fit wrote")
    add("--false_alarm_rate", type=float, required=True, help="as of fit")
    add("--output", required=True, help="detector file to write")


def set_rate(args: argparse.Namespace) -> None:
    """Sets the threshold of a detector for another false-alarm rate, without any recordings."""
    from asd_jax.detector.detector import Detector

    detector = Detector.load(args.detector)
    _check_output("--output", args.output)
    changed = detector.with_false_alarm_rate(args.false_alarm_rate)
    print_error(f"threshold {detector.threshold:.3f} before, {changed.threshold:.3f} now")
    _save(changed, args.output)


def _info_flags(add) -> None:
    add("--detector", required=True, help="file that fit wrote")
    add("--json", action="store_true", help="one JSON object instead of text")


def info(args: argparse.Namespace) -> None:
    """Prints what a detector was fitted to, its settings, its threshold and its notes."""
    from asd_jax.detector.detector import Detector
    from asd_jax.detector.self_check import self_check

    detector = Detector.load(args.detector)
    check = self_check(detector)
    for line in [json.dumps(check.as_json())] if args.json else [repr(detector), *check.lines()]:
        print_result(line)


def _score_flags(add) -> None:
    add(
        "paths",
        nargs="+",
        metavar="PATH",
        help="recordings of up to an hour, folders of them, csv lists with a column file",
    )
    add("--detector", required=True, help="file that fit wrote")
    add("--json", action="store_true", help="one JSON object a line instead of a table")
    add("--csv", help="file to write")
    add(
        "--workdir",
        help="of an archive: keeps what is scored; the same command goes on, and several share "
        "the work",
    )
    add("--html", help="page to write: scores, and the oddest recordings to look at and listen to")
    add(
        "--normal",
        action="append",
        help="of --html: the folder that fit was given, to show and play the nearest normal "
        "recording; once more for "
        "each folder that update was given, in that order",
    )
    _channel_flag(add)


def score(args: argparse.Namespace) -> int:
    """Scores recordings: prints score, p-value against normal sounds, verdict and worst moment.

    The exit status is 3 if any recording is anomalous.
    """
    from asd_jax.data.audio import read_clip
    from asd_jax.detector.detector import Detector
    from asd_jax.detector.recordings import normal_files, recordings
    from asd_jax.detector.rows import print_rows, printed, row, tell_short, write_csv
    from asd_jax.detector.verdicts import verdicts_of
    from asd_jax.run.sharded_rows import ShardedRows
    from asd_jax.runtime.files import file_sha256
    from asd_jax.runtime.start import start_quickly

    if args.workdir and args.html:
        raise InputError(
            "--html is for recordings that are scored at once: leave out --workdir, or --html"
        )
    for flag, path in (("--csv", args.csv), ("--html", args.html)):
        if path:
            _check_output(flag, path)
    start_quickly()
    detector, paths, verdicts = Detector.load(args.detector), recordings(args.paths), []
    normal = normal_files(detector.names, args.normal) if args.normal else {}

    def read(path):
        return read_clip(path, sample_rate=detector.settings.sample_rate, channel=args.channel)

    def rows_of(paths):
        for path, verdict in progress(
            verdicts_of(detector, paths, read), len(paths), "recordings", tell=print_error
        ):
            verdicts.extend(
                [(str(path), verdict)] if args.html and not isinstance(verdict, InputError) else []
            )
            yield row(str(path), verdict)

    rows = rows_of(paths)
    if args.workdir:
        settings = (file_sha256(args.detector), args.channel)
        rows = ShardedRows(args.workdir, settings, paths, rows_of)
        # An archive may be large, so its rows are printed one by one and not kept in memory.
        collections.deque(printed(rows, as_json=args.json), 0)
    else:
        rows = list(printed(rows, as_json=args.json, only=not (args.csv or args.html)))
    if args.csv:
        write_csv(args.csv, rows)
    if args.html:
        from asd_jax.detector.page import write_score_page

        write_score_page(
            args.html,
            detector,
            verdicts,
            read,
            (lambda name: read(normal[name])) if normal else None,
            name=Path(args.detector).stem,
        )
    if not args.json:
        print_rows(rows, detector.threshold, table=not args.workdir)
    tell_short(rows, detector.settings.window_seconds)
    odd, bad = any(one.get("is_anomaly") for one in rows), any("error" in one for one in rows)
    return ANOMALY if odd else 2 if bad else 0


def _watch_flags(add) -> None:
    add("--detector", required=True, help="file that fit wrote")
    add(
        "--input",
        required=True,
        help="- for a stream on standard input, a wav or raw file, or a folder being filled",
    )
    add("--rate", type=int, default=16000, help="of raw samples, in Hz; a wav says itself")
    add("--channels", type=int, default=1, help="of raw samples")
    add("--encoding", default="s16le", help="of raw samples: u8, s16le, s24le, s32le, f32le")
    add("--channel", type=_count, help="number of the channel to hear; default: their mean")
    add("--hop_seconds", type=float, help="between windows; default: a window")
    add(
        "--confirm",
        type=int,
        default=2,
        help="windows in a row above the threshold that start an alarm",
    )
    add(
        "--hysteresis",
        type=float,
        default=0.25,
        help="an alarm may end at this share of the way from the threshold down to the usual score",
    )
    add("--hold_seconds", type=float, default=30.0, help="below that end an alarm")
    add("--of", type=_count, default=0, help="count --confirm among so many windows; 0: in a row")
    add("--on_delay_seconds", type=float, default=0.0, help="above the threshold before an alarm")
    add("--store", help="file that keeps scores, levels and alarms over months; may be new")
    add("--machine", default="machine", help="of --store: name of the machine")
    add("--quiet_hours", default="", help="of --store: announce no alarm then, e.g. 22:00-06:00")
    add("--gap_seconds", type=float, default=2.0, help="without sound that are told as a gap")
    add("--status_seconds", type=float, default=3600.0, help="of sound between two status lines")
    add("--once", action="store_true", help="of a folder: hear what is there and end")
    add(
        "--settle",
        type=float,
        default=0.0,
        help="minutes at the beginning, healthy, that level and colour are taken from",
    )


def watch(args: argparse.Namespace) -> int:
    """Monitors a stream, a file or a folder that is being filled, and prints JSON lines.

    There is one line per window, and lines for alarms (start and end) and events. Times are in
    seconds of the stream; for a folder, they are in seconds of the file that the line names
    (start_file, at_file, end_file).
    """
    import numpy as np

    from asd_jax.detector.adaptation import Settling
    from asd_jax.detector.detector import Detector
    from asd_jax.detector.stream import Form
    from asd_jax.detector.watch import Watch, Watching
    from asd_jax.runtime.start import start_quickly

    if not (0 <= args.hysteresis <= 1 and args.gap_seconds > 0 and args.settle >= 0):
        raise InputError(
            "--hysteresis must lie in 0..1, --gap_seconds above 0, --settle at least 0 minutes"
        )
    start_quickly()
    detector, raw = Detector.load(args.detector), Form(args.encoding, args.rate, args.channels)
    window, cut = detector.settings.window_seconds, detector.threshold
    # The threshold that ends an alarm lies between the one that starts it and the usual score.
    usual = float(np.median(detector.bank.normal))
    rate = detector.recorded_rate
    watching = Watching(
        rate,
        window,
        window if args.hop_seconds is None else args.hop_seconds,
        cut,
        cut - args.hysteresis * (cut - usual),
        args.confirm,
        args.hold_seconds,
        args.status_seconds,
        args.of,
        args.on_delay_seconds,
    )
    record = _record(args, detector, rate, raw)
    settling = Settling(detector, rate, args.settle)
    # Compiling now avoids a delay once audio arrives.
    settling.compile(watching.samples[0])
    watcher = Watch(watching, settling, detector.p_value, record)
    lines = _watched(args, watcher, raw)
    started = watching.started(detector.settings.false_alarm_rate)
    try:
        for line in itertools.chain([started], lines):
            print_result(json.dumps(line))
    except KeyboardInterrupt:  # the usual end of a live stream
        for line in watcher.finish():
            print_result(json.dumps(line))
    # The reader of the lines is gone, so there is nothing more to do.
    except OutputFailed:
        pass
    return ANOMALY if watcher.alarm.count else 0


def _record(args: argparse.Namespace, detector, rate: int, raw):
    """Returns the record of --store, or None."""
    from asd_jax.data.audio import audio_format
    from asd_jax.detector.record import Record
    from asd_jax.monitoring.quiet_hours import QuietHours
    from asd_jax.monitoring.store import Store

    quiet, place, began = QuietHours.parse(args.quiet_hours), Path(args.input), None
    if args.store is None:
        if args.quiet_hours:
            raise InputError("--quiet_hours belongs to --store, which is missing")
        return None
    if args.input != "-" and place.is_file():
        status = place.stat()
        try:
            seconds = audio_format(place)[0]
        except InputError:  # raw samples have no header
            seconds = status.st_size / raw.frame / raw.rate
        # A file is last changed when its recording ends.
        began = status.st_mtime - seconds
    return Record(Store(args.store), args.machine, detector, rate, quiet=quiet, began=began)


def _watched(args: argparse.Namespace, watcher, raw) -> Iterator[dict]:
    """Yields the lines of --input, which is a folder, a file, standard input or a named pipe.

    `raw` is the format of bytes that come without a header.
    """
    from asd_jax.detector.chunks import chunks_of_stream, sound_of_file
    from asd_jax.detector.stream import Decoder
    from asd_jax.detector.watch import watch_bytes, watch_folder

    place = Path(args.input)
    if args.input != "-" and not place.exists():
        raise InputError(f"--input={place}: no such file or folder; - is standard input")
    if args.input != "-" and place.is_dir():
        channel = "mean" if args.channel is None else args.channel
        return watch_folder(watcher, place, once=args.once, channel=channel)
    if args.input != "-" and place.is_file():
        raw, chunks = sound_of_file(place, raw)
    else:
        if args.input == "-" and sys.stdin is None:
            raise InputError("--input=-: there is no standard input, it is closed")
        file = sys.stdin.buffer if args.input == "-" else open(place, "rb")
        chunks = chunks_of_stream(file, gap_seconds=args.gap_seconds)
    return watch_bytes(watcher, chunks, Decoder(raw, channel=args.channel, name=args.input))


def _save(detector, output: str, *, as_json: bool = False) -> None:
    from asd_jax.detector.self_check import self_check

    detector.save(output)
    check = self_check(detector)
    if as_json:
        print(json.dumps(check.as_json()), flush=True)
    for line in check.lines():
        print_error(line)
    print_error(f"wrote {output}")


def _reader(channel: str, rate: int):
    """Returns a function that reads a clip's waveform, of this channel and sampling rate in Hz."""
    from asd_jax.data.audio import read_clip

    return lambda clip: read_clip(clip.path, sample_rate=rate, channel=channel)


def _count(text: str) -> int:
    """Returns the non-negative integer that an argument holds, for argparse."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0 on")
    return int(text)


def _check_output(flag: str, path: str) -> None:
    """Checks that the path can be written, before anything is computed."""
    with error_context(flag):
        check_output(path)


if __name__ == "__main__":
    run(main, define_flags)
