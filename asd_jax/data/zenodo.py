"""Lists the archives in the Zenodo records of an edition."""

import dataclasses
import re
from collections.abc import Sequence
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from requests import Session

from asd_jax.data.dcase import ZENODO, Edition
from asd_jax.data.fetch import DownloadError, WrongResponse, content_summary, get
from asd_jax.runtime.log import print_error

# The folder of each subset, in the order of the records.
SUBSETS = {
    "dev": "dev_data",
    "train": "eval_data",
    "eval": "eval_data",
}
# Bytes of an archive's name. File systems allow 255, and suffixes are added to it here.
LONGEST_NAME = 200


class _File(msgspec.Struct):
    """A file of a record; its other fields are ignored."""

    key: str
    size: Annotated[int, msgspec.Meta(ge=0, le=1 << 60)]
    checksum: Annotated[str, msgspec.Meta(pattern="^md5:[0-9a-f]{32}$")]
    links: dict[str, str]


class _Record(msgspec.Struct):
    files: list[_File]


@dataclasses.dataclass(frozen=True)
class Archive:
    """One zip file of one machine: what the record states about it, and where its content goes."""

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
    """Returns the archives of an edition, from the file lists of the records.

    Args:
        session: A session from `new_session`.
        table: The edition.
        machines: The machines wanted of each subset, "dev", "train" and "eval".
        strict: Whether a machine without an archive is an error, or only reported.
        base_url: Address of Zenodo or a mirror.

    Raises:
        DownloadError: A record does not answer or has none of the archives, or, if strict, lacks
            one of them.
    """
    archives = []
    for subset, record in zip(SUBSETS, table.records, strict=True):
        if wanted := machines.get(subset):
            found = archives_of(session, record, SUBSETS[subset], wanted, base_url)
            # A mirror may hold a part of the edition.
            if absent := [machine for machine in wanted if machine not in found]:
                message = f"record {record}, {subset}: no archive of {', '.join(absent)}"
                if strict or not found:
                    raise DownloadError(message)
                print_error(f"warning: {message}")
            archives += found.values()
    return archives


def archives_of(
    session: Session, record: int, folder: str, machines: Sequence[str], base_url: str = ZENODO
) -> dict[str, Archive]:
    """Returns the archive of each machine in a Zenodo record; the last if there are several
    revisions (name_r2.zip).

    Raises:
        DownloadError: There is no answer.
        WrongResponse: The answer is not that of Zenodo's API.
    """
    url = at_base(f"{ZENODO}/api/records/{record}", base_url)
    found = {}
    revisions = {}
    for file in _files(url, get(session, url)):
        # The name is used as a file name here, so only safe characters are accepted.
        match = re.fullmatch(r"([\w.-]+?)(?:_r(\d{1,4}))?\.zip", file.key, re.ASCII)
        if match is None or len(file.key) > LONGEST_NAME:
            continue
        # The machine is one of the words in the name of its archive.
        for machine in set(match[1].split("_")) & set(machines):
            if (revision := int(match[2] or 1)) > revisions.get(machine, 0):
                # Records name the link to the content in either way.
                link = file.links.get("content") or file.links["self"]
                md5 = file.checksum[4:]
                found[machine] = Archive(
                    machine=machine,
                    folder=folder,
                    name=file.key,
                    url=at_base(link, base_url),
                    size=file.size,
                    md5=md5,
                )
                revisions[machine] = revision
    return found


def _files(url: str, content: bytes) -> list[_File]:
    """Returns the files that a record lists."""
    try:
        files = msgspec.json.decode(content, type=_Record).files
        if without := [file.key for file in files if not {"content", "self"} & set(file.links)]:
            raise ValueError(f"no link to {without[0]!r}")
    except (ValueError, RecursionError) as error:
        raise WrongResponse(
            f"{url}: not the answer of Zenodo's API ({error}); {content_summary(content)}. Is "
            "--base_url right, and does the network ask to sign in?"
        ) from error
    return files


def at_base(url: str, base_url: str) -> str:
    """Returns the URL with the host replaced by a mirror; the same URL if the mirror is Zenodo
    itself.
    """
    base_url = base_url.rstrip("/")
    if base_url == ZENODO or url.startswith(base_url):
        return url
    parts = urlsplit(url)
    return base_url + parts.path + (f"?{parts.query}" if parts.query else "")
