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
import importlib
import sys
from collections.abc import Callable

from asd_jax.models.settings import RUNTIME, RUNTIMES
from asd_jax.runtime.command import docstring, run
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.log import print_raw

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
    top = _Parser(
        prog="python -m asd_jax.detect",
        description=docstring(sys.modules[__name__]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    metavar = "fit | score | watch | update | adapt | set-rate | info | trend | alarms"
    commands = top.add_subparsers(metavar=metavar, required=True)
    for word, define in (
        ("fit", _fit),
        ("score", _score),
        ("watch", _watch),
        ("update", _update),
        ("adapt", _adapt),
        ("set-rate", _set_rate),
        ("info", _info),
        ("trend", _trend),
        ("alarms", _alarms),
    ):
        define(_add_parser(commands, word, docstring(define)))
    return top


def main() -> int | None:
    """Runs the subcommand and returns its exit status."""
    return _PARSED.command(_PARSED)


def _add_parser(commands, word: str, description: str) -> argparse.ArgumentParser:
    """Returns the parser of a new subcommand."""
    return commands.add_parser(
        word,
        description=description,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )


def _calls(module: str, function: str) -> Callable[[argparse.Namespace], int | None]:
    """Returns a function that imports a module of asd_jax.run and calls a function of it.

    What computes is imported only when it is called, so that --help and a wrong flag cost nothing.
    """

    def call(args: argparse.Namespace) -> int | None:
        return getattr(importlib.import_module(f"asd_jax.run.{module}"), function)(args)

    return call


def _runtime_flag(add) -> None:
    add("--runtime", default="jax", choices=RUNTIMES, help=RUNTIME.replace("`", ""))


def _channel_flag(add) -> None:
    add(
        "--channel",
        default="mean",
        help="channel of recordings that have several: mean, near, far, difference, cancelled, "
        "guarded, or a number",
    )


def _fit(parser: argparse.ArgumentParser) -> None:
    """Fits a detector to recordings of the healthy machine and writes it to a file.

    Sets the threshold, and prints a check of the recordings.
    """
    parser.set_defaults(command=_calls("fit_detector", "fit"))
    add = parser.add_argument
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
        help="length of a window; default: the recordings' usual length, at most 10",
    )
    add(
        "--coreset",
        type=_count,
        default=0,
        help="number of windows that the bank of the encoder keeps; 0: all",
    )
    add(
        "--tokens",
        action="store_true",
        help="heat maps from the encoder's tokens, not from filter-bank patches",
    )
    _channel_flag(add)
    add(
        "--machine",
        help="machine whose SimAM mode is used, if the weights have one for each machine",
    )
    add(
        "--fine_tune",
        action="store_true",
        help="first train the encoder to distinguish the subfolders (or attributes)",
    )
    add(
        "--keep_odd",
        action="store_true",
        help="learn from recordings that are far from all others, too",
    )
    add("--json", action="store_true", help="print the check of the recordings as one JSON object")
    add("--epochs", type=int, default=10, help="epochs of --fine_tune")
    add("--seed", type=_count, default=0, help="seed of --fine_tune")


def _update(parser: argparse.ArgumentParser) -> None:
    """Adds further normal recordings to a detector and writes the result to a new file."""
    parser.set_defaults(command=_calls("fit_detector", "update"))
    add = parser.add_argument
    add("--detector", required=True, help="file that fit wrote")
    add(
        "--normal",
        required=True,
        help="folder (or csv list) of further recordings, confirmed to be normal, or one",
    )
    add(
        "--output",
        required=True,
        help="detector file to write; the old one stays, unless it is named here",
    )
    add(
        "--keep_odd",
        action="store_true",
        help="learn from recordings that are far from all others, too",
    )
    _channel_flag(add)


def _adapt(parser: argparse.ArgumentParser) -> None:
    """Adapts a detector to a new session from a few healthy minutes of it, and writes a new file.

    The new detector takes its level and spectral colour from the session. A fault that is already
    present is reported, not learnt.
    """
    parser.set_defaults(command=_calls("fit_detector", "adapt"))
    add = parser.add_argument
    add("--detector", required=True, help="file that fit wrote")
    add("--normal", required=True, help="folder (or csv list): minutes of the new session")
    add("--output", required=True, help="detector file to write, for this session")
    _channel_flag(add)


def _set_rate(parser: argparse.ArgumentParser) -> None:
    """Sets the threshold of a detector for another false-alarm rate, without any recordings."""
    parser.set_defaults(command=_calls("fit_detector", "set_rate"))
    add = parser.add_argument
    add("--detector", required=True, help="file that fit wrote")
    add(
        "--false_alarm_rate",
        type=float,
        required=True,
        help="share of normal windows that may be called anomalous",
    )
    add("--output", required=True, help="detector file to write")


def _info(parser: argparse.ArgumentParser) -> None:
    """Prints what a detector was fitted to, its settings, its threshold and its notes."""
    parser.set_defaults(command=_calls("fit_detector", "info"))
    add = parser.add_argument
    add("--detector", required=True, help="file that fit wrote")
    add("--json", action="store_true", help="one JSON object instead of text")


def _score(parser: argparse.ArgumentParser) -> None:
    """Scores recordings: prints score, p-value against normal sounds, verdict and worst moment.

    The exit status is 3 if any recording is anomalous.
    """
    parser.set_defaults(command=_calls("score_recordings", "score"))
    add = parser.add_argument
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
        help="folder that keeps the scores of an archive; the same command continues, and several "
        "processes share the work",
    )
    add(
        "--html",
        help="page to write, with the scores and the recordings that score highest",
    )
    add(
        "--normal",
        action="append",
        help="of --html: the folder that fit was given, to show and play the nearest normal "
        "recording; once more for "
        "each folder that update was given, in that order",
    )
    _runtime_flag(add)
    _channel_flag(add)


def _watch(parser: argparse.ArgumentParser) -> None:
    """Monitors a stream, a file or a folder that is being filled, and prints JSON lines.

    There is one line per window, and lines for alarms (start and end) and events. Times are in
    seconds of the stream; for a folder, they are in seconds of the file that the line names
    (start_file, at_file, end_file).
    """
    parser.set_defaults(command=_calls("watch_sound", "watch"))
    add = parser.add_argument
    add("--detector", required=True, help="file that fit wrote")
    add(
        "--input",
        required=True,
        help="- for a stream on standard input, a wav or raw file, or a folder being filled",
    )
    add(
        "--rate",
        type=int,
        default=16000,
        help="sampling rate of raw samples, in Hz; a wav contains its own",
    )
    add("--channels", type=int, default=1, help="number of channels of raw samples")
    add(
        "--encoding",
        default="s16le",
        help="encoding of raw samples: u8, s16le, s24le, s32le, f32le",
    )
    add("--channel", type=_count, help="number of the channel to use; default: the mean of all")
    add(
        "--hop_seconds",
        type=float,
        help="time between the starts of two windows; default: the length of a window",
    )
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
    add(
        "--hold_seconds",
        type=float,
        default=30.0,
        help="time at or below the lower threshold that ends an alarm",
    )
    add("--of", type=_count, default=0, help="count --confirm among so many windows; 0: in a row")
    add(
        "--on_delay_seconds",
        type=float,
        default=0.0,
        help="time above the threshold before an alarm starts",
    )
    add("--store", help="file that keeps scores, levels and alarms over months; may be new")
    add("--machine", default="machine", help="of --store: name of the machine")
    add("--quiet_hours", default="", help="of --store: announce no alarm then, e.g. 22:00-06:00")
    add(
        "--gap_seconds",
        type=float,
        default=2.0,
        help="time without sound that is reported as a gap",
    )
    add(
        "--status_seconds",
        type=float,
        default=3600.0,
        help="seconds of sound between two status lines",
    )
    add(
        "--once",
        action="store_true",
        help="with a folder: score the recordings that are there, and end",
    )
    add(
        "--settle",
        type=float,
        default=0.0,
        help="healthy minutes at the beginning, from which level and colour are taken",
    )
    _runtime_flag(add)


def _trend(parser: argparse.ArgumentParser) -> None:
    """Shows whether scores and sound levels change: since when, how fast, and until when."""
    parser.set_defaults(command=_calls("history", "show_trend"))
    add = parser.add_argument
    add("--store", required=True, help="file that watch --store keeps")
    add("--machine", help="only this one; default: all")
    add("--days", type=int, default=30, help="number of days to look back")
    add("--until", help="date and time to look back from; default: now")
    add("--json", action="store_true", help="one JSON object per value")


def _alarms(parser: argparse.ArgumentParser) -> None:
    """Lists, acknowledges, shelves or exports the alarm cases that watch --store keeps."""
    commands = parser.add_subparsers(
        metavar="list | ack | shelve | unshelve | export", required=True
    )
    for word, function, meaning in (
        ("list", "list_cases", "Lists alarm cases: open ones, or all."),
        ("ack", "acknowledge", "Acknowledges a case; it is closed once the alarm is off, too."),
        (
            "shelve",
            "shelve",
            "Announces no alarm of a machine for some hours; they are recorded all the same.",
        ),
        ("unshelve", "unshelve", "Ends the shelving of a machine before its time."),
        (
            "export",
            "export",
            "Writes cases to a csv file, or as labels that Audacity imports beside a recording.",
        ),
    ):
        one = _add_parser(commands, word, meaning)
        one.set_defaults(command=_calls("history", function))
        _alarm_flags(one.add_argument, word)


def _alarm_flags(add, word: str) -> None:
    add("--store", required=True, help="file that watch --store keeps")
    if word in ("list", "export"):
        add("--machine", help="only this one; default: all")
        add("--state", choices=("open", "all"), default="open" if word == "list" else "all")
    if word == "ack":
        add("case", type=int, help="number of the case")
        add("--note", default="", help="what was found or done")
    if word in ("shelve", "unshelve"):
        add("name", metavar="MACHINE")
    if word == "shelve":
        add("--hours", type=float, required=True, help="at most 720")
    if word in ("ack", "shelve", "unshelve"):
        add("--by", default="", help="name of the person")
    if word == "list":
        add("--json", action="store_true", help="one JSON object per case")
    if word == "export":
        add("--format", choices=("csv", "audacity"), default="csv")
        add("--output", required=True, help="file to write")
        add("--start", help="of audacity: date and time at which the recording begins")


def _count(text: str) -> int:
    """Returns the non-negative integer that an argument holds, for argparse."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0 on")
    return int(text)


if __name__ == "__main__":
    run(main, define_flags)
