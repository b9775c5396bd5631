"""Files over a bad network: resumed, verified, and in place only when whole."""

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

STALLS = 5  # tries in a row that bring not a byte more
BACKOFF_S = 0.5  # between tries: 0, 1, 2, 4 ... times this, unless the server says Retry-After
TIMEOUT_S = (10, 60)  # to connect, and between bytes
_BLOCK = 1 << 18
# What a cut or silent connection raises while the file comes in; everything else is final.
_PASSING = (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError)


class DownloadError(Exception):
    """What the network or the server did wrong, in one line: nothing the user can mend but by
    trying again.
    """


def new_session() -> requests.Session:
    """A session that repeats requests which the server puts off (429, 5xx), and waits as long as it
    says.
    """
    again = Retry(
        total=8, connect=3, backoff_factor=BACKOFF_S, status_forcelist=(429, 500, 502, 503, 504)
    )
    session = requests.Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=again))
    session.headers["Accept-Encoding"] = "identity"  # sizes and ranges count the bytes of the file
    return session


def get(session: requests.Session, url: str) -> requests.Response:
    """The answer to a small request.

    Raises:
        DownloadError: none, or one that is no success.
    """
    try:
        response = session.get(url, timeout=TIMEOUT_S)
        response.raise_for_status()
        return response
    except requests.RequestException as error:
        raise DownloadError(f"{url}: {_reason(error)}") from error


def fetch_file(
    session: requests.Session,
    url: str,
    path: Path,
    *,
    size: int,
    md5: str,
    progress: Callable[[int], None] = lambda done: None,
) -> None:
    """Fetches a file of known size and md5 to `path`; what <path>.part holds of it is not fetched
    again.

    Args:
        session: from `new_session`.
        url: of the file.
        path: where it goes once it is whole and verified.
        size: its bytes.
        md5: its sum, in hexadecimal.
        progress: called with the bytes that are there.

    Raises:
        DownloadError: the server's refusal, a connection that stays dead, or a wrong md5, twice.
    """
    part = path.with_name(path.name + ".part")
    if path.exists():  # verified, but not used up when the last run was interrupted
        os.replace(path, part)
    for _ in range(2):
        _complete(session, url, part, size, progress)
        with open(part, "rb") as file:
            found = hashlib.file_digest(file, "md5").hexdigest()
        if found == md5:
            os.replace(part, path)
            return
        part.unlink()
    raise DownloadError(
        f"{url}: the md5 of what came is {found}, not {md5}, twice; try again later"
    )


def _complete(
    session: requests.Session, url: str, part: Path, size: int, progress: Callable[[int], None]
) -> None:
    """Appends to `part` until it has `size` bytes."""
    most = stalls = 0
    reason = "the connection ends before the file does"
    while (have := part.stat().st_size if part.exists() else 0) != size:
        if stalls == STALLS:
            raise DownloadError(
                f"{url}: stuck at {most} of {size} bytes ({reason}); run again to go on from there"
            )
        time.sleep(BACKOFF_S * 2 ** (stalls - 1) if stalls else 0)
        try:
            _append(session, url, part, have if have < size else 0, size, progress)
        except _PASSING as error:
            reason = _reason(error)
        except requests.RequestException as error:
            raise DownloadError(f"{url}: {_reason(error)}") from error
        have = part.stat().st_size if part.exists() else 0
        stalls, most = (0, have) if most < have <= size else (stalls + 1, most)
    progress(size)


def _append(
    session, url: str, part: Path, have: int, size: int, progress: Callable[[int], None]
) -> None:
    """One request, for what is missing; a server that refuses ranges sends everything, and the file
    starts over.
    """
    headers = {"Range": f"bytes={have}-"} if have else {}
    with session.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as response:
        if response.status_code == 416:  # the range is not the server's: begin anew
            part.unlink(missing_ok=True)
            return
        response.raise_for_status()
        resumes = response.status_code == 206 and response.headers.get(
            "Content-Range", ""
        ).startswith(f"bytes {have}-")
        with open(part, "ab" if resumes else "wb") as file:
            # iter_content would lose what came of a block cut short
            while block := response.raw.read1(_BLOCK):
                file.write(block)
                progress(file.tell())
                if file.tell() > size:
                    return


def _reason(error: requests.RequestException | urllib3.exceptions.HTTPError) -> str:
    if (response := getattr(error, "response", None)) is not None:
        return f"the server answers {response.status_code} {response.reason}"
    # urllib3's, below "max retries exceeded"
    cause = getattr(error.args[0], "reason", error) if error.args else error
    return f"no answer ({str(cause).rsplit('): ', 1)[-1][:200] or type(error).__name__})"
