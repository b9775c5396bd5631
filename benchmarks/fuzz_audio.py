"""Feeds damaged and unusual audio files to the reader, and unusual folders to the finder.

    python -m benchmarks.fuzz_audio --files=2000 --containers=2000 --folders=200 --output=DIR

The damaged files are truncated, bit-flipped, spliced and padded files of every container and coding
that libsndfile writes, headers that state no channels, 2^31 frames or absurd rates, and text. Each
file must decode or raise the one error that names it. A crash, a hang of 60 s, another exception, a
waveform outside [-1, 1] or more than 1 GB of memory is a failure.

Containers (odd_recordings.py) have random orders of chunks, several of them, sizes that are odd,
unknown or wrong, and every format whole, cut and joined; the result must be all that was recorded.
Folders (odd_folders.py) are random trees with links, pipes, hidden folders, system folders and
names that are not UTF-8. The command writes fuzz_audio.json.
"""

import collections
import faulthandler
import json
import struct
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
from absl import flags

from asd_jax.data.audio import read_clip
from asd_jax.runtime.command import run
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import write_json
from benchmarks.odd_folders import faults_of, random_folder
from benchmarks.odd_recordings import fault_of, random_case
from benchmarks.provenance import peak_memory_mb, provenance

FLAGS = flags.FLAGS

HANG_S = 60
MOST_MB = 1024
_ODD = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
_CODINGS = {
    "WAV": (
        "PCM_U8",
        "PCM_16",
        "PCM_24",
        "PCM_32",
        "FLOAT",
        "DOUBLE",
        "ULAW",
        "IMA_ADPCM",
        "MS_ADPCM",
        "GSM610",
    ),
    "FLAC": ("PCM_16", "PCM_24"),
    "OGG": ("VORBIS", "OPUS"),
    "MP3": ("MPEG_LAYER_III",),
    "AIFF": ("PCM_16",),
    "W64": ("PCM_16",),
    "RF64": ("PCM_16",),
    "CAF": ("PCM_16", "ALAC_16"),
    "AU": ("PCM_16",),
}


def define_flags(argv: Sequence[str]) -> None:
    """Defines the flags of the command."""
    flags.DEFINE_integer("files", 2000, "Number of damaged files to read.")
    flags.DEFINE_integer("containers", 2000, "Number of odd containers to read.")
    flags.DEFINE_integer("folders", 200, "Number of odd folders to search.")
    flags.DEFINE_integer("seed", 0, "Seed of the damage.")
    flags.DEFINE_string(
        "output", None, "Folder for fuzz_audio.json; nothing is written without it."
    )


def main() -> int:
    """Reads the damaged files and prints the outcomes; returns 1 if any file broke the rule."""
    faulthandler.enable()
    rng = np.random.default_rng(FLAGS.seed)
    began = time.perf_counter()
    slowest = 0.0
    came_of = collections.Counter()
    broken = []
    with tempfile.TemporaryDirectory() as folder:
        whole = whole_files(Path(folder), rng)
        for number in range(FLAGS.files):
            path = Path(folder) / f"damaged_{number}.wav"
            path.write_bytes(
                damaged(whole[rng.integers(len(whole))], whole[rng.integers(len(whole))], rng)
            )
            faulthandler.dump_traceback_later(HANG_S, exit=True)
            at = time.perf_counter()
            came, fault = outcome(path)
            slowest = max(slowest, time.perf_counter() - at)
            came_of[came] += 1
            broken += [f"file {number}: {fault}"] if fault else []
            path.unlink()
        for number in range(FLAGS.containers):
            faulthandler.dump_traceback_later(HANG_S, exit=True)
            fault = fault_of(random_case(rng), Path(folder) / "odd.wav")
            broken += [f"container {number}: {fault}"] if fault else []
        for number in range(FLAGS.folders):
            faulthandler.dump_traceback_later(HANG_S, exit=True)
            root = Path(folder) / f"folder_{number}"
            broken += [f"folder {number}: {f}" for f in faults_of(root, *random_folder(root, rng))]
    faulthandler.cancel_dump_traceback_later()
    peak_mb = peak_memory_mb()
    broken += [f"{peak_mb:.0f} MB of memory"] if peak_mb > MOST_MB else []
    result = {
        "files": FLAGS.files,
        "containers": FLAGS.containers,
        "folders": FLAGS.folders,
        "seed": FLAGS.seed,
        **came_of,
        "broken": broken,
        "peak_mb": round(peak_mb),
    }
    result |= {"slowest_s": round(slowest, 3), "seconds": round(time.perf_counter() - began, 1)}
    print(json.dumps(result))
    if FLAGS.output:
        write_json(Path(FLAGS.output) / "fuzz_audio.json", result | provenance())
    return 1 if broken else 0


def outcome(path: Path) -> tuple[str, str]:
    """Returns "decoded" or "refused", and how the rule was broken, or ""."""
    try:
        wave = read_clip(path)
    except InputError as error:
        return "refused", "" if str(path) in str(
            error
        ) else f"an error that does not name the file: {error}"
    except Exception as error:
        return "refused", f"{type(error).__name__}: {error}"
    fine = (
        wave.dtype == np.float32
        and len(wave) >= 400
        and np.isfinite(wave).all()
        and np.abs(wave).max() <= 1
    )
    return (
        "decoded",
        "" if fine else f"{wave.dtype} {wave.shape} up to {np.abs(wave).max(initial=0)}",
    )


def whole_files(folder: Path, rng: np.random.Generator) -> list[bytes]:
    """Returns the bytes of one short sound in every container and coding, mono and stereo."""
    files = []
    for container, codings in _CODINGS.items():
        for coding in codings:
            for channels in (1, 2) if coding != "GSM610" else (1,):
                path = folder / "whole"
                rate = 48000 if coding == "OPUS" else 16000
                sound = 0.3 * rng.standard_normal((4800, channels)).clip(-3, 3)
                soundfile.write(path, sound, rate, format=container, subtype=coding)
                files.append(path.read_bytes())
    return files


def damaged(one: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Returns the bytes of a file with one kind of damage."""
    content = bytearray(one)
    match rng.integers(8):
        case 0:  # truncated
            del content[rng.integers(len(content)) :]
        case 1:  # bits flipped anywhere
            for at in rng.integers(len(content), size=rng.integers(1, 64)):
                content[at] ^= 1 << rng.integers(8)
        case 2:  # bits flipped in the header
            for at in rng.integers(min(128, len(content)), size=rng.integers(1, 8)):
                content[at] ^= 1 << rng.integers(8)
        case 3:  # a false header: odd numbers in any field
            for at in rng.integers(min(96, len(content) - 4), size=rng.integers(1, 4)):
                content[at : at + 4] = struct.pack(rng.choice(["<I", ">I"]), int(rng.choice(_ODD)))
        case 4:  # channels, rate, block size, bits or data size of a wav
            at, form = ((22, "<H"), (24, "<I"), (32, "<H"), (34, "<H"), (40, "<I"), (16, "<I"))[
                rng.integers(6)
            ]
            value = int(rng.choice(_ODD)) & (0xFFFF if form == "<H" else 0xFFFFFFFF)
            struct.pack_into(form, content, at, value)
        case 5:  # the beginning of one file joined to the end of another
            content = content[: rng.integers(len(content))] + other[rng.integers(len(other)) :]
        case 6:  # a block of zeros
            at = rng.integers(len(content))
            content[at : at + rng.integers(1, 4096)] = bytes(rng.integers(1, 4096))
        case 7:  # text, or nothing
            return (b"", b"not a recording\n", b"<html>404</html>" * 99, one[:12])[rng.integers(4)]
    return bytes(content)


if __name__ == "__main__":
    run(main, define_flags)
