"""What the Zenodo records of an edition hold."""

import dataclasses
import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from requests import Session

from asd_jax.data.dcase import ZENODO, Edition
from asd_jax.data.fetch import DownloadError, get
from asd_jax.runtime.log import tell
from asd_jax.runtime.names import check_name

# -> folder, in the order of the records
SUBSETS = {
    "dev": "dev_data",
    "train": "eval_data",
    "eval": "eval_data",
}


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
        DownloadError: no answer, or not that of Zenodo's API.
    """
    url = at_base(f"{ZENODO}/api/records/{record}", base_url)
    found, revisions = {}, {}
    try:
        for file in get(session, url).json()["files"]:
            name, link, size = (
                file["key"],
                file["links"].get("content") or file["links"]["self"],
                int(file["size"]),
            )
            if (match := re.fullmatch(r"([^/\\\\]*?)(?:_r(\d+))?\.zip", name)) is None:
                continue
            check_name("file", name)
            for machine in set(match[1].split("_")) & set(machines):
                if (revision := int(match[2] or 1)) > revisions.get(machine, 0):
                    md5 = file["checksum"].removeprefix("md5:")
                    found[machine] = Archive(
                        machine, folder, name, at_base(link, base_url), size, md5
                    )
                    revisions[machine] = revision
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DownloadError(f"{url}: not the answer of Zenodo's API ({error!r})") from error
    return found


def at_base(url: str, base_url: str) -> str:
    """The address at a mirror instead of its own host; the same if the mirror is Zenodo itself."""
    base_url = base_url.rstrip("/")
    if base_url == ZENODO or url.startswith(base_url):
        return url
    parts = urlsplit(url)
    return base_url + parts.path + (f"?{parts.query}" if parts.query else "")
