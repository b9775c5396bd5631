"""What a subcommand of `detect` hands over, and what its flags say of themselves."""

import argparse

from asd_jax.detect import parser


def parsed(*words):
    """{flag: value} that the subcommand gets."""
    found = vars(parser().parse_args([*words]))
    assert callable(found.pop("command"))
    return found


def flags_with(**values):
    """The values as flags."""
    return [f"--{name}={value}" for name, value in values.items()]


def without_help(add_flags):
    """The flags that say nothing of themselves."""
    empty = argparse.ArgumentParser(add_help=False)
    add_flags(empty)
    return [action.dest for action in empty._actions if not action.help]
