"""Embeds every clip with the snapshots of the weights that a run saved during training."""

from collections.abc import Sequence

from asd_jax.config import RunConfig
from asd_jax.data.clips import Clip
from asd_jax.models.encoder import EncoderConfig
from asd_jax.run.embed import embed_clips
from asd_jax.run.workdir import SNAPSHOTS, Run
from asd_jax.runtime.log import print_line
from asd_jax.training.weights import load_pipeline


def embed_snapshots(
    config: RunConfig, encoder: EncoderConfig, clips: Sequence[Clip], run: Run
) -> None:
    """Writes embeddings/snapshots/step_<n>/<machine>.npz for each of the run's snapshots.

    `load_embeddings` joins them with those of the final weights.
    """
    for path in sorted(run.snapshots.glob("*.safetensors")):
        print_line(f"embedding by {path.name}")
        folder = run.embeddings / SNAPSHOTS / path.stem
        # Snapshots differ from the final encoder in their parameters alone.
        embed_clips(config, encoder, load_pipeline(path).params, clips, folder)
