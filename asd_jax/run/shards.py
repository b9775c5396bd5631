"""Processes an archive in shards of one size, by any number of processes that share a folder.

Each shard is done once and kept. What it was made of is written last, so a process that is killed
never leaves a shard that looks complete but is not. A lock shows which process works on a shard and
ends with that process. On a file system without locks, two processes may do the same shard; the
result is the same.
"""

import contextlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from asd_jax.run.workdir import InUse, lock_workdir
from asd_jax.runtime import processes
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import read_json, remove_parts, write_json
from asd_jax.runtime.log import clock, print_line

T = TypeVar("T")
# Items per shard, which is what a killed process may lose. The size is a multiple of common batch
# sizes and independent of the number of processes.
SHARD = 1024
DONE = "made_of.json"
LOOK_AGAIN_SECONDS = 1.0  # interval between checks of the shards that other processes work on


def process_shards(
    folder: Path,
    items: Sequence[T],
    made_of: Callable[[Sequence[T]], str],
    work: Callable[[Path, Sequence[T]], None],
    *,
    files: Sequence[str],
    what: str,
    wait: bool = True,
    joined: Callable[[], bool] = lambda: False,
    tell: Callable[[str], None] = print_line,
) -> tuple[list[Path], int]:
    """Processes every shard that is not done; returns all shard folders and the number of items
    done.

    The folders are in order. Only the items that this process did are counted.

    Args:
        folder: the folder that holds the shards.
        items: the items of the archive, in order.
        made_of: returns the hash of everything that the result of a shard's items depends on; a
            shard with another hash is done again.
        work: writes the result of a shard's items into its folder.
        files: the names of all files that `work` may write there.
        what: the name of the items, for the progress on the screen.
        wait: wait for the shards that other processes work on, and do those of a process that was
            lost.
        joined: returns whether another process has meanwhile joined all shards and removed them.
        tell: prints a line on the screen.

    Raises:
        InputError: `work` raises it, in which case finished shards stay; or a folder in a shard's
            place was not made by this project.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts = {folder / f"{n // SHARD:06}": items[n : n + SHARD] for n in range(0, len(items), SHARD)}
    left, begin, ours = dict(parts), time.perf_counter(), 0
    while left:
        for shard, part in list(left.items()):
            of = made_of(part)
            with contextlib.ExitStack() as stack:
                done, others = _claim(stack, shard, files, of, joined, tell)
                # A shard of another process stays in `left` and is visited again in the next round.
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
    """Returns whether a shard is done, and whether another process works on it.

    If neither is the case, this process holds the shard's lock while the stack is open. Of several
    processes of one run, the first one claims the shard for all.
    """
    done = others = False
    if processes.is_first():
        try:
            _check_ours(shard, files)
            stack.enter_context(lock_workdir(shard))
            remove_parts(shard)
            made_of = _made_of(shard)
            done = made_of == of or joined()
            if made_of and not done:
                tell(f"{shard}: made of other recordings, weights or settings; done again")
            for name in () if done else (DONE, *files):
                (shard / name).unlink(missing_ok=True)
        except InUse:
            others = True
    return processes.any_process(done), processes.any_process(others)


def _check_ours(shard: Path, files: Sequence[str]) -> None:
    """Raises InputError if the folder holds anything that does not belong to a shard."""
    try:
        # Hidden files, such as the lock, are allowed.
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
    """Returns the hash of what a shard was made of; None if it is not done."""
    try:
        return read_json(shard / DONE).get("made_of") if (shard / DONE).exists() else None
    # A damaged shard is done again.
    except InputError:
        return None


def remove_shards(folder: Path, files: Sequence[str]) -> None:
    """Removes the shards of a folder, and the folder if nothing else is in it."""
    for shard in folder.glob("[0-9]" * 6):
        for name in () if shard.is_symlink() else (DONE, *files):
            (shard / name).unlink(missing_ok=True)
        # The folder stays if another process works there or if it holds other files.
        with contextlib.suppress(OSError):
            shard.rmdir()
    with contextlib.suppress(OSError):
        folder.rmdir()
