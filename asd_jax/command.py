"""The one wrapper around every main: flags, exit status, errors in one line.

Exit status: 0 done; 2 bad input from the user (one message on stderr, no traceback); 1 anything else; `--help` 0.
A main may return another status (asd_jax.detect returns 3 for "anomaly found").
"""

import itertools
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from absl import flags

from asd_jax.errors import InputError


def run(main: Callable[[], int | None], define_flags: Callable[[Sequence[str]], None] = lambda argv: None) -> None:
    """Parses the absl flags that `main`'s module defined, calls it and exits with the contract's status.

    Args:
        main: the command.
        define_flags: defines the flags that depend on others, given the arguments.
    """
    sys.exit(_status(main, define_flags, sys.argv))


def _status(main, define_flags, argv: list[str]) -> int:
    try:
        define_flags(argv)
        if any(argument in ("--help", "-help", "-h") for argument in argv[1:]):
            print(sys.modules[main.__module__].__doc__)
            print(flags.FLAGS.module_help(sys.modules[main.__module__]))
            return 0
        _parse(argv)
        return main() or 0
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 1


def _parse(argv: list[str]) -> None:
    config = value_of_flag(argv, "config")
    if config is not None and not Path(config.partition(":")[0]).is_file():
        raise InputError(f"{config.partition(':')[0]}: no such config file; those of the project are in configs/")
    try:
        left = flags.FLAGS(argv)
    except flags.Error as error:
        raise InputError(_of_config_file(config, error) or f"{error} (--help lists the flags)") from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:  # what config_flags raises for a bad override
        raise InputError(f"config: {error}") from error
    if len(left) > 1:
        raise InputError(f"unexpected argument {left[1]!r}; flags are written --name=value (--help lists them)")


def _of_config_file(config: str | None, error: BaseException) -> str | None:
    """What get_config itself raised, which config_flags buries in the text of a traceback."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__
    inside = any("get_config" in line for line in traceback.format_tb(error.__traceback__))
    return f"{config}: {error}" if inside else None


def value_of_flag(argv: Sequence[str], name: str) -> str | None:
    """The value of --name in the arguments, before the flags are parsed; None if it is not there."""
    for argument, following in itertools.zip_longest(argv, argv[1:], fillvalue=""):
        flag, equals, value = argument.lstrip("-").partition("=")
        if argument.startswith("-") and flag == name:
            return value if equals else following
    return None
