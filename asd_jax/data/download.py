"""Downloads an edition of DCASE Task 2, verifies and unpacks it, and adds the labels of its
evaluation clips.

    python -m asd_jax.data.download --year=2024 --output=data/dcase2024 [--machines=fan,valve] \\
        [--subset=dev]

The files and their MD5 sums are those that the Zenodo records list. When the same command is run
again, an interrupted download continues where it stopped, and files that are already there are not
downloaded again. Read the result with --config.data.root=data/dcase2024, and examine it with python
-m asd_jax.data.inspect --root=data/dcase2024.
"""

import contextlib
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from asd_jax.data.dcase import EDITIONS, ZENODO, edition
from asd_jax.runtime.command import run
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.lock import lock_folder
from asd_jax.runtime.log import print_error


def define_flags(argv: Sequence[str]) -> None:
    """Defines the flags of the command."""
    flags.DEFINE_integer("year", None, f"Edition: {min(EDITIONS)} to {max(EDITIONS)}.")
    flags.DEFINE_string(
        "output", None, "Folder to fill with dev_data/, eval_data/ and ground_truth/."
    )
    flags.DEFINE_list("machines", [], "Machine types, comma-separated; all if left out.")
    subsets = (
        "dev: development data; train: training clips of the evaluation machines; eval: their "
        "test clips and the "
    )
    flags.DEFINE_enum(
        "subset", None, ["dev", "train", "eval"], f"{subsets}ground truth. All three if left out."
    )
    flags.DEFINE_bool("dry_run", False, "Only list the files and their sizes.")
    flags.DEFINE_integer("parallel", 4, "Files to fetch at a time.", lower_bound=1)
    flags.DEFINE_string("base_url", ZENODO, "A mirror that answers in the place of zenodo.org.")


def main() -> int:
    """Plans the download, checks the room on the disk and downloads."""
    asked = flags.FLAGS
    if asked.year is None or not asked.output:
        raise InputError("--year and --output are needed, e.g. --year=2024 --output=data/dcase2024")
    if not asked.base_url.startswith(("https://", "http://")):
        raise InputError(f"--base_url={asked.base_url}: no address of a server, as {ZENODO} is")
    table = edition(asked.year)
    output = Path(asked.output)
    try:
        # requests is an optional dependency, which --help does not need.
        from asd_jax.data import edition_files, fetch, zenodo
    except ImportError as error:
        raise InputError(
            f"downloading needs the package {error.name}: pip install asd_jax[download]"
        ) from error
    machines = edition_files.machines_of(table, asked.machines, asked.subset)
    session = fetch.new_session()
    # A dry run writes nothing, so that it may look on beside another process.
    ours = contextlib.nullcontext()
    # A process would remove the partly unpacked files of another one.
    if not asked.dry_run:
        ours = lock_folder(output / edition_files.STATE, "--output")
    try:
        with ours:
            archives = zenodo.plan(
                session, table, machines, strict=bool(asked.machines), base_url=asked.base_url
            )
            missing, needed, free = edition_files.report(archives, output, asked.parallel)
            if asked.dry_run:
                return 0
            _check_room(output, needed, free)
            edition_files.remove_leftovers(archives, output)
            failures = edition_files.fetch_all(session, missing, output, asked.parallel)
            if asked.subset in (None, "eval"):
                failures += edition_files.fetch_ground_truth(session, table, output, asked.base_url)
    except fetch.DownloadError as error:
        failures = [error]
    except OSError as error:
        raise InputError(f"{output}: cannot be written ({error})") from error
    for failure in failures:
        print_error(f"error: {failure}")
    # 2: the user has to change something; 1: the same command may succeed later.
    if any(isinstance(failure, fetch.WrongResponse) for failure in failures):
        return 2
    return 1 if failures else 0


def _check_room(output: Path, needed: int, free: int) -> None:
    if needed > free:
        raise InputError(
            f"{output}: about {needed / 1e9:.2f} GB are needed, {free / 1e9:.2f} GB are free; "
            "choose another --output, or fewer --machines"
        )


if __name__ == "__main__":
    run(main, define_flags)
