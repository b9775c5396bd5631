"""Builds dataclasses of settings from the headers of files, and checks types and ranges."""

import dataclasses
import reprlib
from collections.abc import Mapping
from typing import Any

import msgspec

from asd_jax.runtime.errors import InputError, did_you_mean


def build_checked(kind: Any, values: Any) -> Any:
    """Returns an instance of a dataclass (or another type) built from parsed JSON.

    Nested dataclasses are built too, and every key must be used. Types are those of the
    annotations: 2.0 and true are not integers, a string is not a number. Ranges are checked by
    `__post_init__`, as they are for Python callers.

    Raises:
        InputError: a field is unknown, has another type or is out of range.
    """
    try:
        made = msgspec.convert(values, kind)
    except (ValueError, RecursionError) as error:
        raise InputError(str(error)) from error
    # msgspec ignores unknown keys of a dataclass, so they are checked here.
    _all_known(values, made)
    return made


def _all_known(given: Any, made: Any, where: str = "") -> None:
    """Raises InputError if a key was given that the resulting dataclass does not have."""
    # A text or a list has no names to check.
    if not isinstance(given, Mapping) or isinstance(made, str | list | tuple):
        return
    of_class = dataclasses.is_dataclass(made)
    known = [field.name for field in dataclasses.fields(made)] if of_class else list(made)
    for name, value in given.items():
        if name not in known:
            hint = did_you_mean(str(name)[:80], known)
            raise InputError(f"no field {reprlib.repr(where + str(name))}.{hint}")
        _all_known(value, getattr(made, name) if of_class else made[name], f"{where}{name}.")
