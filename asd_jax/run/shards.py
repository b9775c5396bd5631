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
from asd_jax.runtime.files import read_json, write_json
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
        what: the items' name, for the progress on the screen.
        wait: for the shards that others are at work on, and do those of a process that was lost.
        joined: whether another process has meanwhile made of all shards what they are for, and
            removed them.
        tell: puts a line on the screen.

    Raises:
        InputError: what `work` raises; shards that are done stay.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts = {folder / f"{n // SHARD:06}": items[n : n + SHARD] for n in range(0, len(items), SHARD)}
    left, begin, ours = dict(parts), time.perf_counter(), 0
    while left:
        for shard, part in list(left.items()):
            of = made_of(part)
            with contextlib.ExitStack() as stack:
                done, others = _claim(stack, shard, of, joined, tell)
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


def _claim(stack: contextlib.ExitStack, shard: Path, of: str, joined, tell) -> tuple[bool, bool]:
    """Whether a shard is done, and whether others are at work on it; else it is ours while the
    stack is open.

    Of several processes, the first one asks.
    """
    done = others = False
    if processes.first():
        try:
            stack.enter_context(locked(shard))
            made_of = read_json(shard / DONE)["made_of"] if (shard / DONE).exists() else None
            done = made_of == of or joined()
            if made_of and not done:
                tell(f"{shard}: made of other recordings, weights or settings; done again")
            for old in [] if done else shard.glob("[!.]*"):
                old.unlink()
        except InUse:
            others = True
    return processes.any_of(done), processes.any_of(others)
