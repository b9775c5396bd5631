"""Pre-trains EAT without labels, on any filter bank: on a folder of recordings, on synthetic
machines, or on both.

  python -m asd_jax.pretrain --config=configs/pretrain_tiny.py --workdir=runs/pretrain_tiny
  python -m asd_jax.pretrain --config=configs/pretrain_base.py --workdir=runs/pretrain \\
      --config.data.root=data/audioset
  python -m asd_jax.pretrain --config=configs/pretrain_base.py --workdir=runs/adapted \\
      --config.data.root=data/dcase2024 --config.model.weights=weights/eat_base.safetensors

The same command continues an interrupted run. It leaves weights.safetensors, for
--config.model.weights of training, or for `python -m asd_jax.evaluate --weights` as it is. Keys of
the config: configs/pretrain_base.py.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from absl import flags
from ml_collections import ConfigDict, config_flags

from asd_jax.data.clips import Clip
from asd_jax.runtime.command import check_keys, define_process_flags, run
from asd_jax.runtime.errors import InputError


def define_flags(argv: Sequence[str]) -> None:
    """Defines the command's flags."""
    flags.DEFINE_string(
        "workdir", None, "folder for checkpoints, metrics and weights", required=True
    )
    config_flags.DEFINE_config_file(
        "config", None, "config file, e.g. configs/pretrain_tiny.py, or ...:smoke"
    )
    flags.mark_flag_as_required("config")
    define_process_flags()
    flags.DEFINE_bool("overwrite", False, "first remove the run that the workdir holds")


def main() -> None:
    """Pre-trains, and writes the student's weights."""
    pretrain(flags.FLAGS.config, Path(flags.FLAGS.workdir), overwrite=flags.FLAGS.overwrite)


def pretrain(config: ConfigDict, workdir: Path, *, overwrite: bool = False) -> Path:
    """One run -> its weight file.

    Args:
        config: as in configs/pretrain_base.py.
        workdir: for all that the run leaves.
        overwrite: remove the run that is in the workdir first.

    Raises:
        InputError: a wrong value, no sounds, weights that do not fit, a collapse.
    """
    import jax

    from asd_jax.data.audio import RESAMPLERS
    from asd_jax.data.crops import training_files
    from asd_jax.models.encoder import EncoderConfig, Pooling
    from asd_jax.run import experiment
    from asd_jax.run.workdir import check_origin, claimed
    from asd_jax.training.loop import run_steps
    from asd_jax.training.mesh import make_mesh, own_part, spread, whole
    from asd_jax.training.optimizer import adamw, learning_rate_schedule
    from asd_jax.training.pretraining import (
        CollapseWatch,
        Pretraining,
        initial_state,
        make_pretraining_step,
    )
    from asd_jax.training.weights import save_encoder
    from configs import pretrain_base

    check_keys(config.to_dict(), pretrain_base.get_config().to_dict())
    least = {"seed": 0, "log.every": 1, "log.checkpoint_every": 1, "data.threads": 1}
    known = {"data.resampler": RESAMPLERS, "model.file_dtype": ("float32", "float16")}
    experiment.check_values(config, least, {**known, "features.statistics": ("given", "train")})
    settings = Pretraining(**config.pretraining, **config.optimizer)
    # The masked autoencoder's targets are fixed: it learns slowly at worst.
    least_spread = settings.least_spread if settings.objective == "eat" else 0.0
    watch = CollapseWatch(least_spread, after=round(settings.steps * settings.warmup_fraction))
    eat, dtype = experiment.eat_config(config), experiment.dtype(config)
    mesh = make_mesh(settings.batch_size, shards=config.parallel.shards)
    files = training_files(config.data.root) if config.data.root else []
    sounds = sound_batches(config, files)
    pretrained, source = starting_point(config, eat, settings)
    front = front_end(config, sounds)
    encoder = EncoderConfig(front, eat, Pooling("band_mean", config.model.block, 0))
    schedule = learning_rate_schedule(
        settings.learning_rate, settings.steps, settings.warmup_fraction
    )
    optimizer = adamw(
        schedule,
        weight_decay=settings.weight_decay,
        clip_norm=settings.clip_norm,
        b2=0.95,
        decay_everything=settings.decay_everything,
    )
    init_key, train_key = jax.random.split(jax.random.key(config.seed))
    with claimed(workdir, experiment.config_values(config), as_clips(files), overwrite=overwrite):
        check_origin(workdir, source)
        state = run_steps(
            make_pretraining_step(eat, front, settings, optimizer, schedule, dtype),
            initial_state(eat, settings, optimizer, init_key, pretrained),
            lambda start: (spread(mesh, own_part(mesh, batch)) for batch in sounds(start)),
            workdir=workdir,
            mesh=mesh,
            steps=settings.steps,
            key=train_key,
            batch_size=settings.batch_size,
            log_every=config.log.every,
            checkpoint_every=config.log.checkpoint_every,
            on_bad_loss=settings.on_bad_loss,
            watch=watch,
        )
        path = workdir / "weights.safetensors"
        eat_params = jax.tree.map(
            lambda x: x.astype(config.model.file_dtype), whole(mesh, state.params["eat"])
        )
        save_encoder(path, encoder, {"eat": eat_params}, **source)
        return path


def as_clips(files: Sequence[Path]) -> list[Clip]:
    """Recordings of no machine in particular, so that a run is known to be one on them."""
    return [Clip(str(path), "data.root", "", "train", "unknown", -1, "") for path in files]


def sound_batches(
    config: ConfigDict, files: Sequence[Path] = ()
) -> Callable[[int], Iterator[dict]]:
    """Steps done -> batches {"wave": "b s"} of the steps that follow, from recordings and zoo, long
    and short in turn.

    Raises:
        InputError: lengths that do not fit the patches; no sounds at all.
    """
    import jax
    import jax.numpy as jnp

    from asd_jax.data.crops import crop_batches
    from asd_jax.data.zoo import zoo_waves
    from asd_jax.features.front_end import FrontEnd
    from asd_jax.models.eat import PATCH
    from asd_jax.run import recordings

    data, clips, steps = config.data, config.optimizer.batch_size, config.pretraining.steps
    if data.pieces < 1 or data.frames < 1 or data.frames % (PATCH * data.pieces):
        raise InputError(
            f"data.frames={data.frames} must be a positive multiple of {PATCH} x "
            f"data.pieces={data.pieces}"
        )
    if not 0 <= data.zoo_share <= 1:
        raise InputError(f"data.zoo_share={data.zoo_share} must lie in 0..1")
    if not data.root and data.zoo_share < 1:
        raise InputError(
            "--config.data.root names no folder of recordings; to pre-train on synthetic machines "
            "alone: "
            "--config.data.zoo_share=1"
        )
    from_zoo = round(clips * data.zoo_share)
    if files and from_zoo == clips:
        raise InputError(
            f"data.root={data.root}: data.zoo_share={data.zoo_share} leaves no clip of a batch of "
            f"{clips} to these "
            "recordings; set --config.data.zoo_share, e.g. 0.5"
        )
    long, short = (
        FrontEnd().samples(frames) for frames in (data.frames, data.frames // data.pieces)
    )
    key = jax.random.fold_in(jax.random.key(config.seed), 1)

    def batches(start: int) -> Iterator[dict]:
        reader = recordings.file_reader(config)
        cut = {
            "clips": clips - from_zoo,
            "samples": max(long, short * data.pieces),
            "seed": config.seed,
        }
        recorded = (
            crop_batches(files, reader, **cut, start=start, steps=steps, threads=data.threads)
            if files
            else None
        )
        for step in range(start, steps):
            pieces, samples = (data.pieces, short) if step % 2 else (1, long)
            parts = []
            if from_zoo:
                step_key = jax.random.fold_in(key, step)
                parts.append(zoo_waves(step_key, clips=from_zoo * pieces, samples=samples))
            if recorded is not None:
                parts.append(next(recorded)[:, : samples * pieces].reshape(-1, samples))
            yield {"wave": jnp.concatenate(parts)}

    return batches


def front_end(config: ConfigDict, sounds: Callable[[int], Iterator[dict]], batches: int = 8):
    """The front end of `config.features`, without SimAM; its statistics measured on the first
    batches if asked for.
    """
    import dataclasses
    import itertools

    from asd_jax.features.front_end import FrontEnd, SimAM
    from asd_jax.run.experiment import log_energy_statistics

    f = config.features
    front = FrontEnd(
        f.spacing, FrontEnd.sample_rate, f.bins, f.low_hz, f.high_hz, f.mean, f.std, SimAM("none")
    )
    if f.statistics == "given":
        return dataclasses.replace(front, frames=config.data.frames)
    mean, std = log_energy_statistics(
        front, (batch["wave"] for batch in itertools.islice(sounds(0), batches))
    )
    return dataclasses.replace(front, mean=mean, std=std, frames=config.data.frames)


def starting_point(config: ConfigDict, eat, settings) -> tuple[dict | None, dict]:
    """Parameters to continue from, and the header's words on where they come from.

    Raises:
        InputError: weights that do not fit.
    """
    from asd_jax.run.experiment import pretrained_eat
    from asd_jax.training.pretraining import abstract_decoder
    from asd_jax.training.weights import load_decoder, origin

    found = pretrained_eat(config)
    if found is None:
        return None, {"source": "none"}
    params = {"eat": found[1]}
    if (decoder := load_decoder(config.model.weights, abstract_decoder(eat, settings))) is not None:
        params["decoder"] = decoder
    return params, origin(config.model.weights)


if __name__ == "__main__":
    run(main, define_flags)
