"""What a name may be that comes from a file: of a machine, section or recording, or an attribute.

Machines and sections become part of the names of files that are written; recordings are looked up,
listed and shown.
"""

from collections.abc import Iterable
from typing import Literal

from asd_jax.runtime.errors import InputError

Kind = Literal["machine", "section", "file", "path", "attribute"]
LONGEST = {
    "machine": 100,  # bytes, so that those of a machine and a section fit into one file's name
    "section": 100,
    "file": 255,  # what usual file systems take
    "path": 4096,
    "attribute": 4096,
}
_SHOWN = 60  # characters of a bad name in the message


def check_name(kind: Kind, name: str, *, at: str = "") -> None:
    """Refuses a name that may not be one of its kind.

    Args:
        kind: "machine" and "section": printable text without a slash; "file": any name that a disk
            can hold, UTF-8 or not; "path": such names below a folder; "attribute": any text.
        name: it.
        at: the file that it comes from, and where in it, for the message.

    Raises:
        InputError: names it, and what is wrong.
    """
    if wrong := _wrong(kind, name):
        shown = repr(name[:_SHOWN] + ("..." if len(name) > _SHOWN else ""))
        raise InputError(f"{at}{': ' if at else ''}{kind} {shown} {wrong}")


def check_names(kind: Kind, names: Iterable[str], *, at: str = "") -> None:
    """As `check_name`, of many."""
    for name in sorted(set(names)):
        check_name(kind, name, at=at)


def _wrong(kind: Kind, name: str) -> str:
    label = kind in ("machine", "section")
    try:  # of a name that is not UTF-8, Python has each such byte as a surrogate
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
    if any(len(part.encode("utf-8", "surrogateescape")) > LONGEST["file"] for part in parts):
        return f"is longer than {LONGEST['file']} bytes"
    return ""
