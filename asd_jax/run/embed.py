"""Computes embeddings/<machine>.npz from recordings: shard by shard, and then joins the shards.

Each shard is kept when it is done.
"""

import contextlib
import dataclasses
import functools
import importlib.metadata
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from asd_jax.config import RunConfig
from asd_jax.data.clips import Clip, by_machine
from asd_jax.data.windows import Window
from asd_jax.features.front_end import FrontEnd
from asd_jax.models.encoder import EncoderConfig
from asd_jax.run.clips import clip_windows, window_reader, without_unreadable
from asd_jax.run.encoder import compute_dtype
from asd_jax.run.manifest import Manifest, provenance_hash
from asd_jax.run.shards import Shards
from asd_jax.run.workdir import BASELINE_FOLDER
from asd_jax.runtime import processes
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import read_json, write_json
from asd_jax.runtime.log import print_line
from asd_jax.runtime.sign_of_life import doing
from asd_jax.scoring.embeddings import Embeddings
from asd_jax.training.checkpoint import checksum
from asd_jax.training.embedding import Batching, embed_windows
from asd_jax.training.mesh import own_devices, replicated
from asd_jax.training.runtime import embed_in
from asd_jax.training.weights import embed

# Names in the folder of the encoder's embeddings.
SKIPPED = "skipped.json"  # the clips that could not be read
FRONT_END = "front_end.json"  # the front end that made the embeddings
# Maps a file of a shard to the file of the machine's joined embeddings of that kind.
KINDS = {"encoder.npz": "{}.npz", "filter_bank.npz": BASELINE_FOLDER + "/{}.npz"}


def embed_clips(
    config: RunConfig,
    encoder: EncoderConfig,
    params: dict,
    clips: Sequence[Clip],
    folder: Path,
    *,
    join: bool = True,
) -> int:
    """Embeds the clips that have no valid embeddings in the folder yet, and returns their number.

    Memory holds the waveforms of a few batches, and the embeddings of one machine while its shards
    are joined.

    Args:
        config: the settings of the run.
        encoder: the encoder's settings.
        params: the encoder's parameters.
        clips: clips of any machines.
        folder: receives <machine>.npz, and the shards until they are joined.
        join: join each machine's shards as soon as all are done; False leaves that to another
            process.

    Raises:
        InputError: a clip cannot be read, unless `data.on_bad_clip` is "skip"; or no clip of a
            machine can be read.
    """
    # The hash of the weights, not their path: a file of the same name may have changed.
    made_of_clips = functools.partial(
        provenance_hash, embedding_settings(config, encoder), checksum(params)
    )
    work = functools.partial(embed_shard, config, encoder, params)
    count = 0
    for machine, own in by_machine(clips).items():
        names = [name.format(machine) for name in KINDS.values()]
        made_of = made_of_clips(own)
        joined = functools.partial(_joined, folder, names, made_of)
        shards = Shards(
            folder / "shards" / machine, (*KINDS, SKIPPED), made_of_clips, f"clips of {machine}"
        )
        if joined():
            # A process that was killed may have left shards that it had joined.
            _remove(shards)
            continue
        if (folder / names[0]).exists():
            print_line(
                f"{machine}: other recordings, weights or settings than before, or a damaged "
                "file; embedded again"
            )
        parts, ours = shards.process(own, work, wait=join, joined=joined)
        count += ours
        if join and processes.is_first():
            join_shards(parts, machine, folder)
            # Recorded once the joined files are complete.
            Manifest(folder).record(names, made_of)
        # If another process joined the shards meanwhile, this one may have begun new ones.
        if join or joined():
            _remove(shards)
    return count


def _remove(shards: Shards) -> None:
    if processes.is_first():
        shards.remove()
        # The folder stays while it holds the shards of other machines.
        with contextlib.suppress(OSError):
            shards.folder.parent.rmdir()


def _joined(folder: Path, names: Sequence[str], made_of: str) -> bool:
    manifest = Manifest(folder)
    return all(manifest.valid(name, made_of) for name in names)


@doing("embedding clips")
def embed_shard(
    config: RunConfig, encoder: EncoderConfig, params: dict, shard: Path, clips: Sequence[Clip]
) -> None:
    """Embeds a shard's clips and writes the result and a list of unreadable clips into its folder.

    Several processes embed a shard together, so they must agree beforehand which clips can be read.
    A single process finds out while it embeds.
    """
    kept, skipped = without_unreadable(config, clips) if processes.is_distributed() else (clips, [])
    found: Sequence[Embeddings] = ()
    while kept and not found:
        try:
            found = embed_machine(config, encoder, params, kept)
        # Reading every clip shows whether unreadable clips caused the error.
        except InputError:
            kept, bad = without_unreadable(config, kept)
            if not bad:
                raise
            skipped = [*skipped, *bad]
    # If no clip can be read, there are no embeddings, and the shard holds the list alone.
    for name, embeddings in zip(KINDS, found, strict=False):
        embeddings.save(shard / name)
    write_json(shard / SKIPPED, {"skipped": [without_path(clip) for clip in skipped]})


def join_shards(shards: Sequence[Path], machine: str, folder: Path) -> None:
    """Joins the shards of a machine into its embeddings, and lists the clips that are missing from
    them.
    """
    skipped = [clip for shard in shards for clip in read_skipped(shard / SKIPPED)]
    if skipped:
        write_json(folder / f"{machine}_{SKIPPED}", {"skipped": skipped})
    else:
        (folder / f"{machine}_{SKIPPED}").unlink(missing_ok=True)
    for name, whole in KINDS.items():
        parts = [Embeddings.load(shard / name) for shard in shards if (shard / name).exists()]
        if not parts:
            file, reason = skipped[0].values()
            raise InputError(
                f"machine {machine}: none of its clips can be read; the first, {file}: {reason}"
            )
        Embeddings.joined(parts).save(folder / whole.format(machine))


def embedding_settings(config: RunConfig, encoder: EncoderConfig) -> dict:
    """Returns all that embeddings depend on besides weights and recordings, as plain values."""
    keys = ("clip_seconds", "length", "pad", "hop_seconds", "channel", "resampler")
    return {
        "encoder": dataclasses.asdict(encoder),
        **{key: getattr(config.data, key) for key in keys},
        # Type, batch size and library versions change embeddings by rounding.
        "dtype": config.model.dtype,
        "batch_size": config.optimizer.batch_size,
        # Absent for JAX, so that embeddings of earlier versions stay valid.
        **({} if config.model.runtime == "jax" else {"runtime": config.model.runtime}),
        **{name: version for name, version in versions().items() if name in ("jax", "flax")},
    }


def embed_machine(
    config: RunConfig, encoder: EncoderConfig, params: dict, clips: Sequence[Clip]
) -> tuple[Embeddings, Embeddings]:
    """Returns the embeddings of one machine's clips, by the encoder and by the bare filter bank."""
    # Each process embeds its own part of the windows, so only its own devices take part.
    mesh = own_devices()
    on_devices = replicated(mesh, params)
    windows = clip_windows(config, clips)
    dtype = compute_dtype(config.model)
    runtime = config.model.runtime
    # The clips are of one machine, so they share a mode.
    mode = encoder.front_end.simam.mode_of(clips[0].machine)

    def embed_batch(batch):
        # OpenVINO has a program for each mode of SimAM, so it gets one mode, not an array.
        if runtime != "jax":
            return embed_in(runtime, encoder, params)(batch["wave"], mode)
        return embed(encoder, on_devices, batch["wave"], batch["simam_mode"], dtype)

    vectors, baseline = embed_windows(
        embed_batch,
        windows,
        window_reader(config, clips),
        Batching(config.optimizer.batch_size, config.data.threads, mesh),
        what=f"clips of {clips[0].machine} embedded",
        extras={"simam_mode": mode},
    )
    embeddings = window_embeddings(vectors, windows, encoder.axes)
    return embeddings, window_embeddings(baseline, windows, ("clip", "embedding"))


def window_embeddings(
    vectors: np.ndarray, windows: Sequence[Window], axes: tuple[str, ...]
) -> Embeddings:
    """Returns the vectors of windows, one each, together with the properties of their clips."""

    def column(name):
        return np.array([getattr(window, name) for window in windows])

    files = np.array([Path(window.path).name for window in windows])
    columns = [column(name) for name in ("section", "split", "domain", "label", "attribute")]
    # A clip that is one window needs no start.
    windowed = len(set(column("path").tolist())) < len(windows)
    starts = column("start") / FrontEnd.sample_rate if windowed else None
    return Embeddings(vectors, files, *columns, axes=axes, window_start_seconds=starts)


def write_front_end(folder: Path, front_end: FrontEnd) -> None:
    """Records which front end made the embeddings, so that a report need not measure its statistics
    again.
    """
    write_json(folder / FRONT_END, dataclasses.asdict(front_end))


def versions() -> dict[str, str]:
    """Returns the versions of the libraries that the results depend on."""
    return {
        name: importlib.metadata.version(name)
        for name in ("jax", "flax", "numpy", "scipy", "scikit-learn")
    }


def read_skipped(path: Path) -> list[dict[str, str]]:
    """Returns {"file", "reason"} of the clips that could not be read, from a file that lists them.

    Raises:
        InputError: the file holds something else.
    """
    found = read_json(path).get("skipped")
    for clip in found if isinstance(found, list) else [found]:
        types = isinstance(clip, dict) and {name: type(value) for name, value in clip.items()}
        if types != {"file": str, "reason": str}:
            raise InputError(
                f"{path}: does not say which clips were skipped, and why; remove it, and run the "
                "command that made it again"
            )
    return found


def without_path(skipped: Mapping[str, str]) -> dict[str, str]:
    """Returns a skipped clip identified by machine, split and name.

    Results must not contain paths of the computer that made them.
    """
    return {**skipped, "file": "/".join(Path(skipped["file"]).parts[-3:])}
