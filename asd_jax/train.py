"""Trains, embeds and scores: the whole pipeline from a folder of recordings to the official DCASE score.

  python -m asd_jax.train --config=configs/quickstart.py --workdir=runs/quickstart
  python -m asd_jax.train --config=configs/toycar.py --workdir=runs/toycar --config.data.root=data/dcase2024 \\
      --config.model.weights=weights/eat_base.safetensors

The same command continues an interrupted run. Keys of the config, with defaults and comments: configs/base.py.
"""

import time
from collections.abc import Sequence
from pathlib import Path

from absl import flags
from ml_collections import ConfigDict, config_flags

from asd_jax.command import run
from asd_jax.errors import InputError
from asd_jax.files import file_sha256, write_json


def define_flags(argv: Sequence[str]) -> None:
    """Defines the command's flags (in a function, so that importing this module defines none)."""
    flags.DEFINE_string("workdir", None, "folder for checkpoints, weights, embeddings and results", required=True)
    config_flags.DEFINE_config_file("config", None, "config file, e.g. configs/toycar.py, or configs/toycar.py:smoke")
    flags.mark_flag_as_required("config")


def main() -> None:
    """Runs `config.seeds` times, with seeds seed, seed + 1, ..."""
    from asd_jax.evaluate import summarize_seeds
    from asd_jax.experiment import config_values

    config, workdir = flags.FLAGS.config, Path(flags.FLAGS.workdir)
    if config.seeds < 1:
        raise InputError(f"--config.seeds={config.seeds} must be at least 1")
    if config.seeds == 1:
        train_and_score(config, workdir, workdir)
        return
    folders = [workdir / f"seed_{n}" for n in range(config.seeds)]
    for n, folder in enumerate(folders):
        one = ConfigDict(config).copy_and_resolve_references()
        one.update(seed=config.seed + n, seeds=1)
        train_and_score(one, folder, workdir)
    write_json(workdir / "config.json", config_values(config))
    summarize_seeds(workdir, folders)


def train_and_score(config: ConfigDict, workdir: Path, data_folder: Path) -> dict:
    """One run: fine-tune, write the weights, embed every clip, score -> results.json's content.

    Args:
        config: as in configs/base.py.
        workdir: for all that the run leaves.
        data_folder: where the synthetic factory is written, if that is the data.
    """
    from asd_jax import experiment
    from asd_jax.evaluate import embed_and_score
    from asd_jax.training.fine_tuning import class_numbers, fine_tune
    from asd_jax.training.log import say
    from asd_jax.training.weights import save_encoder

    # Whatever can be wrong is found before anything is computed or written.
    experiment.check(config)
    settings, origin, seconds = experiment.fine_tuning(config), {"source": "none"}, {}
    found = experiment.find_data(config, data_folder)
    pretrained = experiment.pretrained_eat(config) if config.model.encoder == "eat" else None
    clips, skipped = experiment.readable(config, found)
    heard = experiment.windows(config, [clip for clip in clips if clip.split == "train"], training=True)
    encoder, params = experiment.encoder_config(config, clips), {}
    if encoder.eat:
        settings.steps(len(heard))
        class_numbers(heard, encoder, config.data.domain_in_class)
    experiment.claim_workdir(workdir, config)
    if encoder.eat is None:
        say("the filter bank itself is the encoder: nothing to train")
    else:
        if pretrained:
            origin = {"source": Path(config.model.weights).name, "sha256": file_sha256(config.model.weights)}
        begin = time.perf_counter()
        params = fine_tune(
            encoder,
            pretrained[1] if pretrained else None,
            heard,
            experiment.window_reader(config),
            settings,
            workdir=workdir,
            seed=config.seed,
            dtype=experiment.dtype(config),
            with_domain=config.data.domain_in_class,
            resident=config.data.resident,
            threads=config.data.threads,
            log_every=config.log.every,
            checkpoint_every=config.log.checkpoint_every,
        )
        seconds = {"training_seconds": time.perf_counter() - begin}
    save_encoder(workdir / "weights.safetensors", encoder, params, **origin)
    return embed_and_score(config, encoder, params, clips, workdir, skipped, seconds)


if __name__ == "__main__":
    run(main, define_flags)
