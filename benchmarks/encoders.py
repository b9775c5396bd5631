"""Compares encoders from any framework (PyTorch, ONNX, JAX, plain NumPy) on the same data and back
ends.

    python -m benchmarks.encoders --encoder=my_package.my_module:embed \\
        --config=configs/dcase2024.py --output=DIR

An encoder is a function (waves float32 (b, s) in [-1, 1], sample rate) -> float32 embeddings (b,
e), or (b, t, e), which are averaged over t. It takes and returns NumPy arrays. Several encoders are
separated by commas. benchmarks/examples has one in PyTorch and one that runs an ONNX file. The
table also contains the filter bank and an EAT with random weights.
"""

from collections.abc import Sequence

from absl import flags

from asd_jax.runtime.command import run
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.functions import named_function
from benchmarks import grid


def define_flags(argv: Sequence[str]) -> None:
    """Defines the flags of the command."""
    grid.define_flags(argv)


def main() -> None:
    """Prints and writes one row per encoder."""
    args = flags.FLAGS
    if not args.encoder:
        raise InputError("--encoder=package.module:function is needed, or several joined by commas")
    for name in args.encoder:
        # Import errors should appear before anything is computed.
        named_function(name, "--encoder")
    cells = [grid.Cell(name, encoder=name) for name in args.encoder]
    grid.run_grid("encoders", "Which encoder is best?", cells, reference=grid.RANDOM)


if __name__ == "__main__":
    run(main, define_flags)
