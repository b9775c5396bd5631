"""What a detector hears of a window: two statistics of the mel filter bank, and the encoder's
embedding.
"""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from asd_jax.features.filter_bank import HOP_MS
from asd_jax.features.front_end import FrontEnd, SimAM
from asd_jax.features.simam import MODES
from asd_jax.models.encoder import Encoder, EncoderConfig, Pooling
from asd_jax.runtime.errors import InputError
from asd_jax.scoring.options import Scoring
from asd_jax.training.mesh import own_devices, spread
from asd_jax.training.weights import (
    Pipeline,
    front_end_of,
    load_encoder,
    load_pipeline,
    read_header,
)

BATCH = 8  # windows a device
_SECOND = 1000 // HOP_MS  # frames
# Two judges of the filter bank: what is left when the ways in which normal sounds vary are
# explained away, however large the variation, and the distance to the nearest normal sound, for how
# far those are from each other.
FILTER_BANK = Scoring(back_end="pca_residual+local_density", distance="euclidean", standardize=True)
# the best of the encoder in the box on the factory (benchmarks/box.py)
FROZEN = Scoring(back_end="mahalanobis")
FINE_TUNED = Scoring(back_end="local_density")  # ArcFace trains angles


def scoring_of(pipeline: Pipeline | None) -> dict[str, Scoring]:
    """{view: its back ends}."""
    found = {"level": FILTER_BANK, "fluctuation": FILTER_BANK}
    if pipeline is not None:
        found["encoder"] = FINE_TUNED if pipeline.config.pooling.embedding_dim else FROZEN
    return found


def load_pipeline_or_eat(path: str | Path) -> Pipeline:
    """An encoder's weight file, or a bare EAT's -> pipeline.

    A bare EAT hears the front end that its file names, that of a public checkpoint where it names
    none.

    Raises:
        InputError: as `load_pipeline`.
    """
    if read_header(path)["kind"] == "encoder":
        return load_pipeline(path)
    sizes, params = load_encoder(path)
    # the last block is the most specialised
    pooling = Pooling("band_mean", max(-2, -sizes.depth), 0)
    front_end = front_end_of(path) or FrontEnd("mel", bins=sizes.mel_bins, simam=SimAM("none"))
    return Pipeline(EncoderConfig(front_end, sizes, pooling), {"eat": params})


def for_machine(pipeline: Pipeline, machine: str | None) -> Pipeline:
    """A pipeline whose SimAM mode is fixed.

    Raises:
        InputError: the mode depends on the machine, and none, or an unknown one, is named.
    """
    simam = pipeline.config.front_end.simam
    if isinstance(simam.mode, str):
        return pipeline
    if machine is None:
        raise InputError(
            "these weights have a SimAM mode per machine: give --machine, one of "
            f"{simam.by_machine}"
        )
    mode = MODES[simam.mode_of(machine)]
    front_end = dataclasses.replace(
        pipeline.config.front_end, simam=dataclasses.replace(simam, mode=mode)
    )
    return dataclasses.replace(
        pipeline, config=dataclasses.replace(pipeline.config, front_end=front_end)
    )


def rate_of(pipeline: Pipeline | None) -> int:
    """The sampling rate that is heard, in Hz."""
    return pipeline.config.front_end.sample_rate if pipeline is not None else FrontEnd.sample_rate


def views(
    pipeline: Pipeline | None, windows: Float[np.ndarray, "b s"]
) -> tuple[dict[str, np.ndarray], Float[np.ndarray, "b m f"]]:
    """Windows "b s" -> ({view: vectors "b ..."}, log energies of each second "b m f").

    Views: "level" and "fluctuation", mean and standard deviation over time of the log mel energies
    "b f", and "encoder", the embedding, if there is an encoder.
    """
    vectors, seconds, _ = views_and_unsteadiness(pipeline, windows)
    return vectors, seconds


def views_and_unsteadiness(
    pipeline: Pipeline | None, windows: Float[np.ndarray, "b s"]
) -> tuple[dict[str, np.ndarray], Float[np.ndarray, "b m f"], Float[np.ndarray, "b"]]:
    """Windows "b s" -> `views`, and by how much the spectra of a window's halves differ, root mean
    square of the log energies.
    """
    config, params = (None, {}) if pipeline is None else (pipeline.config, pipeline.params)
    if pipeline is not None and len(windows) > 1:
        params = pipeline.on_devices
    parts = in_batches(functools.partial(traced_views, config, params), windows)
    # the order of jax.tree.leaves
    names = sorted([*scoring_of(pipeline), "seconds", "unsteadiness"])
    vectors = dict(zip(names, parts, strict=True))
    return vectors, vectors.pop("seconds"), vectors.pop("unsteadiness")


def mel_front_end(rate: int) -> FrontEnd:
    """The filter bank of "level" and "fluctuation", for sound of so many Hz."""
    return FrontEnd("mel", rate, high_hz=rate / 2, simam=SimAM("none"))


def second_starts(frames: int) -> list[int]:
    """The frame at which each second of a window of so many begins; the last ends with the
    window.
    """
    return [max(0, min(start, frames - _SECOND)) for start in range(0, frames, _SECOND)]


def in_batches(function: Callable, windows: Float[np.ndarray, "b s"]) -> list[np.ndarray]:
    """The arrays that a function of JAX makes of windows "b s", computed 8 windows a device at a
    time.
    """
    if len(windows) == 1:  # a live stream: a program of its own, on one device
        return [np.asarray(part) for part in jax.tree.leaves(function(windows))]
    mesh, size, found = own_devices(), batch_size(), []
    for start in range(0, len(windows), size):
        batch = windows[start : start + size]
        padded = {"wave": np.concatenate([batch, np.repeat(batch[:1], size - len(batch), axis=0)])}
        with jax.set_mesh(mesh):
            parts = jax.tree.leaves(function(spread(mesh, padded)["wave"]))
        found.append([np.asarray(part)[: len(batch)] for part in parts])
    return [np.concatenate(parts) for parts in zip(*found, strict=True)]


def batch_size() -> int:
    """Windows that are heard at once."""
    return BATCH * own_devices().size


def shapes(pipeline: Pipeline | None, samples: int) -> dict[str, tuple[int, ...]]:
    """{view: shape of the vector of a window}, computing nothing."""
    config, params = (pipeline.config, pipeline.params) if pipeline is not None else (None, {})
    found = jax.eval_shape(
        traced_views, config, params, jax.ShapeDtypeStruct((1, samples), jnp.float32)
    )
    return {view: found[view].shape[1:] for view in scoring_of(pipeline)}


@functools.partial(jax.jit, static_argnames="config")
def traced_views(config: EncoderConfig | None, params: dict, wave) -> dict[str, jax.Array]:
    """Windows "b s" -> {view: vectors "b ..."} and "seconds", see `views`, as one function of
    JAX.
    """
    rate = config.front_end.sample_rate if config else FrontEnd.sample_rate
    energies = mel_front_end(rate).log_energies(wave)
    second = min(_SECOND, energies.shape[1])
    seconds = jnp.stack(
        [energies[:, n : n + second].mean(1) for n in second_starts(energies.shape[1])], 1
    )
    half = max(1, energies.shape[1] // 2)
    differ = energies[:, :half].mean(1) - energies[:, -half:].mean(1)
    found = {"level": energies.mean(1), "fluctuation": jnp.std(energies, 1), "seconds": seconds}
    found["unsteadiness"] = jnp.sqrt(jnp.square(differ).mean(1))
    if config is not None:
        found["encoder"] = Encoder(config).apply({"params": params}, wave)[0]
    return found
