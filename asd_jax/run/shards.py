"""An archive in shards of one size: each is done once and kept, by any number of processes that
share a folder.

What a shard was made of is written last, so a process that is killed leaves none that is half done.
A lock says who is at work on it and ends with its process; where a file system has no locks, two
may do the same shard, with one outcome.
"""

import contextlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from asd_jax.run.workdir import InUse, locked
from asd_jax.runtime import processes
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import read_json, remove_parts, write_json
from asd_jax.runtime.log import clock, say

T = TypeVar("T")
# items: what a kill may cost; a multiple of usual batches, and whatever the number of processes
SHARD = 1024
DONE = "made_of.json"
LOOK_AGAIN_SECONDS = 1.0  # at the shards that others are at work on


def in_shards(
    folder: Path,
    items: Sequence[T],
    made_of: Callable[[Sequence[T]], str],
    work: Callable[[Path, Sequence[T]], None],
    *,
    files: Sequence[str],
    what: str,
    wait: bool = True,
    joined: Callable[[], bool] = lambda: False,
    tell: Callable[[str], None] = say,
) -> tuple[list[Path], int]:
    """Does every shard of an archive that is not done -> their folders in order, the number of
    items done here.

    Args:
        folder: that holds the shards.
        items: of the archive, in its order.
        made_of: a shard's items -> hash of all that its outcome depends on; a shard of another one
            is done again.
        work: writes the outcome of a shard's items into its folder.
        files: the names of all that `work` may write there.
        what: the items' name, for the progress on the screen.
        wait: for the shards that others are at work on, and do those of a process that was lost.
        joined: whether another process has meanwhile made of all shards what they are for, and
            removed them.
        tell: puts a line on the screen.

    Raises:
        InputError: what `work` raises; shards that are done stay. A folder in a shard's place that
            is not ours.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts = {folder / f"{n // SHARD:06}": items[n : n + SHARD] for n in range(0, len(items), SHARD)}
    left, begin, ours = dict(parts), time.perf_counter(), 0
    while left:
        for shard, part in list(left.items()):
            of = made_of(part)
            with contextlib.ExitStack() as stack:
                done, others = _claim(stack, shard, files, of, joined, tell)
                if others:
                    continue
                del left[shard]
                if not done:
                    work(shard, part)
                    write_json(shard / DONE, {"made_of": of})
                    ours += len(part)
                    rate = ours / (time.perf_counter() - begin)
                    count = sum(map(len, left.values()))
                    if left:
                        tell(
                            f"  {count} of {len(items)} {what} left  {rate:.1f}/s  "
                            f"{clock(count / rate)}"
                        )
        if not wait:
            break
        if left:
            time.sleep(LOOK_AGAIN_SECONDS)
    return list(parts), ours


def _claim(
    stack: contextlib.ExitStack, shard: Path, files: Sequence[str], of: str, joined, tell
) -> tuple[bool, bool]:
    """Whether a shard is done, and whether others are at work on it; else it is ours while the
    stack is open.

    Of several processes, the first one asks.
    """
    done = others = False
    if processes.first():
        try:
            _check_ours(shard, files)
            stack.enter_context(locked(shard))
            remove_parts(shard)
            made_of = _made_of(shard)
            done = made_of == of or joined()
            if made_of and not done:
                tell(f"{shard}: made of other recordings, weights or settings; done again")
            for name in () if done else (DONE, *files):
                (shard / name).unlink(missing_ok=True)
        except InUse:
            others = True
    return processes.any_of(done), processes.any_of(others)


def _check_ours(shard: Path, files: Sequence[str]) -> None:
    """Raises InputError for a folder that holds anything but what a shard does."""
    try:
        found = {path.name: path for path in shard.glob("[!.]*")}
        odd = sorted(name for name, p in found.items() if name not in (DONE, *files) or p.is_dir())
        if odd or shard.is_symlink():
            raise InputError(
                f"{shard}: no shard of an archive, it holds {', '.join(odd[:3]) or 'a link'}; use "
                "another --workdir, or move that folder away"
            )
    except OSError as error:
        raise InputError(f"{shard}: cannot be read ({error.strerror or error})") from error


def _made_of(shard: Path) -> object:
    """What a shard was made of; None if it is not done."""
    try:
        return read_json(shard / DONE).get("made_of") if (shard / DONE).exists() else None
    except InputError:  # damaged: done again
        return None


def remove_shards(folder: Path, files: Sequence[str]) -> None:
    """Removes the shards of a folder, and the folder if nothing else is in it."""
    for shard in folder.glob("[0-9]" * 6):
        for name in () if shard.is_symlink() else (DONE, *files):
            (shard / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # somebody is at work there, or it is not ours
            shard.rmdir()
    with contextlib.suppress(OSError):
        folder.rmdir()
