"""Finds the user's own functions by their names."""

import importlib
import os
import re
import sys
from collections.abc import Callable
from typing import Any

from asd_jax.runtime.errors import InputError

_NAME = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def names_function(text: str) -> bool:
    """Returns whether a text has the form package.module:function."""
    return _NAME.fullmatch(text) is not None


def named_function(name: str, what: str) -> Callable[..., Any]:
    """Returns the function that `package.module:function` names; modules of the working directory
    are found too.

    Args:
        name: the name.
        what: the flag or key that has it, for errors.

    Raises:
        InputError: the name has another form, or there is no such function.
    """
    if not names_function(name):
        raise InputError(f"{what}={name}: write package.module:function")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    module, _, function = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise InputError(f"{what}={name}: {error}") from error
    if not callable(found):
        raise InputError(f"{what}={name}: is no function")
    return found
