"""A filter bank that is a function of the user's own."""

import numpy as np
from jaxtyping import Float

from asd_jax.runtime.errors import InputError
from asd_jax.runtime.functions import imported_function, named_function, names_function

_KEY = "features.spacing"


def import_own(spacing: str) -> None:
    """Imports the module of a filter bank that a config names; the package's need none.

    Raises:
        InputError: there is no such function.
    """
    if names_function(spacing):
        named_function(spacing, _KEY)


def own_filters(
    name: str, hz: Float[np.ndarray, " k"], bins: int, low_hz: float, high_hz: float
) -> Float[np.ndarray, "f k"]:
    """Returns the weights of the filters on the power spectrum that the user's function gives.

    The function takes the frequencies of the spectrum's bins, the number of filters and the outer
    edges, all in Hz, and returns weights of at least 0.

        def thirds(hz, bins, low_hz, high_hz): ...  # "k" -> "f k"

    Args:
        name: package.module:function, which the config or the caller has imported.
        hz: the frequencies.
        bins: number of filters f.
        low_hz: lower edge of the lowest filter.
        high_hz: upper edge of the highest filter.

    Raises:
        InputError: the module is not imported, or the function returns something else.
    """
    found = np.asarray(imported_function(name, _KEY)(hz, bins, low_hz, high_hz))
    if found.shape != (bins, len(hz)) or found.dtype.kind not in "fiu":
        raise InputError(
            f"{_KEY}={name}: {found.dtype} {found.shape}; wanted weights {(bins, len(hz))} of the "
            "filters on the bins of the spectrum"
        )
    if not (np.isfinite(found).all() and (found >= 0).all()):
        raise InputError(f"{_KEY}={name}: a weight is negative, NaN or infinite")
    return found.astype(np.float64)
