"""Finds a function by its name, package.module:function, and checks the embeddings it returns."""

import importlib
import os
import sys
from collections.abc import Callable

import numpy as np

from asd_jax.runtime.errors import InputError

Function = Callable[[np.ndarray, int], np.ndarray]


def load_function(name: str, option: str) -> Function:
    """Returns the function that `package.module:function` names.

    Args:
        name: the name; the module may lie in the working directory.
        option: the flag or key that holds it, for messages.

    Raises:
        InputError: The name has another form, or there is no such function.
    """
    module, colon, function = name.partition(":")
    if not (module and colon and function):
        raise InputError(f"{option}={name}: write package.module:function")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        return getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise InputError(f"{option}={name}: {error}") from error


def checked_embeddings(found, b: int, name: str, option: str) -> np.ndarray:
    """Returns what a function gave for b waveforms as float32: "b e", or "b t e" by frame.

    Raises:
        InputError: It is not one finite vector, or one per frame, for each waveform.
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
