"""Fine-tunes an encoder to distinguish (machine, attribute) classes of normal sounds.

In learning to tell them apart, the encoder learns what normal sounds like.
"""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.typing import DTypeLike

from asd_jax.data.batches import Reader, training_batches
from asd_jax.data.clips import Clip, clip_class, training_classes
from asd_jax.data.resident import draw_batch, resident_clips
from asd_jax.models.encoder import Encoder, EncoderConfig
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.log import print_line
from asd_jax.training.loop import run_steps
from asd_jax.training.mesh import (
    fetch_whole,
    one_device,
    process_rows,
    process_share,
    replicated,
    shard_batch,
    shard_by_clip,
)
from asd_jax.training.settings import FineTuning
from asd_jax.training.step import (
    final_params,
    initial_state,
    make_head,
    make_optimizer,
    make_train_step,
)


def fine_tune(
    config: EncoderConfig,
    pretrained: dict | None,
    clips: Sequence[Clip],
    read: Reader,
    settings: FineTuning,
    *,
    workdir: Path,
    mesh: Mesh | None = None,
    seed: int = 0,
    dtype: DTypeLike = jnp.float32,
    with_domain: bool = False,
    resident: bool = False,
    threads: int = 4,
    log_every: int = 20,
    checkpoint_every: int = 200,
    change: Callable[[np.ndarray, np.random.Generator], np.ndarray] | None = None,
    tokens: Sequence[np.ndarray] | None = None,
    keep: Callable[[int, dict], None] = lambda step, params: None,
) -> dict:
    """Returns the parameters of `Encoder(config)` after fine-tuning on the training clips.

    The training continues from the newest checkpoint in the workdir.

    Args:
        config: the encoder's settings.
        pretrained: the parameters of its EAT, None to train from scratch.
        clips: normal training clips.
        read: returns a clip's waveform; all have the same length.
        settings: the settings of the training.
        workdir: metrics.jsonl and checkpoints/ are written here.
        mesh: the devices, see `make_mesh`; None for the first device alone.
        seed: of initial weights, order and augmentation.
        dtype: the type that EAT computes in.
        with_domain: whether source and target are different classes.
        resident: keep all clips on the device instead of reading every batch.
        threads: number of threads that read ahead.
        log_every: steps between log lines.
        checkpoint_every: steps between checkpoints.
        change: changes waveforms as they are read, see `training_batches`.
        tokens: "n d" of each clip, which the frozen EAT would make of it, see run/cached_tokens.py.
        keep: receives the step and the encoder's parameters after each of
            `settings.snapshot_steps`.

    Raises:
        InputError: there are fewer than two classes or fewer clips than a batch, resident clips
            are to be changed as they are read, or `run_steps` raises.
        Interrupted: as for `run_steps`.
    """
    mesh = mesh or one_device()
    classes, extras = class_numbers(clips, config, with_domain)
    steps = settings.total_steps(len(clips))
    if resident and change:
        raise InputError(
            "data.resident=True keeps the clips as they are, without augment.noise_probability; "
            "set one of them back to its default"
        )
    # Blocks above the pooled one do not affect the embedding, so they do not count as depth.
    optimizer, schedule = make_optimizer(
        settings, steps, config.pooling.block % config.backbone.depth + 1
    )
    encoder = Encoder(config, dtype, settings.lora, settings.drop_path, settings.remat)
    head = make_head(len(classes), settings, subcentres(classes, settings))
    # The order has a key of its own, so that resident clips do not change the augmentation.
    key_init, key_train, key_order = jax.random.split(jax.random.key(seed), 3)
    train_step = make_train_step(encoder, head, optimizer, schedule, settings)
    state = initial_state(
        encoder, head, optimizer, settings, key=key_init, wave=read(clips[0]), pretrained=pretrained
    )
    _print_size(clips, len(classes), steps, settings.batch_size)
    if resident:
        data = replicated(mesh, resident_clips(clips, extras, read, threads=threads))
        train_step = draw_from_resident(train_step, settings.batch_size, key_order)

    def batches(start):
        if resident:
            return itertools.repeat(data, steps - start)
        read_ahead = training_batches(
            clips if tokens is None else range(len(clips)),
            extras,
            read if tokens is None else tokens.__getitem__,
            batch_size=settings.batch_size,
            epochs=-(-steps * settings.batch_size // len(clips)),
            seed=seed,
            share=process_share(mesh),
            start=start,
            threads=threads,
            change=change,
            reads="wave" if tokens is None else "tokens",
        )
        return (shard_batch(mesh, batch) for batch in read_ahead)

    def files_of(batch):
        # Resident clips are drawn on the device, so the host does not know which.
        if resident:
            return []
        return [clips[number].path for number in process_rows(batch["clip"])]

    kept = settings.snapshot_steps(steps)

    def after_step(step, state):
        if step in kept:
            keep(step, fetch_whole(mesh, final_params(state, settings)))

    state = run_steps(
        train_step,
        state,
        batches,
        workdir=workdir,
        steps=steps,
        key=key_train,
        batch_size=settings.batch_size,
        mesh=mesh,
        log_every=log_every,
        checkpoint_every=checkpoint_every,
        on_bad_loss=settings.on_bad_loss,
        after_step=after_step,
        files_of=files_of,
    )
    return fetch_whole(mesh, final_params(state, settings))


def _print_size(clips: Sequence[Clip], classes: int, steps: int, batch_size: int) -> None:
    """Prints the numbers of clips (or windows), classes and steps."""
    files = len({clip.path for clip in clips})
    unit, of = ("clips", "") if files == len(clips) else ("windows", f" of {files} clips")
    print_line(
        f"training on {len(clips)} {unit}{of}, {classes} classes, {steps} steps of "
        f"{batch_size} {unit}"
    )


def draw_from_resident(train_step: Callable, batch_size: int, key_order: jax.Array) -> Callable:
    """Returns a step on resident clips, which draws its batch from them and calls `train_step`."""

    def step(state, data, key):
        return train_step(
            state, shard_by_clip(draw_batch(data, state.step, key_order, batch_size)), key
        )

    return step


def subcentres(classes: Sequence[tuple[str, ...]], settings: FineTuning) -> tuple[int, ...]:
    """Returns the number of ArcFace's centres of each class (machine, section, attribute, ...)."""
    everywhere = settings.subcentres_of == "all"
    return tuple(settings.subcentres if everywhere or not of[2] else 1 for of in classes)


def class_numbers(
    clips: Sequence[Clip], config: EncoderConfig, with_domain: bool
) -> tuple[list[tuple[str, ...]], list[dict[str, int]]]:
    """Returns the classes, and the label and SimAM mode of each clip.

    Raises:
        InputError: there are fewer than two classes.
    """
    classes = training_classes(clips, with_domain=with_domain)
    if len(classes) < 2:
        raise InputError(
            f"all training clips are of one class {classes}: ArcFace needs at least two (machine, "
            "section, attribute) classes. Add machines (--config.data.machines), tell domains "
            "apart (--config.data.domain_in_class=True) if the clips have two, or use the "
            "encoder as it is, without training:\n"
            "  python -m asd_jax.evaluate --config=FILE --weights=FILE.safetensors --workdir=DIR"
        )
    number = {c: n for n, c in enumerate(classes)}
    return classes, [
        {
            "label": number[clip_class(clip, with_domain=with_domain)],
            "simam_mode": config.front_end.simam.mode_of(clip.machine),
        }
        for clip in clips
    ]
