"""Embeds recordings by a function of the user's own, see encoders.py."""

from collections.abc import Sequence

import numpy as np

from asd_jax.config import RunConfig
from asd_jax.data.clips import Clip
from asd_jax.run.clips import clip_windows, window_reader
from asd_jax.run.embed import window_embeddings
from asd_jax.runtime.functions import Function, checked_embeddings
from asd_jax.scoring.embeddings import Embeddings
from asd_jax.training.embedding import Batching, embed_windows

SAMPLE_RATE = 16000


def embed_machine(
    function: Function, name: str, config: RunConfig, clips: Sequence[Clip]
) -> Embeddings:
    """Returns the embeddings of one machine's clips, computed by any function.

    Raises:
        InputError: The function does not return one finite vector, or one per frame, for each
            waveform.
    """
    windows = clip_windows(config, clips)
    (vectors,) = embed_windows(
        lambda batch: [
            _checked(function(np.array(batch["wave"]), SAMPLE_RATE), len(batch["wave"]), name)
        ],
        windows,
        window_reader(config),
        Batching(config.optimizer.batch_size, config.data.threads),
        what=f"clips of {clips[0].machine} embedded",
    )
    return window_embeddings(vectors, windows, ("clip", "embedding"))


def _checked(found, b: int, name: str) -> np.ndarray:
    found = checked_embeddings(found, b, name, "--encoder")
    return found.mean(1) if found.ndim == 3 else found
