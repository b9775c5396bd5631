"""Makes classes for machines whose clips have no attributes, by clustering frozen embeddings."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Float, Int
from scipy.cluster.hierarchy import fcluster, linkage

from asd_jax.data.batches import Reader
from asd_jax.data.clips import Clip
from asd_jax.data.windows import Window
from asd_jax.runtime import processes
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import read_json, write_json
from asd_jax.runtime.log import print_line
from asd_jax.training.embedding import Batching, embed_windows
from asd_jax.training.mesh import replicated
from asd_jax.training.weights import Pipeline, embed

# Maps clips of one machine, and what they are called in the progress, to their embeddings "n ...".
EmbedClips = Callable[[Sequence[Window], str], np.ndarray]


def ward_clusters(vectors: Float[np.ndarray, "n ..."], clusters: int) -> Int[np.ndarray, "n"]:
    """Returns the cluster of each embedding, 0 .. clusters - 1 in order of appearance.

    Ward linkage of the embeddings scaled to unit length, as for the pseudo-attributes of arXiv
    2509.12845. If there are fewer clips than clusters, each clip is a cluster.
    """
    rows = vectors.reshape(len(vectors), -1).astype(np.float64)
    # A linkage needs two rows at least.
    if len(rows) < 2:
        return np.zeros(len(rows), int)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    found = fcluster(linkage(rows, method="ward"), clusters, criterion="maxclust")
    # Numbering by first appearance does not depend on SciPy's own numbering.
    names, first = np.unique(found, return_index=True)
    order = {name: place for place, name in enumerate(names[np.argsort(first)])}
    return np.array([order[name] for name in found])


def without_attributes(clips: Sequence[Clip]) -> dict[str, list[int]]:
    """Returns {"machine section": indices of its clips} where no clip has an attribute."""
    groups: dict[str, list[int]] = {}
    for number, clip in enumerate(clips):
        groups.setdefault(f"{clip.machine} {clip.section}", []).append(number)
    return {
        key: numbers
        for key, numbers in groups.items()
        if not any(clips[n].attribute for n in numbers)
    }


def frozen_embedder(
    pipeline: Pipeline, read: Reader, batching: Batching, dtype: DTypeLike
) -> EmbedClips:
    """Returns the function that embeds clips of one machine with a frozen encoder.

    Args:
        pipeline: the encoder.
        read: returns a clip's waveform.
        batching: the size of batches, and the devices.
        dtype: the type to compute in.
    """
    encoder = pipeline.config

    def embed_clips(clips: Sequence[Window], what: str) -> np.ndarray:
        # Placed only now, because a continued run that has its clusters embeds nothing.
        params = replicated(batching.mesh, pipeline.params)
        vectors, _ = embed_windows(
            lambda batch: embed(encoder, params, batch["wave"], batch["simam_mode"], dtype),
            clips,
            read,
            batching,
            what=what,
            extras={"simam_mode": encoder.front_end.simam.mode_of(clips[0].machine)},
        )
        return vectors

    return embed_clips


def with_pseudo_classes(
    clips: Sequence[Window],
    embed_clips: EmbedClips,
    *,
    clusters: int,
    path: Path,
) -> list[Window]:
    """Returns the training clips, with clusters as the attributes of machines that have none.

    The attribute is "pseudo_0", "pseudo_1" and so on.

    Args:
        clips: the training clips.
        embed_clips: embeds the clips of a machine and section, see `frozen_embedder`.
        clusters: number of clusters of each machine and section.
        path: JSON file that keeps the clusters, so that a continued run trains on the same classes.

    Raises:
        InputError: the file holds the clusters of other clips.
    """
    groups = without_attributes(clips)
    missing = not path.exists()
    processes.wait()  # all processes must have looked for the file before the first one writes it
    if missing:
        found = {}
        # Every process embeds its share and gets all rows; the first one writes the file.
        for key, numbers in groups.items():
            vectors = embed_clips([clips[n] for n in numbers], f"clips of {key} embedded")
            found[key] = ward_clusters(vectors, clusters).tolist()
        write_json(path, found)
    processes.wait()
    named = _with_attributes(clips, groups, path)
    if groups:
        print_line(
            f"machines without attributes get up to {clusters} classes each: {', '.join(groups)}"
        )
    return named


def _with_attributes(
    clips: Sequence[Window], groups: Mapping[str, Sequence[int]], path: Path
) -> list[Window]:
    """Returns the clips, with the clusters in the file as the attributes of the groups' clips."""
    kept = read_json(path)
    # The file may be of other clips, or edited: only a list for each group fits.
    sizes = {key: len(found) if isinstance(found, list) else 0 for key, found in kept.items()}
    if sizes != {key: len(numbers) for key, numbers in groups.items()}:
        raise InputError(f"{path}: not the classes of these clips; remove it to have them found")
    names = {
        n: f"pseudo_{c}"
        for key, numbers in groups.items()
        for n, c in zip(numbers, kept[key], strict=True)
    }
    return [
        dataclasses.replace(clip, attribute=names.get(n, clip.attribute))
        for n, clip in enumerate(clips)
    ]
