"""Computes the tokens of a frozen EAT once, before training, and keeps them on disk.

Training the pooling and the head alone then takes seconds an epoch, as EAT is not computed again.
"""

import dataclasses
import functools
import shutil
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from jax.typing import DTypeLike

from asd_jax.config import RunConfig
from asd_jax.data.batches import clip_batches
from asd_jax.data.windows import Window
from asd_jax.models.eat import EATConfig
from asd_jax.models.encoder import Encoder, EncoderConfig
from asd_jax.run.clips import window_reader
from asd_jax.run.embed import embedding_settings
from asd_jax.run.encoder import compute_dtype
from asd_jax.run.manifest import provenance_hash
from asd_jax.run.shards import SHARD, Shards
from asd_jax.runtime import processes
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import atomic_file
from asd_jax.runtime.log import progress
from asd_jax.training.checkpoint import checksum

FILE = "tokens.npy"  # of a shard: "clips n d", float32


class Rows(Sequence):
    """The rows of the shards' files, in order, as one sequence; they stay on disk."""

    def __init__(self, files: Sequence[Path]):
        self._parts = [np.load(file, mmap_mode="r") for file in files]

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    # Every shard but the last has SHARD rows, so the number of a row gives its place.
    def __getitem__(self, number):
        part, row = divmod(number, SHARD)
        # A copy: a row must not keep a reference to the map of a file.
        return np.array(self._parts[part][row])


def cached_tokens(
    config: RunConfig,
    encoder: EncoderConfig,
    pretrained: tuple[EATConfig, dict] | None,
    windows: Sequence[Window],
    folder: Path,
) -> tuple[Shards, Rows]:
    """Returns the shards in the folder, and the tokens "n d" of each window that they hold.

    Shards that an interrupted run has finished are kept.

    Raises:
        InputError: EAT has no weights yet, several processes train together, the disk is too
            small, or a recording cannot be read.
    """
    if pretrained is None or processes.is_distributed():
        raise InputError(
            "backbone.cache_tokens=True needs `weights=FILE` of a pre-trained EAT, and one process"
        )
    # Tokens are taken before they are pooled, so that a pooling without parameters serves.
    pooling = dataclasses.replace(encoder.pooling, kind="mean", embedding_dim=0)
    encoder = dataclasses.replace(encoder, pooling=pooling)
    params = {"eat": pretrained[1]}
    _check_room(encoder, params, windows, folder)
    made_of = functools.partial(
        provenance_hash, embedding_settings(config, encoder), checksum(params)
    )
    shards = Shards(folder, (FILE,), made_of, "clips whose tokens are computed")
    work = functools.partial(_write_tokens, config, encoder, params)
    parts, _ = shards.process(windows, work)
    return shards, Rows([part / FILE for part in parts])


def _write_tokens(
    config: RunConfig, encoder: EncoderConfig, params: dict, shard: Path, windows: Sequence[Window]
) -> None:
    dtype = compute_dtype(config.model)
    tokens_of = jax.jit(functools.partial(_tokens_of, encoder, dtype))
    size = config.optimizer.batch_size
    # Copied to the device once, not with every batch.
    params = jax.device_put(params)
    simam = encoder.front_end.simam
    batches = clip_batches(
        windows,
        [{"simam_mode": simam.mode_of(window.machine)} for window in windows],
        window_reader(config, windows),
        batch_size=size,
        threads=config.data.threads,
    )
    # Written, not memory-mapped: a full disk kills a process that writes to a map.
    with atomic_file(shard / FILE) as file:
        for n, batch in enumerate(
            progress(batches, len(windows), "clips whose tokens are computed", size)
        ):
            found = np.asarray(tokens_of(params, batch["wave"], batch["simam_mode"]))
            if n == 0:
                shape = (len(windows), *found.shape[1:])
                header = {"descr": "<f4", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
            rows = found[: len(windows) - n * size]  # the last batch repeats clips
            file.write(np.ascontiguousarray(rows, "<f4").data)


def _tokens_of(encoder: EncoderConfig, dtype: DTypeLike, params: dict, wave, mode):
    found = Encoder(encoder, dtype).apply({"params": params}, wave, mode)[1]["tokens"]
    return found.astype(np.float32)


def _check_room(
    encoder: EncoderConfig, params: dict, windows: Sequence[Window], folder: Path
) -> None:
    """Raises InputError if the disk has no room for the tokens of the windows."""
    # Training windows all have one length, so the first stands for all.
    wave = jax.ShapeDtypeStruct((1, windows[0].samples), np.float32)
    mode = jax.ShapeDtypeStruct((1,), np.int32)
    of_one = jax.eval_shape(functools.partial(_tokens_of, encoder, np.float32, params), wave, mode)
    # Four bytes for each float32; eval_shape computes no token.
    needed = 4 * of_one.size * len(windows)
    # Finished shards already hold a part of what is needed.
    held = sum(file.stat().st_size for file in folder.glob(f"*/{FILE}"))
    # disk_usage needs a folder that exists.
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free + held
    if needed > free:
        raise InputError(
            f"backbone.cache_tokens=True: the tokens of {len(windows)} clips take "
            f"{needed / 1e9:.1f} GB, but {folder} has {free / 1e9:.1f} GB free; train with "
            "`cache_tokens=False`, or use another --workdir"
        )
