"""Runs a pre-training: sounds from recordings and synthetic machines, the loop, the weight file."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp

from asd_jax.config import PretrainConfig
from asd_jax.data.clips import Clip
from asd_jax.data.crops import crop_batches, training_files
from asd_jax.data.zoo import zoo_waves
from asd_jax.features.front_end import FrontEnd, SimAM
from asd_jax.models.eat import PATCH, EATConfig
from asd_jax.models.encoder import EncoderConfig, Pooling
from asd_jax.run.clips import file_reader
from asd_jax.run.encoder import (
    compute_dtype,
    eat_config,
    front_end_of_bank,
    log_energy_statistics,
    note_slow_dtype,
    pretrained_eat,
)
from asd_jax.run.workdir import Run
from asd_jax.runtime.errors import InputError, config_section
from asd_jax.runtime.settings import to_dict
from asd_jax.training.loop import run_steps
from asd_jax.training.mesh import fetch_whole, make_mesh, process_part, shard_batch
from asd_jax.training.optimizer import adamw, learning_rate_schedule
from asd_jax.training.pretraining import (
    CollapseWatch,
    abstract_decoder,
    initial_state,
    make_pretraining_step,
)
from asd_jax.training.settings import Pretraining
from asd_jax.training.weights import load_decoder, origin_entries, save_encoder


def pretrain(config: PretrainConfig, workdir: Path, *, overwrite: bool = False) -> Path:
    """Pre-trains an encoder and returns the path of its weight file.

    Args:
        config: the settings of the run.
        workdir: the folder for all results.
        overwrite: remove the run that is in the workdir first.

    Raises:
        InputError: a value is wrong, there are no sounds, the weights do not fit, or the training
            collapses.
    """
    settings = config.settings
    # The masked autoencoder cannot collapse, because its targets are fixed.
    least_spread = settings.least_spread if settings.objective == "eat" else 0.0
    watch = CollapseWatch(least_spread, after=round(settings.steps * settings.warmup_fraction))
    eat = eat_config(config.model, config.features.bins)
    dtype = compute_dtype(config.model)
    note_slow_dtype(config.model)
    mesh = make_mesh(settings.batch_size, shards=config.parallel.shards)
    files = training_files(config.data.root) if config.data.root else []
    sounds = sound_batches(config, files)
    pretrained, source = initial_parameters(config, eat, settings)
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
    run = Run(workdir)
    with run.claim(to_dict(config), clips_of_files(files), overwrite=overwrite):
        run.check_origin(source)
        state = run_steps(
            make_pretraining_step(eat, front, settings, optimizer, schedule, dtype),
            initial_state(eat, settings, optimizer, init_key, pretrained),
            lambda start: (shard_batch(mesh, process_part(mesh, batch)) for batch in sounds(start)),
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
        eat_params = jax.tree.map(
            lambda x: x.astype(config.model.file_dtype), fetch_whole(mesh, state.params["eat"])
        )
        save_encoder(run.weights, encoder, {"eat": eat_params}, **source)
        return run.weights


def clips_of_files(files: Sequence[Path]) -> list[Clip]:
    """Returns the files as clips of no particular machine, so that the workdir can record them."""
    return [Clip(str(path), "data.root", "", "train", "unknown", -1, "") for path in files]


def sound_batches(
    config: PretrainConfig, files: Sequence[Path] = ()
) -> Callable[[int], Iterator[dict]]:
    """Returns a function that maps the number of steps done to the batches {"wave": "b s"} that
    follow.

    The batches combine recordings and synthetic machines; long and short clips alternate.

    Raises:
        InputError: the lengths do not fit the patches, or there are no sounds.
    """
    data = config.data
    clips = config.optimizer.batch_size
    steps = config.pretraining.steps
    if data.frames % (PATCH * data.pieces):
        raise InputError(
            f"data.frames={data.frames} must be a positive multiple of {PATCH} x "
            f"data.pieces={data.pieces}"
        )
    if not data.root and data.zoo_share < 1:
        raise InputError(
            "--config.data.root names no folder of recordings; to pre-train on synthetic "
            "machines alone: --config.data.zoo_share=1"
        )
    from_zoo = round(clips * data.zoo_share)
    if files and from_zoo == clips:
        raise InputError(
            f"data.root={data.root}: data.zoo_share={data.zoo_share} leaves no clip of a batch of "
            f"{clips} to these recordings; set --config.data.zoo_share, e.g. 0.5"
        )
    long, short = (
        FrontEnd().samples(frames) for frames in (data.frames, data.frames // data.pieces)
    )
    key = jax.random.fold_in(jax.random.key(config.seed), 1)

    def batches(start: int) -> Iterator[dict]:
        reader = file_reader(data)
        # The crops must be long enough for both kinds of steps.
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


def front_end(config: PretrainConfig, sounds: Callable[[int], Iterator[dict]], batches: int = 8):
    """Returns the front end of `config.features`, without SimAM.

    If requested, its statistics are measured on the first batches.
    """
    with config_section("features."):
        front = front_end_of_bank(config.features, SimAM("none"))
    if config.features.statistics == "given":
        return dataclasses.replace(front, frames=config.data.frames)
    mean, std = log_energy_statistics(
        front, (batch["wave"] for batch in itertools.islice(sounds(0), batches))
    )
    return dataclasses.replace(front, mean=mean, std=std, frames=config.data.frames)


def initial_parameters(
    config: PretrainConfig, eat: EATConfig, settings: Pretraining
) -> tuple[dict | None, dict]:
    """Returns the parameters to continue from (None for random ones) and the header entries on
    their origin.

    Raises:
        InputError: the weights do not fit.
    """
    found = pretrained_eat(config.model, config.features.bins)
    if found is None:
        return None, {"source": "none"}
    params = {"eat": found[1]}
    if (decoder := load_decoder(config.model.weights, abstract_decoder(eat, settings))) is not None:
        params["decoder"] = decoder
    return params, origin_entries(config.model.weights)
