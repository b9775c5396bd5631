"""Measures the time and private memory of converting a 1.44 GB EAT-base checkpoint with its teacher
and optimizer state.

    python -m benchmarks.convert_memory --output=DIR

The checkpoint is synthetic (zeros except for the position table) and a sparse file. Memory is the
RssAnon of the converting process above the peak of the same conversion of a tiny checkpoint, which
covers Python, JAX and NumPy themselves. The exit status is 1 if the conversion takes more than 30 s
or 1.3 times the size of the wanted tensors. The command writes convert_memory.json, and runs only
on Linux.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import flags

from asd_jax.models.eat import EATConfig, position_table
from asd_jax.runtime.command import run
from asd_jax.runtime.files import write_json
from benchmarks.provenance import provenance
from benchmarks.torch_writer import Tensor, save, tensor, zeros
from convert import table
from convert.sizes import encoder_template

FLAGS = flags.FLAGS

LARGEST_RATIO = 1.3
LONGEST_S = 30.0
WAYS = {
    "command": "from convert.eat import write; write({source!r}, {output!r})",
    "convert()": "from convert.eat import convert; convert({source!r})",
}


def define_flags(argv: Sequence[str]) -> None:
    """Defines the flags of the command."""
    flags.DEFINE_string(
        "output", None, "Folder for convert_memory.json; nothing is written without it."
    )


def main() -> int:
    """Prints the time and memory of the command and of the library call; returns 1 if one exceeds
    its limit.
    """
    results = {}
    config = EATConfig.base()
    with tempfile.TemporaryDirectory() as folder:
        tiny = Path(folder) / "tiny.pt"
        base = Path(folder) / "base.pt"
        write_checkpoint(tiny, EATConfig(48, 1, 4))
        wanted = write_checkpoint(base, config)
        for name, code in WAYS.items():
            output = str(Path(folder) / "out.safetensors")
            _, baseline = measure(code.format(source=str(tiny), output=output))
            seconds, peak = measure(code.format(source=str(base), output=output))
            ratio = (peak - baseline) / wanted
            results[name] = {
                "seconds": seconds,
                "peak_bytes": peak,
                "baseline_bytes": baseline,
                "ratio": ratio,
            }
            print(
                f"{name}: {seconds:.1f} s, {(peak - baseline) / 1e6:.0f} MB above "
                f"{baseline / 1e6:.0f} MB: ",
                end="",
            )
            print(
                f"{ratio:.2f} times the {wanted / 1e6:.0f} MB wanted of a file of "
                f"{base.stat().st_size / 1e6:.0f} MB"
            )
    if FLAGS.output:
        write_json(Path(FLAGS.output) / "convert_memory.json", {"ways": results, **provenance()})
    return int(
        any(r["ratio"] > LARGEST_RATIO or r["seconds"] > LONGEST_S for r in results.values())
    )


def write_checkpoint(path: Path, config: EATConfig) -> int:
    """Writes a fairseq pre-training checkpoint (student, teacher, Adam's two moments), and returns
    the bytes of the encoder.
    """
    student = encoder(config)
    moments = [{"exp_avg": zeros(t.shape), "exp_avg_sq": zeros(t.shape)} for t in student.values()]
    model = {**student, "_ema": encoder(config)}
    settings = {"embed_dim": config.embed_dim, "depth": config.depth, "num_heads": config.num_heads}
    root = {
        "cfg": {"model": settings},
        "model": model,
        "last_optimizer_state": {"state": dict(enumerate(moments))},
    }
    save(path, root)
    return sum(t.storage.numbers.size * 4 for name, t in student.items() if "positions" not in name)


def encoder(config: EATConfig) -> dict[str, Tensor]:
    """Returns the tensors of an encoder by fairseq's names, all zero except the positions."""
    shapes = encoder_template(config)
    tensors = {
        fairseq_name(row.public): zeros(row.transform.public_shape(shapes[row.ours]))
        for row in table.rows(table.ENCODER, config.depth)
    }
    tensors[fairseq_name(table.POSITIONS)] = tensor(
        np.asarray(position_table(config.embed_dim, 768, 8))[None]
    )
    return tensors


def fairseq_name(public: str) -> str:
    """Returns fairseq's name for a name of the table."""
    if public.startswith("blocks."):
        return public
    return "modality_encoders.IMAGE." + public.replace("pre_norm.", "context_encoder.norm.")


def measure(code: str) -> tuple[float, int]:
    """Runs Python code in a new process, and returns (seconds, peak of its private memory in
    bytes).
    """
    began = time.perf_counter()
    peak = 0
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL)
    while process.poll() is None:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
        except OSError:  # the process has just ended
            break
        peak = max(
            [
                peak,
                *(
                    int(line.split()[1]) * 1024
                    for line in status.splitlines()
                    if line.startswith("RssAnon")
                ),
            ]
        )
        time.sleep(0.002)
    if process.wait():
        raise RuntimeError(f"the conversion failed with status {process.returncode}")
    return time.perf_counter() - began, peak


if __name__ == "__main__":
    run(main, define_flags)
