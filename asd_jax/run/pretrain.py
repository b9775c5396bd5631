"""Runs a pre-training: sounds from recordings and synthetic machines, the loop, the weight file."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from asd_jax.config import PretrainConfig, PretrainingData
from asd_jax.data.clips import Clip
from asd_jax.data.crops import Crop, RandomCrops, crop_batches, training_files
from asd_jax.data.mixtures import mixtures, own_sound_prevails, recolored
from asd_jax.data.zoo import zoo_waves
from asd_jax.features.front_end import FrontEnd, SimAM
from asd_jax.features.own import allow_own
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
from asd_jax.run.teachers import Teachers
from asd_jax.run.workdir import Run
from asd_jax.runtime.errors import InputError, config_section
from asd_jax.runtime.log import print_line
from asd_jax.runtime.settings import to_dict
from asd_jax.training.distillation import TargetScale, target_scales
from asd_jax.training.loop import Job, Steps, run_steps
from asd_jax.training.mesh import fetch_whole, make_mesh, process_part, shard_batch
from asd_jax.training.pretraining import (
    CollapseWatch,
    Student,
    abstract_decoder,
    initial_state,
    make_optimizer,
    make_pretraining_step,
)
from asd_jax.training.weights import load_decoder, origin_entries, save_encoder

SCALE_BATCHES = 16  # over which the teachers' values are measured
# Maps the number of steps done to the batches {"wave": "b s", ...} that follow.
Sounds = Callable[[int], Iterator[dict]]


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
    eat = eat_config(config.model, config.features.bins)
    note_slow_dtype(config.model)
    job = Job(
        workdir,
        seed=config.seed,
        dtype=compute_dtype(config.model),
        mesh=make_mesh(config.optimizer.batch_size, shards=config.parallel.shards),
        log=config.log,
    )
    files = training_files(config.data.root) if config.data.root else []
    teachers = Teachers.load(config.settings.teacher_names, config.data.root, files)
    sounds = sound_batches(config, files, teachers)
    student = Student(eat, config.settings, job.dtype, measured_scales(config, sounds))
    pretrained, source = initial_parameters(config, eat)
    front = front_end(config, sounds)
    # How `evaluate --weights` pools the student, unless its config says otherwise.
    encoder = EncoderConfig(front, eat, Pooling("band_mean", config.model.block, 0))
    run = Run(workdir)
    # Bad settings, sounds or weights were refused above, before anything is written.
    with run.claim(to_dict(config), clips_of_files(files), overwrite=overwrite):
        run.check_origin({**source, **teachers.digests})
        params = trained_params(student, front, sounds, pretrained, job)
        # The training is in float32; only the file may be smaller.
        params = jax.tree.map(lambda x: x.astype(config.model.file_dtype), params)
        save_encoder(run.weights, encoder, {"eat": params}, **source)
        return run.weights


def trained_params(
    student: Student, front: FrontEnd, sounds: Sounds, pretrained: dict | None, job: Job
) -> dict:
    """Returns the parameters of EAT after pre-training.

    The training continues from the newest checkpoint in the workdir.

    Raises:
        InputError: the training collapses, or as for `run_steps`.
    """
    settings = student.settings
    optimizer, schedule = make_optimizer(settings)
    init_key, train_key = jax.random.split(jax.random.key(job.seed))
    mesh = job.mesh
    steps = Steps(
        make_pretraining_step(student, front, optimizer, schedule),
        initial_state(student, optimizer, init_key, pretrained),
        # Every process draws the whole batch and keeps its part, so that all draw the same sounds.
        lambda start: (shard_batch(mesh, process_part(mesh, batch)) for batch in sounds(start)),
        total=settings.steps,
        key=train_key,
        batch_size=settings.batch_size,
        on_bad_loss=settings.on_bad_loss,
        watch=CollapseWatch.of(settings),
    )
    return fetch_whole(mesh, run_steps(steps, job).params["eat"])


def measured_scales(config: PretrainConfig, sounds: Sounds) -> tuple[TargetScale, ...]:
    """Returns the scale of each teacher's values, measured on the first batches; none without
    teachers.
    """
    names = config.settings.teacher_names
    if names:
        print_line(f"{SCALE_BATCHES} batches are used to measure the scale of the targets")
    # Each call restarts the stream, so the training still gets these batches.
    return target_scales(names, itertools.islice(sounds(0), SCALE_BATCHES))


def clips_of_files(files: Sequence[Path]) -> list[Clip]:
    """Returns the files as clips of no particular machine, so that the workdir can record them."""
    return [
        Clip(
            path=str(path),
            machine="data.root",
            section="",
            split="train",
            domain="unknown",
            label=-1,
            attribute="",
        )
        for path in files
    ]


def sound_batches(
    config: PretrainConfig, files: Sequence[Path] = (), teachers: Teachers | None = None
) -> Sounds:
    """Returns a function that maps the number of steps done to the batches {"wave": "b s"} that
    follow.

    The batches combine recordings and synthetic machines; long and short clips alternate. If there
    are teachers, clips are mixed, and the batches hold the teachers' targets as well.

    Raises:
        InputError: the lengths do not fit the patches, or there are no sounds.
    """
    data = config.data
    from_zoo = clips_from_zoo(config, files)
    # Folded in, so that it differs from the keys of weights and steps, which have the same seed.
    key = jax.random.fold_in(jax.random.key(config.seed), 1)

    def batches(start: int) -> Iterator[dict]:
        recorded = recorded_crops(config, files, start) if files else None
        for step in range(start, config.pretraining.steps):
            # Steps with one long clip and steps with several short ones alternate.
            pieces = data.pieces if step % 2 else 1
            # Shorter pieces, and as many more of them, so that every step costs about the same.
            samples = FrontEnd().samples(data.frames // pieces)
            step_key = jax.random.fold_in(key, step)
            parts = []
            # None marks a synthetic clip, which stored targets cannot know.
            crops = [None] * (from_zoo * pieces)
            if from_zoo:
                parts.append(zoo_waves(step_key, clips=from_zoo * pieces, samples=samples))
            if recorded is not None:
                waves, places = next(recorded)
                # A crop is cut into `pieces` clips that follow each other.
                parts.append(waves[:, : samples * pieces].reshape(-1, samples))
                crops += [piece for crop in places for piece in crop.cut(samples, pieces)]
            wave = jnp.concatenate(parts)
            if teachers and teachers.by_name:
                yield distilled_batch(step_key, wave, crops, data, teachers)
            else:
                yield {"wave": wave}

    return batches


def clips_from_zoo(config: PretrainConfig, files: Sequence[Path]) -> int:
    """Returns how many clips of a batch are of synthetic machines, after checking the settings.

    Raises:
        InputError: the lengths do not fit the patches, or there are no sounds.
    """
    data = config.data
    clips = config.optimizer.batch_size
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
    if data.of_distillation and config.pretraining.objective != "distill":
        name, value = next(iter(data.of_distillation.items()))
        raise InputError(
            f"data.{name}={value}: only objective=distill mixes and recolours its sounds; set "
            f"--config.data.{name}=0"
        )
    from_zoo = round(clips * data.zoo_share)
    if files and from_zoo == clips:
        raise InputError(
            f"data.root={data.root}: data.zoo_share={data.zoo_share} leaves no clip of a batch of "
            f"{clips} to these recordings; set --config.data.zoo_share, e.g. 0.5"
        )
    return from_zoo


def recorded_crops(config: PretrainConfig, files: Sequence[Path], start: int) -> Iterator:
    """Returns the batches of crops of recordings that follow `start` steps, as `crop_batches`."""
    data = config.data
    short = FrontEnd().samples(data.frames // data.pieces)
    crops = RandomCrops(
        files,
        file_reader(data),
        clips=config.optimizer.batch_size - clips_from_zoo(config, files),
        # The crops must be long enough for both kinds of steps.
        samples=max(FrontEnd().samples(data.frames), short * data.pieces),
        seed=config.seed,
        steps=config.pretraining.steps,
        speed=data.speed,
    )
    return crop_batches(crops, start=start, threads=data.threads)


def distilled_batch(
    key: jax.Array,
    wave: jax.Array,
    crops: Sequence[Crop | None],
    data: PretrainingData,
    teachers: Teachers,
) -> dict:
    """Returns the student's input for the clips "b s", and the teachers' targets.

    The teachers get the mixtures before the student's gain and equaliser, all at one level.
    """
    # The zoo uses the key itself.
    key_order, key_mix, key_color = jax.random.split(jax.random.fold_in(key, 1), 3)
    # Neighbours are mixed, so that recordings and machines must be in random order.
    order = np.asarray(jax.random.permutation(key_order, len(wave)))
    clean, ratio = mixtures(
        key_mix,
        wave[order],
        share=data.mix_share,
        low_db=data.mix_low_db,
        high_db=data.mix_high_db,
    )
    prevails = np.asarray(own_sound_prevails(ratio))
    targets = teachers.targets(np.asarray(clean), [crops[n] for n in order], prevails)
    wave = recolored(key_color, clean, gain_db=data.gain_db, equalizer_db=data.equalizer_db)
    return {"wave": wave, **targets}


def front_end(config: PretrainConfig, sounds: Sounds, batches: int = 8) -> FrontEnd:
    """Returns the front end of `config.features`, without SimAM.

    If requested, its statistics are measured on the first batches.
    """
    allow_own(config.features.spacing)
    with config_section("features."):
        front = front_end_of_bank(config.features, SimAM("none"))
    if config.features.statistics == "given":
        return dataclasses.replace(front, frames=config.data.frames)
    mean, std = log_energy_statistics(
        front, (batch["wave"] for batch in itertools.islice(sounds(0), batches))
    )
    return dataclasses.replace(front, mean=mean, std=std, frames=config.data.frames)


def initial_parameters(config: PretrainConfig, eat: EATConfig) -> tuple[dict | None, dict]:
    """Returns the parameters to continue from (None for random ones) and the header entries on
    their origin.

    Raises:
        InputError: the weights do not fit.
    """
    found = pretrained_eat(config.model, config.features.bins)
    if found is None:
        return None, {"source": "none"}
    params = {"eat": found[1]}
    # The heads of distillation are those of its teachers, and always new.
    if config.pretraining.objective != "distill":
        template = abstract_decoder(eat, config.settings)
        decoder = load_decoder(config.model.weights, template)
        params |= {"decoder": decoder} if decoder is not None else {}
    return params, origin_entries(config.model.weights)
