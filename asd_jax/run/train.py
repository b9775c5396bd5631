"""Runs a training: fine-tunes, writes the weights, embeds every clip and scores."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from asd_jax.config import RunConfig
from asd_jax.data.windows import Window
from asd_jax.models.eat import EATConfig
from asd_jax.models.encoder import EncoderConfig
from asd_jax.run.cached_tokens import cached_tokens, remove_tokens
from asd_jax.run.clips import clip_windows, find_data, readable_clips, window_reader
from asd_jax.run.encoder import (
    check_run,
    compute_dtype,
    encoder_config,
    note_other_front_end,
    note_slow_dtype,
    pretrained_eat,
    training_mesh,
    with_pseudo_classes,
)
from asd_jax.run.score import embed_and_score, summarize_seeds
from asd_jax.run.snapshots import embed_snapshots
from asd_jax.run.supplemental import clean_clips, noise_change
from asd_jax.run.workdir import Run
from asd_jax.runtime import processes
from asd_jax.runtime.errors import InputError, config_section
from asd_jax.runtime.files import remove_new_folder_on_error
from asd_jax.runtime.log import print_line
from asd_jax.runtime.settings import to_dict
from asd_jax.runtime.start import keep_compiled
from asd_jax.training.clips import TrainingClips, class_numbers
from asd_jax.training.fine_tuning import fine_tune
from asd_jax.training.loop import Job
from asd_jax.training.weights import load_pipeline, origin_entries, save_encoder


def train_seeds(config: RunConfig, workdir: Path, *, overwrite: bool = False) -> None:
    """Performs `config.seeds` runs with the seeds seed, seed + 1, ...

    Several runs each have a folder of their own.

    Args:
        config: the settings of the run.
        workdir: the folder for all results.
        overwrite: remove the run that is in the workdir first.

    Raises:
        InputError: a setting, the data or the weights are wrong; the message says what.
    """
    check_run(config)
    run = Run(workdir)
    seeds = run.of_seeds(config.seeds)
    if not seeds:
        train_and_score(config, workdir, workdir, overwrite=overwrite)
        return
    with contextlib.ExitStack() as stack:
        # The seeds that are done stay when a later one fails.
        stack.enter_context(remove_new_folder_on_error(workdir, unless="seed_*"))
        clips = find_data(config, workdir, overwrite=overwrite)
        stack.enter_context(run.claim(to_dict(config), clips, overwrite=overwrite))
        for n, seed in enumerate(seeds):
            one = dataclasses.replace(config, seed=config.seed + n, seeds=1)
            print_line(f"seed {one.seed}, run {n + 1} of {len(seeds)}: {seed.workdir}")
            # All seeds share the factory in the folder above theirs.
            train_and_score(one, seed.workdir, workdir)
        if processes.is_first():
            summarize_seeds(config, seeds, run)


def train_and_score(
    config: RunConfig, workdir: Path, data_folder: Path, *, overwrite: bool = False
) -> dict:
    """Fine-tunes, writes the weights, embeds and scores every clip; returns results.json's content.

    Args:
        config: the settings of the run.
        workdir: the folder for all results.
        data_folder: the folder in which the synthetic factory is written, if it is the data.
        overwrite: remove the run that is in the workdir first.

    Raises:
        InputError: a setting, the data or the weights are wrong; raised before anything is computed
            or written, and the message says what.
    """
    check_run(config)
    keep_compiled(config.compiled)
    note_slow_dtype(config.model)
    with remove_new_folder_on_error(data_folder):
        found = find_data(config, data_folder, overwrite=overwrite)
        pretrained = None
        if config.model.encoder == "eat":
            pretrained = pretrained_eat(config.model, config.features.bins)
        clips, skipped = readable_clips(config, found)
        # The supplemental clips are trained on, but neither embedded nor scored.
        train = [clip for clip in clips if clip.split == "train"] + clean_clips(config)
        change = noise_change(config)
        windows = clip_windows(config, train, training=True)
        encoder = encoder_config(config, clips)
        # These checks fail before the workdir is claimed and anything is written.
        if encoder.eat:
            note_other_front_end(config.model.weights, encoder.front_end)
            # The library names its argument; the user set a key of this section.
            with config_section("optimizer."):
                config.optimizer.total_steps(len(windows))
            # Pseudo-classes are found later, from embeddings.
            if not config.data.pseudo_classes:
                class_numbers(windows, encoder, config.data.domain_in_class)
    with Run(workdir).claim(to_dict(config), clips, overwrite=overwrite):
        params, seconds = trained_params(
            config=config,
            encoder=encoder,
            pretrained=pretrained,
            windows=windows,
            workdir=workdir,
            change=change,
        )
        # Embedded before scoring, which joins them to the embeddings by the final weights.
        embed_snapshots(config, encoder, clips, Run(workdir))
        return embed_and_score(
            config, encoder, params, clips, workdir, skipped=skipped, timing=seconds
        )


def trained_params(
    config: RunConfig,
    encoder: EncoderConfig,
    pretrained: tuple[EATConfig, dict] | None,
    windows: Sequence[Window],
    workdir: Path,
    change: Callable[[np.ndarray, np.random.Generator], np.ndarray] | None = None,
) -> tuple[dict, dict[str, float]]:
    """Returns the encoder's parameters and {"training_seconds": the duration of fine-tuning}.

    Parameters that an earlier call fine-tuned are read from the workdir; the second value is then
    {}.
    """
    run = Run(workdir)
    if (params := _finished(run, encoder)) is not None:
        # A process that was killed may have left them.
        remove_tokens(run.tokens)
        return params, {}
    if encoder.eat is None:
        print_line("the filter bank itself is the encoder: nothing to train")
        save_encoder(run.weights, encoder, {}, source="none")
        return {}, {}
    begin = time.perf_counter()
    # The weights may have been replaced since the checkpoints were written.
    source = origin_entries(config.model.weights) if pretrained else {"source": "none"}
    run.check_origin(source)
    if config.data.pseudo_classes:
        windows = with_pseudo_classes(config, windows, encoder, pretrained, run.pseudo_classes)
    tokens = None
    if config.backbone.cache_tokens:
        tokens = cached_tokens(config, encoder, pretrained, windows, run.tokens)

    def keep(step, params):
        # With leading zeros, names sort in the order of the steps.
        save_encoder(run.snapshots / f"step_{step:07}.safetensors", encoder, params, **source)

    data = TrainingClips(
        windows,
        window_reader(config, windows),
        with_domain=config.data.domain_in_class,
        change=change,
        tokens=tokens,
        resident=config.data.resident,
        threads=config.data.threads,
    )
    eat = pretrained[1] if pretrained else None
    params = fine_tune(encoder, eat, data, config.fine_tuning, _job(config, workdir), keep=keep)
    save_encoder(run.weights, encoder, params, **source)
    # Nothing needs them any more.
    remove_tokens(run.tokens)
    return params, {"training_seconds": time.perf_counter() - begin}


def _finished(run: Run, encoder: EncoderConfig) -> dict | None:
    """Returns the parameters that an earlier call fine-tuned, None if there are none."""
    if not run.weights.exists():
        return None
    try:
        pipeline = load_pipeline(run.weights)
    except InputError as error:
        print_line(f"WARNING: {error}; it is made again")
        return None
    # The config alone does not fix the encoder: statistics are measured on the recordings.
    if pipeline.config != encoder:
        return None
    print_line(f"training is finished: {run.weights}")
    return pipeline.params


def _job(config: RunConfig, workdir: Path) -> Job:
    return Job(
        workdir,
        seed=config.seed,
        dtype=compute_dtype(config.model),
        mesh=training_mesh(config),
        log=config.log,
    )
