"""Computes the views of a window: three of the filter bank, and the encoder's embedding."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from asd_jax.features.front_end import FrontEnd, SimAM
from asd_jax.features.rhythm import rhythm
from asd_jax.features.settings import HOP_MS
from asd_jax.features.simam import MODES
from asd_jax.models.encoder import Encoder, EncoderConfig
from asd_jax.runtime.errors import InputError
from asd_jax.scoring.options import Scoring
from asd_jax.training.mesh import own_devices, shard_batch
from asd_jax.training.runtime import embed_in
from asd_jax.training.weights import (
    Pipeline,
    load_pipeline,
    read_header,
)

BATCH = 8  # windows per device
_SECOND = 1000 // HOP_MS  # frames in a second
# Autocorrelation that normal sounds must rise to again to have a rhythm. Those of fans, motors and
# drones reach 0.0 to 0.3, of synthetic valves and presses 0.9 to 1.7.
RHYTHMIC = 0.5
# Views that count only well above their usual scores. Most faults leave the rhythm as it is; its
# chance variation cost steady faults up to 0.026 of AUC on the synthetic valve (benchmarks.timing).
RESERVED = ("rhythm",)
# Two back ends score each view of the filter bank: the residual outside the directions in which
# normal sounds vary, however large that variation is, and the distance to the nearest normal sound,
# relative to the distances between normal sounds.
FILTER_BANK = Scoring(back_end="pca_residual+local_density", distance="euclidean", standardize=True)
# The best back end for the last block of the packaged encoder, by simulated faults in normal sounds
# (benchmarks/choice_without_labels.py).
FROZEN = Scoring(back_end="mahalanobis")
FINE_TUNED = Scoring(back_end="local_density")  # uses cosine distance, as ArcFace trains angles


def scoring_of(
    pipeline: Pipeline | None, normal: Mapping[str, np.ndarray] | None = None
) -> dict[str, Scoring]:
    """Returns {view: its back ends}.

    Without a rhythm in most normal sounds, the view "rhythm" would only add chance, and is left
    out.

    Args:
        pipeline: the encoder, if there is one.
        normal: {view: vectors of normal windows "n ..."}; None for all views.
    """
    scoring = {view: FILTER_BANK for view in ("level", "fluctuation", "rhythm")}
    if normal is not None and np.median(normal["rhythm"][:, 0]) < RHYTHMIC:
        del scoring["rhythm"]
    if pipeline is not None:
        scoring["encoder"] = FINE_TUNED if pipeline.config.pooling.embedding_dim else FROZEN
    return scoring


def load_pipeline_or_eat(path: str | Path) -> Pipeline:
    """Returns the pipeline of an encoder's weight file, or of the file of a bare EAT.

    A bare EAT gets the front end that its file names, or that of a public checkpoint if it names
    none.

    Raises:
        InputError: as for `load_pipeline`.
    """
    # The header says what a file holds without reading its weights.
    header = read_header(path)
    if header["kind"] == "encoder":
        return load_pipeline(path)
    # The last block is the most specialised one, so an earlier block is used, if there is one.
    one_block = isinstance(header.get("eat"), dict) and header["eat"].get("depth") == 1
    return load_pipeline(path, pooling="band_mean", block=-1 if one_block else -2)


def for_machine(pipeline: Pipeline, machine: str | None) -> Pipeline:
    """Returns the pipeline with its SimAM mode fixed for one machine.

    Raises:
        InputError: the mode depends on the machine, but the machine is not given or is unknown.
    """
    simam = pipeline.config.front_end.simam
    # A text is one mode for all machines; otherwise there is a mode for each.
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
    """Returns the sampling rate of the pipeline's input, in Hz."""
    return pipeline.config.front_end.sample_rate if pipeline is not None else FrontEnd.sample_rate


def views(
    pipeline: Pipeline | None, windows: Float[np.ndarray, "b s"], *, with_rhythm: bool = True
) -> tuple[dict[str, np.ndarray], Float[np.ndarray, "b m f"]]:
    """Returns ({view: vectors "b ..."}, log energies of each second "b m f") of windows "b s".

    The views are "level" and "fluctuation", the mean and the standard deviation over time of the
    log mel energies, "b f"; "rhythm", "b r", whose first number is the regularity (see
    features/rhythm.py); and "encoder", the embedding, if there is an encoder. The program of the
    rhythm takes as long to compile as all others, so it can be left out.
    """
    vectors, seconds, _ = views_and_unsteadiness(pipeline, windows, with_rhythm=with_rhythm)
    return vectors, seconds


def views_and_unsteadiness(
    pipeline: Pipeline | None, windows: Float[np.ndarray, "b s"], *, with_rhythm: bool = True
) -> tuple[dict[str, np.ndarray], Float[np.ndarray, "b m f"], Float[np.ndarray, "b"]]:
    """Returns the results of `views`, and the unsteadiness "b" of windows "b s".

    The unsteadiness is the root mean square difference between the log energies of a window's
    halves.
    """
    # Another runtime computes the embedding only; the filter bank stays with JAX.
    elsewhere = pipeline if pipeline is not None and pipeline.runtime != "jax" else None
    config, params = _of_one_window(pipeline)
    if elsewhere is not None:
        # The filter bank alone stands for the encoder, whose embedding is computed below.
        config = EncoderConfig(elsewhere.config.front_end, None)
        params = {}
    elif pipeline is not None and len(windows) > 1:
        params = pipeline.on_devices
    traced = functools.partial(traced_views, config, params, with_rhythm=with_rhythm)
    arrays = in_batches(traced, windows)
    # jax.tree.leaves orders the entries of a dictionary by their keys.
    names = sorted([*view_names(pipeline, with_rhythm), "seconds", "unsteadiness"])
    vectors = dict(zip(names, arrays, strict=True))
    if elsewhere is not None:
        embed = embed_in(elsewhere.runtime, elsewhere.config, elsewhere.params)
        batches = range(0, len(windows), batch_size())
        vectors["encoder"] = np.concatenate(
            [embed(windows[n : n + batch_size()])[0] for n in batches]
        )
    return vectors, vectors.pop("seconds"), vectors.pop("unsteadiness")


def mel_front_end(rate: int) -> FrontEnd:
    """Returns the filter bank of "level" and "fluctuation" for sound of this rate in Hz."""
    return FrontEnd("mel", rate, high_hz=rate / 2, simam=SimAM("none"))


def second_starts(frames: int) -> list[int]:
    """Returns the first frame of each second in a window of `frames` frames.

    The last second ends with the window.
    """
    return [max(0, min(start, frames - _SECOND)) for start in range(0, frames, _SECOND)]


def in_batches(function: Callable, windows: Float[np.ndarray, "b s"]) -> list[np.ndarray]:
    """Returns the arrays that a JAX function gives for windows "b s".

    They are computed in batches of 8 windows per device.
    """
    # A single window is typical of a live stream, which gets a program of its own on one device.
    # The results of a batch and of one window differ by rounding only.
    if len(windows) == 1:
        return [np.asarray(array) for array in jax.tree.leaves(function(windows))]
    mesh = own_devices()
    size = batch_size()
    batches = []
    for start in range(0, len(windows), size):
        batch = windows[start : start + size]
        # Batches of one size need one compiled program; the copies that fill the last one are cut
        # off.
        padded = {"wave": np.concatenate([batch, np.repeat(batch[:1], size - len(batch), axis=0)])}
        with jax.set_mesh(mesh):
            arrays = jax.tree.leaves(function(shard_batch(mesh, padded)["wave"]))
        batches.append([np.asarray(array)[: len(batch)] for array in arrays])
    return [np.concatenate(arrays) for arrays in zip(*batches, strict=True)]


def batch_size() -> int:
    """Returns the number of windows that are processed at once."""
    return BATCH * own_devices().size


def view_names(pipeline: Pipeline | None, with_rhythm: bool) -> list[str]:
    """Returns the names of the views, with or without "rhythm"."""
    return [name for name in scoring_of(pipeline) if with_rhythm or name != "rhythm"]


def shapes(
    pipeline: Pipeline | None, samples: int, *, with_rhythm: bool = True
) -> dict[str, tuple[int, ...]]:
    """Returns {view: shape of a window's vector}, without computing anything."""
    config, params = _of_one_window(pipeline)
    traced = functools.partial(traced_views, config, params, with_rhythm=with_rhythm)
    # The arguments are those of a single window's program, so that it is traced only once.
    outputs = jax.eval_shape(traced, jax.ShapeDtypeStruct((1, samples), jnp.float32))
    return {view: outputs[view].shape[1:] for view in view_names(pipeline, with_rhythm)}


def _of_one_window(pipeline: Pipeline | None) -> tuple[EncoderConfig | None, dict]:
    """Returns the encoder and its parameters for a single window, whose program is ready soon."""
    return (None, {}) if pipeline is None else (pipeline.config, pipeline.stacked)


@functools.partial(jax.jit, static_argnames=("config", "with_rhythm"))
def traced_views(
    config: EncoderConfig | None, params: dict, wave, *, with_rhythm: bool = True
) -> dict[str, jax.Array]:
    """Returns {view: vectors "b ..."}, "seconds" and "unsteadiness" as a JAX function.

    See `views` for their meaning.
    """
    rate = config.front_end.sample_rate if config else FrontEnd.sample_rate
    energies = mel_front_end(rate).log_energies(wave)
    second = min(_SECOND, energies.shape[1])
    seconds = jnp.stack(
        [energies[:, n : n + second].mean(1) for n in second_starts(energies.shape[1])], 1
    )
    # A window may be a single frame long.
    half = max(1, energies.shape[1] // 2)
    difference = energies[:, :half].mean(1) - energies[:, -half:].mean(1)
    outputs = {
        "level": energies.mean(1),
        "fluctuation": jnp.std(energies, 1),
        "seconds": seconds,
    }
    if with_rhythm:
        outputs["rhythm"] = rhythm(energies)
    outputs["unsteadiness"] = jnp.sqrt(jnp.square(difference).mean(1))
    if config is not None:
        outputs["encoder"] = Encoder(config).apply({"params": params}, wave)[0]
    return outputs
