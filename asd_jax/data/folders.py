"""Finds the recordings in a folder; every command uses this walk, and it reports what it leaves
out.
"""

import dataclasses
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from asd_jax.runtime.errors import InputError

FileState = tuple[int, int]  # (time of the last change in ns, size in bytes)
# The usual extensions of the formats that can be read.
AUDIO_ENDINGS = (".wav", ".wave", ".bwf", ".rf64", ".w64", ".flac", ".ogg", ".oga", ".opus")
AUDIO_ENDINGS += (".mp3", ".mp2", ".aiff", ".aif", ".aifc", ".caf", ".au", ".snd", ".sph", ".nist")
# Extensions of files that often lie beside recordings but are not recordings.
_PAPERS = {"", ".txt", ".csv", ".tsv", ".json", ".jsonl", ".md", ".rst", ".pdf", ".html", ".htm"}
_PAPERS |= {".xml", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".log", ".py", ".ipynb", ".m", ".sh"}
_PAPERS |= {".png", ".jpg", ".jpeg", ".gif", ".svg", ".doc", ".docx", ".xls", ".xlsx", ".detector"}
_PAPERS |= {".safetensors", ".npy", ".npz", ".md5", ".sha256", ".lnk", ".url", ".db"}
# Folders that operating systems and NAS devices create for deleted files, copies and thumbnails.
# Folders whose names begin with a dot or $ are skipped too.
_SYSTEM = {"@eadir", "@recycle", "@recently-snapshot", "@tmp", "#recycle", "#snapshot", "recycler"}
_SYSTEM |= {"recycled", "system volume information", "lost+found", "found.000", "__macosx"}
_SYSTEM |= {"network trash folder", "temporary items", "~snapshot", "trash", "__pycache__"}
SHOWN = 8  # the number of omissions that are printed


@dataclasses.dataclass
class Listing:
    """The content of a folder.

    Attributes:
        files: The recordings, sorted.
        folders: The subfolders, including links to folders.
        left_out: A line on each item that might be a recording but is not taken for one.
    """

    files: list[Path] = dataclasses.field(default_factory=list)
    folders: list[Path] = dataclasses.field(default_factory=list)
    left_out: list[str] = dataclasses.field(default_factory=list)


def listing(folder: str | Path) -> Listing:
    """Returns the recordings and subfolders of a folder, without hidden and system folders.

    Raises:
        InputError: The folder cannot be listed.
    """
    found = Listing()
    try:
        with os.scandir(folder) as entries:
            # Links come last, so that the file itself is listed under its own name.
            for entry in sorted(entries, key=lambda entry: (entry.is_symlink(), entry.name)):
                if not _of_the_system(entry.name):
                    _sort_in(entry, found)
    except OSError as error:
        raise InputError(f"{folder}: cannot be listed ({error.strerror or error})") from error
    return found


def list_recursively(folder: str | Path) -> Listing:
    """Returns the recordings of a folder and of all folders below it, each folder visited once.

    Raises:
        InputError: The folder itself cannot be listed. A subfolder that cannot be listed is left
            out.
    """
    found = Listing()
    waiting = [Path(folder)]
    seen = set()
    while waiting:
        place = waiting.pop(0)
        try:
            status = os.stat(place)
            # Device and inode identify a folder, whatever links lead to it.
            if (status.st_dev, status.st_ino) in seen:
                continue  # a link to a folder that was already visited
            seen.add((status.st_dev, status.st_ino))
            here = listing(place)
        except OSError:
            continue  # it was removed in the meantime
        except InputError as error:
            if place == Path(folder):
                raise
            found.left_out.append(str(error))
            continue
        found.files += here.files
        found.left_out += here.left_out
        found.folders += here.folders
        waiting += here.folders
    return dataclasses.replace(found, files=sorted(found.files))


def file_states(files: Iterable[Path]) -> dict[Path, FileState]:
    """Returns {file: state} of those files that have not been removed since they were listed."""
    states = {}
    for path in files:
        try:
            status = path.stat()
        except OSError:
            continue
        states[path] = (status.st_mtime_ns, status.st_size)
    return states


def left_out_lines(left_out: Iterable[str]) -> list[str]:
    """Returns the lines on what was left out, shortened to the first few if there are many."""
    lines = [f"left out: {line}" for line in left_out]
    more = len(lines) - SHOWN
    return lines[:SHOWN] + ([f"left out: {more} more"] if more > 0 else [])


def _of_the_system(name: str) -> bool:
    return name.startswith((".", "$")) or name.lower() in _SYSTEM


def _sort_in(entry: os.DirEntry, found: Listing) -> None:
    path = Path(entry.path)
    ending = Path(entry.name).suffix.lower()
    try:
        mode = entry.stat().st_mode
    except OSError as error:
        if entry.is_symlink():
            found.left_out.append(f"{path}: a link that leads nowhere ({error.strerror or error})")
        return  # or it was removed in the meantime
    if stat.S_ISDIR(mode):
        found.folders.append(path)
    elif ending in AUDIO_ENDINGS and stat.S_ISREG(mode):
        found.files.append(path)
    elif not stat.S_ISREG(mode):
        found.left_out.append(f"{path}: a pipe or device, not a recording")
    elif ending not in _PAPERS:
        found.left_out.append(
            f"{path}: not known as a recording by its ending; if it is one, convert it to wav, "
            "e.g. with ffmpeg, or name the file itself"
        )
