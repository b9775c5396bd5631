"""Which recordings are meant: files, folders, csv lists; what folders and lists say of domains and
classes.
"""

import csv
import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

from asd_jax.data.clips import Clip, parse_clip, sound_files
from asd_jax.data.clips_csv import describe
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.names import check_name

DOMAINS = ("source", "target")


def normal_recordings(place: str | Path) -> list[Clip]:
    """A folder, or a csv list, of normal recordings -> clips in order of name.

    Domain: a subfolder called source or target, the column `domain` of the list (or of a clips.csv
    in the folder), or a DCASE file name; otherwise "unknown". Class (attribute): the name of any
    other subfolder, the column `attribute`, or a DCASE file name.

    Raises:
        InputError: nothing there, or a list that does not fit.
    """
    place = Path(place)
    root, table = (
        (place.parent, place) if place.suffix.lower() == ".csv" else (place, place / "clips.csv")
    )
    names = (
        _listed(place)
        if place.suffix.lower() == ".csv"
        else [str(p.relative_to(root)) for p in sound_files(place)]
    )
    clips = {Path(name).as_posix(): _clip(root, name) for name in sorted(names)}
    return list(describe(table, clips).values())


def recordings(paths: Sequence[str]) -> list[Path]:
    """Files, folders (all below them) and csv lists (column `file`) -> files, each once, in the
    order given.

    Raises:
        InputError: something that is not there, a folder or list without recordings.
    """
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        if path.is_dir():
            found |= dict.fromkeys(sound_files(path))
        elif path.suffix.lower() == ".csv":
            found |= dict.fromkeys(path.parent / name for name in _listed(path))
        elif path.exists():
            found[path] = None
        else:
            raise InputError(f"{path}: no such file or folder")
    if not found:
        raise InputError("no recordings to score: name files, folders or csv lists")
    return list(found)


def _clip(root: Path, name: str) -> Clip:
    clip = parse_clip(root / name, root.name or ".", "train")
    if not Path(name).name.startswith("section_"):
        clip = dataclasses.replace(clip, domain="unknown")
    folders = Path(name).parts[:-1]
    if domain := [part for part in folders if part in DOMAINS]:
        clip = dataclasses.replace(clip, domain=domain[-1])
    if attribute := "/".join(
        part for part in folders if part not in DOMAINS and part not in ("..", "/")
    ):
        clip = dataclasses.replace(clip, attribute=attribute)
    return clip


def _listed(path: Path) -> list[str]:
    """The column `file` of a csv list."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            table = csv.DictReader(file)
            if "file" not in (table.fieldnames or ()):
                raise InputError(f"{path}: a list of recordings has a header with the column file")
            names = [row["file"].strip() for row in table if (row["file"] or "").strip()]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not readable as csv ({error})") from error
    if not names:
        raise InputError(f"{path}: names no recordings")
    for name in names:
        check_name("attribute", name, at=str(path))
    if missing := [name for name in names if not os.path.isfile(path.parent / name)]:
        raise InputError(
            f"{path}: names {missing[0]!r}, which is not there (paths are relative to the list)"
        )
    return names


def names_of(clips: Sequence[Clip], normal: str, known: Sequence[str] = ()) -> list[str]:
    """Normal recordings, and the folder or list that they were given by -> their names in the
    detector.

    No folder above the one given is told, but where a list names others; a name that is known
    already is told from the known one by that folder's.
    """
    root = Path(normal) if Path(normal).is_dir() else Path(normal).parent
    paths = [Path(clip.path) for clip in clips]
    names = [
        (path.relative_to(root) if path.is_relative_to(root) else path).as_posix() for path in paths
    ]
    return [f"{root.resolve().name}/{name}" if name in known else name for name in names]


def normal_files(names: Sequence[str], folders: Sequence[str]) -> dict[str, Path]:
    """Names of a detector's normal recordings -> {name: file}, in the folders that fit and then
    update were given.

    Raises:
        InputError: one is in none of them.
    """
    found = {}
    for name in names:
        # As `names_of` has named it.
        places = [
            path
            for folder in map(Path, folders)
            for path in (folder / name, folder.resolve().parent / name)
        ]
        if (path := next((path for path in places if os.path.isfile(path)), None)) is None:
            raise InputError(
                f"--normal={','.join(folders)}: no {name}, which the detector was fitted to; name "
                f"fit's folder, then "
                "with --normal=... again each that update was given"
            )
        found[name] = path
    return found
