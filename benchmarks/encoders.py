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

import numpy as np
from absl import flags

from asd_jax.config import RunConfig
from asd_jax.data.clips import Clip
from asd_jax.runtime.command import run
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.functions import Function, checked_embeddings, named_function
from asd_jax.scoring.embeddings import Embeddings

SAMPLE_RATE = 16000


def define_flags(argv: Sequence[str]) -> None:
    """Defines the flags of the command."""
    from benchmarks import grid

    grid.define_flags(argv)


def main() -> None:
    """Prints and writes one row per encoder."""
    from benchmarks import grid

    args = flags.FLAGS
    if not args.encoder:
        raise InputError("--encoder=package.module:function is needed, or several joined by commas")
    for name in args.encoder:
        # Import errors should appear before anything is computed.
        named_function(name, "--encoder")
    cells = [grid.Cell(name, encoder=name) for name in args.encoder]
    grid.run_grid("encoders", "Which encoder is best?", cells, reference=grid.RANDOM)


def embed_machine(
    function: Function, name: str, config: RunConfig, clips: Sequence[Clip]
) -> Embeddings:
    """Returns the embeddings of one machine's clips, computed by any function.

    Raises:
        InputError: The function does not return one finite vector, or one per frame, for each
            waveform.
    """
    from asd_jax.run.clips import clip_windows, window_reader
    from asd_jax.run.embed import window_embeddings
    from asd_jax.training.embedding import Batching, embed_windows

    heard = clip_windows(config, clips)
    (vectors,) = embed_windows(
        lambda batch: [
            _checked(function(np.array(batch["wave"]), SAMPLE_RATE), len(batch["wave"]), name)
        ],
        heard,
        window_reader(config),
        Batching(config.optimizer.batch_size, config.data.threads),
        what=f"clips of {clips[0].machine} embedded",
    )
    return window_embeddings(vectors, heard, ("clip", "embedding"))


def _checked(found, b: int, name: str) -> np.ndarray:
    found = checked_embeddings(found, b, name, "--encoder")
    return found.mean(1) if found.ndim == 3 else found


if __name__ == "__main__":
    run(main, define_flags)
