"""Joins folders of embeddings of the same clips into one, machine by machine."""

from collections.abc import Sequence
from pathlib import Path

from asd_jax.run.score import load_embeddings
from asd_jax.runtime.errors import InputError, error_context
from asd_jax.scoring.stacked import stacked


def stack_folders(folders: Sequence[str | Path], workdir: Path) -> Path:
    """Writes workdir/embeddings, whose layers are the embeddings of the folders; returns the path.

    Raises:
        InputError: the workdir holds a run, a folder has no embeddings or other machines than the
            first, or `stacked` raises; the message names the folders.
    """
    if (workdir / "config.json").exists():
        raise InputError(
            f"{workdir}: holds a run, whose embeddings would be lost; name another --workdir"
        )
    loaded = {str(folder): load_embeddings(Path(folder)) for folder in folders}
    (first, machines), *others = loaded.items()
    for folder, of in others:
        if odd := sorted(set(machines) ^ set(of)):
            raise InputError(
                f"{first} and {folder} must hold the same machines; only one has {', '.join(odd)}"
            )
    output = workdir / "embeddings"
    for machine in machines:
        with error_context(f"machine {machine}"):
            joined = stacked({folder: of[machine] for folder, of in loaded.items()})
        # One machine at a time, so that memory holds one.
        joined.save(output / f"{machine}.npz")
    return output
