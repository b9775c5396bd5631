"""Records what the files of a folder were made from, so that valid files need not be made again."""

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from asd_jax.data.clips import Clip, by_machine
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import file_sha256, read_json, write_json

MANIFEST = "made_of.json"


class Manifest:
    """The record in a folder's made_of.json: {file: {"made_of", "sha256"}}.

    "made_of" is the hash of everything that the file depends on, and "sha256" that of its content.
    A file that has changed since it was recorded is not valid.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.path = folder / MANIFEST
        try:
            self.files = read_json(self.path) if self.path.exists() else {}
        # Without a readable record no file is valid, and all are made again.
        except InputError:
            self.files = {}

    def valid(self, name: str, made_of: str) -> bool:
        """Returns whether the file exists, is unchanged, and was made from these things."""
        path = self.folder / name
        known = self.files.get(name)
        # The quick comparisons come first, because the hash reads the whole file.
        if not isinstance(known, dict) or known.get("made_of") != made_of or not path.is_file():
            return False
        return known.get("sha256") == file_sha256(path)

    def complete(self, made_of: str) -> bool:
        """Returns whether files are recorded and every one of them is valid."""
        return bool(self.files) and all(self.valid(name, made_of) for name in self.files)

    def record(self, names: Sequence[str], made_of: str) -> None:
        """Records what files were made from, after they were written."""
        for name in names:
            self.files[name] = {"made_of": made_of, "sha256": file_sha256(self.folder / name)}
        write_json(self.path, self.files)


def provenance_hash(
    settings: Mapping[str, Any], weights: Sequence[int], clips: Sequence[Clip]
) -> str:
    """Returns the hash of everything that embeddings depend on.

    These are the settings, the checksum of the weights, and the recordings.
    """
    # Size and time of modification: hashing an archive would take as long as embedding it.
    # Names without folders, so that a moved archive keeps its embeddings.
    stamps = recording_stamps(clips)
    rows = [
        {**dataclasses.asdict(clip), "path": Path(clip.path).name, "stamp": stamps[clip.path]}
        for clip in clips
    ]
    return sha256_of([settings, weights, rows])


def summarize_recordings(clips: Sequence[Clip]) -> dict[str, dict[str, Any]]:
    """Returns {machine: number of clips and a hash of their names and sizes}.

    Folders are not part of the hash, so recordings may be moved.
    """
    found = {}
    for machine, of in by_machine(clips).items():
        # Sorted, because the order of a folder depends on the file system.
        # Sizes without modification times, which a copy of the recordings changes.
        own = sorted((clip.split, Path(clip.path).name, file_stamp(clip.path)[0]) for clip in of)
        found[machine] = {"clips": len(own), "sha256": sha256_of(own)}
    return found


def sha256_of(value: Any) -> str:
    """Returns the SHA-256, in hexadecimal digits, of a value that JSON can represent."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def recording_stamps(clips: Sequence[Clip]) -> dict[str, tuple[int, int]]:
    """Returns {path: (size in bytes, modification time in ns)} of the clips."""
    return {clip.path: file_stamp(clip.path) for clip in clips}


def check_unchanged(path: str, stamp: tuple[int, int]) -> None:
    """Raises InputError if the size or modification time of a recording has changed."""
    if file_stamp(path) != stamp:
        raise InputError(
            f"{path}: changed since the run began; put it back, or begin again in another folder"
        )


def file_stamp(path: str) -> tuple[int, int]:
    """Returns the size in bytes and the modification time in ns of a recording.

    Raises:
        InputError: the file no longer exists.
    """
    try:
        status = os.stat(path)
    except OSError as error:
        raise InputError(
            f"{path}: no such file any more; put it back, and the same command continues"
        ) from error
    return status.st_size, status.st_mtime_ns
