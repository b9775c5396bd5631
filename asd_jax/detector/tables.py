"""Defines the tables in a detector's file and checks their presence, types and axes."""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.normal_windows import BANKS

if TYPE_CHECKING:
    from asd_jax.detector.detector import Detector

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


def tables_of(detector: "Detector") -> dict[str, np.ndarray]:
    """Returns {name in the file: table} of what a detector learned."""
    bank = detector.bank
    windows = bank.windows
    self_scores = bank.self_scores
    new_scores = bank.new_session_scores
    simulated = bank.simulated.vectors
    # The names in the file are older than those in the code, and stay, so that older files can be
    # read.
    tensors = {f"bank/{view}": vectors for view, vectors in bank.vectors.items()}
    tensors |= {f"rows/{view}": rows.astype(np.int32) for view, rows in bank.rows.items()}
    tensors |= {f"raw/{scorer}": scores for scorer, scores in self_scores.values.items()}
    tensors |= {f"new/{scorer}": scores for scorer, scores in new_scores.values.items()}
    # A view that has no simulated windows gets an empty table.
    tensors |= {
        f"moved/{view}": simulated.get(view, vectors[:0]) for view, vectors in bank.vectors.items()
    }
    tensors |= {
        "counted": self_scores.of.astype(np.uint8),
        "domain": np.array([BANKS.index(name) for name in windows.domain], np.uint8),
        "group": windows.group.astype(np.int32),
        "recording": windows.recording.astype(np.int32),
        "start": windows.start.astype(np.float64),
        "session": windows.session.astype(np.int32),
        "evidence": new_scores.of.astype(np.uint8),
        "unsteadiness": windows.unsteadiness.astype(np.float32),
        "moved_rows": bank.simulated.rows.astype(np.int32),
    }
    if detector.patches is not None:
        tensors |= {f"patches/{name}": tensor for name, tensor in vars(detector.patches).items()}
    return tensors


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
    # Files of earlier versions have no patches.
    if any(name.startswith("patches/") for name in tensors):
        expected |= PATCHES
    present = {name for name in tensors if not name.startswith("encoder/")}
    # The first in the alphabet is named, so that the message is always the same.
    if differing := sorted(set(expected) ^ present):
        problem = "lacks" if differing[0] in expected else "does not know"
        raise InputError(f"not a whole detector: {problem} the table {differing[0][:80]!r}")
    # Axes are compared by letter: the first table with a letter sets its size.
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
