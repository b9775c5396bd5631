"""Ensures that a workdir belongs to one config, one set of recordings and one process at a time.

Also records which results in it are still valid.
"""

import contextlib
import dataclasses
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import socket
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from asd_jax.data.clips import Clip
from asd_jax.runtime import processes
from asd_jax.runtime.errors import InputError, error_context
from asd_jax.runtime.files import file_sha256, folder_in_use, read_json, remove_parts, write_json
from asd_jax.runtime.log import print_line

RESULTS = (
    "pseudo_classes.json",
    "checkpoints",
    "weights.safetensors",
    "embeddings",
    "scores",
    "results.json",
)
LEFT = (
    *RESULTS,
    "pretrained.json",
    "metrics.jsonl",
    "timing.json",
    "comparison.json",
    "report",
    "config.json",
    "data.json",
)
_WAY_OUT = "Use another --workdir, or --overwrite to remove that run first"
_WRITTEN_INTO = (".", "embeddings", "embeddings/filter_bank", "scores", "report")
_OWNER = re.compile(r"(process \d+ on .*\n?)?")  # the only content that a lock file may have
MOST_SEEDS = 1000
# A run may continue with other values of these keys, which change results by rounding at most.
FREE = (
    "compiled",
    "data.threads",
    "data.cache",
    "data.on_bad_clip",  # the recordings are compared instead
    "log.every",
    "log.checkpoint_every",
    "optimizer.on_bad_loss",
    "parallel.shards",
    "report.clips",
    "report.map",
)


class InUse(InputError):
    """Another process works in the folder."""


@contextlib.contextmanager
def claim_workdir(
    workdir: Path,
    config: Mapping,
    clips: Sequence[Clip],
    *,
    overwrite: bool = False,
    may_change: bool = False,
) -> Iterator[None]:
    """Context manager: claims the workdir for this process and records config and clips in it.

    `config` is written to config.json, and a description of the clips to data.json.

    Args:
        workdir: created if it does not exist.
        config: plain values.
        clips: all clips that the run reads.
        overwrite: remove the run that is there first.
        may_change: allow recordings that have changed since the last time, because everything that
            depends on them is made again; machines that have disappeared are still an error.

    Raises:
        InputError: another process works there, or a run with another config or other recordings is
            there.
    """
    if not processes.is_first():
        processes.wait()
        yield
        return
    with lock_workdir(workdir):
        for place in _WRITTEN_INTO:
            remove_parts(workdir / place)
        if overwrite:
            remove_run(workdir)
        ours = {"config.json": dict(config), "data.json": summarize_recordings(clips)}
        places = [place / name for place in (workdir, *seed_folders(workdir)) for name in RESULTS]
        if any(path.is_file() or any(path.glob("*")) for path in places):
            check_config(workdir, ours["config.json"])
            _check_recordings(workdir, ours["data.json"], may_change)
        for name, value in ours.items():
            write_json(workdir / name, value)
        # The other processes wait at their own call until the workdir is ready.
        processes.wait()
        yield


@contextlib.contextmanager
def lock_workdir(workdir: Path, flag: str = "--workdir") -> Iterator[None]:
    """Context manager: no other process works in the workdir inside the block.

    The operating system releases the lock of a process that was killed.

    Args:
        workdir: created if it does not exist.
        flag: the command-line flag that named the workdir, for messages.

    Raises:
        InUse: another process, which the message names, works there.
        InputError: the folder cannot be created, or something that this project did not make stands
            in the lock's place.
    """
    path = workdir / ".lock"
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(folder_in_use(workdir))
            file = stack.enter_context(_lock_file(path))
        except OSError as error:
            raise InputError(
                f"{workdir}: no folder to write to ({error.strerror or error})"
            ) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # If the files differ, the last owner has just removed the lock file.
            ours = os.path.samestat(os.fstat(file.fileno()), path.stat())
        except (BlockingIOError, FileNotFoundError):
            ours = False
        except OSError as error:
            print_line(
                f"WARNING: {workdir}: no locks on this file system ({error.strerror}); start no "
                "second run here"
            )
            ours = True
        if not ours:
            file.seek(0)
            owner = file.read().strip() or "another process"
            raise InUse(
                f"{workdir} is in use by {owner}: wait for it, stop it, or use another {flag}"
            )
        # Other processes show the owner in their messages.
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _lock_file(path: Path) -> TextIO:
    """Returns the opened lock file.

    Raises:
        OSError: the path is a link, a second name of another file, or a file with foreign content.
    """
    foreign = OSError(errno.EEXIST, f"{path} is not ours: move it away, or use another folder")
    try:
        # O_NOFOLLOW refuses a link, and O_NONBLOCK does not wait at a pipe.
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK
        number = os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.EISDIR):
            raise
        raise foreign from error
    there = os.fstat(number)
    # A file with several names may belong to someone else, and writing would damage it.
    if not stat.S_ISREG(there.st_mode) or there.st_nlink > 1:
        os.close(number)
        raise foreign
    file = open(number, "a+", errors="replace")
    file.seek(0)
    if not _OWNER.fullmatch(file.read(1000)):
        file.close()
        raise foreign
    return file


def seed_folders(workdir: Path) -> list[Path]:
    """Returns the seeds' folders of the run that is there; the list is empty for a run with one
    seed.

    Raises:
        InputError: its config.json cannot be read.
    """
    own = workdir / "config.json"
    seeds = read_json(own).get("seeds", 1) if own.is_file() else 1
    with error_context(str(own)):
        return folders_of_seeds(workdir, seeds)


def folders_of_seeds(workdir: Path, seeds: Any) -> list[Path]:
    """Returns the folder of each seed of a run; the list is empty for a run with one seed.

    Raises:
        InputError: the number of seeds is not valid.
    """
    if type(seeds) is not int or not 1 <= seeds <= MOST_SEEDS:
        raise InputError(f"seeds={seeds!r} must be a whole number from 1 to {MOST_SEEDS}")
    return [workdir / f"seed_{n}" for n in range(seeds)] if seeds > 1 else []


def remove_run(workdir: Path) -> None:
    """Removes the files of a run, those of its seeds included, and nothing else.

    Raises:
        InUse: another process works on one of its seeds.
    """
    try:
        seeds = seed_folders(workdir)
    # Without a readable config.json the seeds are unknown.
    except InputError:
        seeds = []
    for seed in filter(Path.exists, seeds):
        with lock_workdir(seed):
            remove_run(seed)
    for name in LEFT:
        path = workdir / name
        if path.is_symlink():
            print_line(f"{path}: a link; it is removed, and what it names stays")
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def summarize_recordings(clips: Sequence[Clip]) -> dict[str, dict[str, Any]]:
    """Returns {machine: number of clips and a hash of their names and sizes}.

    Folders are not part of the hash, so recordings may be moved.
    """
    found = {}
    for machine in sorted({clip.machine for clip in clips}):
        own = sorted(
            (c.split, Path(c.path).name, _stamp(c.path)[0]) for c in clips if c.machine == machine
        )
        found[machine] = {"clips": len(own), "sha256": sha256_of(own)}
    return found


def recording_stamps(clips: Sequence[Clip]) -> dict[str, tuple[int, int]]:
    """Returns {path: (size in bytes, modification time in ns)} of the clips."""
    return {clip.path: _stamp(clip.path) for clip in clips}


def check_unchanged(path: str, stamp: tuple[int, int]) -> None:
    """Raises InputError if the size or modification time of a recording has changed."""
    if _stamp(path) != stamp:
        raise InputError(
            f"{path}: changed since the run began; put it back, or start again with --overwrite"
        )


def provenance_hash(
    settings: Mapping[str, Any], weights: Sequence[int], clips: Sequence[Clip]
) -> str:
    """Returns the hash of everything that embeddings depend on.

    These are the settings, the checksum of the weights, and the recordings.
    """
    stamps = recording_stamps(clips)
    rows = [
        {**dataclasses.asdict(clip), "path": Path(clip.path).name, "stamp": stamps[clip.path]}
        for clip in clips
    ]
    return sha256_of([settings, weights, rows])


class Provenance:
    """A record, in made_of.json, of what each file of a folder was made of.

    A file that was changed since it was recorded is not valid.
    """

    def __init__(self, folder: Path):
        self.folder, self.path = folder, folder / "made_of.json"
        try:
            self.files = read_json(self.path) if self.path.exists() else {}
        # Without a readable record no file is valid, and all are made again.
        except InputError:
            self.files = {}

    def valid(self, name: str, of: str) -> bool:
        """Returns whether the file is there, unchanged, and was made of what the hash `of`
        describes.
        """
        path, known = self.folder / name, self.files.get(name)
        if not isinstance(known, dict) or known.get("made_of") != of or not path.is_file():
            return False
        return known.get("sha256") == file_sha256(path)

    def add(self, name: str, of: str) -> None:
        """Records what a file was made of, after it was written."""
        self.files[name] = {"made_of": of, "sha256": file_sha256(self.folder / name)}
        write_json(self.path, self.files)


def check_config(workdir: Path, config: Mapping) -> None:
    """Raises InputError if the workdir's config.json differs; the message shows the keys."""
    path = workdir / "config.json"
    theirs = read_json(path) if path.exists() else config
    if different := [text for key, text in config_differences(theirs, config) if key not in FREE]:
        raise InputError(
            f"{workdir} holds a run of another config; it differs in {', '.join(different)}. "
            f"{_WAY_OUT}"
        )


def check_origin(workdir: Path, origin: Mapping[str, str]) -> None:
    """Records in pretrained.json which weights a run begins from.

    The path in the config is not enough, because the file may be replaced.

    Args:
        workdir: the folder of the run, already claimed.
        origin: the result of `asd_jax.training.weights.origin_entries`.

    Raises:
        InputError: the run that is there began from other weights.
    """
    path = workdir / "pretrained.json"
    # Only checkpoints depend on the earlier weights; without them the run starts anew.
    if (
        (workdir / "checkpoints").exists()
        and path.exists()
        and (theirs := read_json(path)) != dict(origin)
    ):
        texts = ", ".join(text for _, text in config_differences(theirs, origin))
        raise InputError(
            f"{workdir} holds a run that began from other weights: {texts}. {_WAY_OUT}"
        )
    write_json(path, dict(origin))


def _check_recordings(workdir: Path, data: Mapping, may_change: bool) -> None:
    path = workdir / "data.json"
    theirs = read_data(path) if path.exists() else data
    # Only machines that have disappeared then count as different.
    if may_change:
        theirs = {
            **data,
            **{machine: own for machine, own in theirs.items() if machine not in data},
        }
    if different := sorted(
        machine for machine in {*theirs, *data} if theirs.get(machine) != data.get(machine)
    ):
        counts = [
            f"{m} ({theirs.get(m, {}).get('clips', 0)} there, {data.get(m, {}).get('clips', 0)} "
            "here)"
            for m in different
        ]
        raise InputError(
            f"{workdir} holds a run on other recordings of {', '.join(counts)}. {_WAY_OUT}"
        )


def read_data(path: Path) -> dict[str, dict[str, Any]]:
    """Returns the content of a workdir's data.json, in the form of `summarize_recordings`.

    Raises:
        InputError: the file holds something else.
    """
    found = read_json(path)
    for machine, own in found.items():
        if not isinstance(own, dict) or type(own.get("clips", 0)) is not int:
            raise InputError(
                f"{path}: {machine!r} is not what a run notes of a machine. {_WAY_OUT}"
            )
    return found


def config_differences(a: Any, b: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Returns (key, text) for every difference between two nested mappings."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        keys = sorted({*a, *b})
        return [
            d
            for key in keys
            for d in config_differences(a.get(key), b.get(key), f"{prefix}.{key}".strip("."))
        ]
    return [] if a == b else [(prefix, f"{prefix} ({a!r} there, {b!r} here)")]


def _stamp(path: str) -> tuple[int, int]:
    try:
        file = os.stat(path)
    except OSError as error:
        raise InputError(
            f"{path}: no such file any more; put it back, and the same command continues"
        ) from error
    return file.st_size, file.st_mtime_ns


def sha256_of(value: Any) -> str:
    """Returns the SHA-256, in hexadecimal digits, of a value that JSON can represent."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
