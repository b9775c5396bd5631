"""Unpacks zip archives of recordings safely: no file leaves the folder, no archive fills the disk,
and no partly unpacked folder remains.
"""

import errno
import lzma
import os
import shutil
import stat
import struct
import zipfile
import zlib
from pathlib import Path

from asd_jax.data.clips import split_folders
from asd_jax.data.fetch import DownloadError
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.names import check_name

# The largest ratio of unpacked to packed size. Recordings reach 2; a zip bomb of silence reaches
# 1000.
MOST_RATIO = 50
MOST_FILES = 200_000
# What zipfile and its decompressors raise for damaged archives.
_UNSOUND = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, NotImplementedError, RuntimeError, ValueError, OverflowError),
)
# The operating system adds errors for names that are too long, names of both a file and a folder,
# and offsets before the archive's beginning. bz2 raises an OSError without a number.
_UNSOUND_ERRNO = (
    None,
    errno.EINVAL,
    errno.ENAMETOOLONG,
    errno.EEXIST,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENOTEMPTY,
)
_SLACK = 64 << 20  # bytes that any archive may unpack to


def unpack_machine(archive: Path, machine: str, folder: Path) -> None:
    """Unpacks the train, test and other folders of one machine from an archive into `folder`.

    The files are unpacked next to `folder` and then moved into place with one rename each, which
    replaces what had the same name. Afterwards, every file that the archive names is checked to
    exist.

    Args:
        archive: The zip file. It has the machine's folder at its top or below other folders, or
            only the split folders.
        machine: The machine type.
        folder: The folder of the machine, created if needed.

    Raises:
        DownloadError: The archive is damaged, contains paths that leave the folder or links, looks
            like a zip bomb, or contains nothing of the machine; or files are missing after
            unpacking.
        InputError: There is not enough room on the disk.
    """
    folder.mkdir(parents=True, exist_ok=True)
    part = unpacking_folder(archive, folder)
    shutil.rmtree(part, ignore_errors=True)
    try:
        with zipfile.ZipFile(archive) as zipped:
            _check(zipped, archive, folder)
            zipped.extractall(part)
            names = [member.filename for member in zipped.infolist() if not member.is_dir()]
        top = _machine_folder(part, machine, archive)
        wanted = [
            path.relative_to(top) for path in map(part.joinpath, names) if top in path.parents
        ]
        for item in sorted(top.iterdir()):
            _put(item, folder / item.name)
        if lost := [path for path in wanted if not (folder / path).is_file()]:
            raise DownloadError(
                f"{archive.name}: {len(lost)} of {len(wanted)} files are not there after "
                f"unpacking, {lost[0]} first; does another process work in {folder}?"
            )
    except InputError:
        raise
    except (*_UNSOUND, OSError) as error:
        if isinstance(error, OSError) and error.errno not in _UNSOUND_ERRNO:  # e.g. a full disk
            raise
        raise DownloadError(f"{archive.name}: not a sound zip ({error})") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def unpacking_folder(archive: Path, folder: Path) -> Path:
    """Returns where an archive is unpacked before its files are moved into `folder`."""
    # Beside the folder, because a rename works only within one file system.
    return folder.with_name(f".{archive.name}.part")


def _check(zipped: zipfile.ZipFile, archive: Path, folder: Path) -> None:
    members = zipped.infolist()
    for member in members:
        # zipfile shortens `filename` at a null byte, so the original name is checked.
        name = member.orig_filename.replace("\\", "/").removesuffix("/")
        try:
            check_name("path", name, at=archive.name)
        except InputError as error:
            raise DownloadError(f"{error}; not unpacked") from error
        # A colon can name a drive or an alternate data stream on Windows.
        if ":" in name:
            raise DownloadError(f"{archive.name}: path {name!r} leaves the folder; not unpacked")
        # A link could lead files that are unpacked later out of the folder.
        if stat.S_ISLNK(member.external_attr >> 16):
            raise DownloadError(f"{archive.name}: holds the link {member.filename!r}; not unpacked")
    size = sum(member.file_size for member in members)
    if len(members) > MOST_FILES or size > MOST_RATIO * archive.stat().st_size + _SLACK:
        raise DownloadError(
            f"{archive.name}: {len(members)} files of {size} bytes look like a bomb; not unpacked"
        )
    if size > (free := shutil.disk_usage(folder).free):
        raise InputError(
            f"{folder}: {archive.name} unpacks to {size >> 20} MB but {free >> 20} MB are free"
        )


def _machine_folder(part: Path, machine: str, archive: Path) -> Path:
    """Returns the folder of the machine within the unpacked files."""
    named = [
        path
        for path in [part, *sorted(part.rglob(machine))]
        if path.is_dir() and split_folders(path)
    ]
    if not named:
        there = sorted(str(path.relative_to(part)) for path in part.rglob("*"))[:3]
        raise DownloadError(
            f"{archive.name}: no train or test folder of {machine} in it, but {', '.join(there)}"
        )
    return named[0]


def _put(item: Path, place: Path) -> None:
    """Renames `item` to `place`; an existing folder is replaced, an existing file is kept."""
    if item.is_dir():
        if place.exists():
            shutil.rmtree(place)
        # A rename is atomic, so the folder is never partly filled.
        os.replace(item, place)
    elif not place.exists():
        os.replace(item, place)
