"""Which files of a folder are recordings: one walk for every command, which says what it leaves
out.
"""

import dataclasses
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from asd_jax.runtime.errors import InputError

# What can be read, by the usual endings.
AUDIO_ENDINGS = (".wav", ".wave", ".bwf", ".rf64", ".w64", ".flac", ".ogg", ".oga", ".opus")
AUDIO_ENDINGS += (".mp3", ".mp2", ".aiff", ".aif", ".aifc", ".caf", ".au", ".snd", ".sph", ".nist")
# Endings of files that lie beside recordings and are none.
_PAPERS = {"", ".txt", ".csv", ".tsv", ".json", ".jsonl", ".md", ".rst", ".pdf", ".html", ".htm"}
_PAPERS |= {".xml", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".log", ".py", ".ipynb", ".m", ".sh"}
_PAPERS |= {".png", ".jpg", ".jpeg", ".gif", ".svg", ".doc", ".docx", ".xls", ".xlsx", ".detector"}
_PAPERS |= {".safetensors", ".npy", ".npz", ".md5", ".sha256", ".lnk", ".url", ".db"}
# Folders that systems keep for themselves: what was deleted, copies, thumbnails. Those that begin
# with a dot or $ are too.
_SYSTEM = {"@eadir", "@recycle", "@recently-snapshot", "@tmp", "#recycle", "#snapshot", "recycler"}
_SYSTEM |= {"recycled", "system volume information", "lost+found", "found.000", "__macosx"}
_SYSTEM |= {"network trash folder", "temporary items", "~snapshot", "trash", "__pycache__"}
SHOWN = 8  # of what is left out, in words


@dataclasses.dataclass
class Listing:
    """What a folder holds.

    Attributes:
        files: recordings, in order.
        folders: those below it, followed where they are links.
        left_out: a line on each thing that might be a recording and is not taken for one.
    """

    files: list[Path] = dataclasses.field(default_factory=list)
    folders: list[Path] = dataclasses.field(default_factory=list)
    left_out: list[str] = dataclasses.field(default_factory=list)


def listing(folder: str | Path) -> Listing:
    """A folder -> the recordings and folders in it, hidden ones and the system's left out.

    Raises:
        InputError: it cannot be listed.
    """
    found = Listing()
    try:
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: (entry.is_symlink(), entry.name)):
                if not _of_the_system(entry.name):
                    _sort_in(entry, found)
    except OSError as error:
        raise InputError(f"{folder}: cannot be listed ({error.strerror or error})") from error
    return found


def everything_below(folder: str | Path) -> Listing:
    """A folder -> the recordings in it and in all folders below it, each folder once.

    Raises:
        InputError: the folder cannot be listed; one below it is left out instead.
    """
    found, waiting, seen = Listing(), [Path(folder)], set()
    while waiting:
        place = waiting.pop(0)
        try:
            status = os.stat(place)
            if (status.st_dev, status.st_ino) in seen:
                continue  # a link to where we have been
            seen.add((status.st_dev, status.st_ino))
            here = listing(place)
        except OSError:
            continue  # removed meanwhile
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


def in_words(left_out: Iterable[str]) -> list[str]:
    """The lines on what is left out, the first of them where there are many."""
    lines = [f"left out: {line}" for line in left_out]
    more = len(lines) - SHOWN
    return lines[:SHOWN] + ([f"left out: {more} more"] if more > 0 else [])


def _of_the_system(name: str) -> bool:
    return name.startswith((".", "$")) or name.lower() in _SYSTEM


def _sort_in(entry: os.DirEntry, found: Listing) -> None:
    path, ending = Path(entry.path), Path(entry.name).suffix.lower()
    try:
        mode = entry.stat().st_mode
    except OSError as error:
        if entry.is_symlink():
            found.left_out.append(f"{path}: a link that leads nowhere ({error.strerror or error})")
        return  # or removed meanwhile
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
