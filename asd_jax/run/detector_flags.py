"""Defines the flags of `detect fit`, `update`, `adapt`, `set-rate`, `info` and `score`.

The flags are separate from the modules that read them, fit_detector.py and score_recordings.py,
because --help must not import the code that computes.
"""

import argparse

from asd_jax.models.settings import RUNTIME, RUNTIMES


def fit_flags(parser: argparse.ArgumentParser) -> None:
    """Fits a detector to recordings of the healthy machine and writes it to a file.

    Sets the threshold, and prints a check of the recordings.
    """
    add = parser.add_argument
    add(
        "--normal",
        required=True,
        help="folder (or csv list) of recordings of the healthy machine, or one file; each up to "
        "an hour long",
    )
    add("--output", required=True, help="detector file to write")
    add(
        "--weights",
        default="box",
        help="encoder beside the filter bank: box (in the package), a file, or filter_bank",
    )
    _learning_flags(add)


def _learning_flags(add) -> None:
    """Adds the flags of `fit` that say how the detector learns."""
    _rate_flag(add, default=0.05)
    add(
        "--window_seconds",
        type=float,
        help="length of a window; default: the recordings' usual length, at most 10",
    )
    add(
        "--coreset",
        type=whole_number,
        default=0,
        help="number of windows that the bank of the encoder keeps; 0: all",
    )
    add(
        "--tokens",
        action="store_true",
        help="heat maps from the encoder's tokens, not from filter-bank patches",
    )
    channel_flag(add)
    add(
        "--machine",
        help="machine whose SimAM mode is used, if the weights have one for each machine",
    )
    add(
        "--fine_tune",
        action="store_true",
        help="first train the encoder to distinguish the subfolders (or attributes)",
    )
    _keep_odd_flag(add)
    add("--json", action="store_true", help="print the check of the recordings as one JSON object")
    add("--epochs", type=int, default=10, help="epochs of --fine_tune")
    add("--seed", type=whole_number, default=0, help="seed of --fine_tune")


def update_flags(parser: argparse.ArgumentParser) -> None:
    """Adds further normal recordings to a detector and writes the result to a new file."""
    add = parser.add_argument
    add("--detector", required=True, help="file that fit wrote")
    add(
        "--normal",
        required=True,
        help="folder (or csv list) of further recordings, confirmed to be normal, or one file",
    )
    add(
        "--output",
        required=True,
        help="detector file to write; the old one stays, unless it is named here",
    )
    _keep_odd_flag(add)
    channel_flag(add)


def adapt_flags(parser: argparse.ArgumentParser) -> None:
    """Adapts a detector to a new session from a few healthy minutes of it, and writes a new file.

    The new detector takes its level and spectral colour from the session. A fault that is already
    present is reported, not learnt.
    """
    add = parser.add_argument
    add("--detector", required=True, help="file that fit wrote")
    add("--normal", required=True, help="folder (or csv list): minutes of the new session")
    add("--output", required=True, help="detector file to write, for this session")
    channel_flag(add)


def set_rate_flags(parser: argparse.ArgumentParser) -> None:
    """Sets the threshold of a detector for another false-alarm rate, without any recordings."""
    add = parser.add_argument
    add("--detector", required=True, help="file that fit wrote")
    _rate_flag(add, required=True)
    add("--output", required=True, help="detector file to write")


def info_flags(parser: argparse.ArgumentParser) -> None:
    """Prints what a detector was fitted to, its settings, its threshold and its notes."""
    add = parser.add_argument
    add("--detector", required=True, help="file that fit wrote")
    add("--json", action="store_true", help="one JSON object instead of text")


def score_flags(parser: argparse.ArgumentParser) -> None:
    """Scores recordings: prints score, p-value against normal sounds, verdict and worst moment.

    The exit status is 3 if any recording is anomalous.
    """
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
    runtime_flag(add)
    channel_flag(add)


def _keep_odd_flag(add) -> None:
    """Adds --keep_odd, of commands that learn."""
    add(
        "--keep_odd",
        action="store_true",
        help="learn from recordings that are far from all others, too",
    )


def _rate_flag(add, **options) -> None:
    """Adds --false_alarm_rate, with a default or required."""
    add(
        "--false_alarm_rate",
        type=float,
        help="share of normal windows that may be called anomalous",
        **options,
    )


def runtime_flag(add) -> None:
    """Adds --runtime."""
    # The backquotes are for the documentation.
    add("--runtime", default="jax", choices=RUNTIMES, help=RUNTIME.replace("`", ""))


def channel_flag(add) -> None:
    """Adds --channel, of commands that read recordings."""
    add(
        "--channel",
        default="mean",
        help="channel of recordings that have several: mean, near, far, difference, cancelled, "
        "guarded, or a number",
    )


def whole_number(text: str) -> int:
    """Returns the non-negative integer that an argument holds, for argparse."""
    # isdecimal refuses signs, blanks and underscores, which int() accepts.
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0 on")
    return int(text)
