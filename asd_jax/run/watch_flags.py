"""Defines the flags of `detect watch`, `trend` and `alarms`.

The flags are separate from the modules that read them, watch_sound.py and history.py, because
--help must not import the code that computes.
"""

import argparse

from asd_jax.run.detector_flags import runtime_flag, whole_number

# Subcommand of `detect alarms`: (function of history.py, its help).
ALARMS = {
    "list": ("list_cases", "Lists alarm cases: open ones, or all."),
    "ack": ("acknowledge", "Acknowledges a case; it is closed once the alarm is off, too."),
    "shelve": (
        "shelve",
        "Announces no alarm of a machine for some hours; they are recorded all the same.",
    ),
    "unshelve": ("unshelve", "Ends the shelving of a machine before its time."),
    "export": (
        "export",
        "Writes cases to a csv file, or as labels that Audacity imports beside a recording.",
    ),
}


def watch_flags(parser: argparse.ArgumentParser) -> None:
    """Monitors a stream, a file or a folder that is being filled, and prints JSON lines.

    There is one line per window, and lines for alarms (start and end) and events. Times are in
    seconds of the stream; for a folder, they are in seconds of the file that the line names
    (start_file, at_file, end_file).
    """
    add = parser.add_argument
    add("--detector", required=True, help="file that fit wrote")
    add(
        "--input",
        required=True,
        help="- for a stream on standard input, a wav or raw file, or a folder being filled",
    )
    _sound_flags(add)
    _alarm_flags(add)
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
    runtime_flag(add)


def _sound_flags(add) -> None:
    """Adds the flags of `watch` that say how samples without a header are read."""
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
    add(
        "--channel",
        type=whole_number,
        help="number of the channel to use; default: the mean of all",
    )


def _alarm_flags(add) -> None:
    """Adds the flags of `watch` that say which windows make an alarm."""
    add(
        "--hop_seconds",
        type=float,
        help="time between the starts of two windows; default: the length of a window",
    )
    # More than one, so that a single odd window, e.g. a slammed door, starts no alarm.
    add(
        "--confirm",
        type=int,
        default=2,
        help="windows in a row above the threshold that start an alarm",
    )
    # Otherwise a score that varies around the threshold would start one alarm after another.
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
    add(
        "--of",
        type=whole_number,
        default=0,
        help="count --confirm among so many windows; 0: in a row",
    )
    add(
        "--on_delay_seconds",
        type=float,
        default=0.0,
        help="time above the threshold before an alarm starts",
    )


def trend_flags(parser: argparse.ArgumentParser) -> None:
    """Shows whether scores and sound levels change: since when, how fast, and until when."""
    add = parser.add_argument
    add("--store", required=True, help="file that watch --store keeps")
    add("--machine", help="only this one; default: all")
    add("--days", type=int, default=30, help="number of days to look back")
    add("--until", help="date and time to look back from; default: now")
    add("--json", action="store_true", help="one JSON object per value")


def case_flags(add, word: str) -> None:
    """Adds the flags of `detect alarms WORD`."""
    add("--store", required=True, help="file that watch --store keeps")
    # Lists show what is to be done, exports all that there was.
    if word in ("list", "export"):
        add("--machine", help="only this one; default: all")
        add(
            "--state",
            choices=("open", "all"),
            default="open" if word == "list" else "all",
            help="which cases to list",
        )
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
        add(
            "--format",
            choices=("csv", "audacity"),
            default="csv",
            help="csv, or labels that Audacity shows beside a recording",
        )
        add("--output", required=True, help="file to write")
        add("--start", help="of audacity: date and time at which the recording begins")
