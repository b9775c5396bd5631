"""Checks names that come from files: of machines, sections, recordings and attributes.

Machines and sections become part of the names of output files; recordings are looked up, listed and
displayed.
"""

from collections.abc import Iterable
from typing import Literal

from asd_jax.runtime.errors import InputError

Kind = Literal["machine", "section", "file", "path", "attribute"]
LONGEST = {
    "machine": 100,  # bytes; a machine and a section must fit into one file name
    "section": 100,
    "file": 255,  # the limit of common file systems
    "path": 4096,
    "attribute": 4096,
}
_SHOWN = 60  # characters of an invalid name that the message shows


def check_name(kind: Kind, name: str, *, at: str = "") -> None:
    """Checks that a name is valid for its kind.

    Args:
        kind: "machine" and "section": printable text without a slash; "file": any name that a disk
            can hold, UTF-8 or not; "path": such names below a folder; "attribute": any text.
        name: the name.
        at: the file, and the place in it, that the name comes from; for the message.

    Raises:
        InputError: the name is not valid; the message says why.
    """
    if wrong := _wrong(kind, name):
        shown = repr(name[:_SHOWN] + ("..." if len(name) > _SHOWN else ""))
        raise InputError(f"{at}{': ' if at else ''}{kind} {shown} {wrong}")


def check_names(kind: Kind, names: Iterable[str], *, at: str = "") -> None:
    """Checks many names as `check_name` does."""
    for name in sorted(set(names)):
        check_name(kind, name, at=at)


def _wrong(kind: Kind, name: str) -> str:
    label = kind in ("machine", "section")
    # In a name that is not UTF-8, Python represents each invalid byte as a surrogate.
    try:
        size = len(name.encode("utf-8", "strict" if label else "surrogateescape"))
    except UnicodeEncodeError:
        return "is not UTF-8; rename it" if label else "has characters that are no text"
    if size > LONGEST[kind]:
        return f"is longer than {LONGEST[kind]} bytes"
    if "\0" in name:
        return "has a NUL in it"
    if kind == "attribute":
        return ""
    if label and not name.isprintable():
        return "has characters in it that cannot be printed"
    if "/" in name and kind != "path":
        return "is a path, not a name"
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts:
        return "leaves the folder"
    if not any(part.strip() for part in parts):
        return "is no name"
    # Every folder on the way must fit the file system, too.
    if any(len(part.encode("utf-8", "surrogateescape")) > LONGEST["file"] for part in parts):
        return f"is longer than {LONGEST['file']} bytes"
    return ""
