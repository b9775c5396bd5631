"""The command asd-jax: every command of the project as a sub-command.

  asd-jax demo                                                trains on synthetic machines
  asd-jax train --config=toycar --workdir=runs/toycar         as python -m asd_jax.train
  asd-jax detect fit --normal=recordings --output=pump.detector
  asd-jax --version

A config that comes with the project is found by its name from any folder. `asd-jax completion bash`
(or zsh) prints a script that completes commands, flags and config keys.
"""

import runpy
import sys

import asd_jax
from asd_jax.runtime import command
from asd_jax.runtime.errors import InputError, did_you_mean
from asd_jax.runtime.log import output_failed, print_error, print_line
from asd_jax.runtime.shipped import HERE, commands, first_line, is_command

# Sub-commands that stand for another one with flags, which further flags may override.
SHORT_FOR = {"demo": ("train", "--config=quickstart", "--workdir=runs/quickstart")}


def main() -> None:
    """Runs the sub-command that the first argument names, or prints the list of sub-commands.

    The command's module is run as `python -m` runs it, so that the two do the same.
    """
    words = sys.argv[1:]
    if not words or words[0] in ("help", "--help", "-h", "-help"):
        overview()
        sys.exit(int(output_failed()))
    if words[0] in ("--version", "-V", "version"):
        print_line(f"asd_jax {asd_jax.__version__}")
        sys.exit(int(output_failed()))
    try:
        words = [*SHORT_FOR.get(words[0], words[:1]), *words[1:]]
        module = module_of(words[0])
    except InputError as error:
        print_error(f"error: {error}")
        sys.exit(2)
    _search_here_first()
    # If the command is interrupted, its message repeats these words instead of python -m.
    command.called = ["asd-jax", words[0]]
    sys.argv = [module, *words[1:]]
    # alter_sys makes the module sys.modules["__main__"], whose docstring --help prints.
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def module_of(word: str) -> str:
    """Returns the module of a sub-command, e.g. "train", "convert" or "benchmarks.simam".

    Raises:
        InputError: there is no such command; the message suggests the nearest one.
    """
    known = commands()
    # dcase-score and dcase_score are one command.
    word = word.replace("-", "_")
    if word in known:
        return known[word]
    # Benchmarks are not among the commands, but each can be run by its dotted name.
    if word.startswith("benchmarks.") and is_command(word):
        return word
    suggestion = did_you_mean(word, [*known, *SHORT_FOR])
    raise InputError(f"{word!r} is no command.{suggestion} asd-jax --help lists them")


def overview() -> None:
    """Prints the docstring of this module and one line for each sub-command."""
    print_line(command.docstring(sys.modules[__name__]))
    meanings = {word: first_line(module) for word, module in commands().items()}
    for word, (of, *flags) in SHORT_FOR.items():
        meanings[word] = f"Short for asd-jax {of} {' '.join(flags)}"
    for word, meaning in sorted(meanings.items()):
        print_line(f"asd-jax {word:<12} {meaning}")
    print_line("\nEach takes --help. Figures that can be measured again: asd-jax benchmarks.NAME")


def _search_here_first() -> None:
    """Makes `configs`, `convert` and `benchmarks` those beside asd_jax, and modules in the working
    directory importable, as python -m makes them.
    """
    # First of all: another package on the path may also have a folder `configs` or `benchmarks`.
    sys.path[:] = [str(HERE), *(place for place in sys.path if place != str(HERE))]
    # python -m puts the working directory on the path, an installed script does not.
    if "" not in sys.path:
        sys.path.append("")


if __name__ == "__main__":
    main()
