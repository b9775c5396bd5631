"""Downloads files over an unreliable network: resumed, verified, and in place only when complete.

Every wait is reported and bounded, whatever a server does.
"""

import contextlib
import hashlib
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import requests
import urllib3

from asd_jax.runtime.log import print_error

# The number of consecutive attempts that may bring no data, or almost none.
STALLS = 5
# The time that such attempts may take together, without the waits that the server requests.
PATIENCE_S = 40
# The wait before the third attempt. It doubles with each further attempt.
BACKOFF_S = 1.0
# The longest wait that a server may request with Retry-After.
LONGEST_WAIT_S = 120
# The time limits for connecting and between bytes.
TIMEOUT_S = (10, 20)
# The time limit for the headers of a response, and for the whole of a small one.
ANSWER_S = 20
# A connection with fewer than SLOWEST bytes per second over SLOW_S seconds counts as dead.
SLOW_S = 10
SLOWEST = 1024
# The size limit of a small response. The largest record has 60,000 bytes.
MOST_BYTES = 4 << 20
_BLOCK = 1 << 18
_BUSY = (429, 500, 502, 503, 504)
# The wait between attempts if a busy server states no time.
_BUSY_S = 4.0
# The exceptions of a broken or silent connection. All others are final.
_PASSING = (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError)


class DownloadError(Exception):
    """An error of the network or the server, in one line, which the user can only resolve by trying
    again.
    """


class WrongResponse(DownloadError):
    """The response is not what was requested, e.g. from a wrong URL or a network's sign-in page.

    The user has to look into it.
    """


class _Passing(Exception):
    """Why an attempt brought no data, and the seconds that the server asks to wait."""

    def __init__(self, reason: str, wait: float = 0):
        super().__init__(reason)
        self.wait = wait


class _Patience:
    """Reports each attempt that brought no data, waits, and stops after too many."""

    def __init__(self, url: str):
        self.url = url
        self.tries = 0
        self.since = time.monotonic()

    def lost(self, passing: _Passing, progress: str) -> None:
        """Waits before the next attempt.

        Args:
            passing: Why the last attempt brought no data.
            progress: How far the download has come, for the message.

        Raises:
            DownloadError: There were too many attempts. The message says why and how far the
                download has come.
        """
        self.tries += 1
        if self.tries == STALLS or time.monotonic() - self.since > PATIENCE_S:
            raise DownloadError(f"{self.url}: {progress}: {passing}; run again to go on")
        # The second attempt comes at once; a broken connection may work again directly.
        wait = max(passing.wait, BACKOFF_S * 2 ** (self.tries - 2) if self.tries > 1 else 0)
        print_error(f"{self.url}: {passing}; try {self.tries + 1} of {STALLS} in {wait:.0f} s")
        time.sleep(wait)
        # Waits that the server requested do not count towards PATIENCE_S.
        self.since += passing.wait


def new_session() -> requests.Session:
    """Returns a session for `get` and `fetch_file`."""
    # Otherwise urllib3 logs a traceback for malformed headers.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    session = requests.Session()
    # Sizes and ranges must refer to the bytes of the file itself, not to a compressed transfer.
    session.headers["Accept-Encoding"] = "identity"
    return session


def get(session: requests.Session, url: str) -> bytes:
    """Returns the content of a small response.

    Raises:
        DownloadError: There is no response, or it is not a success.
        WrongResponse: The response is too large.
    """
    patience = _Patience(url)
    while True:
        try:
            return _small(session, url)
        except _Passing as passing:
            patience.lost(passing, "given up")


def _small(session: requests.Session, url: str) -> bytes:
    content = bytearray()
    end = time.monotonic() + ANSWER_S
    with _answer(session, url) as response:
        for block in _blocks(response, decode=True):
            content += block
            if len(content) > MOST_BYTES:
                raise WrongResponse(
                    f"{url}: more than {MOST_BYTES >> 20} MB came; {content_summary(content)}"
                )
            if time.monotonic() > end:
                raise _Passing(f"the answer is not whole after {ANSWER_S} s")
    return bytes(content)


def content_summary(content: bytes | bytearray) -> str:
    """Returns a description of the received content, for a message."""
    return f"what came begins with {bytes(content[:60])!r}" if content else "nothing came"


def fetch_file(
    session: requests.Session,
    url: str,
    path: Path,
    *,
    size: int,
    md5: str,
    progress: Callable[[int], None] = lambda done: None,
) -> None:
    """Downloads a file of known size and MD5 to `path`; the content of <path>.part is reused.

    Args:
        session: A session from `new_session`.
        url: URL of the file.
        path: Where the file is moved once it is complete and verified.
        size: Its size in bytes.
        md5: Its MD5 sum in hexadecimal.
        progress: Called with the number of bytes that are there.

    Raises:
        DownloadError: The server refuses, the connection stays dead, or the MD5 sum is wrong twice.
        WrongResponse: The response is of another kind or size.
    """
    part = path.with_name(path.name + ".part")
    # A file at `path` was verified by an earlier run that was interrupted before using it.
    if path.exists():
        os.replace(path, part)
    # A second try, as the first file may have been damaged on the way or on the disk.
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
    most = 0
    patience = _Patience(url)
    while (have := _size(part)) != size:
        begin = time.monotonic()
        passing = _Passing("the connection ends before the file does")
        try:
            _append(
                session=session,
                url=url,
                part=part,
                # More bytes than expected are no part of the file, so it is fetched again.
                have=have if have < size else 0,
                size=size,
                progress=progress,
            )
        except _Passing as error:
            passing = error
        came = _size(part)
        # Bytes beyond the expected size are no progress.
        gained = came - most if came <= size else 0
        most = max(most, most + gained)
        # Only an attempt that brings data at a usable rate resets the patience; its first
        # second, for connecting, does not count.
        if gained > SLOWEST * max(0, time.monotonic() - begin - 1):
            patience = _Patience(url)
        else:
            patience.lost(passing, f"stuck at {most} of {size} bytes")
    progress(size)


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _append(
    session, url: str, part: Path, have: int, size: int, progress: Callable[[int], None]
) -> None:
    """Makes one request for the missing bytes and appends the response.

    If a server does not support ranges and sends the whole file, `part` is rewritten from the
    start.
    """
    with _answer(session, url, {"Range": f"bytes={have}-"} if have else {}) as response:
        if response.status_code == 416:  # the server rejects the range, so start again
            part.unlink(missing_ok=True)
            return
        headers = response.headers
        resumes = response.status_code == 206 and headers.get("Content-Range", "").startswith(
            f"bytes {have}-"
        )
        blocks = _blocks(response)
        missing = size - have if resumes else size
        # The sign-in page of a network, for example, is HTML of another length.
        if headers.get("Content-Length", str(missing)) != str(missing) or "html" in headers.get(
            "Content-Type", ""
        ):
            raise WrongResponse(
                f"{url}: {headers.get('Content-Length', 'some')} bytes of "
                f"{headers.get('Content-Type', 'no type')} where the record says {missing}; "
                f"{content_summary(next(blocks, b''))}"
            )
        with open(part, "ab" if resumes else "wb") as file:
            for block in blocks:
                file.write(block)
                progress(file.tell())
                if file.tell() > size:
                    return


@contextlib.contextmanager
def _answer(
    session: requests.Session, url: str, headers: dict[str, str] | None = None
) -> Iterator[requests.Response]:
    """Context manager: yields a successful response whose content has not been read yet.

    Raises:
        _Passing: There is no response, the server is busy, or the connection breaks inside the
            block.
        DownloadError: The server refuses.
    """
    try:
        with _in_time(
            lambda: session.get(url, headers=headers, stream=True, timeout=TIMEOUT_S)
        ) as response:
            if response.status_code in _BUSY:
                raise _Passing(_status(response), _asked_to_wait(url, response))
            # `_append` handles status 416 (range not satisfiable).
            if response.status_code != 416:
                response.raise_for_status()
            yield response
    except _PASSING as error:
        raise _Passing(_reason(error)) from error
    except (requests.RequestException, ValueError) as error:  # malformed URLs raise ValueError
        raise DownloadError(f"{url}: {_reason(error)}") from error


def _in_time(call: Callable[[], requests.Response]) -> requests.Response:
    """Returns the result of `call`, within a time limit.

    Without a limit, a server could send the headers of a response byte by byte forever.
    """
    answers: queue.SimpleQueue = queue.SimpleQueue()

    def run():
        try:
            answers.put((call(), None))
        except BaseException as error:
            answers.put((None, error))

    # A daemon, so that a thread that still waits does not keep the process alive.
    threading.Thread(target=run, daemon=True).start()
    try:
        response, error = answers.get(timeout=ANSWER_S)
    except queue.Empty:
        raise requests.Timeout(f"no whole head of an answer after {ANSWER_S} s") from None
    if error is not None:
        raise error
    return response


def _blocks(response: requests.Response, *, decode: bool = False) -> Iterator[bytes]:
    """Yields the content in blocks as it arrives.

    Raises:
        _Passing: The content arrives too slowly.
    """
    begin = time.monotonic()
    came = 0
    # iter_content would discard what was received of an incomplete block.
    while block := response.raw.read1(_BLOCK, decode_content=decode):
        yield block
        came += len(block)
        if (seconds := time.monotonic() - begin) > SLOW_S:
            if came < SLOWEST * seconds:
                raise _Passing(f"{came} bytes in {seconds:.0f} s")
            begin = time.monotonic()
            came = 0


def _asked_to_wait(url: str, response: requests.Response) -> float:
    """Returns the seconds that a busy server asks to wait, or a default of a few seconds."""
    asked = response.headers.get("Retry-After", "")
    try:
        wait = float(urllib3.Retry().parse_retry_after(asked))
    except urllib3.exceptions.InvalidHeader:
        return _BUSY_S
    except ValueError:  # a number with thousands of digits
        wait = float("inf")
    if wait > LONGEST_WAIT_S:
        raise DownloadError(
            f"{url}: {_status(response)}, and asks to wait {asked[:40]} (Retry-After); run again "
            "then"
        )
    return wait


def _status(response: requests.Response) -> str:
    return f"the server answers {response.status_code} {response.reason}"


def _reason(error: Exception) -> str:
    if (response := getattr(error, "response", None)) is not None:
        return _status(response)
    # The error of urllib3 that is wrapped by "max retries exceeded".
    cause = getattr(error.args[0], "reason", error) if error.args else error
    return f"no answer, {str(cause).rsplit('): ', 1)[-1][:200] or type(error).__name__}"
