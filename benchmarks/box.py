"""Which block and which distance of a pre-trained encoder, as it is? What has it learnt that random weights have not?

    python -m benchmarks.box --weights=runs/pretrain_tiny/weights.safetensors --output=DIR          on the factory
    python -m benchmarks.box --weights=A.safetensors,B.safetensors --config.data.root=DIR --output=DIR

Scores the per-band time mean of every block of the files of `python -m asd_jax.pretrain` (several: seeds, averaged), of
random weights behind the same front end, and the front end alone, by several distances. A choice is made on the factory
and then kept on real recordings: the best cell of a table is always too good. Written to --output: box.json.
"""

import dataclasses
import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import flags
from ml_collections import config_flags

from asd_jax.command import run
from asd_jax.files import write_json

SCORINGS = {
    "cosine": {},
    "cosine, standardised": {"standardize": True},
    "euclidean, standardised": {"standardize": True, "distance": "euclidean"},
    "local density, standardised": {"standardize": True, "distance": "euclidean", "back_end": "local_density"},
}


def define_flags(argv: Sequence[str]) -> None:
    """Defines the command's flags."""
    config_flags.DEFINE_config_file("config", "configs/quickstart.py", "data; configs/quickstart.py: the factory")
    flags.DEFINE_list("weights", None, "files of one filter bank, made by asd_jax.pretrain", required=True)
    flags.DEFINE_string("output", None, "folder for box.json", required=True)


def main() -> None:
    """Prints and writes the tables."""
    from asd_jax import experiment
    from asd_jax.reporting.table import percent, print_table, text_table
    from asd_jax.training.log import say
    from asd_jax.training.weights import load_pipeline, random_eat

    config, output = flags.FLAGS.config, Path(flags.FLAGS.output)
    clips, _ = experiment.readable(config, experiment.find_data(config, output))
    found = {"year": config.data.year, "files": [Path(path).name for path in flags.FLAGS.weights], "systems": {}}
    trained, untrained, alone = {}, {}, {}
    for seed, path in enumerate(flags.FLAGS.weights):
        pipeline = load_pipeline(path)
        random = dataclasses.replace(pipeline, params={"eat": random_eat(pipeline.config.eat, seed)})
        for table, system in ((trained, pipeline), (untrained, random)):
            for block, by_scoring in scores_of(config, system, clips, alone).items():
                for name, value in by_scoring.items():
                    table.setdefault(block, {}).setdefault(name, []).append(value)
        say(f"{path}: done")
    for name, table in (("pre-trained", trained), ("random weights", untrained), ("front end alone", alone)):
        found["systems"][name] = table
        rows = [
            [str(block), *(_cell(values, percent) for values in by_scoring.values())]
            for block, by_scoring in table.items()
        ]
        print_table(text_table(["block", *SCORINGS], rows, title=f"{name}: official score {config.data.year}, %"))
    write_json(output / "box.json", found)


def scores_of(config, pipeline, clips, alone: dict) -> dict[int, dict[str, float]]:
    """{block: {scoring: official score}} of one encoder; the front end's own scores are put into `alone` once."""
    from asd_jax.scoring.anomaly_score import score_machine
    from asd_jax.scoring.official_score import official_score
    from asd_jax.scoring.options import Scoring

    machines = {m: [clip for clip in clips if clip.machine == m] for m in sorted({clip.machine for clip in clips})}
    embedded = [block_embeddings(config, pipeline, own) for own in machines.values()]
    blocks = {}
    for block in embedded[0]:
        if block == "front end" and alone:
            continue
        for name, keys in SCORINGS.items():
            rows = []
            for machine, by_block in zip(machines, embedded, strict=True):
                scored = score_machine(by_block[block], Scoring(**keys))
                c = scored.clips
                rows += zip([machine] * len(c.files), c.section, c.domain, c.label.tolist(), scored.score, strict=True)
            value = official_score(rows, config.data.year).official_score
            if block == "front end":
                alone.setdefault(0, {}).setdefault(name, []).append(value)
            else:
                blocks.setdefault(block, {})[name] = value
    return blocks


def block_embeddings(config, pipeline, clips) -> dict:
    """Clips of one machine -> {block: per-band time means}, and "front end": the filter bank's time mean."""
    import jax

    from asd_jax import experiment
    from asd_jax.data.batches import clip_batches
    from asd_jax.evaluate import window_embeddings
    from asd_jax.models.encoder import Encoder
    from asd_jax.models.pooling import pool_tokens

    @jax.jit
    def embed(params, wave):
        _, out = Encoder(pipeline.config).apply({"params": params}, wave)
        return [pool_tokens(tokens, "band_mean", 8) for tokens in out["blocks"]], out["filter_bank"]

    heard = experiment.windows(config, clips, training=True)
    read, size = experiment.window_reader(config), config.optimizer.batch_size
    rows = []
    for batch in clip_batches(heard, [{}] * len(heard), read, batch_size=size, threads=config.data.threads):
        blocks, bank = embed(pipeline.params, batch["wave"])
        rows.append([np.asarray(part) for part in (bank, *blocks)])
    bank, *blocks = (np.concatenate(part)[: len(heard)] for part in zip(*rows, strict=True))
    found = {number: window_embeddings(v, heard, ("clip", "band", "embedding")) for number, v in enumerate(blocks)}
    return {"front end": window_embeddings(bank, heard, ("clip", "embedding")), **found}


def _cell(values, percent) -> str:
    deviation = f" +- {percent(statistics.stdev(values))}" if len(values) > 1 else ""
    return percent(statistics.fmean(values)) + deviation


if __name__ == "__main__":
    run(main, define_flags)
