"""What a config means: from a ConfigDict to front end, encoder, training and scoring; clips:
recordings.py.
"""

import dataclasses
import importlib.util
import json
import operator
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from asd_jax.data.audio import RESAMPLERS
from asd_jax.data.batches import clip_batches
from asd_jax.data.clips import Clip
from asd_jax.data.windows import Window
from asd_jax.features.front_end import FRAME_MULTIPLE, FrontEnd, SimAM
from asd_jax.models.eat import EATConfig
from asd_jax.models.encoder import EncoderConfig, Pooling
from asd_jax.run.recordings import check_machines, hold_out, named_machines, window_reader, windows
from asd_jax.runtime.command import check_keys
from asd_jax.runtime.errors import InputError, near
from asd_jax.runtime.log import say
from asd_jax.scoring.official_score import check_year
from asd_jax.scoring.options import Scoring
from asd_jax.training import pseudo_classes
from asd_jax.training.mesh import make_mesh
from asd_jax.training.settings import FineTuning
from asd_jax.training.weights import (
    HOW_TO_GET_WEIGHTS,
    front_end_of,
    load_encoder,
    load_pipeline,
    random_eat,
    read_header,
)


def check(config: ConfigDict, *, training: bool = True) -> None:
    """Finds wrong values, and keys that do not go together, before anything is read or computed.

    Raises:
        InputError: names the key.
    """
    check_each(config)
    if config.scoring.normalization == "held_out" and not config.data.held_out:
        raise InputError(
            "scoring.normalization=held_out needs clips held out: set --config.data.held_out, "
            "e.g. 0.2"
        )
    hold_out([], config.data.held_out, config.seed)
    windows(config, [])
    if config.data.root != "factory":
        check_machines(named_machines(config), config.data.year)
    given = config.copy_and_resolve_references()
    given.features.statistics = "given"
    if training:
        mesh(config)
        encoder_config(given, [])
    else:
        front_end(given)


def check_each(config: ConfigDict) -> None:
    """Finds keys that are unknown or lacking, and values that are wrong by themselves.

    Raises:
        InputError: names the key.
    """
    from configs import base

    check_keys(config.to_dict(), base.get_config().to_dict())
    Scoring(**config.scoring)
    check_year(config.data.year)
    dtype(config)
    least = {
        "seed": 0,
        "log.every": 1,
        "log.checkpoint_every": 1,
        "data.threads": 1,
        "report.clips": 0,
    }
    least |= {
        "optimizer.batch_size": 1,
        "model.embedding_dim": 0,
        "factory.seed": 0,
        "data.pseudo_classes": 0,
    }
    choices = {"data.pad": ("repeat", "zeros"), "data.resampler": RESAMPLERS}
    choices |= {
        "data.on_bad_clip": ("error", "skip"),
        "features.statistics": ("given", "train", "weights"),
    }
    choices |= {"frozen.features": ("weights", "config"), "report.map": ("pca", "umap")}
    check_values(config, {"seeds": 1, **least}, choices)
    if config.frozen.pooling not in ("", "band_mean", "mean", "cls"):
        raise InputError(
            f"frozen.pooling={config.frozen.pooling!r}; known: band_mean, mean, cls, or empty"
        )
    if config.report.map == "umap" and not importlib.util.find_spec("umap"):
        raise InputError(
            "report.map=umap: UMAP is not installed; pip install -e '.[umap]', or leave it at pca"
        )


def check_values(
    config: ConfigDict, least: dict[str, int], choices: dict[str, tuple[str, ...]]
) -> None:
    """Raises InputError for a key below its least value, or with a value that is none of its
    choices.
    """
    for key, smallest in least.items():
        if (value := operator.attrgetter(key)(config)) < smallest:
            raise InputError(f"{key}={value} must be at least {smallest}")
    for key, known in choices.items():
        if (value := operator.attrgetter(key)(config)) not in known:
            raise InputError(f"{key}={value!r}; known: {', '.join(known)}.{near(value, known)}")


def front_end(config: ConfigDict, clips: Sequence[Clip] = ()) -> FrontEnd:
    """The front end of `config.features`; the clips are read only if their statistics are asked
    for.
    """
    f = config.features
    tile = (f.simam_tile_frames, f.simam_tile_filters)
    simam = SimAM(
        _simam_mode(f.simam),
        f.simam_lambda,
        f.simam_before_normalization,
        f.simam_ignores_padding,
        tile,
    )
    for machine in sorted({clip.machine for clip in clips}):
        # a mapping that forgets a machine is found before anything is computed
        simam.mode_of(machine)
    front = FrontEnd(
        f.spacing, FrontEnd.sample_rate, f.bins, f.low_hz, f.high_hz, f.mean, f.std, simam
    )
    if f.statistics == "train":
        mean, std = training_statistics(config, front, clips)
        front = dataclasses.replace(front, mean=mean, std=std)
    elif f.statistics == "weights":
        own = own_front_end(config.model.weights)
        front = dataclasses.replace(front, mean=own.mean, std=own.std)
    frames = front.real_frames(round(config.data.clip_seconds * FrontEnd.sample_rate))
    return dataclasses.replace(front, frames=frames + -frames % FRAME_MULTIPLE)


def own_front_end(weights: str) -> FrontEnd:
    """The front end that a weight file was pre-trained or fine-tuned with.

    Raises:
        InputError: the file has none.
    """
    if weights in ("", "none") or (own := front_end_of(weights)) is None:
        raise InputError(
            f"features.statistics=weights: model.weights={weights!r} has no front end of its own; "
            f"set "
            "--config.features.statistics=given (AudioSet's, as the public checkpoints) or train"
        )
    return own


def tell_other_front_end(weights: str, front: FrontEnd) -> None:
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
    config: ConfigDict, front: FrontEnd, clips: Sequence[Clip]
) -> tuple[float, float]:
    """Mean and standard deviation of the log energies of the training clips."""
    train = windows(config, [clip for clip in clips if clip.split == "train"], training=True)
    batches = clip_batches(
        train, [{}] * len(train), window_reader(config), batch_size=1, threads=config.data.threads
    )
    return log_energy_statistics(front, (batch["wave"] for batch in batches))


def log_energy_statistics(front: FrontEnd, waves: Iterable) -> tuple[float, float]:
    """Batches of waveforms "b s" -> mean and standard deviation of all their log energies."""
    count, total, squares = 0, 0.0, 0.0
    for wave in waves:
        energies = np.asarray(front.log_energies(wave), np.float64)
        count, total, squares = (
            count + energies.size,
            total + energies.sum(),
            squares + np.square(energies).sum(),
        )
    mean = total / count
    return float(mean), float(np.sqrt(squares / count - mean**2))


def encoder_config(config: ConfigDict, clips: Sequence[Clip]) -> EncoderConfig:
    """The encoder that a training run makes."""
    model = config.model
    pooling = Pooling(model.pooling, model.block, model.embedding_dim)
    if model.encoder == "filter_bank":
        return EncoderConfig(front_end(config, clips), None, pooling)
    if model.encoder != "eat":
        raise InputError(f"model.encoder={model.encoder!r}; known: eat, filter_bank")
    if pooling.kind == "band_mean":
        raise InputError(
            "model.pooling=band_mean keeps the bands apart, which ArcFace cannot train; it is for "
            "frozen encoders (frozen.pooling). Known here: attentive_statistics, mean, cls"
        )
    return EncoderConfig(front_end(config, clips), eat_config(config), pooling, model.attention)


def eat_config(config: ConfigDict) -> EATConfig:
    """The sizes that `config.model` asks for."""
    model = config.model
    if model.size not in ("base", "large", "tiny"):
        raise InputError(f"model.size={model.size!r}; known: base, large, tiny")
    sizes = getattr(EATConfig, model.size)()
    try:
        return EATConfig(
            model.width or sizes.embed_dim,
            model.depth or sizes.depth,
            model.heads or sizes.num_heads,
            sizes.mlp_ratio,
            config.features.bins,
        )
    except ValueError as error:
        raise InputError(f"model: {error}") from error


def pretrained_eat(config: ConfigDict) -> tuple[EATConfig, dict] | None:
    """Sizes and parameters of the EAT that `config.model.weights` names, None for "none".

    Raises:
        InputError: none named, not there, or of another size than the config asks for.
    """
    name = config.model.weights
    if name == "none":
        return None
    if not name:
        raise InputError(
            f"--config.model.weights names no weight file; {HOW_TO_GET_WEIGHTS}\n"
            "to train from scratch on purpose: --config.model.weights=none"
        )
    sizes, params = load_encoder(name)
    if sizes != (wanted := eat_config(config)):
        raise InputError(
            f"{name} holds {sizes}, but the config asks for {wanted}; set --config.model.size to "
            f"fit"
        )
    return sizes, params


def frozen_encoder(config: ConfigDict, clips: Sequence[Clip]) -> tuple[EncoderConfig, dict]:
    """Frozen mode: the encoder that `config.model.weights` and `config.frozen` name, and its
    parameters.

    A file of a run, or of pre-training, brings its own front end unless `frozen.features` asks for
    the config's, and its own pooling unless `frozen.pooling` asks for another.
    """
    own_pooling = _frozen_pooling(config)
    if config.model.encoder == "filter_bank":
        return encoder_config(config, clips), {}
    if config.model.weights == "none":
        eat, params = eat_config(config), random_eat(eat_config(config), config.seed)
    elif read_header(config.model.weights)["kind"] == "encoder":
        pipeline = load_pipeline(config.model.weights)
        encoder, params = pipeline.config, pipeline.params
        if config.frozen.features == "weights":
            say(
                f"{config.model.weights}: an encoder with its own front end; features.* do not "
                f"count here"
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


def _frozen_pooling(config: ConfigDict) -> Pooling:
    return Pooling(config.frozen.pooling or "band_mean", config.frozen.block, 0)


def with_pseudo_classes(
    config: ConfigDict, heard: Sequence[Window], encoder: EncoderConfig, pretrained, workdir: Path
) -> list[Window]:
    """The training windows, with `data.pseudo_classes` classes for each machine without
    attributes.
    """
    eat = pretrained[1] if pretrained else random_eat(encoder.backbone, config.seed)
    return pseudo_classes.with_pseudo_classes(
        heard,
        window_reader(config),
        dataclasses.replace(encoder, pooling=_frozen_pooling(config), attention="none"),
        {"eat": eat},
        clusters=config.data.pseudo_classes,
        path=workdir / "pseudo_classes.json",
        batch_size=config.optimizer.batch_size,
        dtype=dtype(config),
        threads=config.data.threads,
    )


def fine_tuning(config: ConfigDict) -> FineTuning:
    """The settings of config.optimizer, backbone, arcface and augment."""
    return FineTuning(**config.optimizer, **config.backbone, **config.arcface, **config.augment)


def mesh(config: ConfigDict) -> Mesh:
    """The devices, and how `config.parallel` shares out the training state among them."""
    settings = fine_tuning(config)
    return make_mesh(settings.batch_size, parts=settings.accumulate, shards=config.parallel.shards)


def keep_compiled(config: ConfigDict) -> None:
    """Keeps compiled programs in `compiled`, so that the same program need not be compiled again.

    Not on CPUs, whose programs hold only where they were made; a folder that JAX's own variable
    names stays.
    """
    named = jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue] made at run time
    if config.compiled and jax.default_backend() != "cpu" and not named:
        jax.config.update("jax_compilation_cache_dir", str(Path(config.compiled).expanduser()))


def dtype(config: ConfigDict):
    """The type that EAT computes in."""
    known = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
    if config.model.dtype not in known:
        raise InputError(f"model.dtype={config.model.dtype!r}; known: {', '.join(known)}")
    return known[config.model.dtype]


def config_values(config: ConfigDict) -> dict:
    """The config as plain values."""
    return json.loads(config.to_json_best_effort())


def _simam_mode(value):
    """A mode, or "{machine: mode, ...}" as typed on the command line, or the mapping itself."""
    if not isinstance(value, str):
        return dict(value)
    if not value.startswith("{"):
        return value
    pairs = re.findall(r"""["']?([^\s"':,{}]+)["']?\s*:\s*["']?([^\s"':,{}]+)["']?""", value)
    if not pairs:
        raise InputError(
            f'features.simam={value!r}; write a mapping as "{{ToyCar: local, fan: global}}"'
        )
    return dict(pairs)
