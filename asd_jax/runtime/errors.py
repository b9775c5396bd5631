"""The one error a user can cause and mend; asd_jax.runtime.command turns it into exit status 2."""

import contextlib
import difflib
from collections.abc import Iterable, Iterator


class InputError(ValueError):
    """Bad input: the message names the thing and says what to do about it."""


@contextlib.contextmanager
def about(name: str) -> Iterator[None]:
    """Within, an InputError is told of this thing, such as one machine of several."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{name}: {error}") from error


@contextlib.contextmanager
def section(name: str) -> Iterator[None]:
    """A block whose InputErrors, which begin with a key, name the config's section before it.

    Args:
        name: with a dot behind it; empty for the keys at the top.
    """
    try:
        yield
    except InputError as error:
        raise InputError(f"{name}{error}") from error


def near(name: str, known: Iterable[str]) -> str:
    """' Did you mean X?' if one of `known` is close to `name`, else ''."""
    match = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {match[0]!r}?" if match else ""
