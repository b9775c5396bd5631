"""A filter bank that is a function of the user's own."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from asd_jax.runtime.errors import InputError
from asd_jax.runtime.functions import named_function, names_function

_KEY = "features.spacing"
# The functions that a config or a caller has named. A name that comes from a file is only looked up
# here, so no file can choose what is imported or called.
_ALLOWED: dict[str, Callable] = {}


def allow_own(spacing: str) -> None:
    """Imports the filter bank that a config or a caller names; the package's own need nothing.

        allow_own("my_parts:by_octaves")
        pipeline = load_pipeline("weights.safetensors")  # trained with it

    Raises:
        InputError: there is no such function.
    """
    if names_function(spacing):
        _ALLOWED[spacing] = named_function(spacing, _KEY)


def own_filters(
    name: str, hz: Float[np.ndarray, " k"], bins: int, low_hz: float, high_hz: float
) -> Float[np.ndarray, "f k"]:
    """Returns the weights of the filters on the power spectrum that the user's function gives.

    The function takes the frequencies of the spectrum's bins, the number of filters and the outer
    edges, all in Hz, and returns weights of at least 0.

        def thirds(hz, bins, low_hz, high_hz): ...  # "k" -> "f k"

    Args:
        name: package.module:function, which `allow_own` was given.
        hz: the frequencies.
        bins: number of filters f.
        low_hz: lower edge of the lowest filter.
        high_hz: upper edge of the highest filter.

    Raises:
        InputError: only a file names the function, or it returns something else.
    """
    if name not in _ALLOWED:
        raise InputError(
            f"{_KEY}={name}: a filter bank of somebody's own, which no file may call. If you trust "
            f'it, name it in the config, or call asd_jax.features.own.allow_own("{name}") first'
        )
    found = np.asarray(_ALLOWED[name](hz, bins, low_hz, high_hz))
    if found.shape != (bins, len(hz)) or found.dtype.kind not in "fiu":
        raise InputError(
            f"{_KEY}={name}: {found.dtype} {found.shape}; expected weights {(bins, len(hz))} of "
            "the filters on the bins of the spectrum"
        )
    if not (np.isfinite(found).all() and (found >= 0).all()):
        raise InputError(f"{_KEY}={name}: a weight is negative, NaN or infinite")
    return found.astype(np.float64)
