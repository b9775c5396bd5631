"""Defines the folder of a run: its paths, and the checks that it belongs to one config, one set of
recordings and one process at a time.
"""

import contextlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from asd_jax.data.clips import Clip
from asd_jax.run.manifest import summarize_recordings
from asd_jax.runtime import processes
from asd_jax.runtime.errors import InputError, error_context
from asd_jax.runtime.files import read_json, remove_parts, write_json
from asd_jax.runtime.lock import lock_folder
from asd_jax.runtime.log import print_line

_REMEDY = "Use another --workdir, or --overwrite to remove that run first"
SNAPSHOTS = "snapshots"  # weights saved during training, or the embeddings by such weights
BASELINE_FOLDER = "filter_bank"  # in a folder of embeddings: those of the bare filter bank
MOST_SEEDS = 1000
# A run may continue with other values of these keys, which change results by rounding at most.
FREE_KEYS = (
    "compiled",
    "data.threads",
    "data.cache",
    "data.on_bad_clip",  # the recordings are compared instead
    "log.every",
    "log.checkpoint_every",
    "optimizer.on_bad_loss",
    "parallel.shards",
    "report.clips",
    "report.map",
)


class Run:
    """The folder of a run, and the paths of everything that a run leaves in it.

    Example:
        run = Run("runs/quickstart")
        with run.claim(to_dict(config), clips):
            write_json(run.results, results)

    Args:
        workdir: the folder.
        remedy: what to do if it holds something else, for messages.
    """

    def __init__(self, workdir: str | Path, *, remedy: str = _REMEDY):
        self.workdir = Path(workdir)
        self.remedy = remedy
        # Results. While one of them exists, another config or other recordings are refused.
        self.pseudo_classes = self.workdir / "pseudo_classes.json"
        self.checkpoints = self.workdir / "checkpoints"
        self.weights = self.workdir / "weights.safetensors"
        self.snapshots = self.workdir / SNAPSHOTS
        self.embeddings = self.workdir / "embeddings"
        self.scores = self.workdir / "scores"
        self.results = self.workdir / "results.json"
        # By-products.
        self.metrics = self.workdir / "metrics.jsonl"
        self.timing = self.workdir / "timing.json"
        self.comparison = self.workdir / "comparison.json"
        self.report = self.workdir / "report"
        self.tokens = self.workdir / "tokens"  # of the frozen EAT, while training lasts
        # What the run was made from, written before anything is computed.
        self.origin = self.workdir / "pretrained.json"  # the weights that it began from
        self.config = self.workdir / "config.json"
        self.data = self.workdir / "data.json"  # the recordings, summarised

    @property
    def page(self) -> Path:
        """The page of the report."""
        return self.report / "index.html"

    @property
    def baseline(self) -> Path:
        """The embeddings of the bare filter bank."""
        return self.embeddings / BASELINE_FOLDER

    @property
    def factory(self) -> Path:
        """The synthetic recordings. They belong to the data and outlive the run."""
        return self.workdir / "factory"

    def paths(self) -> list[Path]:
        """Returns the paths of everything that a run may leave, results first, config last.

        A removal in this order that is interrupted leaves no result without its config.
        """
        # Attributes keep the order of __init__, which is that of the removal.
        return [path for name, path in vars(self).items() if name not in ("workdir", "remedy")]

    def has_results(self) -> bool:
        """Returns whether the folder holds a result."""
        results = (
            self.pseudo_classes,
            self.checkpoints,
            self.weights,
            self.embeddings,
            self.scores,
            self.results,
        )
        return any(path.is_file() or any(path.glob("*")) for path in results)

    @contextlib.contextmanager
    def claim(
        self,
        config: Mapping,
        clips: Sequence[Clip],
        *,
        overwrite: bool = False,
        may_change: bool = False,
    ) -> Iterator[None]:
        """Context manager: claims the folder for this process and records config and clips in it.

        Args:
            config: plain values, written to config.json.
            clips: all clips that the run reads; data.json summarises them.
            overwrite: remove the run that is there first.
            may_change: allow recordings that have changed since the last time, because everything
                that depends on them is made again; machines that have disappeared are still an
                error.

        Raises:
            InputError: another process works there, or a run with another config or other
                recordings is there.
        """
        if not processes.is_first():
            processes.wait()
            yield
            return
        with lock_folder(self.workdir):
            # With the lock held, parts of files can only be those of a process that was killed.
            for folder in (self.workdir, self.embeddings, self.baseline, self.scores, self.report):
                remove_parts(folder)
            if overwrite:
                self.remove()
            config = dict(config)
            recordings = summarize_recordings(clips)
            # A run that has no result yet may begin again with another config.
            if any(run.has_results() for run in (self, *self.seeds())):
                self.check_config(config)
                self._check_recordings(recordings, may_change)
            # Written before anything is computed, so that every result has its config beside it.
            write_json(self.config, config)
            write_json(self.data, recordings)
            # The other processes wait at their own call until the folder is ready.
            processes.wait()
            yield

    def seeds(self) -> list["Run"]:
        """Returns the runs of the seeds of the run that is there; none for a run with one seed.

        Raises:
            InputError: its config.json cannot be read.
        """
        seeds = read_json(self.config).get("seeds", 1) if self.config.is_file() else 1
        with error_context(str(self.config)):
            return self.of_seeds(seeds)

    def of_seeds(self, seeds: Any) -> list["Run"]:
        """Returns a run for each of several seeds, in folders of their own; none for one seed.

        Raises:
            InputError: the number of seeds is not valid.
        """
        # An exact type, because True is an int, and the file may have been edited.
        if type(seeds) is not int or not 1 <= seeds <= MOST_SEEDS:
            raise InputError(f"seeds={seeds!r} must be a whole number from 1 to {MOST_SEEDS}")
        return [Run(self.workdir / f"seed_{n}") for n in range(seeds)] if seeds > 1 else []

    def remove(self) -> None:
        """Removes the files of the run, those of its seeds included, and nothing else.

        Raises:
            InUse: another process works on one of its seeds.
        """
        try:
            seeds = self.seeds()
        # Without a readable config.json the seeds are unknown.
        except InputError:
            seeds = []
        for seed in seeds:
            if seed.workdir.exists():
                with lock_folder(seed.workdir):
                    seed.remove()
        for path in self.paths():
            if path.is_symlink():
                print_line(f"{path}: a link; it is removed, and what it names stays")
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def check_config(self, config: Mapping) -> None:
        """Raises InputError if config.json differs; the message shows the keys."""
        theirs = read_json(self.config) if self.config.exists() else config
        different = [
            text for key, text in config_differences(theirs, config) if key not in FREE_KEYS
        ]
        if different:
            raise InputError(
                f"{self.workdir} holds a run of another config; it differs in "
                f"{', '.join(different)}. {self.remedy}"
            )

    def check_origin(self, origin: Mapping[str, str]) -> None:
        """Records in pretrained.json which weights the run begins from.

        The path in the config is not enough, because the file may be replaced.

        Args:
            origin: the result of `asd_jax.training.weights.origin_entries`.

        Raises:
            InputError: the run that is there began from other weights.
        """
        # Only checkpoints depend on the earlier weights; without them the run starts again.
        if self.checkpoints.exists() and self.origin.exists():
            theirs = read_json(self.origin)
            if theirs != dict(origin):
                texts = ", ".join(text for _, text in config_differences(theirs, origin))
                raise InputError(
                    f"{self.workdir} holds a run that began from other weights: {texts}. "
                    f"{self.remedy}"
                )
        write_json(self.origin, dict(origin))

    def read_data(self) -> dict[str, dict[str, Any]]:
        """Returns the content of data.json, in the form of `summarize_recordings`.

        Raises:
            InputError: the file holds something else.
        """
        found = read_json(self.data)
        for machine, own in found.items():
            if not isinstance(own, dict) or type(own.get("clips", 0)) is not int:
                raise InputError(
                    f"{self.data}: {machine!r} is not what a run notes of a machine. {self.remedy}"
                )
        return found

    def _check_recordings(self, data: Mapping, may_change: bool) -> None:
        theirs = self.read_data() if self.data.exists() else data
        # Only machines that have disappeared then count as different.
        if may_change:
            gone = {machine: own for machine, own in theirs.items() if machine not in data}
            theirs = {**data, **gone}
        different = [m for m in sorted({*theirs, *data}) if theirs.get(m) != data.get(m)]
        if different:
            counts = [
                f"{m} ({theirs.get(m, {}).get('clips', 0)} there, "
                f"{data.get(m, {}).get('clips', 0)} here)"
                for m in different
            ]
            raise InputError(
                f"{self.workdir} holds a run on other recordings of {', '.join(counts)}. "
                f"{self.remedy}"
            )


def config_differences(a: Any, b: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Returns (key, text) for every difference between two nested mappings."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        found = []
        for key in sorted({*a, *b}):
            found += config_differences(a.get(key), b.get(key), f"{prefix}.{key}".strip("."))
        return found
    return [] if a == b else [(prefix, f"{prefix} ({a!r} there, {b!r} here)")]
