"""Prints a script that completes the words of asd-jax in a shell: commands, flags, config keys.

  asd-jax completion bash > ~/.local/share/bash-completion/completions/asd-jax
  asd-jax completion zsh > ~/.zfunc/_asd-jax      with ~/.zfunc in fpath, before compinit

The words are those that the commands themselves define. Print the script again after an update.
"""

import argparse
import dataclasses
import importlib
from collections.abc import Iterator, Sequence

from absl import flags

from asd_jax.__main__ import SHORT_FOR
from asd_jax.runtime.command import run, takes_config_file
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.log import print_raw
from asd_jax.runtime.shipped import commands, config_names

BASH = """\
_asd_jax() {{
    local line=${{COMP_LINE:0:COMP_POINT}} current options words
    current=${{line##*[[:space:]]}}
    read -ra words <<< "${{line%"$current"}}"
    local run_keys={run_keys}
    local pretrain_keys={pretrain_keys}
    case "${{words[*]:1:2}} " in
{cases}
        *) [ ${{#words[@]}} -le 1 ] && options={commands} ;;
    esac
    COMPREPLY=($(compgen -W "$options" -- "$current"))
    [[ ${{COMPREPLY[0]}} == *= ]] && compopt -o nospace 2> /dev/null
    # Where "=" separates words, the shell replaces only what follows it.
    if [[ $current == *=* && $COMP_WORDBREAKS == *=* ]]; then
        COMPREPLY=("${{COMPREPLY[@]#"${{current%"${{current##*=}}"}}"}}")
    fi
    # A flag that is complete is followed by a file name.
    [[ ${{COMPREPLY[*]}} ]] || COMPREPLY=()
}}
complete -o default -F _asd_jax asd-jax
"""
ZSH = """\
#compdef asd-jax
_asd_jax() {{
    local options
    local run_keys={run_keys}
    local pretrain_keys={pretrain_keys}
    case "${{words[2,CURRENT-1][1,2]}} " in
{cases}
        *) (( CURRENT == 2 )) && options={commands} ;;
    esac
    compadd -S '' -- ${{=options}} && return
    compset -P '*='
    _files
}}
compdef _asd_jax asd-jax
"""
SCRIPTS = {"bash": BASH, "zsh": ZSH}
# Carries the argument from define_flags to main, which is called without arguments.
_shell: list[str] = []


def define_flags(argv: list[str]) -> None:
    """Takes the name of the shell out of the arguments, before absl sees them."""
    _shell[:] = [word for word in argv[1:] if not word.startswith("-")]
    argv[1:] = [word for word in argv[1:] if word.startswith("-")]


def main() -> None:
    """Prints the script for the shell that the argument names."""
    if len(_shell) != 1 or _shell[0] not in SCRIPTS:
        raise InputError(f"name one shell: asd-jax completion {' | '.join(SCRIPTS)}")
    print_raw(script(_shell[0]))


def script(shell: str) -> str:
    """Returns the script for a shell, "bash" or "zsh"."""
    cases = []
    # Longer patterns come first: that of `detect` also fits `detect fit`.
    for words, options in sorted(tree().items(), key=lambda item: (-len(item[0]), item[0])):
        cases.append(f'        "{" ".join(words)} "*) options="{" ".join(options)}" ;;')
    return SCRIPTS[shell].format(
        cases="\n".join(cases),
        commands=f'"{" ".join(sorted([*commands(), *SHORT_FOR, "--help", "--version"]))}"',
        run_keys=f'"{" ".join(_keys("RunConfig"))}"',
        pretrain_keys=f'"{" ".join(_keys("PretrainConfig"))}"',
    )


def tree() -> dict[tuple[str, ...], list[str]]:
    """Returns {words after asd-jax: words that may follow}."""
    found = {}
    for word, module in commands().items():
        for below, options in _options(importlib.import_module(module)):
            found[word, *below] = options
    for word, (command, *_) in SHORT_FOR.items():
        found[word,] = found[command,]
    # This command takes its argument before absl sees it, so it defines no flag.
    found["completion",] = list(SCRIPTS)
    return found


def _options(module) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """Yields (sub-commands, flags) of a command that uses argparse or absl."""
    if hasattr(module, "parser"):
        yield from _of_parser(module.parser(), ())
    else:
        yield (), _of_absl(module)


def _of_parser(parser: argparse.ArgumentParser, below) -> Iterator:
    """Yields (sub-commands, flags) of a parser and of those below it."""
    options = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            options += action.choices
            for name, inner in action.choices.items():
                yield from _of_parser(inner, (*below, name))
        # argparse gives nargs=0 to switches such as --json, which take no value.
        takes_value = action.nargs != 0
        long = [flag for flag in action.option_strings if flag.startswith("--")]
        options += [flag + "=" * takes_value for flag in long]
    yield below, options


def _of_absl(module) -> list[str]:
    """Returns the flags that a command defines; afterwards they are not defined any more."""
    # Importing a command's libraries may have defined flags that are not the command's.
    known = set(flags.FLAGS)
    options = ["--help"]
    try:
        module.define_flags([module.__name__])
        for name in sorted(set(flags.FLAGS) - known):
            # Flags with fixed values are completed whole.
            flag = flags.FLAGS[name]
            values = getattr(flag, "enum_values", None) or getattr(flag.parser, "enum_values", ())
            options += [f"--{name}={value}" for value in values]
            # A boolean flag is complete as it is; the others end in "=" and wait for a value.
            options += [] if values else [f"--{name}" + "=" * (not flag.boolean)]
        # Asked while the flags exist: the lines below remove them again.
        of_file = takes_config_file("config")
    finally:
        for name in set(flags.FLAGS) - known:
            delattr(flags.FLAGS, name)
    # The keys of the config are many, so the script holds them once, in a variable.
    if of_file and "--config=" in options:
        options += [f"--config={name}" for name in config_names()]
        options.append("$pretrain_keys" if module.__name__ == "asd_jax.pretrain" else "$run_keys")
    elif "--config" in options:  # the config of a finished run
        options.append("$run_keys")
    return options


def _keys(name: str) -> Sequence[str]:
    """Returns the flags of every key of a config, with the values of those that have choices."""
    # Most words are completed without the config, which takes a fifth of a second to import.
    from asd_jax import config

    def of(settings, where):
        """Yields the flags of a section of the config, and of the sections in it."""
        for field in dataclasses.fields(settings):
            value = getattr(settings, field.name)
            key = f"{where}{field.name}"
            if dataclasses.is_dataclass(value):
                yield from of(value, f"{key}.")
            else:
                # A key without choices is completed up to its "=".
                choices = field.metadata.get("choices") or ("",)
                yield from (f"--config.{key}={choice}" for choice in choices)

    return list(of(getattr(config, name)(), ""))


if __name__ == "__main__":
    run(main, define_flags)
