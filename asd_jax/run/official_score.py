"""Computes the official score of folders of score files, or checks them as a submission."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence

from asd_jax.data.dcase import edition
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.log import print_line
from asd_jax.scoring.evaluation import (
    aligned,
    compare_systems,
    evaluate_system,
    intervals,
    labelled_sections,
)
from asd_jax.scoring.labels import Labels, read_labels
from asd_jax.scoring.results import over_seeds
from asd_jax.scoring.submission import read_submission


@dataclasses.dataclass(frozen=True)
class ScoreFiles:
    """Score files, and the rule by which they are scored.

    Attributes:
        folders: folders of score files; several are seeds of one system.
        year: edition whose rule counts.
        machines: machines to score; empty: all that are found.
        ground_truth: file or folder of the labels; None: they are in the file names.
    """

    folders: Sequence[str]
    year: int
    machines: Sequence[str] = ()
    ground_truth: str | None = None

    @functools.cached_property
    def labels(self) -> Labels | None:
        """Returns the labels of the ground truth, which are read once; None without it."""
        return read_labels(self.ground_truth, self.year) if self.ground_truth else None

    def read(self, folders: Sequence[str]) -> list:
        """Returns the scored clips of each folder."""
        return [
            read_submission(folder, machines=self.machines, labels=self.labels)
            for folder in folders
        ]

    def labelled(self, folders: Sequence[str], runs: Sequence) -> list:
        """Returns the clips of each folder in the sections that have labels."""
        return [
            labelled_sections(folder, clips, self.year)[0]
            for folder, clips in zip(folders, runs, strict=True)
        ]


def official_score(
    files: ScoreFiles,
    *,
    against: Sequence[str] = (),
    with_intervals: bool = False,
    replicates: int = 1000,
    seed: int = 0,
) -> dict:
    """Returns the scores of the files, as `dcase_score --json` writes them.

    Args:
        files: the score files.
        against: folders of another system, for a paired bootstrap of the difference.
        with_intervals: whether 95 % intervals are computed.
        replicates: number of bootstrap replicates.
        seed: seed of the bootstrap.

    Raises:
        InputError: a file cannot be scored, or the seeds differ in clips or in having decisions.
    """
    runs = files.read(files.folders)
    if len(runs) > 1:
        # Seeds are averaged clip by clip, so all of them must score the same clips.
        aligned(runs)
        _check_decisions_alike(files.folders, runs)
    scored = [
        evaluate_system(folder, clips, files.year)
        for folder, clips in zip(files.folders, runs, strict=True)
    ]
    found = scored[0]
    if len(runs) > 1:
        found = over_seeds(scored) | {
            "seeds": {"official_score": [one["official_score"] for one in scored]}
        }
    resampling = {"replicates": replicates, "seed": seed}
    if with_intervals or against:
        # Only labelled sections can be resampled; the notes name the others.
        runs = files.labelled(files.folders, runs)
    if with_intervals:
        found |= intervals(runs, files.year, **resampling)
    if against:
        others = files.labelled(against, files.read(against))
        found["against"] = compare_systems(runs, others, files.year, **resampling)
    return found


def _check_decisions_alike(folders: Sequence[str], runs: Sequence) -> None:
    # There are at most two keys, with and without decisions; each keeps one folder to name.
    decided = {
        clips[0].decision is not None: folder for folder, clips in zip(folders, runs, strict=True)
    }
    if len(decided) > 1:
        raise InputError(
            f"{decided[True]} holds decision_result files, {decided[False]} none; all must, or none"
        )


def check_submission(files: ScoreFiles) -> None:
    """Checks the folders as submissions for the year's evaluation machines, and prints all
    problems.
    """
    year = edition(files.year)
    for folder in files.folders:
        clips = read_submission(
            folder,
            machines=files.machines,
            labels=files.labels,
            expected=year.evaluation_files,
            # The edition of 2020 asked for no decisions.
            complete=files.year > 2020,
            strict=True,
        )
        print_line(
            f"{folder}: nothing wrong; {len({clip[:2] for clip in clips})} sections, {len(clips)} "
            "clips"
        )


def report_lines(found: Mapping) -> list[str]:
    """Returns the lines of text that follow the table: notes, seeds, intervals, comparison."""
    lines = [f"note: {note}" for note in found["notes"]]
    for name, value in found.get("by_set", {}).items():
        lines.append(f"official score of the {name} machines alone: {100 * value:.2f} %")
    if "mean_of_machine_means" in found:
        value = 100 * found["mean_of_machine_means"]
        lines.append(
            f"official score: mean over IDs; mean over machine types of their IDs' mean (RMIS, "
            f"ASDKit): {value:.2f} %"
        )
    if seeds := found.get("seeds"):
        deviation = found["standard_deviation"]["official_score"]
        lines.append(
            f"mean of {len(seeds['official_score'])} seeds, standard deviation "
            f"{100 * deviation:.2f} %"
        )
    if "bootstrap" in found:
        low = 100 * found["bootstrap"]["low"]
        high = 100 * found["bootstrap"]["high"]
        lines.append(f"95 % interval, stratified bootstrap: {low:.2f} to {high:.2f} %")
        # Ours follows the cited formula; the organisers' script computes another one, so both
        # appear.
        wide, printed = (
            100 * found["jackknife"][key] for key in ("half_width", "evaluator_half_width")
        )
        lines.append(
            f"95 % half width, jackknife of pooled AUC and pAUC: {wide:.2f} (evaluators print "
            f"{printed:.4f})"
        )
    if against := found.get("against"):
        low = 100 * against["low"]
        high = 100 * against["high"]
        difference = 100 * against["difference"]
        p = against["p_value"]
        lines.append(
            f"difference to the other: {difference:+.2f} points, 95 % {low:+.2f} to {high:+.2f}, "
            f"p = {p:.3f}"
        )
    return lines
