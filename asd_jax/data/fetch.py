"""Files over a bad network: resumed, verified, and in place only when whole.

Whatever a server does, each wait is said and has an end.
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

from asd_jax.runtime.log import tell

STALLS = 5  # tries in a row that bring nothing, or nearly nothing
PATIENCE_S = 40  # that such tries may take together, without the waits that the server asked for
BACKOFF_S = 1.0  # before the third try; twice that before the fourth, and so on
LONGEST_WAIT_S = 120  # that a server may ask for (Retry-After)
TIMEOUT_S = (10, 20)  # to connect, and between bytes
ANSWER_S = 20  # for the head of an answer, and for the whole of a small one
SLOW_S, SLOWEST = 10, 1024  # seconds of fewer bytes than this in each are no connection
MOST_BYTES = 4 << 20  # of a small answer; the largest record has 60,000
_BLOCK = 1 << 18
_BUSY = (429, 500, 502, 503, 504)
_BUSY_S = 4.0  # between tries where a busy server names no time
# What a cut or silent connection raises; everything else is final.
_PASSING = (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError)


class DownloadError(Exception):
    """What the network or the server did wrong, in one line: nothing the user can mend but by
    trying again.
    """


class WrongAnswer(DownloadError):
    """Something else came than was asked for, as from a wrong address or a network's sign-in page:
    for the user to look at.
    """


class _Passing(Exception):
    """Why a try brought nothing, and the seconds that the server asks to wait."""

    def __init__(self, reason: str, wait: float = 0):
        super().__init__(reason)
        self.wait = wait


class _Patience:
    """Says each try that brought nothing, waits, and ends them."""

    def __init__(self, url: str):
        self.url, self.tries, self.since = url, 0, time.monotonic()

    def lost(self, passing: _Passing, stand: str) -> None:
        """Waits before the next try.

        Raises:
            DownloadError: there have been enough; says why, and how far it came.
        """
        self.tries += 1
        if self.tries == STALLS or time.monotonic() - self.since > PATIENCE_S:
            raise DownloadError(f"{self.url}: {stand}: {passing}; run again to go on")
        wait = max(passing.wait, BACKOFF_S * 2 ** (self.tries - 2) if self.tries > 1 else 0)
        tell(f"{self.url}: {passing}; try {self.tries + 1} of {STALLS} in {wait:.0f} s")
        time.sleep(wait)
        self.since += passing.wait


def new_session() -> requests.Session:
    """A session for `get` and `fetch_file`."""
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # else tracebacks of odd headers
    session = requests.Session()
    session.headers["Accept-Encoding"] = "identity"  # sizes and ranges count the bytes of the file
    return session


def get(session: requests.Session, url: str) -> bytes:
    """The content of a small answer.

    Raises:
        DownloadError: none, or one that is no success.
        WrongAnswer: one that is too large.
    """
    patience = _Patience(url)
    while True:
        try:
            return _small(session, url)
        except _Passing as passing:
            patience.lost(passing, "given up")


def _small(session: requests.Session, url: str) -> bytes:
    content, end = bytearray(), time.monotonic() + ANSWER_S
    with _answer(session, url) as response:
        for block in _blocks(response, decode=True):
            content += block
            if len(content) > MOST_BYTES:
                raise WrongAnswer(f"{url}: more than {MOST_BYTES >> 20} MB came; {seen(content)}")
            if time.monotonic() > end:
                raise _Passing(f"the answer is not whole after {ANSWER_S} s")
    return bytes(content)


def seen(content: bytes | bytearray) -> str:
    """What came, for a message."""
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
        WrongAnswer: something of another kind or size.
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
    most, patience = 0, _Patience(url)
    while (have := _size(part)) != size:
        begin = time.monotonic()
        passing = _Passing("the connection ends before the file does")
        try:
            _append(session, url, part, have if have < size else 0, size, progress)
        except _Passing as error:
            passing = error
        came = _size(part)
        gained = came - most if came <= size else 0
        most = max(most, most + gained)
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
    """One request, for what is missing; a server that refuses ranges sends everything, and the file
    starts over.
    """
    with _answer(session, url, {"Range": f"bytes={have}-"} if have else {}) as response:
        if response.status_code == 416:  # the range is not the server's: begin anew
            part.unlink(missing_ok=True)
            return
        said = response.headers
        resumes = response.status_code == 206 and said.get("Content-Range", "").startswith(
            f"bytes {have}-"
        )
        blocks, missing = _blocks(response), size - have if resumes else size
        if said.get("Content-Length", str(missing)) != str(missing) or "html" in said.get(
            "Content-Type", ""
        ):
            raise WrongAnswer(
                f"{url}: {said.get('Content-Length', 'some')} bytes of "
                f"{said.get('Content-Type', 'no type')} where the record says {missing}; "
                f"{seen(next(blocks, b''))}"
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
    """The answer, a success, with its content still to come.

    Raises:
        _Passing: none, or the server is busy, or the connection breaks within.
        DownloadError: a refusal.
    """
    try:
        with _in_time(
            lambda: session.get(url, headers=headers, stream=True, timeout=TIMEOUT_S)
        ) as response:
            if response.status_code in _BUSY:
                raise _Passing(_status(response), _asked_to_wait(url, response))
            if response.status_code != 416:
                response.raise_for_status()
            yield response
    except _PASSING as error:
        raise _Passing(_reason(error)) from error
    except (requests.RequestException, ValueError) as error:  # ValueError: of odd addresses
        raise DownloadError(f"{url}: {_reason(error)}") from error


def _in_time(call: Callable[[], requests.Response]) -> requests.Response:
    """What the call returns; a server may send the head of an answer byte by byte, for ever."""
    answers: queue.SimpleQueue = queue.SimpleQueue()

    def run():
        try:
            answers.put((call(), None))
        except BaseException as error:
            answers.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        response, error = answers.get(timeout=ANSWER_S)
    except queue.Empty:
        raise requests.Timeout(f"no whole head of an answer after {ANSWER_S} s") from None
    if error is not None:
        raise error
    return response


def _blocks(response: requests.Response, *, decode: bool = False) -> Iterator[bytes]:
    """The content as it comes, in blocks.

    Raises:
        _Passing: it comes too slowly.
    """
    begin, came = time.monotonic(), 0
    # iter_content would lose what came of a block cut short.
    while block := response.raw.read1(_BLOCK, decode_content=decode):
        yield block
        came += len(block)
        if (seconds := time.monotonic() - begin) > SLOW_S:
            if came < SLOWEST * seconds:
                raise _Passing(f"{came} bytes in {seconds:.0f} s")
            begin, came = time.monotonic(), 0


def _asked_to_wait(url: str, response: requests.Response) -> float:
    """Seconds; a few where a busy server does not say."""
    asked = response.headers.get("Retry-After", "")
    try:
        wait = float(urllib3.Retry().parse_retry_after(asked))
    except urllib3.exceptions.InvalidHeader:
        return _BUSY_S
    except ValueError:  # thousands of digits
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
    # urllib3's, below "max retries exceeded"
    cause = getattr(error.args[0], "reason", error) if error.args else error
    return f"no answer, {str(cause).rsplit('): ', 1)[-1][:200] or type(error).__name__}"
