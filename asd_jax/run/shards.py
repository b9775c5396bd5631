"""Processes an archive in shards of one size, by any number of processes that share a folder.

Each shard is done once and kept. Its manifest is written last, so a process that is killed never
leaves a shard that looks complete but is not. A lock shows which process works on a shard and ends
with that process. On a file system without locks, two processes may do the same shard; the result
is the same.
"""

import contextlib
import dataclasses
import enum
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from asd_jax.run.manifest import MANIFEST, Manifest
from asd_jax.runtime import processes
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import remove_parts
from asd_jax.runtime.lock import InUse, lock_folder
from asd_jax.runtime.log import clock, print_line

T = TypeVar("T")
# Items per shard, which is what a killed process may lose. The size is a multiple of common batch
# sizes and independent of the number of processes.
SHARD = 1024
LOOK_AGAIN_SECONDS = 1.0  # interval between checks of the shards that other processes work on


class Claim(enum.Enum):
    """The state of a shard when this process asks for it."""

    OURS = "to be done by this process"
    DONE = "done"
    OTHERS = "another process works on it"


@dataclasses.dataclass(frozen=True)
class Shards:
    """The shards of an archive in one folder.

    Attributes:
        folder: the folder that holds the shards.
        files: the names of all files that a shard may consist of.
        made_of: returns the hash of everything that the result of a shard's items depends on; a
            shard with another hash is done again.
        what: the name of the items, for the progress on the screen.
        print_line: prints a line on the screen.
    """

    folder: Path
    files: tuple[str, ...]
    made_of: Callable[[Sequence], str]
    what: str
    print_line: Callable[[str], None] = print_line

    def process(
        self,
        items: Sequence[T],
        work: Callable[[Path, Sequence[T]], None],
        *,
        wait: bool = True,
        joined: Callable[[], bool] = lambda: False,
    ) -> tuple[list[Path], int]:
        """Processes every shard that is not done; returns all shard folders, in order, and the
        number of items that this process did.

        Args:
            items: the items of the archive, in order.
            work: writes the result of a shard's items into its folder.
            wait: wait for the shards that other processes work on, and do those of a process that
                was lost.
            joined: returns whether another process has meanwhile joined all shards and removed
                them.

        Raises:
            InputError: `work` raises it, in which case finished shards stay; or a folder in a
                shard's place was not made by this project.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        parts = {
            self.folder / f"{n // SHARD:06}": items[n : n + SHARD]
            for n in range(0, len(items), SHARD)
        }
        left = dict(parts)
        begin = time.perf_counter()
        ours = 0
        while left:
            # A copy, because shards that are done leave the dictionary.
            for shard, part in list(left.items()):
                made_of = self.made_of(part)
                with self._claimed(shard, made_of, joined) as claim:
                    if claim is Claim.OURS:
                        work(shard, part)
                        self._record(shard, made_of)
                # A shard of another process stays in `left` and is visited again.
                if claim is Claim.OTHERS:
                    continue
                del left[shard]
                if claim is Claim.OURS:
                    ours += len(part)
                    self._print_progress(left, len(items), ours / (time.perf_counter() - begin))
            if not wait:
                break
            if left:
                time.sleep(LOOK_AGAIN_SECONDS)
        return list(parts), ours

    def remove(self) -> None:
        """Removes the shards, and the folder if nothing else is in it."""
        # Folders with other names than six digits are not shards.
        for shard in self.folder.glob("[0-9]" * 6):
            # A link may lead to a folder elsewhere, whose content must stay.
            if not shard.is_symlink():
                self._empty(shard)
                # Taking the lock over removes the lock file of a process that was killed.
                with contextlib.suppress(InputError), lock_folder(shard):
                    pass
            # The folder stays if another process works there or if it holds other files.
            with contextlib.suppress(OSError):
                shard.rmdir()
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    @contextlib.contextmanager
    def _claimed(self, shard: Path, made_of: str, joined: Callable[[], bool]) -> Iterator[Claim]:
        """Context manager: yields the state of a shard; if it is ours, its lock is held inside.

        Of several processes of one run, the first one claims the shard for all.
        """
        with contextlib.ExitStack() as stack:
            claim = Claim.OURS
            if processes.is_first():
                # Before locking, which would write into a folder of someone else.
                self._check_ours(shard)
                try:
                    stack.enter_context(lock_folder(shard))
                except InUse:
                    claim = Claim.OTHERS
                else:
                    if self._is_done(shard, made_of, joined):
                        claim = Claim.DONE
            # All processes of a run must take the same branch, or they would wait forever.
            if processes.any_process(claim is Claim.OTHERS):
                claim = Claim.OTHERS
            elif processes.any_process(claim is Claim.DONE):
                claim = Claim.DONE
            yield claim

    def _is_done(self, shard: Path, made_of: str, joined: Callable[[], bool]) -> bool:
        """Returns whether a shard is done; anything else in it is removed."""
        remove_parts(shard)
        manifest = Manifest(shard)
        if manifest.complete(made_of) or joined():
            return True
        if manifest.files:
            self.print_line(
                f"{shard}: made of other recordings, weights or settings, or damaged; done again"
            )
        self._empty(shard)
        return False

    def _record(self, shard: Path, made_of: str) -> None:
        # The other processes of a run write nothing, and the first may remove the files before
        # they could read them.
        if processes.is_first():
            written = [name for name in self.files if (shard / name).exists()]
            Manifest(shard).record(written, made_of)

    def _empty(self, shard: Path) -> None:
        # The manifest goes first, so that an interruption leaves no shard that looks complete.
        for name in (MANIFEST, *self.files):
            (shard / name).unlink(missing_ok=True)

    def _check_ours(self, shard: Path) -> None:
        """Raises InputError if the folder holds anything that does not belong to a shard."""
        try:
            # Hidden files, such as the lock, are allowed.
            foreign = sorted(
                path.name
                for path in shard.glob("[!.]*")
                if path.name not in (MANIFEST, *self.files) or path.is_dir()
            )
            if foreign or shard.is_symlink():
                raise InputError(
                    f"{shard}: no shard of an archive, it holds "
                    f"{', '.join(foreign[:3]) or 'a link'}; use another --workdir, or move that "
                    "folder away"
                )
        except OSError as error:
            raise InputError(f"{shard}: cannot be read ({error.strerror or error})") from error

    def _print_progress(self, left: dict, total: int, rate: float) -> None:
        count = sum(map(len, left.values()))
        if count:
            self.print_line(
                f"  {count} of {total} {self.what} left  {rate:.1f}/s  {clock(count / rate)}"
            )
