"""What is told of an archive's recordings, kept shard by shard, so that a scoring of days goes on
where it was.
"""

import importlib.metadata
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from asd_jax.detector.rows import COLUMNS
from asd_jax.run.shards import in_shards
from asd_jax.run.workdir import sha256_of
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import read_json, write_json
from asd_jax.runtime.log import tell

ROWS = "rows.json"  # of a shard
_KINDS = {"is_anomaly": (bool,), **dict.fromkeys(("file", "odd", "note"), (str,))}  # else numbers


class KeptRows:
    """The rows of an archive, read from its shards' folders each time they are asked for."""

    def __init__(
        self,
        workdir: str | Path,
        settings: Sequence[str],
        paths: Sequence[Path],
        rows_of: Callable[[Sequence[Path]], Iterable[dict]],
    ):
        """Makes those rows that the workdir does not hold yet, beside other processes that do the
        same.

        Args:
            workdir: of the archive.
            settings: what else the rows depend on: the detector's hash, the channel.
            paths: of the recordings.
            rows_of: recordings -> their rows.

        Raises:
            InputError: as `in_shards`.
        """
        settings = [*settings, importlib.metadata.version("jax"), COLUMNS]

        def made_of(part):
            stamps = [
                [path.stat().st_size, path.stat().st_mtime_ns] if path.exists() else None
                for path in part
            ]
            return sha256_of([settings, list(map(str, part)), stamps])

        def work(shard, part):
            write_json(shard / ROWS, {"rows": list(rows_of(part))})

        self.shards = in_shards(
            Path(workdir), paths, made_of, work, files=(ROWS,), what="recordings", tell=tell
        )[0]

    def __iter__(self) -> Iterator[dict]:
        return (one for shard in self.shards for one in _rows(shard / ROWS))


def _rows(path: Path) -> list[dict]:
    """Raises InputError if it holds something else than rows."""
    rows = read_json(path).get("rows")
    if not isinstance(rows, list) or not all(_is_row(one) for one in rows):
        raise InputError(f"{path}: no rows of scores; remove {path.parent}, and score again")
    return rows


def _is_row(one: object) -> bool:
    """Whether it is as `asd_jax.detector.rows.row` makes them."""
    if not isinstance(one, dict) or type(one.get("file")) is not str:
        return False
    if "error" in one:
        return type(one["error"]) is str
    return all(type(one.get(name)) in _KINDS.get(name, (float, int)) for name in COLUMNS)
