"""The one error a user can cause and mend; asd_jax.command turns it into exit status 2."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Bad input: the message names the thing and says what to do about it."""


def near(name: str, known: Iterable[str]) -> str:
    """' Did you mean X?' if one of `known` is close to `name`, else ''."""
    match = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {match[0]!r}?" if match else ""
