"""Checks without a GPU whether all programs compile for one, and what they need there.

    pip install -e '.[cuda12]'
    python -m benchmarks.gpu_program --target=h100,a100,l4 --output=benchmarks/results
    python -m benchmarks.gpu_program --target=h100 --devices=8 --output=benchmarks/results
    python -m benchmarks.gpu_program --target=l4 --sizes=tiny --programs=embedding --output=DIR

XLA's own compiler for GPUs, including cuDNN's attention, works for a GPU that is only described
(benchmarks/gpu_targets/). Each program of benchmarks/product_programs.py is compiled as its command
compiles it, from shapes alone, which takes half a minute for one of EAT-base on one core. Each
result is written to --output as soon as it is done, in gpu_program_<target>.json or
gpu_program_<target>_x8.json. A program whose result is already there is not compiled again.
--readme writes the tables of all results in --output between the markers of that file. The check
cannot determine the speed, or whether results are right. The exit status is 0 only if every program
compiles; the last line states how many do.
"""

import hashlib
import re
import time
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from asd_jax.runtime.command import run
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import read_json, write_json
from benchmarks.cost_model import write_between

FLAGS = flags.FLAGS
TARGETS = Path(__file__).parent / "gpu_targets"
SIZES = ("tiny", "base", "large")


def define_flags(argv: Sequence[str]) -> None:
    """Defines the flags of the command."""
    flags.DEFINE_list("target", None, "GPUs, as in benchmarks/gpu_targets/.", required=True)
    flags.DEFINE_integer("devices", 1, "GPUs of one host that share every batch.", lower_bound=1)
    flags.DEFINE_list("sizes", list(SIZES), "Sizes of EAT.")
    flags.DEFINE_list("programs", None, "Only those with one of these words in their name.")
    flags.DEFINE_string("output", None, "Folder for the results.", required=True)
    flags.DEFINE_string("readme", None, "Markdown file whose tables are rewritten.")


def main() -> int:
    """Compiles the requested programs; returns 1 if one does not compile."""
    from benchmarks.gpu_program_table import tables
    from benchmarks.product_programs import programs

    targets = [_target(name) for name in FLAGS.target]
    output = Path(FLAGS.output)
    if unknown := set(FLAGS.sizes) - set(SIZES):
        names = ", ".join(sorted(unknown))
        raise InputError(f"--sizes: {names} is unknown; known: {', '.join(SIZES)}")
    wanted = [program for program in programs(FLAGS.devices) if program.size in FLAGS.sizes]
    if FLAGS.programs:
        words = FLAGS.programs
        wanted = [program for program in wanted if any(word in program.name for word in words)]
    if not wanted:
        raise InputError(f"--programs={','.join(FLAGS.programs or [])}: none has such a name")
    several = f"_x{FLAGS.devices}" if FLAGS.devices > 1 else ""
    compiled = 0
    for target in targets:
        devices = described_devices(target, FLAGS.devices)
        left = output / f"gpu_program_{target.stem}{several}.json"
        for program in wanted:
            found = compiled_once(program, devices, memory_bytes(target), left)
            compiled += "error" not in found
            print(f"{target.stem}{several}: {program.name}: {summary(found)}", flush=True)
    if FLAGS.readme:
        write_between(Path(FLAGS.readme), "GPU program", tables(output))
    asked = len(wanted) * len(targets)
    print(f"{compiled} of {asked} programs compile for {', '.join(FLAGS.target)}")
    return 0 if compiled == asked else 1


def _target(name: str) -> Path:
    path = TARGETS / f"{name}.pbtxt"
    if not path.is_file():
        known = ", ".join(sorted(path.stem for path in TARGETS.glob("*.pbtxt")))
        raise InputError(f"--target={name}: not in benchmarks/gpu_targets/; known: {known}")
    return path


def memory_bytes(target: Path) -> int:
    """Returns the memory of a described GPU in bytes."""
    found = re.search(r"device_memory_size: (\d+)", target.read_text())
    if not found:
        raise InputError(f"{target}: names no device_memory_size")
    return int(found[1])


def described_devices(target: Path, count: int = 1) -> list:
    """Returns `count` described GPUs of one host, which programs can be compiled for but not run
    on.

    Raises:
        InputError: No compiler for NVIDIA GPUs is installed.
    """
    import jax
    from jax.experimental import topologies

    jax.config.update("jax_platforms", "cpu")
    form = {"target_config": target.read_text(), "topology": f"1x1x{count}"}
    try:
        devices = list(topologies.get_topology_desc("gpu", "cuda", **form).devices)
    # JAX's error without its plugin differs by version.
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise InputError(
            f"no compiler for NVIDIA GPUs here: pip install 'asd_jax[cuda12]' ({reason})"
        ) from error
    # Entries of the compilation cache for described GPUs cannot be read back.
    jax.config.update("jax_enable_compilation_cache", False)
    return devices


def compiled_once(program, devices: Sequence, memory: int, left: Path) -> dict:
    """Returns a program's report or its "error", from `left` if that holds the same program."""
    import jax

    from benchmarks.compiled_program import report

    began = time.perf_counter()
    found = {"devices": len(devices), "memory_bytes": memory}
    known = read_json(left) if left.is_file() else {}
    try:
        lowered = program.lowered(devices)
        text = f"{jax.__version__}\n{lowered.program.as_text()}"
        found["program"] = hashlib.sha256(text.encode()).hexdigest()[:16]
        found |= {"jax": jax.__version__, "state_bytes": lowered.state}
        found |= {"reduced_bytes": lowered.reduced, "gathered_bytes": lowered.gathered}
        same = known.get(program.name, {})
        if same.get("program") == found["program"] and "error" not in same:
            found = same | found
        else:
            found |= report(lowered.program.compile())
            found["seconds"] = round(time.perf_counter() - began, 1)
    # Whatever is wrong with one program, the others are compiled too.
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        found["error"] = f"{type(error).__name__}: {reason[:300]}"
    left.parent.mkdir(parents=True, exist_ok=True)
    write_json(left, known | {program.name: found})
    return found


def summary(found: dict) -> str:
    """Returns the report of a program as one line."""
    if "error" in found:
        return found["error"]
    calls = found["fused_attention"]
    products = len(found["float32_products_in_eat"])
    share = found["peak_bytes"] / found["memory_bytes"]
    moved = found["copies"].values()
    return (
        f"peak {found['peak_bytes'] / 1e9:.2f} GB, {share:.0%}; fused attention "
        f"{calls['forward']} + {calls['backward']}; float32 products {products}; copies "
        f"{sum(place['count'] for place in moved)}; {found['seconds']} s"
    )


if __name__ == "__main__":
    run(main, define_flags)
