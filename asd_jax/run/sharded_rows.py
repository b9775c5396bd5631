"""Keeps the scores of an archive's recordings shard by shard, so that scoring can be continued.

Scoring a large archive may take days.
"""

import importlib.metadata
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from asd_jax.detector.rows import COLUMNS
from asd_jax.run.manifest import sha256_of
from asd_jax.run.shards import Shards
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import read_json, write_json
from asd_jax.runtime.log import print_error

ROWS = "rows.json"  # the file of a shard's rows
# The types of the columns; those that are not listed here are numbers.
_TEXTS = ("file", "odd", "note", "flags", "where")
_TYPES = {"is_anomaly": (bool,), **dict.fromkeys(_TEXTS, (str,))}


class ShardedRows:
    """The rows of an archive, read from the shards' folders on each iteration."""

    def __init__(
        self,
        workdir: str | Path,
        settings: Sequence[str],
        paths: Sequence[Path],
        rows_of: Callable[[Sequence[Path]], Iterable[dict]],
    ):
        """Computes the rows that the workdir does not hold yet, sharing the work with other
        processes.

        Args:
            workdir: the folder of the archive's shards.
            settings: what else the rows depend on: the detector's hash and the channel.
            paths: the recordings.
            rows_of: computes the rows of some recordings.

        Raises:
            InputError: as for `Shards.process`.
        """
        # Another version of JAX may give slightly other scores, and other columns need other rows.
        settings = [*settings, importlib.metadata.version("jax"), COLUMNS]

        # A recording that is gone becomes a row with an error, not an error of the archive.
        def made_of(part):
            stamps = [
                [path.stat().st_size, path.stat().st_mtime_ns] if path.exists() else None
                for path in part
            ]
            return sha256_of([settings, list(map(str, part)), stamps])

        def work(shard, part):
            write_json(shard / ROWS, {"rows": list(rows_of(part))})

        shards = Shards(Path(workdir), (ROWS,), made_of, "recordings", print_error)
        self.shards, _ = shards.process(paths, work)

    def __iter__(self) -> Iterator[dict]:
        return (row for shard in self.shards for row in _read_rows(shard / ROWS))


def _read_rows(path: Path) -> list[dict]:
    """Returns the rows of a shard; raises InputError if the file holds anything else."""
    rows = read_json(path).get("rows")
    if not isinstance(rows, list) or not all(map(_is_row, rows)):
        raise InputError(f"{path}: no rows of scores; remove {path.parent}, and score again")
    return rows


def _is_row(value: object) -> bool:
    """Returns whether the value has the form of a row of `asd_jax.detector.rows.row`."""
    if not isinstance(value, dict) or type(value.get("file")) is not str:
        return False
    if "error" in value:
        return type(value["error"]) is str
    # Exact types: True would pass as an integer.
    return all(type(value.get(name)) in _TYPES.get(name, (float, int)) for name in COLUMNS)
