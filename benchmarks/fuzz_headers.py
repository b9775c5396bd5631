"""Feeds hostile weights, detectors, embeddings, JSON and checkpoints to their readers, which must
load them or raise the one error that names the file.

    python -m benchmarks.fuzz_headers --cases=10000 --output=DIR

Some files have damaged bytes. Others are intact but have other contents: odd numbers, types, shapes
and claims in headers and tables, with a matching checksum. Another exception, a file opened for
writing, a process or a connection, more than 30 s or 1 GB of memory is a failure. Case n has the
seed (--seed, n). The command writes fuzz_headers.json.
"""

import collections
import faulthandler
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from absl import flags

from asd_jax.runtime.command import run
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import read_json, write_json
from benchmarks.provenance import peak_memory_mb, provenance

FLAGS = flags.FLAGS

HANG_S = 30
MOST_MB = 1024
_DEEDS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket.connect")
_DEEDS += ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate")


def define_flags(argv: Sequence[str]) -> None:
    """Defines the flags of the command."""
    flags.DEFINE_integer("cases", 10_000, "Number of hostile files to read.")
    flags.DEFINE_integer("seed", 0, "Seed of the cases, together with the number of each.")
    flags.DEFINE_string(
        "output", None, "Folder for fuzz_headers.json; nothing is written without it."
    )


def main() -> int:
    """Reads the hostile files and prints the outcomes; returns 1 if any file broke the rule."""
    import jax

    from benchmarks.hostile_files import hostile, whole_files

    # The compilation cache would write files, which counts as a failure here.
    jax.config.update("jax_enable_compilation_cache", False)
    faulthandler.enable()
    deeds = Deeds()
    began = time.perf_counter()
    slowest = (0.0, -1)
    came_of = collections.Counter()
    broken = []
    with tempfile.TemporaryDirectory() as folder:
        whole = whole_files(Path(folder))
        readers = _readers()
        kinds = list(whole)
        before_mb = peak_memory_mb()
        for number in range(FLAGS.cases):
            rng = np.random.default_rng((FLAGS.seed, number))
            kind = kinds[number % len(kinds)]
            source = whole[kind][rng.integers(len(whole[kind]))]
            path = Path(folder) / f"hostile_{number}{source.suffix}"
            hostile(source, path, rng)
            faulthandler.dump_traceback_later(HANG_S, exit=True)
            at = time.perf_counter()
            with deeds:
                came, fault = outcome(readers[kind], path)
            slowest = max(slowest, (time.perf_counter() - at, number))
            came_of[f"{kind} {came}"] += 1
            broken += [f"case {number}, {kind}: {told}" for told in (fault, *deeds.done) if told]
            path.unlink()
    faulthandler.cancel_dump_traceback_later()
    peak_mb = peak_memory_mb()
    broken += [f"{peak_mb:.0f} MB of memory"] if peak_mb > MOST_MB else []
    result = {"cases": FLAGS.cases, "seed": FLAGS.seed, **dict(sorted(came_of.items()))}
    result |= {"broken": broken, "peak_mb": round(peak_mb), "before_mb": round(before_mb)}
    result |= {"slowest_s": round(slowest[0], 3), "slowest_case": slowest[1]}
    result |= {"seconds": round(time.perf_counter() - began, 1)}
    print(json.dumps(result))
    if FLAGS.output:
        write_json(Path(FLAGS.output) / "fuzz_headers.json", result | provenance())
    return 1 if broken else 0


class Deeds:
    """Context manager: records the files written, processes and connections that Python's audit
    events report.
    """

    def __init__(self):
        self.watching = False
        self.done = []
        sys.addaudithook(self._seen)

    def __enter__(self):
        self.watching = True
        self.done = []

    def __exit__(self, *error):
        self.watching = False

    def _seen(self, event: str, arguments: tuple) -> None:
        if not self.watching:
            return
        if event == "open" and isinstance(mode := arguments[1], str) and set(mode) & set("wax+"):
            self.done.append(f"opened {arguments[0]} for writing")
        elif event in _DEEDS:
            self.done.append(f"{event}{arguments}"[:200])


def outcome(reader: Callable[[Path], object], path: Path) -> tuple[str, str]:
    """Returns "loaded" or "refused", and how the rule was broken, or ""."""
    try:
        reader(path)
    except InputError as error:
        named = path.name in str(error) and len(str(error)) < 5000
        return "refused", "" if named else f"an error that does not name the file: {error}"[:300]
    except (Exception, RecursionError) as error:
        return "refused", f"{type(error).__name__}: {error}"[:300]
    return "loaded", ""


def _readers() -> dict[str, Callable[[Path], object]]:
    from asd_jax.detector.detector import Detector
    from asd_jax.detector.views import load_pipeline_or_eat
    from asd_jax.scoring.embeddings import Embeddings
    from convert.eat import convert

    def detector(path: Path) -> None:
        """Loads a detector, and scores the clips that it remembers."""
        found = Detector.load(path)
        vectors = found.bank.vectors
        # A coreset holds fewer vectors of the encoder than of the filter bank.
        count = min(map(len, vectors.values()))
        for scores in found.bank.score({view: of[:count] for view, of in vectors.items()}).values():
            if not np.isfinite(scores).all():
                raise ValueError("scores that are not finite")

    return {
        "weights": load_pipeline_or_eat,
        "detector": detector,
        "npz": Embeddings.load,
        "json": lambda path: read_json(path, dict[str, object]),
        "torch": convert,
    }


if __name__ == "__main__":
    run(main, define_flags)
