"""Provides the main job as a user runs it, for timing: wav files to embeddings, and all of
configs/dcase2024.py.
"""

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import soundfile

from asd_jax.config import RunConfig, read_config
from asd_jax.data.audio import read_clip
from asd_jax.data.batches import clip_batches
from asd_jax.data.clips import Clip
from asd_jax.data.dcase import EDITIONS
from asd_jax.models.eat import EATConfig
from asd_jax.models.encoder import Encoder, EncoderConfig
from asd_jax.run.train import train_and_score
from asd_jax.runtime.files import read_json
from asd_jax.training.weights import embed
from benchmarks.stages import SAMPLES
from configs.dcase2024 import get_config

PIPELINE_BATCHES = 4


def pipeline(eat: EATConfig, batch: int, dtype, folder: Path) -> Callable[[], object]:
    """Returns a function that computes embeddings from wav files as `evaluate` does."""
    config = EncoderConfig(eat=eat)
    clips = []
    params = jax.jit(Encoder(config).init)(jax.random.key(0), jnp.zeros((1, SAMPLES)))["params"]
    noise = np.random.default_rng(0).integers(-3000, 3000, SAMPLES + 1000).astype(np.int16)
    for n in range(batch * PIPELINE_BATCHES):
        soundfile.write(folder / f"{n}.wav", noise[n % 1000 :][:SAMPLES], 16000)
        clips.append(
            Clip(
                path=str(folder / f"{n}.wav"),
                machine="fan",
                section="00",
                split="train",
                domain="source",
                label=0,
                attribute="",
            )
        )

    def once():
        batches = clip_batches(
            clips, [{}] * len(clips), lambda clip: read_clip(clip.path), batch_size=batch
        )
        return jax.block_until_ready(
            [embed(config, params, b["wave"], dtype=dtype) for b in batches]
        )

    return once


def experiment(clips_per_machine: int) -> dict:
    """Runs the main job of configs/dcase2024.py on generated clips, and returns the seconds of each
    part.

    The job trains, embeds and scores. The time to write the clips is not counted; everything that a
    user waits for is, starting with finding the clips.
    """
    edition = EDITIONS[2024]
    noise = np.random.default_rng(0).integers(-3000, 3000, SAMPLES + 5000).astype(np.int16)
    with tempfile.TemporaryDirectory() as folder:
        for machine_type in (*edition.dev, *edition.evaluation):
            for split, label, count in (
                ("train", "normal", 1),
                ("test", "normal", 0.1),
                ("test", "anomaly", 0.1),
            ):
                place = Path(folder) / "data" / machine_type / split
                place.mkdir(parents=True, exist_ok=True)
                for n in range(max(4, round(count * clips_per_machine))):
                    domain = "target" if n % 100 == 0 or (split == "test" and n % 2) else "source"
                    name = f"section_00_{domain}_{split}_{label}_{n:04d}_car_A{n % 5}.wav"
                    soundfile.write(place / name, noise[n % 5000 :][:SAMPLES], 16000)
        config = get_config()
        config.data.update(root=f"{folder}/data", threads=os.cpu_count(), resident=True)
        config.model.weights = "none"
        # Tests on a CPU run the same code with a smaller model.
        if jax.default_backend() == "cpu":
            config.data.clip_seconds = 1.0
            config.model.update(size="tiny", depth=2, dtype="float32")
            config.optimizer.epochs = 1
        began = time.perf_counter()
        run = Path(folder) / "run"
        results = train_and_score(read_config(RunConfig, config), run, run)
        seconds = time.perf_counter() - began
        timing = read_json(Path(folder) / "run" / "timing.json")
    clips = {
        "clips_per_machine": clips_per_machine,
        "epochs": config.optimizer.epochs,
        "size": config.model.size,
    }
    return {
        "seconds": seconds,
        **clips,
        "parts": timing,
        "official_score_of_noise": results["official_score"],
    }
