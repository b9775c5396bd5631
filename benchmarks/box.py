"""Compares the blocks and distances of a frozen pre-trained encoder, and shows what it learnt
beyond random weights.

    python -m benchmarks.box --weights=runs/pretrain_tiny/weights.safetensors --output=DIR
        on the factory
    python -m benchmarks.box --weights=A.safetensors,B.safetensors --config.data.root=DIR \\
        --output=DIR

Several distances score the per-band time mean of every block of the files written by `python -m
asd_jax.pretrain` (several files are seeds, which are averaged), of random weights behind the same
front end, and of the front end alone. A choice is made on the factory and then kept for real
recordings, because the best cell of a table is always too optimistic. The command writes box.json
to --output.
"""

import dataclasses
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
from absl import flags
from ml_collections import config_flags

from asd_jax.config import RunConfig, read_config
from asd_jax.models.eat import PATCH
from asd_jax.models.encoder import Encoder
from asd_jax.models.token_pooling import pool_tokens
from asd_jax.reporting.table import percent, print_table, text_table
from asd_jax.run.clips import clip_windows, find_data, readable_clips, window_reader
from asd_jax.run.embed import window_embeddings
from asd_jax.runtime.command import run
from asd_jax.runtime.files import write_json
from asd_jax.runtime.log import print_line
from asd_jax.scoring.options import Scoring
from asd_jax.training.embedding import Batching, embed_windows
from asd_jax.training.weights import load_pipeline, random_eat
from benchmarks import grid

SCORINGS = {
    "cosine": {},
    "euclidean, standardised": {"standardize": True, "distance": "euclidean"},
    "mahalanobis": {"back_end": "mahalanobis"},
    "local density, standardised": {
        "standardize": True,
        "distance": "euclidean",
        "back_end": "local_density",
    },
}


def define_flags(argv: Sequence[str]) -> None:
    """Defines the flags of the command."""
    config_flags.DEFINE_config_file(
        "config", str(grid.CONFIGS / "quickstart.py"), "data; default: the factory"
    )
    flags.DEFINE_list(
        "weights", None, "files of one filter bank, made by asd_jax.pretrain", required=True
    )
    flags.DEFINE_string("output", None, "folder for box.json", required=True)


def main() -> None:
    """Prints and writes the tables."""
    config = read_config(RunConfig, flags.FLAGS.config)
    output = Path(flags.FLAGS.output)
    clips, _ = readable_clips(config, find_data(config, output))
    found = {
        "year": config.data.year,
        "files": [Path(path).name for path in flags.FLAGS.weights],
        "systems": {},
    }
    trained = {}
    untrained = {}
    alone = {}
    for seed, path in enumerate(flags.FLAGS.weights):
        pipeline = load_pipeline(path)
        random = dataclasses.replace(
            pipeline, params={"eat": random_eat(pipeline.config.backbone, seed)}
        )
        for table, system in ((trained, pipeline), (untrained, random)):
            for block, by_scoring in scores_of(config, system, clips, alone).items():
                for name, value in by_scoring.items():
                    table.setdefault(block, {}).setdefault(name, []).append(value)
        print_line(f"{path}: done")
    for name, table in (
        ("pre-trained", trained),
        ("random weights", untrained),
        ("front end alone", alone),
    ):
        found["systems"][name] = table
        rows = [
            [str(block), *(_cell(values, percent) for values in by_scoring.values())]
            for block, by_scoring in table.items()
        ]
        print_table(
            text_table(
                ["block", *SCORINGS], rows, title=f"{name}: official score {config.data.year}, %"
            )
        )
    write_json(output / "box.json", found)


def scores_of(config, pipeline, clips, alone: dict) -> dict[int, dict[str, float]]:
    """Returns {block: {scoring: official score}} of one encoder.

    The front end's own scores are added to `alone` once.
    """
    machines = sorted({clip.machine for clip in clips})
    embedded = {
        m: block_embeddings(config, pipeline, [clip for clip in clips if clip.machine == m])
        for m in machines
    }
    blocks = {}
    for block in range(pipeline.config.eat.depth + 1):
        if block == 0 and alone:
            continue
        for name, keys in SCORINGS.items():
            of_block = {machine: embeddings[block] for machine, embeddings in embedded.items()}
            value = grid.scored([of_block], Scoring(**keys), config.data.year).official[0]
            if block == 0:
                alone.setdefault("", {}).setdefault(name, []).append(value)
            else:
                blocks.setdefault(block - 1, {})[name] = value
    return blocks


def block_embeddings(config, pipeline, clips) -> list:
    """Returns the embeddings of one machine's clips: the time mean of the filter bank, followed by
    the per-band time means of every block.
    """
    bands = pipeline.config.backbone.mel_bins // PATCH

    @jax.jit
    def embed(params, wave):
        out: Any = Encoder(pipeline.config).apply({"params": params}, wave)[1]
        return [
            out["filter_bank"],
            *(pool_tokens(tokens, "band_mean", bands) for tokens in out["blocks"]),
        ]

    windows = clip_windows(config, clips, training=True)
    bank, *blocks = embed_windows(
        lambda batch: embed(pipeline.params, batch["wave"]),
        windows,
        window_reader(config),
        Batching(config.optimizer.batch_size, config.data.threads),
        what=f"clips of {clips[0].machine} embedded",
    )
    return [
        window_embeddings(bank, windows, ("clip", "embedding")),
        *(window_embeddings(block, windows, ("clip", "band", "embedding")) for block in blocks),
    ]


def _cell(values, percent) -> str:
    deviation = f" +- {percent(statistics.stdev(values))}" if len(values) > 1 else ""
    return percent(statistics.fmean(values)) + deviation


if __name__ == "__main__":
    run(main, define_flags)
