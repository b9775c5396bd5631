"""Measures how long an epoch of training with a frozen EAT takes, with its tokens kept on disk.

    python -m benchmarks.cached_tokens --size=base --clips=64 --output=benchmarks/results

The encoder has random weights, and the clips of 10 s are noise: neither changes the time. The first
epoch computes the tokens, the later ones read them from the disk.
"""

import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
import soundfile
from absl import flags

from asd_jax.config import Backbone, Data, Model, Optimizer, RunConfig
from asd_jax.data.clips import Clip
from asd_jax.features.front_end import FrontEnd, SimAM
from asd_jax.models.eat import EATConfig
from asd_jax.models.encoder import EncoderConfig, Pooling
from asd_jax.run.cached_tokens import cached_tokens
from asd_jax.run.clips import clip_windows, window_reader
from asd_jax.runtime.command import run
from asd_jax.runtime.files import write_json
from asd_jax.training.clips import TrainingClips
from asd_jax.training.fine_tuning import fine_tune
from asd_jax.training.loop import Job
from asd_jax.training.settings import Augmentation, Log
from asd_jax.training.weights import random_eat
from benchmarks.provenance import machine

FLAGS = flags.FLAGS
EPOCHS = 4


def define_flags(argv: Sequence[str]) -> None:
    """Defines the flags of the command."""
    flags.DEFINE_enum("size", "base", ["tiny", "base", "large"], "Size of EAT.")
    flags.DEFINE_integer("clips", 64, "Number of clips of 10 s.", lower_bound=8)
    flags.DEFINE_string("output", None, "Folder for the JSON.")


def main() -> None:
    """Measures the epochs, and prints and writes the result."""
    sizes = getattr(EATConfig, FLAGS.size)()
    eat = jax.tree.map(np.asarray, random_eat(sizes, 0))
    encoder = EncoderConfig(FrontEnd(simam=SimAM("global")), sizes, Pooling())
    with tempfile.TemporaryDirectory() as folder:
        clips = _clips(Path(folder), FLAGS.clips)
        config = _config()
        windows = clip_windows(config, clips, training=True)
        began = time.perf_counter()
        _, tokens = cached_tokens(config, encoder, (sizes, eat), windows, Path(folder) / "tokens")
        seconds = time.perf_counter() - began
        fine_tune(
            encoder,
            eat,
            TrainingClips(windows, window_reader(config, windows), tokens=tokens),
            config.fine_tuning,
            Job(Path(folder) / "run", log=Log(every=1)),
        )
        lines = (Path(folder) / "run" / "metrics.jsonl").read_text().splitlines()
        # The first step compiles.
        rate = statistics.median(json.loads(line)["clips_per_second"] for line in lines[2:])
    found = {
        "machine": machine(),
        "size": FLAGS.size,
        "clips": FLAGS.clips,
        "tokens_seconds": seconds,
        "epoch_seconds": FLAGS.clips / rate,
        # The first epoch also computes the tokens.
        "first_over_second": 1 + seconds * rate / FLAGS.clips,
    }
    print(json.dumps(found, indent=2))
    if FLAGS.output:
        write_json(Path(FLAGS.output) / f"cached_tokens_{FLAGS.size}.json", found)


def _config() -> RunConfig:
    return RunConfig(
        data=Data(clip_seconds=10.0),
        model=Model(size=FLAGS.size),
        backbone=Backbone(strategy="frozen", cache_tokens=True),
        augment=Augmentation(mixup="none", mask_probability=0.0),
        optimizer=Optimizer(batch_size=8, epochs=EPOCHS, learning_rate=1e-3),
    )


def _clips(folder: Path, count: int) -> list[Clip]:
    rng = np.random.default_rng(0)
    found = []
    for n in range(count):
        path = folder / f"{n}.wav"
        soundfile.write(path, 0.1 * rng.normal(size=160_000).clip(-9, 9), 16000)
        found.append(
            Clip(
                path=str(path),
                machine="fan",
                section="00",
                split="train",
                domain="source",
                label=0,
                attribute=f"speed_{n % 4}",
            )
        )
    return found


if __name__ == "__main__":
    run(main, define_flags)
