"""The encoder of a run: its front end, its sizes, its weights and its devices."""

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
from asd_jax.features.settings import FilterBank
from asd_jax.models.eat import EATConfig
from asd_jax.models.encoder import EncoderConfig, Pooling
from asd_jax.run.clips import clip_windows, window_reader
from asd_jax.runtime.errors import InputError, section
from asd_jax.runtime.log import say
from asd_jax.training import pseudo_classes
from asd_jax.training.mesh import make_mesh
from asd_jax.training.weights import (
    HOW_TO_GET_WEIGHTS,
    front_end_of,
    load_encoder,
    load_pipeline,
    random_eat,
    read_header,
)


def check(config: RunConfig, *, training: bool = True) -> None:
    """Returns if a run can be made of the config, before anything is read or computed.

    Raises:
        InputError: names the key that is wrong, or the keys that do not go together.
    """
    config.validate()
    clip_windows(config, [])
    given = dataclasses.replace(
        config, features=dataclasses.replace(config.features, statistics="given")
    )
    if training:
        training_mesh(config)
        encoder_config(given, [])
    else:
        front_end(given)


def front_end(config: RunConfig, clips: Sequence[Clip] = ()) -> FrontEnd:
    """The front end of `config.features`; the clips are read only if their statistics are asked
    for.

    Raises:
        InputError: names the key that is wrong.
    """
    features = config.features
    with section("features."):
        simam = SimAM(
            features.simam_modes,
            e_lambda=features.simam_lambda,
            before_normalization=features.simam_before_normalization,
            ignores_padding=features.simam_ignores_padding,
            tile=(features.simam_tile_frames, features.simam_tile_filters),
        )
        for machine in sorted({clip.machine for clip in clips}):
            simam.mode_of(machine)  # a mapping that forgets one is found before anything is read
        front = front_end_of_bank(features, simam)
    if features.statistics == "train":
        mean, std = training_statistics(config, front, clips)
        front = dataclasses.replace(front, mean=mean, std=std)
    elif features.statistics == "weights":
        own = own_front_end(config.model.weights)
        front = dataclasses.replace(front, mean=own.mean, std=own.std)
    frames = front.real_frames(round(config.data.clip_seconds * FrontEnd.sample_rate))
    return dataclasses.replace(front, frames=frames + -frames % FRAME_MULTIPLE)


def front_end_of_bank(bank: FilterBank, simam: SimAM) -> FrontEnd:
    """The front end of a filter bank's settings, for clips of any length."""
    return FrontEnd(
        spacing=bank.spacing,
        bins=bank.bins,
        low_hz=bank.low_hz,
        high_hz=bank.high_hz,
        mean=bank.mean,
        std=bank.std,
        simam=simam,
    )


def own_front_end(weights: str) -> FrontEnd:
    """The front end that a weight file was pre-trained or fine-tuned with.

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


def say_other_front_end(weights: str, front: FrontEnd) -> None:
    """Says so where an EAT was pre-trained on another filter bank, or other statistics, than it
    will hear.
    """
    own = front_end_of(weights) if weights not in ("", "none") else None
    if own is None:
        return
    names = ("spacing", "bins", "low_hz", "high_hz", "mean", "std")
    different = [
        f"{n} {getattr(own, n)} there, {getattr(front, n)} here"
        for n in names
        if getattr(own, n) != getattr(front, n)
    ]
    if different:
        say(f"{weights} was pre-trained with another front end: {'; '.join(different)}")


def training_statistics(
    config: RunConfig, front: FrontEnd, clips: Sequence[Clip]
) -> tuple[float, float]:
    """Mean and standard deviation of the log energies of the training clips."""
    train = clip_windows(config, [clip for clip in clips if clip.split == "train"], training=True)
    batches = clip_batches(
        train, [{}] * len(train), window_reader(config), batch_size=1, threads=config.data.threads
    )
    return log_energy_statistics(front, (batch["wave"] for batch in batches))


def log_energy_statistics(front: FrontEnd, waves: Iterable) -> tuple[float, float]:
    """Batches of waveforms "b s" -> mean and standard deviation of all their log energies."""
    count = 0
    total = 0.0
    squares = 0.0
    for wave in waves:
        energies = np.asarray(front.log_energies(wave), np.float64)
        count += energies.size
        total += energies.sum()
        squares += np.square(energies).sum()
    mean = total / count
    return float(mean), float(np.sqrt(squares / count - mean**2))


def encoder_config(config: RunConfig, clips: Sequence[Clip]) -> EncoderConfig:
    """The encoder that a training run makes.

    Raises:
        InputError: names the key that is wrong.
    """
    model = config.model
    pooling = Pooling(model.pooling, model.block, model.embedding_dim)
    if model.encoder == "filter_bank":
        return EncoderConfig(front_end(config, clips), None, pooling)
    if pooling.kind == "band_mean":
        raise InputError(
            "model.pooling=band_mean keeps the bands apart, which ArcFace cannot train; it is "
            "for frozen encoders (frozen.pooling). Known here: attentive_statistics, mean, cls"
        )
    sizes = eat_config(model, config.features.bins)
    return EncoderConfig(front_end(config, clips), sizes, pooling, model.attention)


def eat_config(model: Size, bins: int) -> EATConfig:
    """The sizes that `config.model` asks for, on so many filters.

    Raises:
        InputError: sizes that do not go together.
    """
    sizes = getattr(EATConfig, model.size)()
    try:
        return EATConfig(
            embed_dim=model.width or sizes.embed_dim,
            depth=model.depth or sizes.depth,
            num_heads=model.heads or sizes.num_heads,
            mlp_ratio=sizes.mlp_ratio,
            mel_bins=bins,
        )
    except ValueError as error:
        raise InputError(f"model: {error}") from error


def pretrained_eat(model: Model | PretrainingModel, bins: int) -> tuple[EATConfig, dict] | None:
    """Sizes and parameters of the EAT that `model.weights` names, None for "none".

    Raises:
        InputError: none named, not there, or of another size than the config asks for.
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


def frozen_encoder(config: RunConfig, clips: Sequence[Clip]) -> tuple[EncoderConfig, dict]:
    """Frozen mode: the encoder that `config.model.weights` and `config.frozen` name, and its
    parameters.

    A file of a run, or of pre-training, brings its own front end unless `frozen.features` asks for
    the config's, and its own pooling unless `frozen.pooling` asks for another.
    """
    own_pooling = _frozen_pooling(config)
    if config.model.encoder == "filter_bank":
        return encoder_config(config, clips), {}
    if config.model.weights == "none":
        eat = eat_config(config.model, config.features.bins)
        params = random_eat(eat, config.seed)
    elif read_header(config.model.weights)["kind"] == "encoder":
        pipeline = load_pipeline(config.model.weights)
        encoder, params = pipeline.config, pipeline.params
        if config.frozen.features == "weights":
            say(
                f"{config.model.weights}: an encoder with its own front end; features.* do not "
                "count here"
            )
        else:
            encoder = dataclasses.replace(encoder, front_end=front_end(config, clips))
        if not config.frozen.pooling:
            return encoder, params
        parts = {name: value for name, value in params.items() if name in ("eat", "attention")}
        return dataclasses.replace(encoder, pooling=own_pooling), parts
    else:
        eat, params = load_encoder(config.model.weights)
    return EncoderConfig(front_end(config, clips), eat, own_pooling), {"eat": params}


def _frozen_pooling(config: RunConfig) -> Pooling:
    return Pooling(config.frozen.pooling or "band_mean", config.frozen.block, 0)


def with_pseudo_classes(
    config: RunConfig,
    windows: Sequence[Window],
    encoder: EncoderConfig,
    pretrained: tuple[EATConfig, dict] | None,
    workdir: Path,
) -> list[Window]:
    """The training windows, with `data.pseudo_classes` classes for each machine without
    attributes.
    """
    eat = pretrained[1] if pretrained else random_eat(encoder.backbone, config.seed)
    return pseudo_classes.with_pseudo_classes(
        windows,
        window_reader(config),
        dataclasses.replace(encoder, pooling=_frozen_pooling(config), attention="none"),
        {"eat": eat},
        clusters=config.data.pseudo_classes,
        path=workdir / "pseudo_classes.json",
        batch_size=config.optimizer.batch_size,
        dtype=compute_dtype(config.model),
        threads=config.data.threads,
    )


def training_mesh(config: RunConfig) -> Mesh:
    """The devices, and how `config.parallel` shares out the training state among them."""
    return make_mesh(
        config.optimizer.batch_size,
        parts=config.optimizer.accumulate,
        shards=config.parallel.shards,
    )


def keep_compiled(config: RunConfig) -> None:
    """Keeps compiled programs in `compiled`, so that the same program need not be compiled again.

    Not on CPUs, whose programs hold only where they were made; a folder that JAX's own variable
    names stays.
    """
    named = jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue] made at run time
    if config.compiled and jax.default_backend() != "cpu" and not named:
        jax.config.update("jax_compilation_cache_dir", str(Path(config.compiled).expanduser()))


def compute_dtype(model: Size) -> DTypeLike:
    """The type that EAT computes in."""
    return getattr(jnp, model.dtype)
