"""Fetches the archives and the ground truth of an edition of DCASE Task 2 into a folder."""

import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from urllib.parse import urlsplit

import rich.console
import rich.progress as rp

from asd_jax.data.dcase import GROUND_TRUTH_LICENCE, ZENODO, Edition
from asd_jax.data.fetch import DownloadError, fetch_file, get
from asd_jax.data.ground_truth import DOMAINS, LABELS, evaluator_rows, read_ground_truth
from asd_jax.data.unpack import unpack_machine, unpacking_folder
from asd_jax.data.zenodo import Archive, at_base
from asd_jax.runtime.errors import InputError, did_you_mean
from asd_jax.runtime.log import print_error, print_line

# The room to reserve for unpacking: zip shrinks 16-bit recordings by a tenth to a third.
UNPACKED_TO_ZIP = 1.5
# The folder of unfinished downloads, with a note for each archive that is done.
STATE = ".download"


def machines_of(
    table: Edition, machines: Sequence[str], subset: str | None
) -> dict[str, list[str]]:
    """Returns the machines of each subset that match the requested machines and subset.

    Raises:
        InputError: A machine is not in the edition, or not in the subset.
    """
    subsets = {"dev": table.dev, "train": table.evaluation, "eval": table.evaluation}
    subsets = {name: of_it for name, of_it in subsets.items() if subset in (None, name)}
    known = sorted(set().union(*subsets.values()))
    for machine in machines:
        if machine not in known:
            part = f", subset {subset}," if subset else ""
            raise InputError(
                f"{table.year}{part} has no machine {machine}: "
                f"{', '.join(known)}.{did_you_mean(machine, known)}"
            )
    return {
        name: [machine for machine in of_it if machine in (machines or known)]
        for name, of_it in subsets.items()
    }


def report(archives: list[Archive], output: Path, parallel: int) -> tuple[list[Archive], int, int]:
    """Prints the files, sizes and room, and returns (archives still to download, bytes that they
    need, bytes free).
    """
    missing = [archive for archive in archives if not is_done(archive, output)]
    for archive in archives:
        state = "to fetch" if archive in missing else "there"
        print_line(f"{archive.size / 1e6:10.1f} MB  {archive.folder:9}  {archive.name}  {state}")
    sizes = sorted(archive.size for archive in missing)
    disk = next(
        folder for folder in [output.absolute(), *output.absolute().parents] if folder.is_dir()
    )
    # All archives unpacked, and the largest zips that are fetched at once beside them.
    needed = int(sum(sizes) * UNPACKED_TO_ZIP) + sum(sizes[-parallel:])
    free = shutil.disk_usage(disk).free
    print_line(
        f"{len(archives)} files, {sum(a.size for a in archives) / 1e9:.2f} GB; {len(missing)} to "
        f"fetch, {sum(sizes) / 1e9:.2f} GB; room needed about {needed / 1e9:.2f} GB, free "
        f"{free / 1e9:.2f} GB"
    )
    return missing, needed, free


def is_done(archive: Archive, output: Path) -> bool:
    """Returns whether exactly this archive was unpacked here before."""
    note = output / STATE / f"{archive.name}.done"
    return (
        note.is_file()
        and note.read_text() == archive.md5
        and machine_folder(archive, output).is_dir()
    )


def remove_leftovers(archives: Sequence[Archive], output: Path) -> None:
    """Removes what a killed process left of archives that it had unpacked: zips, unpacked parts."""
    for archive in archives:
        zipped = output / STATE / archive.name
        if is_done(archive, output):
            zipped.unlink(missing_ok=True)
            part = unpacking_folder(zipped, machine_folder(archive, output))
            shutil.rmtree(part, ignore_errors=True)


def machine_folder(archive: Archive, output: Path) -> Path:
    """Returns the folder that receives the archive's train, test and other folders."""
    return output / archive.folder / "raw" / archive.machine


def fetch_all(session, archives: list[Archive], output: Path, parallel: int) -> list[DownloadError]:
    """Downloads and unpacks archives in parallel with a progress bar, and returns the errors, one
    per failed file.
    """
    columns = (
        rp.TextColumn("{task.description}", markup=False),
        rp.BarColumn(),
        rp.DownloadColumn(),
        rp.TransferSpeedColumn(),
    )
    failures = []
    stopped = []
    with (
        rp.Progress(
            *columns, rp.TimeRemainingColumn(), console=rich.console.Console(stderr=True)
        ) as bars,
        ThreadPoolExecutor(parallel) as pool,
    ):

        def fetch_one(archive: Archive) -> None:
            bar = bars.add_task(archive.name, total=archive.size)

            def progress(done: int) -> None:
                bars.update(bar, completed=done)
                # A running download can be ended only here, between two blocks.
                if stopped:
                    raise DownloadError(f"{archive.name}: stopped")

            fetch_and_unpack(session, archive, output, progress)
            bars.remove_task(bar)

        try:
            for done in as_completed([pool.submit(fetch_one, archive) for archive in archives]):
                try:
                    done.result()
                except DownloadError as error:
                    failures.append(error)
        # Without room on the disk, or after Ctrl-C, the other threads must end too.
        except BaseException:
            stopped.append(True)
            pool.shutdown(cancel_futures=True)
            raise
    return failures


def fetch_and_unpack(session, archive: Archive, output: Path, progress) -> None:
    """Downloads one archive and unpacks it into the machine's folder.

    The zip is deleted, and a note of its MD5 sum remains.
    """
    state = output / STATE
    state.mkdir(parents=True, exist_ok=True)
    zipped = state / archive.name
    fetch_file(session, archive.url, zipped, size=archive.size, md5=archive.md5, progress=progress)
    unpack_machine(zipped, archive.machine, machine_folder(archive, output))
    # The note comes before the deletion, so an interruption does not cause a new download.
    (state / f"{archive.name}.done").write_text(archive.md5)
    zipped.unlink()


def fetch_ground_truth(session, table: Edition, output: Path, base_url: str) -> list[DownloadError]:
    """Downloads the labels of the evaluation clips, prints their licence, returns the errors."""
    if not table.ground_truth:
        print_line(
            f"no ground truth of {table.year} is public: its evaluation clips stay without labels"
        )
        return []
    folder = output / "ground_truth"
    folder.mkdir(parents=True, exist_ok=True)
    for url in table.ground_truth:
        *_, above, name = urlsplit(url).path.split("/")
        # Files of an evaluator keep their folder, which says what they hold.
        evaluators = above in (LABELS, DOMAINS)
        path = folder / above / name if evaluators else folder / name
        if path.exists():
            continue
        path.parent.mkdir(exist_ok=True)
        # Under this name an unchecked file matches no pattern of ground truth.
        part = path.with_name(f"part_{path.name}")
        try:
            # The list is validated under another name before it can be used as ground truth.
            part.write_bytes(get(session, at_base(url, base_url)))
            evaluator_rows(part) if evaluators else read_ground_truth([part])
        except (DownloadError, InputError) as error:
            part.unlink(missing_ok=True)
            message = f"no ground truth: {error}; the evaluation clips stay without labels"
            if base_url.rstrip("/") == ZENODO:
                return [DownloadError(message)]
            # A mirror that has only the recordings is sufficient.
            print_error(f"warning: {message}")
            return []
        part.replace(path)
    print_line(f"ground truth in {folder}. {GROUND_TRUTH_LICENCE}")
    return []
