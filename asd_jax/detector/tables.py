"""Defines the tables in a detector's file and checks their presence, types and axes."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from asd_jax.runtime.errors import InputError

# Axes: n window, c window that counts, v window that is evidence, m simulated window, d domain,
# f band, p patch, e element of a patch. The name of a view is the axis of its kept windows. The
# same axis always has the same size; "..." stands for any further axes.
COLUMNS = {
    "counted": ("u", "n"),
    "domain": ("u", "n"),
    "group": ("i", "n"),
    "recording": ("i", "n"),
    "start": ("f", "n"),
    "session": ("i", "n"),
    "evidence": ("u", "n"),
    "unsteadiness": ("f", "n"),
    "moved_rows": ("i", "m"),
}
PATCHES = {
    "patches/vectors": ("f", "f p e"),
    "patches/recording": ("i", "f p"),
    "patches/usual": ("f", "f 2"),
}


def check_tables(tensors: Mapping[str, Any], views: Collection[str], scorers: Collection[str]):
    """Raises InputError unless a file has exactly the tables for these views and scorers.

    The numbers in the tables are not read.

    Args:
        tensors: {name: anything with `.shape` and `.dtype`}; those of the encoder are ignored.
        views: the views of the bank.
        scorers: the scorers whose self-scores are stored.

    Raises:
        InputError: a table is missing, unknown, or has the wrong type or rank, or the axes
            disagree.
    """
    expected = COLUMNS | {f"raw/{scorer}": ("f", "c d") for scorer in scorers}
    expected |= {f"new/{scorer}": ("f", "v d") for scorer in scorers}
    expected |= {f"moved/{view}": ("f", "m ...") for view in views}
    expected |= {f"bank/{view}": ("f", f"{view} ...") for view in views}
    expected |= {f"rows/{view}": ("i", view) for view in views}
    if any(name.startswith("patches/") for name in tensors):
        expected |= PATCHES
    present = {name for name in tensors if not name.startswith("encoder/")}
    if differing := sorted(set(expected) ^ present):
        problem = "lacks" if differing[0] in expected else "does not know"
        raise InputError(f"not a whole detector: {problem} the table {differing[0][:80]!r}")
    sizes: dict[str, int] = {"2": 2}
    for name, (kind, axes) in expected.items():
        shape = tensors[name].shape
        letters = axes.removesuffix(" ...").split()
        if tensors[name].dtype.kind != kind or not _fits(shape, letters, axes, sizes):
            raise InputError(
                f"not a whole detector: {name} of {tensors[name].dtype} {shape}, expected axes "
                f"{axes} with {sizes}"
            )


def check_within(tensors: Mapping[str, np.ndarray], name: str, size: int) -> None:
    """Raises InputError if a table holds numbers outside 0 .. size - 1."""
    table = tensors[name]
    if table.size and not (0 <= table.min() and table.max() < size):
        raise InputError(
            f"not a whole detector: {name} has numbers {table.min()} to {table.max()}, expected 0 "
            f"to {size - 1}"
        )


def _fits(shape, letters, axes, sizes) -> bool:
    """Returns whether a shape has these axes; `sizes` learns the size of each new one."""
    rank = len(shape) > len(letters) if axes.endswith("...") else len(shape) == len(letters)
    pairs = zip(letters, shape, strict=False)
    return rank and all(sizes.setdefault(letter, size) == size for letter, size in pairs)
