"""Trains, embeds and scores: the whole pipeline from a folder of recordings to the official DCASE
score.

  python -m asd_jax.train --config=configs/quickstart.py --workdir=runs/quickstart
  python -m asd_jax.train --config=configs/toycar.py --workdir=runs/toycar \\
      --config.data.root=data/dcase2024 \\
      --config.model.weights=weights/eat_base.safetensors

The same command continues an interrupted run. Keys of the config, with defaults and comments:
configs/base.py.
"""

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path

from absl import flags
from ml_collections import ConfigDict, config_flags

from asd_jax.runtime import processes
from asd_jax.runtime.command import define_process_flags, run
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import nothing_left_of


def define_flags(argv: Sequence[str]) -> None:
    """Defines the command's flags (in a function, so that importing this module defines none)."""
    flags.DEFINE_string(
        "workdir", None, "folder for checkpoints, weights, embeddings and results", required=True
    )
    config_flags.DEFINE_config_file(
        "config", None, "config file, e.g. configs/toycar.py, or configs/toycar.py:smoke"
    )
    flags.mark_flag_as_required("config")
    define_process_flags()
    flags.DEFINE_bool("overwrite", False, "first remove the run that the workdir holds")


def main() -> None:
    """Runs `config.seeds` times, with seeds seed, seed + 1, ..."""
    from asd_jax.evaluate import summarize_seeds
    from asd_jax.run import experiment, recordings
    from asd_jax.run.workdir import claimed

    config, workdir, overwrite = (
        flags.FLAGS.config,
        Path(flags.FLAGS.workdir),
        flags.FLAGS.overwrite,
    )
    experiment.check(config)
    if config.seeds == 1:
        train_and_score(config, workdir, workdir, overwrite=overwrite)
        return
    with contextlib.ExitStack() as stack:
        stack.enter_context(nothing_left_of(workdir, unless="seed_*"))
        found = recordings.find_data(config, workdir, overwrite=overwrite)
        stack.enter_context(
            claimed(workdir, experiment.config_values(config), found, overwrite=overwrite)
        )
        folders = [workdir / f"seed_{n}" for n in range(config.seeds)]
        for n, folder in enumerate(folders):
            one = ConfigDict(config).copy_and_resolve_references()
            one.update(seed=config.seed + n, seeds=1)
            train_and_score(one, folder, workdir)
        if processes.first():
            summarize_seeds(workdir, folders)


def train_and_score(
    config: ConfigDict, workdir: Path, data_folder: Path, *, overwrite: bool = False
) -> dict:
    """One run: fine-tune, write the weights, embed every clip, score -> results.json's content.

    Args:
        config: as in configs/base.py.
        workdir: for all that the run leaves.
        data_folder: where the synthetic factory is written, if that is the data.
        overwrite: remove the run that is in the workdir first.
    """
    from asd_jax.evaluate import embed_and_score
    from asd_jax.run import experiment, recordings
    from asd_jax.run.workdir import claimed
    from asd_jax.training.fine_tuning import class_numbers

    # Whatever can be wrong is found before anything is computed or written.
    experiment.check(config)
    experiment.keep_compiled(config)
    with nothing_left_of(data_folder):
        found = recordings.find_data(config, data_folder, overwrite=overwrite)
        pretrained = experiment.pretrained_eat(config) if config.model.encoder == "eat" else None
        clips, skipped = recordings.readable(config, found)
        heard = recordings.windows(
            config, [clip for clip in clips if clip.split == "train"], training=True
        )
        encoder = experiment.encoder_config(config, clips)
        if encoder.eat:
            experiment.tell_other_front_end(config.model.weights, encoder.front_end)
            experiment.fine_tuning(config).steps(len(heard))
            if not config.data.pseudo_classes:
                class_numbers(heard, encoder, config.data.domain_in_class)
    with claimed(workdir, experiment.config_values(config), clips, overwrite=overwrite):
        params, seconds = trained(config, encoder, pretrained, heard, workdir)
        return embed_and_score(config, encoder, params, clips, workdir, skipped, seconds)


def trained(
    config: ConfigDict, encoder, pretrained, heard, workdir: Path
) -> tuple[dict, dict[str, float]]:
    """Parameters of the encoder, fine-tuned now or by an earlier call, and the seconds that it
    took.
    """
    from asd_jax.run import experiment, recordings
    from asd_jax.run.workdir import check_origin
    from asd_jax.runtime.log import say
    from asd_jax.training.fine_tuning import fine_tune
    from asd_jax.training.weights import load_pipeline, origin, save_encoder

    path = workdir / "weights.safetensors"
    if path.exists():
        try:
            pipeline = load_pipeline(path)
            if pipeline.config == encoder:
                say(f"training is finished: {path}")
                return pipeline.params, {}
        except InputError as error:
            say(f"WARNING: {error}; it is made again")
    source, begin, params = {"source": "none"}, time.perf_counter(), {}
    if encoder.eat is None:
        say("the filter bank itself is the encoder: nothing to train")
    else:
        if pretrained:
            source = origin(config.model.weights)
        check_origin(workdir, source)
        if config.data.pseudo_classes:
            heard = experiment.with_pseudo_classes(config, heard, encoder, pretrained, workdir)
        params = fine_tune(
            encoder,
            pretrained[1] if pretrained else None,
            heard,
            recordings.window_reader(config, heard),
            experiment.fine_tuning(config),
            workdir=workdir,
            mesh=experiment.mesh(config),
            seed=config.seed,
            dtype=experiment.dtype(config),
            with_domain=config.data.domain_in_class,
            resident=config.data.resident,
            threads=config.data.threads,
            log_every=config.log.every,
            checkpoint_every=config.log.checkpoint_every,
        )
    save_encoder(path, encoder, params, **source)
    return params, {"training_seconds": time.perf_counter() - begin} if encoder.eat else {}


if __name__ == "__main__":
    run(main, define_flags)
