"""Makes every call fail, one after another, by which a scenario changes a file.

    python -m benchmarks.write_faults --output=DIR [--scenarios=store,train] [--distinct]

For each scenario (benchmarks/fault_scenarios.py) and each kind of fault (benchmarks/faults.py), the
n-th call fails, for every n; with --distinct, only the first of equal calls on the same file, with
--most=9, nine of them. A sweep can be done in parts, as what the file holds of other scenarios and
kinds stays; "every" says whether each call failed, and of how many scenarios.
benchmarks/fault_cases.py says what is asked of what is left. Allocations of 64 KiB and more fail in
the same way. It prints each defect, writes write_faults.json, and ends with status 1 if there is a
defect. It needs Linux and a C compiler.
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
from benchmarks.fault_cases import Bench, in_child, sweep
from benchmarks.fault_scenarios import SCENARIOS
from benchmarks.faults import Kind, restart
from benchmarks.provenance import provenance

FLAGS = flags.FLAGS
KINDS = tuple(kind for kind in Kind if kind is not Kind.COUNT)


def define_flags(argv: Sequence[str]) -> None:
    """Defines the flags of the command."""
    flags.DEFINE_list("scenarios", list(SCENARIOS), "Scenarios to run.")
    flags.DEFINE_list("kinds", [kind.name.lower() for kind in KINDS], "Kinds of faults.")
    flags.DEFINE_bool("distinct", False, "Whether only the first of equal calls fails.")
    flags.DEFINE_integer(
        "most", 0, "Number of calls that fail, for each kind; 0: all.", lower_bound=0
    )
    flags.DEFINE_string("output", None, "Folder for write_faults.json; nothing without it.")


def main() -> int:
    """Prints the defects, and writes the counts."""
    names = FLAGS.scenarios
    distinct = FLAGS.distinct
    most = FLAGS.most
    output = FLAGS.output
    if unknown := sorted({*names} - {*SCENARIOS}):
        raise InputError(f"--scenarios: no {', '.join(unknown)}; known: {', '.join(SCENARIOS)}")
    kinds = kinds_named(FLAGS.kinds)
    # The commands of the scenarios define flags of the same names.
    for flag in ("scenarios", "kinds", "distinct", "most", "output"):
        delattr(FLAGS, flag)
    tell = functools.partial(print, flush=True)
    about = _made_by() if output else {}
    defects = 0
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(SCENARIOS[name], Path(folder).resolve())
            size: dict = {"calls": bench.wanted.calls, "allocations": bench.wanted.allocations}
            for kind in kinds:
                begin = time.perf_counter()
                found = sweep(bench, kind, distinct=distinct, most=most, tell=tell)
                seconds = time.perf_counter() - begin
                tell(f"{name}, {kind.name.lower()}: {json.dumps(found)} in {seconds:.1f} s")
                defects += found["defects"]
                if output:
                    path = Path(output) / "write_faults.json"
                    size |= {key: about[key] for key in ("commit", "date")}
                    write_json(path, _with(path, name, size, {kind.name.lower(): found}) | about)
    return 1 if defects else 0


def kinds_named(names: Sequence[str]) -> tuple[Kind, ...]:
    """Returns the kinds of faults with these names.

    Raises:
        InputError: A name is unknown.
    """
    known = {kind.name.lower(): kind for kind in KINDS}
    if unknown := sorted({*names} - {*known}):
        raise InputError(f"--kinds: no {', '.join(unknown)}; known: {', '.join(known)}")
    return tuple(kind for name, kind in known.items() if name in names)


def _made_by() -> dict:
    """Returns `provenance`, of a process of its own, since it asks JAX for its devices.

    A process that has asked must not be forked.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "provenance.json"
        in_child(lambda: write_json(path, provenance()))
        return read_json(path)


def _with(path: Path, name: str, size: dict, found: dict[str, dict]) -> dict:
    """Returns what the file holds, with kinds of faults of a scenario added, and the sums."""
    scenarios = read_json(path)["scenarios"] if path.exists() else {}
    kinds = scenarios.get(name, {}).get("kinds", {}) | found
    sums = {key: sum(one[key] for one in kinds.values()) for key in ("cases", "defects")}
    scenarios[name] = {**size, **sums, "kinds": kinds}
    every = {name: scenarios[name] for name in SCENARIOS if name in scenarios}
    keys = ("calls", "allocations", "cases", "defects")
    sums = {key: sum(one[key] for one in every.values()) for key in keys}
    # Allocations are many, so that of those a part fails.
    whole = sum(
        all(of["every"] for kind, of in one["kinds"].items() if kind != "memory")
        for one in every.values()
    )
    return {"count": len(every), "every": whole, **sums, "scenarios": every}


if __name__ == "__main__":
    restart(["-m", "benchmarks.write_faults", *sys.argv[1:]])
    run(main, define_flags)
