"""Finds recordings in files, folders and csv lists, with their domains and classes."""

import os
from collections.abc import Sequence
from pathlib import Path

from asd_jax.data.clip_names import parse_name
from asd_jax.data.clips import Clip, sound_files
from asd_jax.data.clips_csv import add_table, read_table
from asd_jax.detector.sessions import named_sessions
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.names import check_name

DOMAINS = ("source", "target")


def normal_recordings(place: str | Path) -> list[Clip]:
    """Returns the clips, sorted by name, of a folder, csv list or file of normal recordings.

    The domain comes from a subfolder called source or target (in any case), from the column
    `domain` of the list (or of a clips.csv in the folder), or from a DCASE file name; otherwise it
    is "unknown". The class (attribute) comes from the name of any other subfolder, from the column
    `attribute`, or from a DCASE file name. The split in a DCASE file name is ignored.

    Raises:
        InputError: there are no recordings, a list is invalid, or a file name says that it is an
            anomaly.
    """
    place = Path(place)
    if place.suffix.lower() == ".csv":
        root = place.parent
        names = _listed(place)
        table = place
    elif place.is_file():
        return [_clip(place.parent, place.name)]
    else:
        root = place
        table = place / "clips.csv"
        names = [str(path.relative_to(root)) for path in sound_files(place)]
    # The order is that of the names, whatever the file system or the list has.
    clips = {Path(name).as_posix(): _clip(root, name) for name in sorted(names)}
    return list(add_table(table, clips).values())


def sessions_of(clips: Sequence[Clip], place: str | Path) -> tuple[list[str] | None, str]:
    """Returns (session of each normal recording, how it is known); sessions are None if unknown.

    The sessions are given by the column `session` of the list (or of a clips.csv in the folder), or
    else by the subfolder, except for source and target (in any case). See `named_sessions` for the
    other sources.

    Args:
        clips: the recordings.
        place: the folder or the list that contains them.

    Raises:
        InputError: a list cannot be read.
    """
    place = Path(place)
    is_list = place.suffix.lower() == ".csv"
    root = place.parent if is_list else place
    sessions = _session_column(place if is_list else place / "clips.csv")
    # A list may name files outside its folder.
    names = [os.path.relpath(clip.path, root) for clip in clips]
    names = [Path(name).as_posix() for name in names]
    folders = [
        "/".join(part for part in Path(name).parts[:-1] if part.lower() not in DOMAINS)
        for name in names
    ]
    # A column that is empty throughout says nothing, so the folders decide.
    if any(sessions.get(name) for name in names):
        folders = [sessions.get(name, "") for name in names]
    return named_sessions(names, folders, [os.path.getmtime(clip.path) for clip in clips])


def _session_column(table: Path) -> dict[str, str]:
    """Returns {file: session} of a csv list, empty if there is no list."""
    _, rows = read_table(table) if table.is_file() else ([], [])
    return {Path(row["file"]).as_posix(): row.get("session", "") for row in rows if row.get("file")}


def recordings(paths: Sequence[str]) -> list[Path]:
    """Returns the files in the given files, folders and csv lists, each once, in the order given.

    Folders are searched recursively; lists have the column `file`.

    Raises:
        InputError: a path does not exist, or a folder or a list has no recordings.
    """
    # A dict keeps the order and holds each file once, however it was named.
    files: dict[Path, None] = {}
    for path in map(Path, paths):
        if path.is_dir():
            files |= dict.fromkeys(sound_files(path))
        elif path.suffix.lower() == ".csv":
            files |= dict.fromkeys(path.parent / name for name in _listed(path))
        elif path.exists():
            files[path] = None
        else:
            raise InputError(f"{path}: no such file or folder")
    if not files:
        raise InputError("no recordings to score: name files, folders or csv lists")
    return list(files)


def _clip(root: Path, name: str) -> Clip:
    """Returns the clip of a normal recording, with what its path says about it."""
    *folders, file = Path(name).parts
    parsed = parse_name(file)
    if parsed and parsed.label == 1:
        raise InputError(
            f"{root / name}: an anomaly by its name, but --normal is for normal sound only: leave "
            "it out, or rename it"
        )
    domain = "unknown"
    section = "00"
    attribute = ""
    if parsed:
        section = parsed.section
        attribute = parsed.attribute
        domain = parsed.domain if file.startswith("section_") else domain
    # A folder named after a domain overrides the domain in the file name.
    if domains := [part.lower() for part in folders if part.lower() in DOMAINS]:
        domain = domains[-1]
    # The names of domains and the parts of a relative path do not name a class.
    classes = [part for part in folders if part.lower() not in DOMAINS and part not in ("..", "/")]
    return Clip(
        path=str(root / name),
        machine=root.name or ".",
        section=section,
        split="train",
        domain=domain,
        label=0,
        attribute="/".join(classes) or attribute,
    )


def _listed(path: Path) -> list[str]:
    """Returns the column `file` of a csv list."""
    columns, rows = read_table(path)
    if "file" not in columns:
        raise InputError(f"{path}: a list of recordings has a header with the column file")
    names = [row["file"] for row in rows if row["file"]]
    if not names:
        raise InputError(f"{path}: names no recordings")
    for name in names:
        # A list may come from anywhere, and its names are printed and stored.
        check_name("attribute", name, at=str(path))
    if missing := [name for name in names if not os.path.isfile(path.parent / name)]:
        raise InputError(
            f"{path}: names {missing[0]!r}, which is no file (paths are relative to the list)"
        )
    return names


def names_of(clips: Sequence[Clip], normal: str, known: Sequence[str] = ()) -> list[str]:
    """Returns the names under which a detector stores normal recordings.

    Names are relative to the folder given, unless a list names files outside it. A name that is
    already known gets the name of the folder as a prefix.

    Args:
        clips: the recordings.
        normal: the folder or the list that contains them.
        known: names that the detector already uses.
    """
    root = _root(normal)
    paths = [Path(clip.path) for clip in clips]
    names = [
        (path.relative_to(root) if path.is_relative_to(root) else path).as_posix() for path in paths
    ]
    return [f"{root.resolve().name}/{name}" if name in known else name for name in names]


def _root(place: str) -> Path:
    """Returns the folder given, or the folder of the list or recording given."""
    return Path(place) if Path(place).is_dir() else Path(place).parent


def normal_files(names: Sequence[str], folders: Sequence[str]) -> dict[str, Path]:
    """Returns {name: file} of the normal recordings that a detector was fitted to.

    They are searched in the folders that were used for fit and update.

    Raises:
        InputError: a recording is in none of the folders.
    """
    files = {}
    for name in names:
        # `names_of` gives a name relative to the folder, with or without the folder's name.
        places = [
            path
            for folder in map(_root, folders)
            for path in (folder / name, folder.resolve().parent / name)
        ]
        if (path := next((path for path in places if os.path.isfile(path)), None)) is None:
            raise InputError(
                f"--normal={','.join(folders)}: no {name}, which the detector was fitted to; name "
                "fit's folder, then with --normal=... again each that update was given"
            )
        files[name] = path
    return files
