"""Defines InputError, the one error that a user can cause and fix; commands exit with status 2."""

import contextlib
import difflib
from collections.abc import Iterable, Iterator


class InputError(ValueError):
    """An error in the user's input; the message names the item and says how to fix it.

    A message may name settings in backquotes, as in "try `batch_size=8`". A command that reads
    them from a config prints its own flags instead: "try --config.optimizer.batch_size=8".
    """


@contextlib.contextmanager
def error_context(name: str) -> Iterator[None]:
    """Context manager: adds the name of the item to every InputError raised inside the block.

    Example:
        with error_context("machine fan"):
            score_machine(embeddings, scoring)
    """
    try:
        yield
    except InputError as error:
        raise InputError(f"{name}: {error}") from error


@contextlib.contextmanager
def config_section(name: str) -> Iterator[None]:
    """Context manager: prefixes the config section to every InputError raised inside the block.

    The messages begin with a key, so that the result names the full key.

    Args:
        name: the section with a trailing dot; empty for the keys at the top level.
    """
    try:
        yield
    except InputError as error:
        raise InputError(f"{name}{error}") from error


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns " Did you mean X?" if one of `known` is close to `name`, else ""."""
    match = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {match[0]!r}?" if match else ""
