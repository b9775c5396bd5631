"""Wraps every main function: parses the flags, prints errors in one line and sets the exit status.

The exit status is 0 for success and for `--help`, 2 for bad input from the user (one message on
stderr, no traceback) and 1 for any other failure. A main may return another status: asd_jax.detect
returns 3 if it found an anomaly. SIGTERM is handled like Ctrl-C: a file that is being written is
completed or removed, and the command that continues the work is printed.
"""

import ast
import contextlib
import errno
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
from asd_jax.runtime.log import OutputFailed, discard_output, output_failed, print_error, print_line
from asd_jax.runtime.shipped import CONFIGS, config_file, use_own

# The words that started the command, e.g. ["asd-jax", "train"]; empty for python -m.
called: list[str] = []
# What a disk answers to a write or a read of a file that is open; such an error names no file.
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EFBIG)
KEYS = "all keys, with meanings: python -m asd_jax.config, of pre-training: --pretrain"


def run(
    main: Callable[[], int | None], define_flags: Callable[[list[str]], None] = lambda argv: None
) -> None:
    """Parses the flags, calls `main` and exits with the status that the module docstring defines.

    Args:
        main: the command.
        define_flags: defines the flags that depend on other flags, from the arguments.
    """
    _open_streams()
    status = _status(main, define_flags, sys.argv)
    # Output that is still buffered may fail to be written now, e.g. on a full disk.
    # A program that embeds the command may have closed its output, or replaced it.
    with contextlib.suppress(AttributeError, ValueError):
        try:
            sys.stdout.flush()
        except OSError as error:
            discard_output(error)
    if output_failed():
        status = status or 1
    if status and processes.is_distributed():
        processes.exit_process(status)
    processes.wait_for_the_others()
    sys.exit(status)


def _status(main, define_flags, argv: list[str]) -> int:
    try:
        with _interrupt_on_sigterm():
            with _without_bytecode():
                define_flags(argv)
                if any(argument in ("--help", "-help", "-h") for argument in argv[1:]):
                    print_line(docstring(sys.modules[main.__module__]))
                    print_line(_flags_help())
                    return 0
                _parse(argv)
            _join(_resume_command(main, argv))
            return main() or 0
    except InputError as error:
        print_error(f"error: {_with_flags(str(error))}")
        return 2
    # A closed pipe is no failure: its reader may have seen enough.
    except OutputFailed:
        return int(output_failed())
    except SystemExit as stop:  # raised by argparse
        if isinstance(stop.code, str):
            print_error(stop.code)
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except Exception as error:
        again = _resume_command(main, argv)
        if isinstance(error, OSError) and not processes.is_distributed():
            return _print_os_error(error, again)
        if isinstance(error, MemoryError) and not processes.is_distributed():
            reason = str(error).partition("\n")[0][:300]
            print_error(
                f"error: out of memory ({reason or 'no more is available'}); free some, or give "
                f"the command less at a time; {again}"
            )
            return 2
        if not processes.is_distributed():
            raise
        # The message for a lost connection differs by machine and version, so it is printed too.
        reason = str(error).strip().partition("\n")[0][:300]
        print_error(
            "error: this process of several could not go on; if another one ended, see why "
            f"there. {again} ({type(error).__name__}: {reason})"
        )
        return 1
    except KeyboardInterrupt as stop:
        print_error(
            " ".join(["interrupted", *map(str, stop.args)]) + f"; {_resume_command(main, argv)}"
        )
        return 1


@contextlib.contextmanager
def _without_bytecode() -> Iterator[None]:
    """Context manager: a config file that is read inside gets no folder __pycache__ beside it."""
    before = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before


def _with_flags(text: str) -> str:
    """Returns the text with the settings that it names in backquotes as flags of the command.

    The library does not know in which section of the config a setting is, or that there is one.
    """
    given = flags.FLAGS.is_parsed() and "config" in flags.FLAGS
    config = flags.FLAGS["config"].value if given else None
    # A ConfigDict, known by its items, as some commands have no need to import ml_collections.
    sections = dict(config.items()) if hasattr(config, "items") else {}

    def flag(match: re.Match) -> str:
        name, value = match.groups()
        own = [n for n, of in sections.items() if hasattr(of, "items") and name in of]
        return f"--config.{own[0]}.{name}{value}" if len(own) == 1 else match[0]

    return re.sub(r"`(\w+)(=[^`\s]*|)`", flag, text)


def _open_streams() -> None:
    """Replaces missing standard streams by the null device, and makes all of them safe to print to.

    Characters that a stream cannot encode, such as in a file name that is not UTF-8, are escaped.
    """
    for number in range(3):
        try:
            os.fstat(number)
        # Otherwise the next file that is opened would become a standard stream.
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or open(os.devnull, "w")
    sys.stderr = sys.stderr or open(os.devnull, "w")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
            # Another process may have made the stream non-blocking, which loses lines.
            with contextlib.suppress(OSError):
                os.set_blocking(stream.fileno(), True)


def _print_os_error(error: OSError, again: str) -> int:
    """Prints what the operating system refused, and returns the exit status."""
    # An error that names no file may come from a deleted working directory.
    if error.filename is None:
        try:
            os.getcwd()
        except OSError:
            print_error("error: the working directory was deleted; cd to one that is there")
            return 2
        if error.errno not in _DISK:
            raise error
        print_error(f"error: a file cannot be written or read ({error.strerror}); {again}")
        return 2
    # Of a copy or a rename, the second name is the one that is written.
    print_error(f"error: {error.filename2 or error.filename}: {error.strerror or error}")
    return 2


def docstring(thing) -> str:
    """Returns the docstring of a module or function, even where Python drops docstrings (-OO)."""
    if thing.__doc__:
        return thing.__doc__
    tree = ast.parse(inspect.getsource(thing))
    node = tree if inspect.ismodule(thing) else tree.body[0]
    # The node is a module, a function or a class, which pyright cannot know.
    return ast.get_docstring(node) or ""  # pyright: ignore[reportArgumentType]


def _resume_command(main, argv: list[str]) -> str:
    """Returns the text that tells the user how to continue."""
    words = called or ["python", "-m", _name(main)]
    # --overwrite would remove what is to be continued.
    again = shlex.join([*words, *(a for a in argv[1:] if a.lstrip("-") != "overwrite")])
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
def _interrupt_on_sigterm() -> Iterator[None]:
    """Context manager: SIGTERM raises KeyboardInterrupt inside the block."""
    # Only the main thread can set signal handlers.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _flags_help() -> str:
    """Returns the help text of the flags that this project defines, without those of libraries."""
    libraries = "absl", "grain", "jax", "ml_collections", "orbax"
    modules = [
        name
        for name in flags.FLAGS.flags_by_module_dict()
        if name.partition(".")[0] not in libraries
    ]
    text = "\n".join(flags.FLAGS.module_help(name).partition(":\n")[2] for name in modules)
    # The default of --config may be the whole config of a run, which is too long to print here;
    # python -m asd_jax.config lists the keys. A default of nothing says nothing.
    return re.sub(r"\n *\(default: '(\w+:\n[^)]*|None'|'|\[\]')\)", "", text)


def _name(main) -> str:
    """Returns the name of the command's module, as `python -m` takes it."""
    module = sys.modules[main.__module__]
    return module.__spec__.name if module.__spec__ else sys.argv[0]


def _parse(argv: list[str]) -> None:
    argv = _with_config_files(argv)
    config = value_of_flag(argv, "config")
    if config is not None and Path(config.partition(":")[0]).parent == CONFIGS:
        # The project's configs import each other by the name of their folder.
        use_own(CONFIGS.name)
    try:
        left = flags.FLAGS(argv)
    except flags.Error as error:
        raise InputError(
            _of_config_file(config, error) or f"{_flag_error_text(error)} (--help lists the flags)"
        ) from error
    except Exception as error:  # a bad override, or any error in a config file
        unknown = (
            _unknown_key(argv, error) if isinstance(error, (AttributeError, KeyError)) else None
        )
        raise InputError(_of_config_file(config, error) or unknown or f"config: {error}") from error
    if len(left) > 1:
        raise InputError(
            f"unexpected argument {left[1]!r}; flags are written --name=value (--help lists them)"
        )


def takes_config_file(name: str) -> bool:
    """Returns whether a flag that is defined takes a config file of ml_collections."""
    return name in flags.FLAGS and hasattr(type(flags.FLAGS[name]), "override_values")


def _with_config_files(argv: list[str]) -> list[str]:
    """Returns the arguments with the path of each --config in the place of its name.

    Raises:
        InputError: there is no such config.
    """
    if not takes_config_file("config"):
        return argv
    found = []
    for argument, before in zip(argv, ["", *argv], strict=False):
        flag, equals, value = argument.partition("=")
        if before in ("--config", "-config"):
            found.append(config_file(argument))
        elif equals and flag in ("--config", "-config"):
            found.append(f"{flag}={config_file(value)}")
        else:
            found.append(argument)
    return found


def _unknown_key(argv: list[str], error: Exception) -> str | None:
    """Returns a message if a --config.section.key has a part that the config does not know, else
    None.

    The exception quotes the unknown part.
    """
    text = error.args[0]
    while isinstance(text, BaseException):  # an AttributeError of the library holds a KeyError
        text = text.args[0]
    parts = re.findall(r"""["']([^"']+)["']""", str(text)) or [str(text)]
    for argument in argv[1:]:
        key = argument.partition("=")[0].lstrip("-").removeprefix("config.")
        if parts[0] in key.split("."):
            hint = f" Did you mean {parts[1]!r}?" if len(parts) > 1 else ""
            return f"config: no key {key!r}; {KEYS}.{hint}"
    return None


def _flag_error_text(error: flags.Error) -> str:
    """Returns the text of a flag error.

    absl says of a missing flag that it "must have a value other than None", which is replaced by
    the help of the flag.
    """
    missing = re.findall(r"Flag --(\w+) must have a value other than None", str(error))
    return "; ".join(
        f"--{name}=... is needed: {str(flags.FLAGS[name].help).rstrip('.')}" for name in missing
    ) or str(error)


def _of_config_file(config: str | None, error: BaseException) -> str | None:
    """Returns the message of an error that the config file itself raised, else None.

    config_flags may hide it in the text of a traceback.
    """
    # The innermost exception is the one that the config file raised.
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
    """Returns the value of --name in the arguments before the flags are parsed, None if it is
    absent.

        value_of_flag(["train", "--config=a.py"], "config")  # "a.py"
    """
    for argument, following in itertools.zip_longest(argv, argv[1:], fillvalue=""):
        flag, equals, value = argument.lstrip("-").partition("=")
        if argument.startswith("-") and flag == name:
            return value if equals else following
    return None
