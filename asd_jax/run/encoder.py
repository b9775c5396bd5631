"""Builds the encoder of a run: its front end, its sizes, its weights and its devices."""

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.typing import DTypeLike

from asd_jax.config import Model, PretrainingModel, RunConfig, Size
from asd_jax.data.batches import clip_batches
from asd_jax.data.clips import Clip
from asd_jax.data.windows import Window
from asd_jax.features.front_end import FRAME_MULTIPLE, FrontEnd, SimAM
from asd_jax.features.own import allow_own
from asd_jax.features.settings import FilterBank
from asd_jax.models.eat import EATConfig
from asd_jax.models.encoder import EncoderConfig, Pooling
from asd_jax.run.clips import clip_windows, window_reader
from asd_jax.runtime.errors import InputError, config_section
from asd_jax.runtime.log import print_line
from asd_jax.training import pseudo_classes
from asd_jax.training.embedding import Batching
from asd_jax.training.mesh import make_mesh, own_devices
from asd_jax.training.runtime import check_runtime
from asd_jax.training.weights import (
    HOW_TO_GET_WEIGHTS,
    Pipeline,
    front_end_of,
    load_encoder,
    random_eat,
)


def check_run(config: RunConfig, *, training: bool = True) -> None:
    """Checks that a run can be made with the config, before anything is read or computed.

    Raises:
        InputError: names the key that is wrong, or the keys that contradict each other.
    """
    config.validate()
    allow_own(config.features.spacing)
    # Without clips, only the lengths are checked.
    clip_windows(config, [])
    if config.model.runtime != "jax":
        check_runtime(config.model.runtime)
    # The check does not depend on the statistics, and measuring them would read all clips.
    given = dataclasses.replace(
        config, features=dataclasses.replace(config.features, statistics="given")
    )
    if training:
        # Only checked here: the batch must divide among the devices.
        training_mesh(config)
        encoder_config(given, [])
    else:
        front_end(given)


def front_end(config: RunConfig, clips: Sequence[Clip] = ()) -> FrontEnd:
    """Returns the front end of `config.features`.

    The clips are read only if their statistics are required.

    Raises:
        InputError: names the key that is wrong.
    """
    features = config.features
    with config_section("features."):
        simam = SimAM(
            features.simam_modes,
            e_lambda=features.simam_lambda,
            before_normalization=features.simam_before_normalization,
            ignores_padding=features.simam_ignores_padding,
            tile=(features.simam_tile_frames, features.simam_tile_filters),
        )
        for machine in sorted({clip.machine for clip in clips}):
            simam.mode_of(machine)  # fails early if a mapping lacks a machine
        front = front_end_of_bank(features, simam)
    if features.statistics == "train":
        mean, std = training_statistics(config, front, clips)
        front = dataclasses.replace(front, mean=mean, std=std)
    elif features.statistics == "weights":
        own = front_end_of_weights(config.model.weights)
        front = dataclasses.replace(front, mean=own.mean, std=own.std)
    # Rounded up to whole tiles of SimAM, which the padding fills.
    frames = front.real_frames(round(config.data.clip_seconds * FrontEnd.sample_rate))
    return dataclasses.replace(front, frames=frames + -frames % FRAME_MULTIPLE)


def front_end_of_bank(bank: FilterBank, simam: SimAM) -> FrontEnd:
    """Returns the front end with a filter bank's settings, for clips of any length."""
    return FrontEnd(
        spacing=bank.spacing,
        bins=bank.bins,
        low_hz=bank.low_hz,
        high_hz=bank.high_hz,
        mean=bank.mean,
        std=bank.std,
        simam=simam,
    )


def front_end_of_weights(weights: str) -> FrontEnd:
    """Returns the front end that a weight file was pre-trained or fine-tuned with.

    Raises:
        InputError: the file has none.
    """
    if weights in ("", "none") or (own := front_end_of(weights)) is None:
        raise InputError(
            f"features.statistics=weights: model.weights={weights!r} has no front end of its own; "
            "set --config.features.statistics=given (AudioSet's, as the public checkpoints) or "
            "train"
        )
    return own


def note_other_front_end(weights: str, front: FrontEnd) -> None:
    """Prints a note if an EAT was pre-trained with another filter bank or other statistics."""
    own = front_end_of(weights) if weights not in ("", "none") else None
    if own is None:
        return
    # SimAM is not compared, because pre-training never uses it.
    names = ("spacing", "bins", "low_hz", "high_hz", "mean", "std")
    different = [
        f"{n} {getattr(own, n)} there, {getattr(front, n)} here"
        for n in names
        if getattr(own, n) != getattr(front, n)
    ]
    if different:
        print_line(f"{weights} was pre-trained with another front end: {'; '.join(different)}")


def training_statistics(
    config: RunConfig, front: FrontEnd, clips: Sequence[Clip]
) -> tuple[float, float]:
    """Returns the mean and standard deviation of the log energies of the training clips."""
    train = clip_windows(config, [clip for clip in clips if clip.split == "train"], training=True)
    # Batches of one, because a larger last batch repeats clips, which would count twice.
    batches = clip_batches(
        train, [{}] * len(train), window_reader(config), batch_size=1, threads=config.data.threads
    )
    return log_energy_statistics(front, (batch["wave"] for batch in batches))


def log_energy_statistics(front: FrontEnd, waves: Iterable) -> tuple[float, float]:
    """Returns the mean and standard deviation of all log energies of batches of waveforms "b s"."""
    count = 0
    total = 0.0
    squares = 0.0
    # One batch at a time, as the energies of a data set do not fit into memory.
    for wave in waves:
        # Sums over many frames would lose precision in float32.
        energies = np.asarray(front.log_energies(wave), np.float64)
        count += energies.size
        total += energies.sum()
        squares += np.square(energies).sum()
    mean = total / count
    return float(mean), float(np.sqrt(squares / count - mean**2))


def encoder_config(config: RunConfig, clips: Sequence[Clip]) -> EncoderConfig:
    """Returns the settings of the encoder that a training run builds.

    Raises:
        InputError: names the key that is wrong.
    """
    model = config.model
    pooling = Pooling(model.pooling, model.block, model.embedding_dim, config.tokens)
    if model.encoder == "filter_bank":
        return EncoderConfig(front_end(config, clips), None, pooling)
    if pooling.bands == "apart":
        key = "model.pooling=band_mean" if pooling.kind == "band_mean" else "tokens.bands=apart"
        raise InputError(
            f"{key} keeps the bands apart, which ArcFace cannot train; it is for frozen encoders. "
            "For training: --config.tokens.bands=joined"
        )
    sizes = eat_config(model, config.features.bins)
    return EncoderConfig(front_end(config, clips), sizes, pooling, model.attention)


_KEYS_OF_SIZES = {  # argument of EATConfig -> the key of the config that gives it
    "embed_dim": "model.width",
    "depth": "model.depth",
    "num_heads": "model.heads",
    "mel_bins": "features.bins",
}


def eat_config(model: Size, bins: int) -> EATConfig:
    """Returns the sizes that `config.model` specifies, for the given number of filters.

    Raises:
        InputError: the sizes are inconsistent.
    """
    sizes = getattr(EATConfig, model.size)()
    try:
        return dataclasses.replace(
            sizes,
            # 0 in the config stands for the value that the size has.
            embed_dim=model.width or sizes.embed_dim,
            depth=model.depth or sizes.depth,
            num_heads=model.heads or sizes.num_heads,
            mel_bins=bins,
        )
    except ValueError as error:
        # The user set keys of the config, not the arguments of EATConfig.
        argument, _, rest = str(error).partition("=")
        key = _KEYS_OF_SIZES.get(argument)
        raise InputError(f"{key}={rest}" if key else f"model: {error}") from error


def pretrained_eat(model: Model | PretrainingModel, bins: int) -> tuple[EATConfig, dict] | None:
    """Returns the sizes and parameters of the EAT that `model.weights` names, None for "none".

    Raises:
        InputError: no file is named, it does not exist, or its sizes differ from the config's.
    """
    name = model.weights
    if name == "none":
        return None
    if not name:
        raise InputError(
            f"--config.model.weights names no weight file; {HOW_TO_GET_WEIGHTS}\n"
            "to train from scratch on purpose: --config.model.weights=none"
        )
    sizes, params = load_encoder(name)
    if sizes != (wanted := eat_config(model, bins)):
        raise InputError(
            f"{name} holds {sizes}, but the config asks for {wanted}; set --config.model.size to "
            "fit"
        )
    return sizes, params


def frozen_pooling(config: RunConfig) -> Pooling:
    """Returns the pooling that `config.frozen` selects."""
    frozen = config.frozen
    # Width 0: a trained projection to another width would be random here.
    return Pooling(frozen.pooling or "band_mean", frozen.block, 0, config.tokens)


def with_pseudo_classes(
    config: RunConfig,
    windows: Sequence[Window],
    encoder: EncoderConfig,
    pretrained: tuple[EATConfig, dict] | None,
    path: Path,
) -> list[Window]:
    """Returns the training windows with pseudo-classes for machines without attributes.

    Each such machine gets `data.pseudo_classes` classes, which are kept in a file at the path.
    """
    eat = pretrained[1] if pretrained else random_eat(encoder.backbone, config.seed)
    # The pooling and the attention of the run are not trained yet, so frozen ones replace them.
    frozen = dataclasses.replace(encoder, pooling=frozen_pooling(config), attention="none")
    embed_clips = pseudo_classes.frozen_embedder(
        Pipeline(frozen, {"eat": eat}),
        window_reader(config),
        Batching(config.optimizer.batch_size, config.data.threads, own_devices()),
        compute_dtype(config.model),
    )
    return pseudo_classes.with_pseudo_classes(
        windows, embed_clips, clusters=config.data.pseudo_classes, path=path
    )


def training_mesh(config: RunConfig) -> Mesh:
    """Returns the mesh of devices, with the training state divided by `config.parallel`."""
    return make_mesh(
        config.optimizer.batch_size,
        parts=config.optimizer.accumulate,
        shards=config.parallel.shards,
    )


def compute_dtype(model: Size) -> DTypeLike:
    """Returns the type that EAT computes in."""
    return getattr(jnp, model.dtype)


def note_slow_dtype(model: Size) -> None:
    """Prints a note if EAT computes in a type that is slow on this device.

    On a CPU bfloat16 is emulated, which takes about five times as long as float32.
    """
    if model.dtype == "bfloat16" and jax.default_backend() == "cpu":
        print_line(
            "note: model.dtype=bfloat16 is slow on a CPU, about a fifth of the speed; "
            "--config.model.dtype=float32 computes the same more exactly"
        )
