"""Makes every call fail, one after another, by which a scenario changes a file.

    python -m benchmarks.write_faults --output=DIR [--scenarios=store,train] [--distinct]

For each scenario (benchmarks/fault_scenarios.py) and each kind of fault (benchmarks/faults.py), the
n-th call fails, for every n; with --distinct, only the first of equal calls on the same file.
benchmarks/fault_cases.py says what is asked of what is left. Allocations of 64 KiB and more fail in
the same way. Needs Linux and a C compiler. It
prints each defect, writes write_faults.json, and ends with status 1 if there is a defect.
"""

import functools
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from asd_jax.runtime.command import run
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import read_json, write_json
from benchmarks.fault_cases import Bench, sweep
from benchmarks.fault_scenarios import SCENARIOS
from benchmarks.faults import Kind, restart
from benchmarks.provenance import provenance

FLAGS = flags.FLAGS
KINDS = tuple(kind for kind in Kind if kind is not Kind.COUNT)


def define_flags(argv: Sequence[str]) -> None:
    """Defines the flags of the command."""
    flags.DEFINE_list("scenarios", list(SCENARIOS), "Which.")
    flags.DEFINE_list("kinds", [kind.name.lower() for kind in KINDS], "Of faults.")
    flags.DEFINE_bool("distinct", False, "Of equal calls only the first one fails.")
    flags.DEFINE_string("output", None, "Folder for write_faults.json; nothing without it.")


def main() -> int:
    """Prints the defects, and writes the counts."""
    names = FLAGS.scenarios
    distinct = FLAGS.distinct
    output = FLAGS.output
    if unknown := sorted({*names} - {*SCENARIOS}):
        raise InputError(f"--scenarios: no {', '.join(unknown)}; known: {', '.join(SCENARIOS)}")
    kinds = tuple(kind for kind in KINDS if kind.name.lower() in FLAGS.kinds)
    # The commands of the scenarios define flags of the same names.
    for flag in ("scenarios", "kinds", "distinct", "output"):
        delattr(FLAGS, flag)
    path = Path(output or "") / "write_faults.json"
    # The scenarios of an earlier sweep stay, so that a sweep can be done in parts.
    found = read_json(path)["scenarios"] if output and path.exists() else {}
    for name in names:
        begin = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(SCENARIOS[name], Path(folder).resolve())
            tell = functools.partial(print, flush=True)
            counts, wrong = sweep(bench, kinds, distinct=distinct, tell=tell)
        found[name] = {
            "calls": bench.wanted.calls,
            "allocations": bench.wanted.allocations,
            "distinct": distinct,
            "cases": sum(sum(ends.values()) for ends in counts.values()),
            "ends": counts,
            "defects": len(wrong),
        }
        seconds = time.perf_counter() - begin
        print(f"{name}: {json.dumps(found[name])} in {seconds:.1f} s", flush=True)
    # Written at the end: it asks JAX for its devices, after which no process may be forked.
    if output:
        write_json(path, _totals(found) | {"scenarios": found} | provenance())
    return 1 if any(found[name]["defects"] for name in names) else 0


def _totals(found: dict) -> dict[str, int]:
    """Returns the sums over the scenarios."""
    sums = {key: sum(one[key] for one in found.values()) for key in ("calls", "cases", "defects")}
    return {"count": len(found), **sums}


if __name__ == "__main__":
    restart(["-m", "benchmarks.write_faults", *sys.argv[1:]])
    run(main, define_flags)
