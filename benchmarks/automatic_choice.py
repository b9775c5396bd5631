"""Tests whether front end, block, pooling and back end can be chosen from normal clips alone.

    python -m benchmarks.automatic_choice --weights=weights/eat_base.safetensors \\
        --config.data.root=DIR --output=DIR
    python -m benchmarks.automatic_choice --config=configs/base.py:smoke --blocks=0,1 --output=DIR
        synthetic machines, a minute
    python -m benchmarks.automatic_choice --join=DIR,DIR,... --output=DIR
        the mean over several sets

Several criteria, which use only normal training clips, rate every candidate (filter bank x SimAM
mode x block and pooling x back end, with frozen weights; each front end is embedded once). For each
machine, a criterion chooses the candidate that it rates highest:

    pseudo AUC         pseudo-anomalies in the space of the embeddings ("Diverse"), as
                       scoring.back_end=auto; beside a single machine, the factory's are the others
    domain gap         leave-one-out self-scores: the nearer to 0.5 their AUC of target against
                       source clips, the better
    mixed in           pseudo-anomalies: held-out clips with another machine mixed in at -10 dB,
                       the official score
    spectral surgery   pseudo-anomalies: held-out clips with one band of half an octave raised or
                       cut by 9 dB
    simulated faults   held-out clips in another session, without and with a squeal, strikes,
                       rubbing, a missing band or a modulation, the AUC
    all five           the candidate of the best mean rank

For comparison, the table shows two choices that cannot be known in advance: the oracle (for each
machine, the candidate with the best result on its test clips) and the candidate that is best on all
machines together. The regret of a choice is what a machine's score lacks to the oracle's. --join
adds the regret of a random choice, and of the candidate that is best on the other sets. The command
writes automatic_choice.json and report/index.html.
"""

import dataclasses
import itertools
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import soundfile
from absl import flags
from scipy.stats import rankdata, spearmanr

from asd_jax.config import RunConfig, read_config
from asd_jax.data.clips import Clip
from asd_jax.data.factory import write_factory
from asd_jax.data.simulated_session import simulated_session
from asd_jax.data.synthesis import factory_clip
from asd_jax.features.simam import MODES
from asd_jax.models.settings import POOLINGS
from asd_jax.reporting.page import Page, Section, Table, write_page
from asd_jax.reporting.table import print_table, text_table
from asd_jax.run.clips import file_reader, find_data, mark_held_out, readable_clips
from asd_jax.run.manifest import summarize_recordings
from asd_jax.runtime.command import run
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import read_json, write_json
from asd_jax.runtime.log import print_line
from asd_jax.runtime.settings import with_values
from asd_jax.scoring.anomaly_score import fit_sections
from asd_jax.scoring.auc import auc, tie_groups
from asd_jax.scoring.automatic import CANDIDATES, pseudo_auc
from asd_jax.scoring.embeddings import Embeddings
from asd_jax.scoring.options import Scoring
from benchmarks import choice_regret, grid, verdict
from benchmarks.provenance import write_provenance
from benchmarks.simulated_faults import simulated_fault
from benchmarks.token_views import BARE, MADE_OF, View, view_embeddings, with_front_end
from benchmarks.verdict import Row, row_of

BANKS = {"m-FB": "even", "o-FB": "mel", "g-FB": "gammatone"}
MIXED = "mixed"
SURGERY = "surgery"
FAULTS = "faults"
ORACLE = "oracle, by the test clips"
# These values were set before any result was seen.
MIXED_DB = -10.0
SURGERY_DB = 9.0
HELD_OUT = 0.3
FOREIGN_CLIPS = 12  # of each machine of the factory

Ratings = dict[str, dict[str, float]]  # {candidate: {machine: rating}}; higher is better


def define_flags(argv: Sequence[str]) -> None:
    """Defines the grid's flags, and those that select the candidates."""
    grid.define_flags(argv)
    flags.DEFINE_list("banks", list(BANKS), "candidates' filter banks")
    flags.DEFINE_list("modes", ["none", "global", "local"], "candidates' SimAM modes")
    flags.DEFINE_list("blocks", [], "candidates' blocks; default: frozen.block")
    flags.DEFINE_list("poolings", ["band_mean"], "candidates' poolings; settings: config.tokens")
    flags.DEFINE_list("join", [], "outputs of earlier runs: only the means over their sets")


def main() -> None:
    """Prints and writes a row per criterion next to the oracle; the reference is the paper's
    choice.
    """
    args = flags.FLAGS
    output = Path(args.output)
    if args.join:
        choice_regret.join([Path(folder) for folder in args.join], output)
        return
    cells = Path(args.cells or output)
    config = grid.prepared(read_config(RunConfig, args.config), cells)
    views = chosen_views(config, args.blocks, args.poolings)
    tests, likes = judged(config, fronts(args.banks, args.modes), views, cells)
    paper = f"m-FB, local, {views[0].name}, standardised knn"
    machines = sorted({clip[0] for clip in tests[paper].clips})
    rows = {cell.name: grid.run_cell(cell, config, 1, cells) for cell in grid.standing_cells()}
    chosen = {}
    for criterion, like in likes.items():
        chosen[criterion] = {m: max(like, key=lambda name: like[name][m]) for m in machines}
        rows[criterion] = assembled(tests, chosen[criterion], config.data.year)
    best = max(tests, key=lambda name: tests[name].official[0])
    rows |= {
        f"best of all, by the test clips: {best}": tests[best],
        f"the paper's: {paper}": tests[paper],
    }
    found = verdict.compared(rows, f"the paper's: {paper}", config.data.year)
    oracle = likes[ORACLE]
    found |= {
        "chosen": chosen,
        "candidates": oracle,
        "mean_of_candidates": statistics.fmean(row.official[0] for row in tests.values()),
        "regret": {name: choice_regret.regret(oracle, of) for name, of in chosen.items()},
        "rank_correlation_with_test": {
            criterion: {machine: rank_correlation(like, oracle, machine) for machine in machines}
            for criterion, like in likes.items()
            if like is not oracle
        },
    }
    write_json(output / "automatic_choice.json", found)
    write_provenance(output, {})
    report(found, machines, len(tests), output)


def report(found: dict, machines: Sequence[str], candidates: int, output: Path) -> None:
    """Prints the tables of a result, and writes its page."""
    print_table(text_table(*verdict.as_table(found), title=f"official score {found['year']}, %"))
    correlations = [
        [criterion, *(f"{of[machine]:+.2f}" for machine in machines)]
        for criterion, of in found["rank_correlation_with_test"].items()
    ]
    title = f"rank correlation with the test clips' score, over {candidates} candidates"
    print_table(text_table(["criterion", *machines], correlations, title=title))
    regrets = choice_regret.table(found["regret"], machines)
    print_table(text_table(*regrets, title="regret, points"))
    lead = [str(__doc__).splitlines()[0], found["verdict"]]
    lead.append(f"Mean of the {candidates} candidates: {100 * found['mean_of_candidates']:.2f} %.")
    for line in lead[1:]:
        print_line(line)
    choices = [
        [criterion, *(of[machine] for machine in machines)]
        for criterion, of in found["chosen"].items()
    ]
    sections = [
        *verdict.result_sections("Scores", found),
        Section("What was chosen", [Table(["criterion", *machines], choices)]),
        Section("What a choice costs", [Table(*regrets, "Regret, points.")]),
        Section("Does a criterion know?", [Table(["criterion", *machines], correlations, title)]),
    ]
    write_page(output / "report" / "index.html", Page("Automatic choice", sections, lead))


def fronts(banks: Sequence[str], modes: Sequence[str]) -> list[tuple[str, str]]:
    """Returns every combination of bank and SimAM mode; the paper's is always included.

    Raises:
        InputError: A bank or mode is unknown.
    """
    for flag, names, known in (("banks", banks, BANKS), ("modes", modes, MODES)):
        if unknown := set(names) - set(known):
            raise InputError(f"--{flag}={min(unknown)}: known are {', '.join(known)}")
    banks, modes = (list(dict.fromkeys(names)) for names in ([*banks, "m-FB"], [*modes, "local"]))
    return list(itertools.product(banks, modes))


def chosen_views(config: RunConfig, blocks: Sequence[str], poolings: Sequence[str]) -> list[View]:
    """Returns every combination of block and pooling.

    Raises:
        InputError: A block is no number, or a pooling is unknown or has parameters.
    """
    if unknown := set(poolings) - set(POOLINGS[1:]):
        raise InputError(f"--poolings={min(unknown)}: known are {', '.join(POOLINGS[1:])}")
    try:
        numbers = [int(block) for block in blocks] or [config.frozen.block]
    except ValueError as error:
        raise InputError(f"--blocks={','.join(blocks)}: numbers with commas, e.g. 5,11") from error
    pairs = itertools.product(numbers, dict.fromkeys(poolings))
    return [View(block, pooling, config.tokens) for block, pooling in pairs]


def judged(
    config: RunConfig, front_ends: Sequence[tuple[str, str]], views: Sequence[View], folder: Path
) -> tuple[dict[str, Row], dict[str, Ratings]]:
    """Returns the results of the candidates on the test clips, and the ratings by each criterion.

    The ratings are {criterion: {candidate: {machine: rating}}}, and higher is better.
    """
    clips, _ = readable_clips(config, find_data(config, folder))
    root = str(write_pseudo_anomalies(config, clips, folder / "pseudo"))
    pseudo = with_values(config, {"data.root": root, "data.machines": "", "data.channel": "mean"})
    altered, _ = readable_clips(pseudo, find_data(pseudo, folder / "pseudo_cells"))
    foreign = factory_normals(config, folder) if len({clip.machine for clip in clips}) == 1 else []
    machines = sorted({clip.machine for clip in clips})
    tests: dict[str, Row] = {}
    names = ["pseudo AUC", "domain gap", "mixed in", "spectral surgery", "simulated faults"]
    likes: dict[str, Ratings] = {name: {} for name in names}
    for number, (bank, mode) in enumerate(front_ends, 1):
        print_line(f"front end {number} of {len(front_ends)}: {bank}, {mode}")
        one = with_front_end(config, BANKS[bank], mode)
        other = with_front_end(pseudo, BANKS[bank], mode)
        place = folder / "views" / f"{bank} {mode}"
        own = view_embeddings(one, clips, views, place / "clips")
        changed_clips = view_embeddings(other, altered, views, place / "altered")
        strangers = view_embeddings(one, foreign, views, place / "foreign") if foreign else {}
        for view in [BARE, *(view.name for view in views)]:
            others = list(strangers.get(view, {}).values())
            found = rated_view(
                own=own[view],
                altered=changed_clips[view],
                strangers=others,
                config=config,
                place=place,
                view=view,
            )
            for back_end, of in found.items():
                name = f"{bank}, {mode}, {view}, {back_end}"
                labelled = [tuple(clip) for clip in of["clips"]]
                tests[name] = row_of(labelled, np.array(of["scores"]), config.data.year)
                for criterion, rating in of["rated"].items():
                    likes[criterion][name] = rating
    likes["all five"] = mean_ranks(list(likes.values()))
    likes[ORACLE] = {
        name: {machine: machine_score(row, machine) for machine in machines}
        for name, row in tests.items()
    }
    return tests, likes


def rated_view(
    own: Mapping[str, Embeddings],
    altered: Mapping[str, Embeddings],
    strangers: Sequence[Embeddings],
    config: RunConfig,
    place: Path,
    view: str,
) -> dict[str, dict]:
    """Returns {back end: {"clips", "scores" of the test clips, "rated": see `rate`}} of a view.

    They are kept, so that a run that was interrupted continues after the last view.

    Args:
        own: The embeddings of each machine.
        altered: Those of the data set of pseudo-anomalies.
        strangers: Those of further machines, for the pseudo AUC.
        config: The settings, whose scoring the candidates share.
        place: The folder of the front end's embeddings.
        view: The name of the view.
    """
    kept = place / "rated" / f"{view}.json"
    made_of = {
        "embeddings": sorted(read_json(path)["made_of"] for path in place.rglob(MADE_OF)),
        "scoring": config.scoring.recorded(),
        "year": config.data.year,
    }
    if kept.is_file() and (known := read_json(kept))["made_of"] == made_of:
        return known["candidates"]
    found = {}
    for back_end, options in CANDIDATES.items():
        scoring = dataclasses.replace(config.scoring, **options)
        try:
            row = grid.scored([own], scoring, config.data.year)
            rated = rate(own, altered, strangers, scoring, config.data.year)
        except InputError as error:
            print_line(f"{view}, {back_end} is left out: {error}")
            continue
        found[back_end] = {"clips": row.clips, "scores": row.scores.tolist(), "rated": rated}
    write_json(kept, {"made_of": made_of, "candidates": found})
    return found


def factory_normals(config: RunConfig, folder: Path) -> list[Clip]:
    """Returns normal clips of the factory's machines, which stand beside a set of one machine."""
    root = folder / "foreign"
    few = {"train_source": FOREIGN_CLIPS, "train_target": 1, "test_per_condition": 1}
    write_factory(root, clip_seconds=config.data.clip_seconds, **few)
    # The factory's machines are named as those of 2024, whatever the edition of the set.
    keys = {"data.root": str(root), "data.machines": "", "data.channel": "mean", "data.year": 2024}
    one = with_values(config, keys)
    return [clip for clip in find_data(one, folder / "foreign_data") if clip.split == "train"]


def rate(
    own: Mapping[str, Embeddings],
    altered: Mapping[str, Embeddings],
    strangers: Sequence[Embeddings],
    scoring: Scoring,
    year: int,
) -> Ratings:
    """Returns {criterion: {machine: rating}} of a candidate; higher is better.

    Args:
        own: The embeddings of each machine, of which only normal training clips are used.
        altered: Those of the data set of pseudo-anomalies.
        strangers: Those of further machines, for the pseudo AUC.
        scoring: The candidate's scoring.
        year: The edition whose scoring rule is used.

    Raises:
        InputError: A machine has too few clips for the back end.
    """
    train = {machine: of[of.split == "train"] for machine, of in own.items()}
    others = {m: [*strangers, *(of for n, of in train.items() if n != m)] for m in train}
    gaps = domain_gaps(scoring, own)
    row = grid.scored([altered], scoring, year)
    aucs = {m: pseudo_auc(of, scoring, others[m]) for m, of in train.items()}
    if unknown := [m for m, value in aucs.items() if np.isnan(value)]:
        raise InputError(f"{unknown[0]}: too few normal clips for a pseudo AUC")
    return {
        "pseudo AUC": aucs,
        "domain gap": {m: -gaps[m] for m in own},
        "mixed in": {m: machine_score(row, f"{m}__{MIXED}") for m in own},
        "spectral surgery": {m: machine_score(row, f"{m}__{SURGERY}") for m in own},
        "simulated faults": {m: auc_of(row, f"{m}__{FAULTS}") for m in own},
    }


def write_pseudo_anomalies(config, clips, root: Path) -> Path:
    """Writes a data set made from normal training clips, and returns its folder.

    Most clips are for training. The rest are for testing, both unchanged and altered. Every machine
    becomes three, <machine>__mixed, <machine>__surgery and <machine>__faults. If the data set has
    only one machine, another machine of the factory is mixed in.

    Raises:
        InputError: The existing data set was made from other clips.
    """
    written = root.with_suffix(".json")
    made_of = {"of": str(config.data.root), "channel": config.data.channel, "seed": config.seed}
    made_of["kinds"] = [MIXED, SURGERY, FAULTS]
    made_of["recordings"] = summarize_recordings(clips)
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
        wave = read(clip.path)
        others = [other for other in normal if other.machine != clip.machine]
        if others:
            other = read(others[rng.integers(len(others))].path)
        else:
            other = factory_clip("gearbox", clip_seconds=len(wave) / 16000, seed=number).wave
        # Faults are in another session, so that the session itself is not taken for one.
        session = simulated_session(wave, 16000)
        pairs = {
            MIXED: (wave, mixed(wave, other)),
            SURGERY: (wave, surgery(wave, rng)),
            FAULTS: (session, simulated_fault(session, 16000, rng).clip(-1, 1)),
        }
        for kind, (healthy, anomaly) in pairs.items():
            if clip.split == "train":
                write(wave, clip, kind, "train", "normal")
            else:
                write(healthy, clip, kind, "test", "normal")
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


def domain_gaps(scoring: Scoring, machines: Mapping[str, Embeddings]) -> dict[str, float]:
    """Returns, for each machine, how far the AUC of target against source self-scores is from 0.5.

    The value is the mean over sections; it is 0 if there is only one domain.
    """
    found = {}
    for machine, embeddings in machines.items():
        gaps = []
        for scorer in fit_sections(embeddings, scoring).values():
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


def auc_of(row: Row, machine: str) -> float:
    """Returns the AUC over all clips of a machine."""
    of = np.array([clip[0] == machine for clip in row.clips])
    label = np.array([clip[3] for clip in row.clips])
    return float(auc(*tie_groups(label[of], row.scores[0, of])))


def mean_ranks(likes: Sequence[Mapping[str, Mapping[str, float]]]) -> dict[str, dict[str, float]]:
    """Returns {candidate: {machine: mean rank}} over several ratings of the same form; higher is
    better.
    """
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
    return dataclasses.replace(row_of(clips, np.array([scores]), year), folder=name)


if __name__ == "__main__":
    run(main, define_flags)
