"""The one wrapper around every main: flags, exit status, errors in one line.

Exit status: 0 done; 2 bad input from the user (one message on stderr, no traceback); 1 anything
else; `--help` 0. A main may return another status (asd_jax.detect returns 3 for "anomaly found").
SIGTERM is taken as Ctrl-C is: what is being written is finished or removed, and the command that
continues is printed.
"""

import ast
import contextlib
import inspect
import io
import itertools
import os
import re
import shlex
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from absl import flags

from asd_jax.runtime import processes
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.log import ScreenLost, lose_screen, say, screen_lost, tell

KEYS = "all keys, with meanings: python -m asd_jax.config, of pre-training: --pretrain"


def run(
    main: Callable[[], int | None], define_flags: Callable[[list[str]], None] = lambda argv: None
) -> None:
    """Parses the absl flags that `main`'s module defined, calls it and exits with the contract's
    status.

    Args:
        main: the command.
        define_flags: defines the flags that depend on others, given the arguments.
    """
    _open_streams()
    status = _status(main, define_flags, sys.argv)
    with contextlib.suppress(AttributeError, ValueError):
        try:
            sys.stdout.flush()
        except OSError as error:
            lose_screen(error)
    if screen_lost():
        status = status or 1
    if status and processes.several():
        processes.leave(status)
    processes.outlast()
    sys.exit(status)


def _status(main, define_flags, argv: list[str]) -> int:
    try:
        with _terminated_as_by_hand():
            define_flags(argv)
            if any(argument in ("--help", "-help", "-h") for argument in argv[1:]):
                say(docstring(sys.modules[main.__module__]))
                say(_flags_help())
                return 0
            _parse(argv)
            _join(_again(main, argv))
            return main() or 0
    except InputError as error:
        tell(f"error: {error}")
        return 2
    except ScreenLost:  # whoever read it may have seen enough
        return int(screen_lost())
    except SystemExit as stop:  # of argparse
        if isinstance(stop.code, str):
            tell(stop.code)
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except Exception as error:
        if isinstance(error, OSError) and not processes.several():
            return _told(error)
        if not processes.several():
            raise
        # What a lost connection is called differs by machine and version; its own words follow.
        reason = str(error).strip().partition("\n")[0][:300]
        tell(
            "error: this process of several could not go on; if another one ended, see why "
            f"there. {_again(main, argv)} ({type(error).__name__}: {reason})"
        )
        return 1
    except KeyboardInterrupt as stop:
        tell(" ".join(["interrupted", *map(str, stop.args)]) + f"; {_again(main, argv)}")
        return 1


def _open_streams() -> None:
    """Gives a process that was started without standard streams some that lead nowhere, and has
    what a stream cannot encode, such as a name that is not UTF-8, escaped.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # else the next file that is opened would be a standard stream
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or open(os.devnull, "w")
    sys.stderr = sys.stderr or open(os.devnull, "w")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
            with contextlib.suppress(OSError):  # one that others set so would lose lines
                os.set_blocking(stream.fileno(), True)


def _told(error: OSError) -> int:
    """Tells what the system refused -> the exit status."""
    if error.filename is None:
        try:
            os.getcwd()
        except OSError:
            tell("error: the working directory was deleted; cd to one that is there")
            return 2
        raise error
    tell(f"error: {error.filename}: {error.strerror or error}")
    return 2


def docstring(thing) -> str:
    """The docstring of a module or function, in its source where Python runs without (-OO)."""
    if thing.__doc__:
        return thing.__doc__
    tree = ast.parse(inspect.getsource(thing))
    node = tree if inspect.ismodule(thing) else tree.body[0]
    return ast.get_docstring(node) or ""  # pyright: ignore[reportArgumentType] a function's or class's


def _again(main, argv: list[str]) -> str:
    """How to continue."""
    again = shlex.join(
        ["python", "-m", _name(main), *(a for a in argv[1:] if a.lstrip("-") != "overwrite")]
    )
    return f"to continue:\n  {again}"


def define_process_flags() -> None:
    """Defines the flags of commands that several processes can run together."""
    flags.DEFINE_string(
        "coordinator", None, "of several processes: HOST:PORT of the first; auto: on Slurm and TPU"
    )
    flags.DEFINE_integer(
        "processes", None, "how many run this command together, with one --workdir that all can see"
    )
    flags.DEFINE_integer("process", None, "which of them this is, from 0")


def _join(again: str) -> None:
    args = flags.FLAGS
    if "coordinator" in args and (
        args.coordinator or args.processes is not None or args.process is not None
    ):
        last_words = (
            "error: this process was ended: it was killed, or the first process is gone; see why "
            f"there. {again}"
        )
        processes.join(args.coordinator or "", args.processes, args.process, last_words)


@contextlib.contextmanager
def _terminated_as_by_hand() -> Iterator[None]:
    """Within, SIGTERM raises KeyboardInterrupt."""
    # only the main thread has signals
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _flags_help() -> str:
    """The command's flags, wherever in this project they are defined; libraries have theirs."""
    libraries = "absl", "grain", "jax", "ml_collections", "orbax"
    modules = [
        name
        for name in flags.FLAGS.flags_by_module_dict()
        if name.partition(".")[0] not in libraries
    ]
    text = "\n".join(flags.FLAGS.module_help(name).partition(":\n")[2] for name in modules)
    # The default of --config is a whole config where a run's own holds: python -m asd_jax.config.
    return re.sub(r"\n *\(default: '\w+:\n[^)]*\)", "", text)


def _name(main) -> str:
    """The command's module, as `python -m` takes it."""
    module = sys.modules[main.__module__]
    return module.__spec__.name if module.__spec__ else sys.argv[0]


def _parse(argv: list[str]) -> None:
    config = value_of_flag(argv, "config")
    name = (config or "").partition(":")[0]
    if config is not None and not Path(name).is_file():
        configs = Path(__file__).parents[2] / "configs"
        raise InputError(f"{name}: no such config file; those of the project are in {configs}/")
    try:
        left = flags.FLAGS(argv)
    except flags.Error as error:
        raise InputError(
            _of_config_file(config, error) or f"{_words(error)} (--help lists the flags)"
        ) from error
    except Exception as error:  # a bad override, or whatever is wrong in a config file
        unknown = (
            _unknown_key(argv, error) if isinstance(error, (AttributeError, KeyError)) else None
        )
        raise InputError(_of_config_file(config, error) or unknown or f"config: {error}") from error
    if len(left) > 1:
        raise InputError(
            f"unexpected argument {left[1]!r}; flags are written --name=value (--help lists them)"
        )


def _unknown_key(argv: list[str], error: Exception) -> str | None:
    """What is wrong with a --config.section.key of which the config knows no such part, which the
    error quotes.
    """
    parts = re.findall(r"""["']([^"']+)["']""", str(error.args[0])) or [str(error.args[0])]
    for argument in argv[1:]:
        key = argument.partition("=")[0].lstrip("-").removeprefix("config.")
        if parts[0] in key.split("."):
            hint = f" Did you mean {parts[1]!r}?" if len(parts) > 1 else ""
            return f"config: no key {key!r}; {KEYS}.{hint}"
    return None


def _words(error: flags.Error) -> str:
    """What is wrong with the flags; absl says of one that is missing that it "must have a value
    other than None".
    """
    missing = re.findall(r"Flag --(\w+) must have a value other than None", str(error))
    return "; ".join(
        f"--{name}=... is needed: {flags.FLAGS[name].help}" for name in missing
    ) or str(error)


def _of_config_file(config: str | None, error: BaseException) -> str | None:
    """What the config file itself raised, which config_flags may bury in the text of a
    traceback.
    """
    while cause := error.__cause__ or error.__context__:
        error = cause
    name = (config or "").partition(":")[0]
    inside = any(
        frame.filename.endswith(name) for frame in traceback.extract_tb(error.__traceback__)
    )
    if not name or not (inside or isinstance(error, SyntaxError) or "'get_config'" in str(error)):
        return None
    return f"{config}: {error}"


def value_of_flag(argv: Sequence[str], name: str) -> str | None:
    """The value of --name in the arguments, before the flags are parsed; None if it is not
    there.
    """
    for argument, following in itertools.zip_longest(argv, argv[1:], fillvalue=""):
        flag, equals, value = argument.lstrip("-").partition("=")
        if argument.startswith("-") and flag == name:
            return value if equals else following
    return None
