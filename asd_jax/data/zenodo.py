"""What the Zenodo records of an edition hold."""

import dataclasses
import re
from collections.abc import Sequence
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from requests import Session

from asd_jax.data.dcase import ZENODO, Edition
from asd_jax.data.fetch import DownloadError, WrongAnswer, get, seen
from asd_jax.runtime.log import tell

# -> folder, in the order of the records
SUBSETS = {
    "dev": "dev_data",
    "train": "eval_data",
    "eval": "eval_data",
}
LONGEST_NAME = 200  # bytes of an archive's name; file systems know 255, and ours get endings


class _File(msgspec.Struct):
    """Of a record; its other fields are passed over."""

    key: str
    size: Annotated[int, msgspec.Meta(ge=0, le=1 << 60)]
    checksum: Annotated[str, msgspec.Meta(pattern="^md5:[0-9a-f]{32}$")]
    links: dict[str, str]


class _Record(msgspec.Struct):
    files: list[_File]


@dataclasses.dataclass(frozen=True)
class Archive:
    """One zip of one machine: what the record says of it, and where its content goes."""

    machine: str
    folder: str
    name: str
    url: str
    size: int
    md5: str


def plan(
    session: Session,
    table: Edition,
    machines: dict[str, list[str]],
    *,
    strict: bool = True,
    base_url: str = ZENODO,
) -> list[Archive]:
    """The archives of an edition, from the records' own file lists.

    Args:
        session: from `new_session`.
        table: the edition.
        machines: the machines wanted of each subset, "dev", "train" and "eval".
        strict: whether a machine without an archive is an error or only said.
        base_url: of a mirror.

    Raises:
        DownloadError: a record that does not answer, or has none of the archives; if strict, not
            all of them.
    """
    archives = []
    for subset, record in zip(SUBSETS, table.records, strict=True):
        if wanted := machines.get(subset):
            found = archives_of(session, record, SUBSETS[subset], wanted, base_url)
            if absent := [machine for machine in wanted if machine not in found]:
                told = f"record {record}, {subset}: no archive of {', '.join(absent)}"
                if strict or not found:
                    raise DownloadError(told)
                tell(f"warning: {told}")
            archives += found.values()
    return archives


def archives_of(
    session: Session, record: int, folder: str, machines: Sequence[str], base_url: str = ZENODO
) -> dict[str, Archive]:
    """Machine -> its archive in a Zenodo record; of several revisions (name_r2.zip) the last.

    Raises:
        DownloadError: no answer.
        WrongAnswer: not that of Zenodo's API.
    """
    url = at_base(f"{ZENODO}/api/records/{record}", base_url)
    found, revisions = {}, {}
    for file in _files(url, get(session, url)):
        # A name becomes that of a file here.
        match = re.fullmatch(r"([\w.-]+?)(?:_r(\d{1,4}))?\.zip", file.key, re.ASCII)
        if match is None or len(file.key) > LONGEST_NAME:
            continue
        for machine in set(match[1].split("_")) & set(machines):
            if (revision := int(match[2] or 1)) > revisions.get(machine, 0):
                link, md5 = file.links.get("content") or file.links["self"], file.checksum[4:]
                found[machine] = Archive(
                    machine, folder, file.key, at_base(link, base_url), file.size, md5
                )
                revisions[machine] = revision
    return found


def _files(url: str, content: bytes) -> list[_File]:
    """What a record says of its files."""
    try:
        files = msgspec.json.decode(content, type=_Record).files
        if without := [file.key for file in files if not {"content", "self"} & set(file.links)]:
            raise ValueError(f"no link to {without[0]!r}")
    except (ValueError, RecursionError) as error:
        raise WrongAnswer(
            f"{url}: not the answer of Zenodo's API ({error}); {seen(content)}. Is --base_url "
            "right, and does the network ask to sign in?"
        ) from error
    return files


def at_base(url: str, base_url: str) -> str:
    """The address at a mirror instead of its own host; the same if the mirror is Zenodo itself."""
    base_url = base_url.rstrip("/")
    if base_url == ZENODO or url.startswith(base_url):
        return url
    parts = urlsplit(url)
    return base_url + parts.path + (f"?{parts.query}" if parts.query else "")
