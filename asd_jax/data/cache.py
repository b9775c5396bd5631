"""Caches decoded clips on disk as 16-bit samples, memory-mapped and packed into large files."""

import hashlib
import os
import re
import threading
import uuid
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int16

from asd_jax.data.audio import read_clip, read_clip_int16, to_float32
from asd_jax.data.clips import Clip
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import open_regular

# Version of the cached content. Raise it when the content changes.
_FORMAT = 2
# A line of an index: hash, first sample, number of samples, CRC-32 of the samples.
_LINE = re.compile(rb"([0-9a-f]{64}) (\d{1,15}) ([1-9]\d{0,14}) (\d{1,10})\n")
Place = tuple[Path, int, int, int]  # pack, first sample, number of samples, CRC-32


class CacheError(InputError):
    """The cache folder cannot be read or written; no clip is the cause."""


class ClipCache:
    """Reads clips through a folder of decoded clips; new or changed clips are decoded and added.

    A clip is identified by the hash of the recording's path, size, modification time and the
    settings, so the folder never holds stale data. It can be shared by several runs and deleted at
    any time.

    Each process appends samples to its own pack (<name>.int16), because creating one file per clip
    takes longer than decoding it. It then appends one line to the pack's index (<name>.index: hash,
    first sample, number of samples, checksum). A clip counts as stored only once it has this line.
    An interrupted run therefore continues where it stopped: a clip that a crash cut short has no
    line, an unreadable one, or one that points past the end or to other samples, and is decoded
    again. The checksum is verified when a process first reads the samples.

    Example:
        cache = ClipCache("cache", sample_rate=16000)
        wave = cache.read("fan.wav")
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        sample_rate: int = 16000,
        channel: int | str = "mean",
        resampler: str = "soxr",
    ):
        """Takes the settings of `read_clip`."""
        self.folder = Path(folder)
        self.settings = {"sample_rate": sample_rate, "channel": channel, "resampler": resampler}
        self._lock = threading.Lock()
        self._files = None
        self._places: dict[str, Place] = {}
        # The hashes of the clips whose checksum has been verified.
        self._intact: set[str] = set()
        self._maps: dict[Path, np.memmap] = {}
        # The newest index is read last, so that the latest decoding of a clip is used.
        for index in sorted(self.folder.glob("*.index"), key=os.path.getmtime):
            self._places |= _read_index(index)

    def read(self, path: str | Path) -> Float[np.ndarray, "s"]:
        """Returns the float32 waveform that `read_clip` returns, rounded to 16 bits.

        Raises:
            InputError: For the same reasons as `read_clip`, or because the folder cannot be
                written.
        """
        return to_float32(self.read_int16(path))

    def read_int16(self, path: str | Path) -> Int16[np.ndarray, "s"]:
        """Returns the int16 waveform that `read_clip_int16` returns; a view of the mapped pack if
        cached.

        Raises:
            InputError: For the same reasons as `read`.
        """
        key = self._key(path)
        if place := self._places.get(key):
            try:
                samples = self._mapped(*place[:3])
            except FileNotFoundError:
                self._forget(place[0])
            else:
                if key in self._intact or zlib.crc32(samples) == place[3]:
                    # The checksum reads all samples, so it is verified once per process.
                    self._intact.add(key)
                    return samples
        # Samples that are absent, deleted or damaged are decoded again.
        samples = read_clip_int16(path, **self.settings)
        self._append(key, samples)
        return samples

    def _key(self, path: str | Path) -> str:
        try:
            file = os.stat(path)
        except OSError as error:
            raise InputError(f"{path}: no such file") from error
        key = repr(
            (
                _FORMAT,
                os.path.abspath(path),
                file.st_size,
                file.st_mtime_ns,
                sorted(self.settings.items()),
            )
        )
        # Paths may contain bytes that are not valid UTF-8.
        return hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()

    def _mapped(self, pack: Path, first: int, count: int) -> Int16[np.ndarray, "s"]:
        # The pack may have grown since it was mapped.
        if pack not in self._maps or len(self._maps[pack]) < first + count:
            self._maps[pack] = np.memmap(pack, np.int16, "r", shape=(os.path.getsize(pack) // 2,))
        return self._maps[pack][first : first + count]

    def _forget(self, pack: Path) -> None:
        """Removes a deleted pack from the table of clips.

        If it was this process's own pack, the next clip begins a new one.
        """
        with self._lock:
            self._places = {key: place for key, place in self._places.items() if place[0] != pack}
            if self._files is not None and Path(self._files[0].name) == pack:
                for file in self._files:
                    file.close()
                self._files = None

    def _append(self, key: str, samples: Int16[np.ndarray, "s"]) -> None:
        try:
            with self._lock:
                if self._files is None:
                    self.folder.mkdir(parents=True, exist_ok=True)
                    name = self.folder / uuid.uuid4().hex
                    self._files = [
                        # A new name for each process: nobody else appends to its pack.
                        # Unbuffered: no index line is written before its samples.
                        open(name.with_suffix(end), "xb", buffering=0)
                        for end in (".int16", ".index")
                    ]
                pack, index = self._files
                # The lock keeps samples and index lines of several reading threads apart.
                first = pack.tell() // 2
                _write_whole(pack, samples.tobytes())
                checksum = zlib.crc32(samples)
                # The index line comes last, because it marks the samples as complete.
                _write_whole(index, f"{key} {first} {len(samples)} {checksum}\n".encode())
                self._places[key] = Path(pack.name), first, len(samples), checksum
        except OSError as error:
            raise CacheError(
                f"{self.folder}: cannot write the cache of decoded clips ({error})"
            ) from error


def _write_whole(file, content: bytes) -> None:
    """Appends all of `content` or nothing, so that the next append starts at a clip boundary."""
    begin = file.tell()
    if file.write(content) < len(content):
        file.truncate(begin)
        file.seek(begin)
        raise OSError("no space left for a whole clip")


def _read_index(index: Path) -> dict[str, Place]:
    """Returns the place of each hash in an index, for the clips whose samples are complete."""
    pack = index.with_suffix(".int16")
    places = {}
    try:
        there = pack.stat().st_size // 2 if pack.is_file() else 0
        with open_regular(index) as file:
            lines = file.readlines()
    except OSError as error:
        raise CacheError(f"{index}: cannot be read ({error.strerror or error})") from error
    # A crash may have cut the last line, or left samples that it names unwritten.
    for line in lines:
        if match := _LINE.fullmatch(line):
            first, count, checksum = (int(number) for number in match.groups()[1:])
            if first + count <= there:
                places[match[1].decode()] = (pack, first, count, checksum)
    return places


def screen_clips(
    clips: Sequence[Clip],
    read: Callable[[str], np.ndarray] = read_clip,
    *,
    on_bad_clip: str = "error",
    threads: int | None = None,
) -> tuple[list[Clip], list[dict[str, str]]]:
    """Reads every clip once, in parallel, and returns the readable clips and a {"file", "reason"}
    for each of the others.

    With `ClipCache.read_int16` this fills the cache.

    Args:
        clips: The clips to read.
        read: Returns the waveform of a path.
        on_bad_clip: "error" raises the error of the first bad clip; "skip" leaves bad clips out.
        threads: Number of reading threads; None means one for each processor.

    Raises:
        InputError: A clip is bad and `on_bad_clip` is "error", or its value is unknown.
    """
    if on_bad_clip not in ("error", "skip"):
        raise InputError(f"on_bad_clip={on_bad_clip!r}; known: error, skip")

    def reason(clip: Clip) -> str:
        try:
            read(clip.path)
            return ""
        # The folder is at fault, not the clip, so no clip may be skipped for it.
        except CacheError:
            raise
        except InputError as error:
            return str(error)

    kept = []
    skipped = []
    # Not a `with` block: after an error, the clips that are waiting must not be read.
    pool = ThreadPoolExecutor(threads or os.cpu_count())
    try:
        for clip, why in zip(clips, pool.map(reason, clips), strict=True):
            if why and on_bad_clip == "error":
                raise InputError(f"{why} (on_bad_clip=skip leaves such clips out)")
            kept += [] if why else [clip]
            skipped += (
                [{"file": clip.path, "reason": why.removeprefix(f"{clip.path}: ")}] if why else []
            )
    finally:
        pool.shutdown(cancel_futures=True)
    return kept, skipped
