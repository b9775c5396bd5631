"""The embeddings of many machines, read from a folder one machine at a time."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from asd_jax.run.workdir import SNAPSHOTS
from asd_jax.runtime.errors import InputError, error_context
from asd_jax.runtime.names import check_names
from asd_jax.scoring.embeddings import Embeddings, check_clips
from asd_jax.scoring.stacked import stacked


class StoredEmbeddings(Mapping[str, Embeddings]):
    """{machine: embeddings} of the <machine>.npz files in a folder.

    Every machine is read once to check it, and again when it is asked for, so that memory holds one
    machine of an archive. The embeddings of a run's snapshots are joined to those of its final
    weights.

    Attributes:
        splits: {machine: the splits of its clips}.
    """

    def __init__(self, folder: Path):
        """Checks the files.

        Raises:
            InputError: the folder does not exist, has no such file, or a file is not valid.
        """
        self.folder = folder
        self._last: tuple[str, Embeddings] | None = None
        machines = sorted(path.stem for path in folder.glob("*.npz"))
        if not machines:
            raise InputError(
                f"{folder}: no <machine>.npz files here; see asd_jax.scoring.embeddings for their "
                "fields"
            )
        check_names("machine", machines, at=str(folder))
        self.splits = dict.fromkeys(machines, frozenset())
        # Bad files are found now, not after the first machines were scored.
        for machine in machines:
            self.splits[machine] = frozenset(self[machine].split.tolist())

    def __getitem__(self, machine: str) -> Embeddings:
        if machine not in self.splits:
            raise KeyError(machine)
        # Scoring and report ask for a machine several times in a row.
        if self._last is None or self._last[0] != machine:
            self._last = None  # released before the next is read
            self._last = machine, self._read(machine)
        return self._last[1]

    def __iter__(self) -> Iterator[str]:
        return iter(self.splits)

    def __len__(self) -> int:
        return len(self.splits)

    def only(self, split: str) -> "StoredEmbeddings":
        """Returns the machines that have clips of a split."""
        # A new object of the same files, which are not checked again.
        found = object.__new__(StoredEmbeddings)
        found.folder = self.folder
        found._last = self._last
        found.splits = {machine: of for machine, of in self.splits.items() if split in of}
        return found

    def _read(self, machine: str) -> Embeddings:
        path = self.folder / f"{machine}.npz"
        found = Embeddings.load(path)
        snapshots = sorted(self.folder.glob(f"{SNAPSHOTS}/*/{machine}.npz"))
        if snapshots:
            parts = {str(one): Embeddings.load(one) for one in snapshots}
            found = stacked(parts | {str(self.folder): found})
        with error_context(f"{self.folder}: {machine}.npz"):
            check_clips(found)
        return found
