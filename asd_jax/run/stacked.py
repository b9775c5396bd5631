"""Joins folders of embeddings of the same clips into one, machine by machine."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

from asd_jax.config import RunConfig
from asd_jax.run.score import load_embeddings, score_again
from asd_jax.runtime.errors import InputError, error_context
from asd_jax.runtime.files import remove_new_folder_on_error
from asd_jax.runtime.lock import lock_folder
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


def score_folders(
    config: RunConfig, folders: str | None, workdir: Path, output: Path, everything: bool
) -> None:
    """Scores a run again, or embeddings: those of a folder, or of several folders together.

    Args:
        config: the settings of the scoring.
        folders: folders of embeddings, joined by commas; None: those of the run.
        workdir: folder of the run, or for stacked embeddings.
        output: folder for the results.
        everything: whether all back ends are compared.
    """
    with contextlib.ExitStack() as stack:
        # Entered before the locks, so that they are released before a new folder is removed.
        stack.enter_context(remove_new_folder_on_error(output))
        # A folder that is both is locked once: a second lock of it would be refused.
        for folder in dict.fromkeys((workdir, output)):
            stack.enter_context(lock_folder(folder))
        embeddings = Path(folders) if folders else None
        # A comma may also be part of the name of one folder.
        if folders and "," in folders and not Path(folders).is_dir():
            embeddings = stack_folders(folders.split(","), workdir)
        score_again(config, embeddings, workdir, everything=everything, output=output)
