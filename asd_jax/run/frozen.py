"""Builds the frozen encoder of a run, with its front end."""

import dataclasses
from collections.abc import Collection, Sequence

from asd_jax.config import RunConfig
from asd_jax.data.clips import Clip
from asd_jax.features.front_end import FrontEnd
from asd_jax.features.settings import Features
from asd_jax.models.encoder import EncoderConfig
from asd_jax.models.settings import Tokens
from asd_jax.run.encoder import eat_config, encoder_config, front_end, frozen_pooling
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.log import print_line
from asd_jax.training.weights import (
    front_end_of,
    load_encoder,
    load_pipeline,
    random_eat,
    read_header,
    weights_file,
)

_BANKS = {"even": "m-FB (even)", "mel": "o-FB (mel)", "gammatone": "g-FB (gammatone)"}


def frozen_encoder(config: RunConfig, clips: Sequence[Clip]) -> tuple[EncoderConfig, dict]:
    """Returns the frozen encoder that `config.model.weights` and `config.frozen` name, with
    parameters.

    A weight file's own pooling is used unless `frozen.pooling` selects another. For the front end
    see `frozen_front_end`, which prints it.

    Raises:
        InputError: as for `frozen_front_end`; or a key of `tokens` would not count.
    """
    if config.model.encoder == "filter_bank":
        encoder = encoder_config(config, clips)
        print_line(f"front end: {in_words(encoder.front_end)}")
        return encoder, {}
    front = frozen_front_end(config, clips)
    if config.model.weights == "none":
        # Without a file, the config alone says what to build.
        eat = eat_config(config.model, config.features.bins)
        return _encoder(config, front, eat), {"eat": random_eat(eat, config.seed)}
    # A bare EAT, such as convert.eat writes, has no pooling of its own.
    if read_header(config.model.weights)["kind"] != "encoder":
        eat, params = load_encoder(config.model.weights)
        return _encoder(config, front, eat), {"eat": params}
    pipeline = load_pipeline(config.model.weights)
    encoder = dataclasses.replace(pipeline.config, front_end=front)
    if not config.frozen.pooling:
        # A key that changes nothing would mislead.
        if config.tokens not in (Tokens(), encoder.pooling.tokens):
            raise InputError(
                f"{config.model.weights} pools its tokens in its own way, so tokens.* would not "
                "count: set --config.frozen.pooling, e.g. to mean"
            )
        return encoder, pipeline.params
    # Another pooling cannot use the parameters of the file's own pooling.
    parts = {name: of for name, of in pipeline.params.items() if name in ("eat", "attention")}
    return dataclasses.replace(encoder, pooling=frozen_pooling(config)), parts


def _encoder(config, front, eat):
    return EncoderConfig(front, eat, frozen_pooling(config))


def frozen_front_end(config: RunConfig, clips: Sequence[Clip]) -> FrontEnd:
    """Returns the front end of a frozen encoder, and prints it.

    It is the front end that the header of the weight file names. The keys of `features` that
    `frozen.features` names replace the file's own values. `frozen.features=config`, and a file
    without a front end, mean the config's.

    Raises:
        InputError: a key is wrong, or the file is.
    """
    weights = config.model.weights
    own = front_end_of(weights) if weights not in ("", "none") else None
    if own is None or config.frozen.features == "config":
        found = front_end(config, clips)
        origin = "features of the config"
    elif not (names := config.frozen.feature_names):
        found = own
        origin = f"the header of {weights_file(weights).name}"
    else:
        found = front_end(
            dataclasses.replace(config, features=_merged(own, config.features, names)), clips
        )
        set_here = ", ".join(f"{name}={getattr(config.features, name)}" for name in names)
        origin = f"the header of {weights_file(weights).name}, but {set_here} as set"
    print_line(f"front end: {in_words(found)}; from {origin}")
    return found


def _merged(own: FrontEnd, features: Features, names: Collection[str]) -> Features:
    """Returns a file's own front end as settings, with the named keys of the config's features."""
    simam = own.simam
    values = {
        "spacing": own.spacing,
        "bins": own.bins,
        "low_hz": own.low_hz,
        "high_hz": own.high_hz,
        "mean": own.mean,
        "std": own.std,
        "statistics": "given",
        # The key takes one mode or a mapping, so the pairs become a mapping again.
        "simam": simam.mode if isinstance(simam.mode, str) else simam.by_machine,
        "simam_lambda": simam.e_lambda,
        "simam_tile_frames": simam.tile[0],
        "simam_tile_filters": simam.tile[1],
        "simam_before_normalization": simam.before_normalization,
        "simam_ignores_padding": simam.ignores_padding,
    }
    # statistics=given means the config's mean and std.
    names = {*names, "mean", "std"} if "statistics" in names else names
    kept = {name: value for name, value in values.items() if name not in names}
    return dataclasses.replace(features, **kept)


def in_words(front: FrontEnd) -> str:
    """Returns a front end in a line: filter bank, normalisation and SimAM."""
    simam = front.simam
    mode = simam.mode if isinstance(simam.mode, str) else str(simam.by_machine)
    # Only local SimAM has tiles.
    if "local" in simam.modes:
        mode += " {} x {}".format(*simam.tile)
    bank = _BANKS.get(front.spacing, front.spacing)
    return (
        f"{bank}, {front.bins} filters {front.low_hz:g}-{front.high_hz:g} Hz, "
        f"mean {front.mean:.6g}, std {front.std:.6g}, SimAM {mode}"
    )
