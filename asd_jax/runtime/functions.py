"""Finds the user's own functions by their names, and checks the embeddings they return."""

import importlib
import os
import re
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from asd_jax.runtime.errors import InputError

Function = Callable[[np.ndarray, int], np.ndarray]  # from waveforms and their rate in Hz
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
    # A console script has its own folder there, not the working directory.
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


def checked_embeddings(found, b: int, name: str, option: str) -> np.ndarray:
    """Returns what a function gave for b waveforms as float32: "b e", or "b t e" by frame.

    Raises:
        InputError: The result is not one finite vector, or one per frame, for each waveform.
    """
    found = np.asarray(found)
    if found.ndim not in (2, 3) or len(found) != b or not np.issubdtype(found.dtype, np.floating):
        raise InputError(
            f"{option}={name} returned {found.dtype} of shape {found.shape} for {b} waveforms; "
            f"expected float32 ({b}, e) or ({b}, t, e)"
        )
    if not np.isfinite(found).all():
        raise InputError(f"{option}={name} returned NaN or infinity")
    return found.astype(np.float32)
