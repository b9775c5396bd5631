"""Tests whether filter bank, SimAM mode and back end can be chosen from normal clips alone.

    python -m benchmarks.automatic_choice --weights=weights/eat_base.safetensors \\
        --config.data.root=DIR --output=DIR
    python -m benchmarks.automatic_choice --config=configs/base.py:smoke --output=DIR
        synthetic machines, a minute

This is an open question. Several criteria, which use only normal training clips, rate
every candidate (bank x mode x back end, with frozen weights). For each machine, a criterion chooses
the candidate that it rates highest:

    domain gap         leave-one-out self-scores: the nearer to 0.5 their AUC of target against
                       source clips, the better
    mixed in           pseudo-anomalies: held-out clips with another machine mixed in at -10 dB,
                       the official score
    spectral surgery   pseudo-anomalies: held-out clips with one band of half an octave raised or
                       cut by 9 dB
    all three          the candidate of the best mean rank

For comparison, the table shows two choices that cannot be known in advance: the oracle (for each
machine, the candidate with the best result on its test clips) and the candidate that is best on all
machines together. The command writes automatic_choice.json and report/index.html.
"""

import dataclasses
import itertools
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from absl import flags

from asd_jax.config import RunConfig, read_config
from asd_jax.features.simam import MODES
from asd_jax.runtime.command import run
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.log import print_line
from asd_jax.runtime.settings import with_values
from benchmarks import grid, verdict
from benchmarks.grid import Cell
from benchmarks.provenance import write_provenance
from benchmarks.verdict import Row

BANKS = {"m-FB": "even", "o-FB": "mel", "g-FB": "gammatone"}
BACK_ENDS = ("knn", "local_density", "pca_residual")
PAPER = "m-FB, local, knn"
MIXED, SURGERY = "mixed", "surgery"
# These values were set before any result was seen.
MIXED_DB, SURGERY_DB, HELD_OUT = -10.0, 9.0, 0.3


def define_flags(argv: Sequence[str]) -> None:
    """Defines the grid's flags, and those that select the candidates."""
    grid.define_flags(argv)
    flags.DEFINE_list("banks", list(BANKS), "candidates' filter banks")
    flags.DEFINE_list("modes", ["none", "global", "local"], "candidates' SimAM modes")


def main() -> None:
    """Prints and writes a row per criterion next to the oracle; the reference is the paper's
    choice.
    """
    from asd_jax.reporting.page import Page, Section, Table, write_page
    from asd_jax.reporting.table import print_table, text_table
    from asd_jax.runtime.files import write_json

    output = Path(flags.FLAGS.output)
    cells = Path(flags.FLAGS.cells or output)
    config = grid.prepared(read_config(RunConfig, flags.FLAGS.config), cells)
    tests, likes = judged(config, candidates(flags.FLAGS.banks, flags.FLAGS.modes), output)
    machines = sorted({clip[0] for clip in tests[PAPER].clips})
    rows = {cell.name: grid.run_cell(cell, config, 1, cells) for cell in grid.standing_cells()}
    chosen = {}
    for criterion, like in likes.items():
        chosen[criterion] = {m: max(like, key=lambda name: like[name][m]) for m in machines}
        rows[criterion] = assembled(tests, chosen[criterion], config.data.year)
    best = max(tests, key=lambda name: tests[name].official[0])
    rows |= {
        f"best of all, by the test clips: {best}": tests[best],
        f"the paper's: {PAPER}": tests[PAPER],
    }
    found = verdict.compared(rows, f"the paper's: {PAPER}", config.data.year)
    oracle = likes["oracle, by the test clips"]
    found |= {
        "chosen": chosen,
        "mean_of_candidates": statistics.fmean(row.official[0] for row in tests.values()),
        "rank_correlation_with_test": {
            criterion: {machine: rank_correlation(like, oracle, machine) for machine in machines}
            for criterion, like in likes.items()
            if like is not oracle
        },
    }
    write_json(output / "automatic_choice.json", found)
    write_provenance(output, {"all": sum(row.seconds for row in tests.values())})
    print_table(text_table(*verdict.as_table(found), title=f"official score {config.data.year}, %"))
    correlations = [
        [criterion, *(f"{of[machine]:+.2f}" for machine in machines)]
        for criterion, of in found["rank_correlation_with_test"].items()
    ]
    title = f"rank correlation with the test clips' score, over {len(tests)} candidates"
    print_table(text_table(["criterion", *machines], correlations, title=title))
    lead = [str(__doc__).splitlines()[0], found["verdict"]]
    lead.append(f"Mean of the {len(tests)} candidates: {100 * found['mean_of_candidates']:.2f} %.")
    for line in lead[1:]:
        print_line(line)
    choices = [
        [criterion, *(of[machine] for machine in machines)] for criterion, of in chosen.items()
    ]
    sections = [
        *verdict.result_sections("Scores", found),
        Section("What was chosen", [Table(["criterion", *machines], choices)]),
        Section("Does a criterion know?", [Table(["criterion", *machines], correlations, title)]),
    ]
    write_page(output / "report" / "index.html", Page("Automatic choice", sections, lead))


def candidates(banks: Sequence[str], modes: Sequence[str]) -> list[Cell]:
    """Returns every combination of bank, mode and back end.

    Candidates that differ only in their back end share their embeddings.

    Raises:
        InputError: A bank or mode is unknown.
    """
    for flag, names, known in (("banks", banks, BANKS), ("modes", modes, MODES)):
        if unknown := set(names) - set(known):
            raise InputError(f"--{flag}={min(unknown)}: known are {', '.join(known)}")
    # The paper's bank and mode are always included.
    banks, modes = (list(dict.fromkeys(names)) for names in ([*banks, "m-FB"], [*modes, "local"]))
    return [
        Cell(
            f"{bank}, {mode}, {back_end}",
            {
                "features.spacing": BANKS[bank],
                "features.simam": mode,
                "scoring.back_end": back_end,
                "scoring.distance": "euclidean",
                "scoring.standardize": True,
            },
        )
        for bank, mode, back_end in itertools.product(banks, modes, BACK_ENDS)
    ]


def judged(config, cells: Sequence[Cell], output: Path) -> tuple[dict[str, Row], dict[str, dict]]:
    """Returns the results of the candidates on the test clips, and the ratings by each criterion.

    The ratings are {criterion: {candidate: {machine: rating}}}, and higher is better.
    """
    from asd_jax.run.clips import find_data, readable_clips

    folder = Path(flags.FLAGS.cells or output)
    clips, _ = readable_clips(config, find_data(config, folder))
    root = str(write_pseudo_anomalies(config, clips, output / "pseudo"))
    pseudo = with_values(config, {"data.root": root, "data.machines": "", "data.channel": "mean"})
    tests, pseudo_tests, gaps = {}, {}, {}
    for number, cell in enumerate(cells, 1):
        print_line(f"candidate {number} of {len(cells)}: {cell.name}")
        tests[cell.name] = grid.run_cell(cell, config, 1, folder)
        pseudo_tests[cell.name] = grid.run_cell(cell, pseudo, 1, output / "pseudo_cells")
        gaps[cell.name] = domain_gaps(cell, config, Path(tests[cell.name].folder))
    machines = sorted({clip.machine for clip in clips})
    likes = {
        "domain gap": {
            name: {machine: -gap[machine] for machine in machines} for name, gap in gaps.items()
        }
    }
    for criterion, kind in (("mixed in", MIXED), ("spectral surgery", SURGERY)):
        likes[criterion] = {
            name: {machine: machine_score(row, f"{machine}__{kind}") for machine in machines}
            for name, row in pseudo_tests.items()
        }
    likes["all three"] = mean_ranks(list(likes.values()))
    likes["oracle, by the test clips"] = {
        name: {machine: machine_score(row, machine) for machine in machines}
        for name, row in tests.items()
    }
    return tests, likes


def write_pseudo_anomalies(config, clips, root: Path) -> Path:
    """Writes a data set made from normal training clips, and returns its folder.

    Most clips are for training. The rest are for testing, both unchanged and altered. Every machine
    becomes two, <machine>__mixed and <machine>__surgery. If the data set has only one machine,
    another machine of the factory is mixed in.

    Raises:
        InputError: The existing data set was made from other clips.
    """
    import soundfile

    from asd_jax.data.factory import factory_clip
    from asd_jax.run import workdir
    from asd_jax.run.clips import file_reader, mark_held_out
    from asd_jax.runtime.files import read_json, write_json

    written = root.with_suffix(".json")
    made_of = {"of": str(config.data.root), "channel": config.data.channel, "seed": config.seed}
    made_of["recordings"] = workdir.summarize_recordings(clips)
    if written.is_file():
        if read_json(written) != made_of:
            raise InputError(
                f"{root}: made of other recordings; use another --output, or remove {written} and "
                "it"
            )
        return root
    read = file_reader(config.data)
    normal = mark_held_out([clip for clip in clips if clip.split == "train"], HELD_OUT, config.seed)
    rng = np.random.default_rng(config.seed)

    def write(wave, clip, kind, split, label):
        domain = "target" if clip.domain == "target" else "source"
        attribute = clip.attribute or "noAttribute"
        name = f"section_{clip.section}_{domain}_{split}_{label}_{number:04d}_{attribute}.wav"
        path = root / f"{clip.machine}__{kind}" / split / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, wave, 16000, subtype="FLOAT")

    for number, clip in enumerate(normal):
        wave, others = read(clip.path), [other for other in normal if other.machine != clip.machine]
        if others:
            other = read(others[rng.integers(len(others))].path)
        else:
            other = factory_clip("gearbox", clip_seconds=len(wave) / 16000, seed=number).wave
        altered = {MIXED: mixed(wave, other), SURGERY: surgery(wave, rng)}
        for kind, anomaly in altered.items():
            if clip.split == "train":
                write(wave, clip, kind, "train", "normal")
            else:
                write(wave, clip, kind, "test", "normal")
                write(anomaly, clip, kind, "test", "anomaly")
    write_json(written, made_of)
    return root


def mixed(wave: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Returns a waveform "s" with another one of any length mixed in at MIXED_DB relative to its
    power.
    """
    other = np.resize(other, len(wave))
    ratio = np.sqrt(np.mean(np.square(wave)) / max(np.mean(np.square(other)), 1e-12))
    return (wave + other * ratio * 10 ** (MIXED_DB / 20)).astype(np.float32)


def surgery(wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns a waveform "s" at 16 kHz with half an octave raised or cut by SURGERY_DB.

    The band lies at random between 200 and 6000 Hz.
    """
    low = np.exp(rng.uniform(np.log(200), np.log(6000)))
    hertz = np.fft.rfftfreq(len(wave), 1 / 16000)
    gain = np.where(
        (hertz >= low) & (hertz < low * 2**0.5), 10 ** (rng.choice([-1, 1]) * SURGERY_DB / 20), 1.0
    )
    return np.fft.irfft(np.fft.rfft(wave) * gain, len(wave)).astype(np.float32)


def domain_gaps(cell: Cell, config, folder: Path) -> dict[str, float]:
    """Returns, for each machine, how far the AUC of target against source self-scores is from 0.5.

    The value is the mean over sections; it is 0 if there is only one domain.
    """
    from asd_jax.run.score import load_embeddings
    from asd_jax.scoring.anomaly_score import fit_sections
    from asd_jax.scoring.auc import auc, tie_groups

    found = {}
    for machine, embeddings in load_embeddings(folder).items():
        gaps = []
        for scorer in fit_sections(embeddings, cell.scoring(config)).values():
            of = {
                domain: np.nanmin(list(banks.values()), axis=0)
                for domain, banks in scorer.self_scores.items()
            }
            if {"source", "target"} <= set(of):
                label = np.repeat([0, 1], [len(of["source"]), len(of["target"])])
                gaps.append(
                    abs(auc(*tie_groups(label, np.concatenate([of["source"], of["target"]]))) - 0.5)
                )
        found[machine] = float(np.mean(gaps)) if gaps else 0.0
    return found


def machine_score(row: Row, machine: str) -> float:
    """Returns the harmonic mean of all values of a machine's sections."""
    values = [
        v[0]
        for name, of in row.columns.items()
        if name.rsplit(" ", 1)[0] == machine
        for v in of.values()
    ]
    return statistics.harmonic_mean(values)


def mean_ranks(likes: Sequence[Mapping[str, Mapping[str, float]]]) -> dict[str, dict[str, float]]:
    """Returns {candidate: {machine: mean rank}} over several ratings of the same form; higher is
    better.
    """
    from scipy.stats import rankdata

    names = list(likes[0])
    machines = list(likes[0][names[0]])
    ranks = {
        m: np.mean([rankdata([like[name][m] for name in names]) for like in likes], axis=0)
        for m in machines
    }
    return {name: {m: float(ranks[m][n]) for m in machines} for n, name in enumerate(names)}


def rank_correlation(like: Mapping, truth: Mapping, machine: str) -> float:
    """Returns Spearman's rank correlation over candidates, or 0 if either side rates all of them
    equally.
    """
    from scipy.stats import spearmanr

    ours, theirs = ([of[name][machine] for name in truth] for of in (like, truth))
    return float(spearmanr(ours, theirs)[0]) if len(set(ours)) > 1 and len(set(theirs)) > 1 else 0.0


def assembled(tests: Mapping[str, Row], chosen: Mapping[str, str], year: int) -> Row:
    """Returns the row that combines every machine's chosen candidate.

    Args:
        tests: The row of each candidate.
        chosen: The candidate of each machine.
        year: The edition whose scoring rule is used.
    """
    clips = next(iter(tests.values())).clips
    scores = [tests[chosen[clip[0]]].scores[0, n] for n, clip in enumerate(clips)]
    name = " / ".join(sorted(set(chosen.values())))
    return dataclasses.replace(verdict.row_of(clips, np.array([scores]), year), folder=name)


if __name__ == "__main__":
    run(main, define_flags)
