"""Embeds clips once for many choices of block and pooling, and keeps the embeddings.

One pass through EAT gives the tokens of every block, so each further view costs almost nothing.
"""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import jax

from asd_jax.config import RunConfig
from asd_jax.data.clips import Clip
from asd_jax.models.encoder import Encoder, EncoderConfig
from asd_jax.models.settings import Tokens
from asd_jax.models.token_pooling import pool_tokens
from asd_jax.run.clips import clip_windows, window_reader
from asd_jax.run.embed import embedding_settings, window_embeddings
from asd_jax.run.encoder import compute_dtype
from asd_jax.run.frozen import frozen_encoder
from asd_jax.run.manifest import summarize_recordings
from asd_jax.runtime.files import read_json, write_json
from asd_jax.runtime.settings import with_values
from asd_jax.scoring.embeddings import Embeddings
from asd_jax.training.checkpoint import checksum
from asd_jax.training.embedding import Batching, embed_windows

BARE = "filter bank"  # the view without EAT: the mean over time of the spectrogram after SimAM
MADE_OF = "made_of.json"


@dataclasses.dataclass(frozen=True)
class View:
    """A block whose tokens are pooled, and how."""

    block: int
    pooling: str
    tokens: Tokens = Tokens()

    @property
    def name(self) -> str:
        """The view in a few words."""
        default = dataclasses.asdict(Tokens())
        changed = [
            f" {key}={value}"
            for key, value in dataclasses.asdict(self.tokens).items()
            if value != default[key]
        ]
        return f"block {self.block} {self.pooling}{''.join(changed)}"

    @property
    def axes(self) -> tuple[str, ...]:
        """The names of the axes of its embeddings."""
        bands = self.tokens.bands_of(self.pooling) == "apart"
        return ("clip", "band", "embedding") if bands else ("clip", "embedding")


def view_embeddings(
    config: RunConfig, clips: Sequence[Clip], views: Sequence[View], folder: Path
) -> dict[str, dict[str, Embeddings]]:
    """Returns {view: {machine: embeddings}} of frozen weights, BARE included.

    Args:
        config: the settings, with the front end in `features`.
        clips: clips of any machines.
        views: the blocks and poolings.
        folder: keeps the embeddings; those of the same settings, weights and clips are read.
    """
    encoder, params = frozen_encoder(config, clips)
    found: dict[str, dict[str, Embeddings]] = {}
    for machine in sorted({clip.machine for clip in clips}):
        own = [clip for clip in clips if clip.machine == machine]
        what = {
            "settings": embedding_settings(config, encoder),
            "weights": checksum(params),
            "recordings": summarize_recordings(own),
            "views": [dataclasses.asdict(view) for view in views],
        }
        text = json.dumps(what, sort_keys=True, default=str)
        of = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        place = folder / machine
        names = [BARE, *(view.name for view in views)]
        if not (place / MADE_OF).is_file() or read_json(place / MADE_OF) != {"made_of": of}:
            made = _embed(config, encoder, params, own, views)
            for name, embeddings in zip(names, made, strict=True):
                embeddings.save(place / f"{name}.npz")
            # Written last, so its presence marks the embeddings as complete.
            write_json(place / MADE_OF, {"made_of": of})
        for name in names:
            found.setdefault(name, {})[machine] = Embeddings.load(place / f"{name}.npz")
    return found


def _embed(config, encoder: EncoderConfig, params, clips, views):
    windows = clip_windows(config, clips)
    bands = encoder.backbone.mel_bins // 16
    module = Encoder(encoder, compute_dtype(config.model))

    @jax.jit
    def embed(params, wave, mode):
        out = module.apply({"params": params}, wave, mode)[1]
        pooled = []
        for view in views:
            numbers = view.tokens.block_numbers(view.block, encoder.backbone.depth)
            tokens = sum(out["blocks"][number] for number in numbers) / len(numbers)
            pooled.append(pool_tokens(tokens, view.pooling, bands, view.tokens))
        return [out["filter_bank"], *pooled]

    arrays = embed_windows(
        lambda batch: embed(params, batch["wave"], batch["simam_mode"]),
        windows,
        window_reader(config, clips),
        Batching(config.optimizer.batch_size, config.data.threads),
        what=f"clips of {clips[0].machine} embedded",
        extras={"simam_mode": encoder.front_end.simam.mode_of(clips[0].machine)},
    )
    axes = [("clip", "embedding"), *(view.axes for view in views)]
    return [window_embeddings(v, windows, a) for v, a in zip(arrays, axes, strict=True)]


def with_front_end(config: RunConfig, spacing: str, simam: str) -> RunConfig:
    """Returns the config with a front end of its own, whatever the weight file's header names.

    The pooling of the file is replaced as well, because views pool by themselves.
    """
    keys = {"features.spacing": spacing, "features.simam": simam, "frozen.features": "config"}
    return with_values(config, {**keys, "frozen.pooling": "mean"})
