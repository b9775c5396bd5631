"""Headers of files -> the dataclasses of settings, whose types and ranges they must keep."""

import dataclasses
import reprlib
from collections.abc import Mapping
from typing import Any

import msgspec

from asd_jax.runtime.errors import InputError, near


def built(kind: Any, values: Any) -> Any:
    """What JSON says of a dataclass (or another type) -> it, and those within it; all is used.

    Types are those of the annotations: 2.0 and true are no whole numbers, a string is no number.
    Ranges are those that `__post_init__` checks, for Python callers too.

    Raises:
        InputError: a field that is unknown, of another type or out of its range.
    """
    try:
        made = msgspec.convert(values, kind)
    except (ValueError, RecursionError) as error:
        raise InputError(str(error)) from error
    _all_known(values, made)
    return made


def _all_known(given: Any, made: Any, where: str = "") -> None:
    """Raises InputError where a key was given that the dataclass made of it does not have."""
    if not isinstance(given, Mapping) or isinstance(made, str | list | tuple):
        return
    of_class = dataclasses.is_dataclass(made)
    known = [field.name for field in dataclasses.fields(made)] if of_class else list(made)
    for name, value in given.items():
        if name not in known:
            hint = near(str(name)[:80], known)
            raise InputError(f"no field {reprlib.repr(where + str(name))}.{hint}")
        _all_known(value, getattr(made, name) if of_class else made[name], f"{where}{name}.")
