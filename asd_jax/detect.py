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

from asd_jax.run import detector_flags, watch_flags
from asd_jax.runtime.command import docstring, run
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.log import print_raw

# Subcommand: (function that adds its flags, module of asd_jax.run and function that it calls).
COMMANDS = {
    "fit": (detector_flags.fit_flags, "fit_detector", "fit"),
    "score": (detector_flags.score_flags, "score_recordings", "score"),
    "watch": (watch_flags.watch_flags, "watch_sound", "watch"),
    "update": (detector_flags.update_flags, "fit_detector", "update"),
    "adapt": (detector_flags.adapt_flags, "fit_detector", "adapt"),
    "set-rate": (detector_flags.set_rate_flags, "fit_detector", "set_rate"),
    "info": (detector_flags.info_flags, "fit_detector", "info"),
    "trend": (watch_flags.trend_flags, "history", "show_trend"),
}
# Carries the arguments from define_flags to main, which is called without arguments.
_PARSED = argparse.Namespace()


# argparse would print the usage and leave with status 2 by itself; all commands report alike.
class _Parser(argparse.ArgumentParser):
    def error(self, message):
        raise InputError(f"{message} ({self.prog} --help says more)")

    # argparse's own method ignores write errors, such as a full disk.
    def _print_message(self, message, file=None):
        print_raw(message)


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    # A flag that is needed, and one that is off, have no default that says anything.
    def _get_help_string(self, action):
        nothing = action.default is None or action.default is False or action.default == ""
        return action.help if nothing else super()._get_help_string(action)


def define_flags(argv: list[str]) -> None:
    """Parses the subcommand and its arguments, and removes them from argv before absl sees it."""
    # The namespace is global, so the values of an earlier command must be removed.
    vars(_PARSED).clear()
    parser().parse_args(argv[1:], _PARSED)
    # absl would take the flags for its own.
    del argv[1:]


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the subcommands and their arguments."""
    top = _Parser(
        prog="python -m asd_jax.detect",
        description=docstring(sys.modules[__name__]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        # A later flag could make an abbreviation that works today ambiguous.
        allow_abbrev=False,
    )
    metavar = " | ".join([*COMMANDS, "alarms"])
    # Without a required subcommand, argparse would accept an empty command line.
    commands = top.add_subparsers(metavar=metavar, required=True)
    for word, (add_flags, module, function) in COMMANDS.items():
        one = _add_parser(commands, word, docstring(add_flags))
        # The parser puts this function into the namespace, from which main takes it.
        one.set_defaults(command=_calls(module, function))
        add_flags(one)
    _add_alarms(commands)
    return top


def _add_alarms(commands) -> None:
    """Adds `alarms`, which has subcommands of its own."""
    meaning = "Lists, acknowledges, shelves or exports the alarm cases that watch --store keeps."
    alarms = _add_parser(commands, "alarms", meaning)
    words = alarms.add_subparsers(metavar=" | ".join(watch_flags.ALARMS), required=True)
    for word, (function, meaning) in watch_flags.ALARMS.items():
        one = _add_parser(words, word, meaning)
        one.set_defaults(command=_calls("history", function))
        watch_flags.case_flags(one.add_argument, word)


def main() -> int | None:
    """Runs the subcommand and returns its exit status."""
    return _PARSED.command(_PARSED)


def _add_parser(commands, word: str, description: str) -> argparse.ArgumentParser:
    """Returns the parser of a new subcommand."""
    return commands.add_parser(
        word,
        description=description,
        formatter_class=_Help,
        allow_abbrev=False,
    )


def _calls(module: str, function: str) -> Callable[[argparse.Namespace], int | None]:
    """Returns a function that imports a module of asd_jax.run and calls a function of it.

    The module is imported only when the command runs, so that --help and a wrong flag cost nothing.
    """

    def call(args: argparse.Namespace) -> int | None:
        return getattr(importlib.import_module(f"asd_jax.run.{module}"), function)(args)

    return call


if __name__ == "__main__":
    run(main, define_flags)
