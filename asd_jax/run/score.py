"""Scores a run: clips that are embedded now, existing embeddings, or several seeds."""

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import jax

from asd_jax.config import RunConfig
from asd_jax.data.clips import Clip
from asd_jax.models.encoder import EncoderConfig
from asd_jax.reporting.table import grid_table, percent, print_table, results_table
from asd_jax.run.clips import find_data, readable_clips, with_held_out
from asd_jax.run.embed import (
    SKIPPED,
    embed_clips,
    read_skipped,
    versions,
    without_path,
    write_front_end,
)
from asd_jax.run.encoder import check_run, note_slow_dtype
from asd_jax.run.frozen import frozen_encoder
from asd_jax.run.report import write_report, write_seeds_report
from asd_jax.run.stored_embeddings import StoredEmbeddings
from asd_jax.run.workdir import BASELINE_FOLDER, Run
from asd_jax.runtime import processes
from asd_jax.runtime.errors import InputError, error_context
from asd_jax.runtime.files import read_json, remove_new_folder_on_error, write_json
from asd_jax.runtime.log import print_line
from asd_jax.runtime.provenance import made_by
from asd_jax.runtime.settings import to_dict, with_values
from asd_jax.runtime.sign_of_life import doing
from asd_jax.runtime.start import keep_compiled
from asd_jax.scoring.anomaly_score import MachineScores, Scoring, score_machine
from asd_jax.scoring.automatic import chosen_scoring
from asd_jax.scoring.comparison import compare_back_ends
from asd_jax.scoring.embeddings import Embeddings
from asd_jax.scoring.ensemble import mean_scores
from asd_jax.scoring.options import AUTO
from asd_jax.scoring.results import over_seeds, results
from asd_jax.scoring.score_files import ScoredClip
from asd_jax.scoring.submission import submission_files, write_submission

# The baseline of every table, which needs no model: the front end's mean over time, standardised,
# with 1-NN and the statistics of the training clips.
BASELINE = Scoring(distance="euclidean", standardize=True)


def score_again(
    config: RunConfig,
    embeddings: Path | None,
    workdir: Path,
    *,
    everything: bool = False,
    output: Path | None = None,
) -> None:
    """Scores a finished run or a folder of embeddings, by one back end or, with `everything`, by
    all.

    The results go into `output`, if it is given, and leave those of the run as they are.
    """
    run = Run(workdir)
    new = Run(output or workdir)
    seeds = run.seeds() if embeddings is None else []
    # All seeds are checked first, so that the results are never of some seeds only.
    if embeddings is None:
        for one in seeds or [run]:
            check_finished(one)
    for one in seeds or [run]:
        own = embeddings or one.embeddings
        into = new.workdir / one.workdir.relative_to(workdir)
        if everything:
            compare(config, own, into)
            continue
        # The run's own config holds the first seed; results.json names the one it was made with.
        seed = _seed(one.config) if seeds else config.seed
        score_embeddings(dataclasses.replace(config, seed=seed), own, one.workdir, into)
    # The config describes the run's encoder; other embeddings come from another one.
    if new.workdir != workdir and embeddings is None:
        write_json(new.config, to_dict(config))
    if seeds and not everything:
        summarize_seeds(config, seeds, new)


def _seed(path: Path) -> int:
    seed = read_json(path).get("seed")
    if type(seed) is not int or seed < 0:
        raise InputError(f"{path}: seed={seed!r} is not the seed of a run")
    return seed


def check_finished(run: Run) -> None:
    """Raises InputError unless the folder of the run holds the embeddings of all its machines."""
    embedded = {path.stem for path in run.embeddings.glob("*.npz")}
    if not embedded:
        raise InputError(
            f"{run.workdir}: no finished run here (no embeddings/); give --config and --weights, "
            "or --embeddings"
        )
    machines = set(run.read_data()) if run.data.exists() else set()
    if missing := sorted(machines - embedded):
        raise InputError(
            f"{run.embeddings}: no embeddings of {', '.join(missing)} yet; the run's own command "
            "makes them"
        )


def embed_frozen(
    config: RunConfig,
    weights: str | None,
    workdir: Path,
    *,
    worker: bool = False,
    overwrite: bool = False,
) -> dict:
    """Embeds every clip with frozen weights, scores them and returns the content of results.json.

    Args:
        config: the settings of the run.
        weights: the weight file, or "none" for random weights; None only if the filter bank is the
            encoder.
        workdir: the folder for all results.
        worker: embed shards beside other processes, and leave joining and scoring to another one.
        overwrite: remove the run that is in the workdir first.

    Raises:
        InputError: a setting, the data or the weights are wrong; the message says what.
    """
    if config.model.encoder == "eat" and weights is None:
        raise InputError(
            "frozen mode needs --weights=FILE.safetensors (none: random weights), or "
            "--config.model.encoder=filter_bank"
        )
    # The filter bank may take its statistics from the config's weights.
    if config.model.encoder == "eat" or weights:
        # --weights wins over the key of the same meaning.
        config = with_values(config, {"model.weights": weights or "none"})
    check_run(config, training=False)
    keep_compiled(config.compiled)
    if config.model.encoder == "eat":
        note_slow_dtype(config.model)
    # Embeddings took long to compute, so a folder that holds any stays.
    with remove_new_folder_on_error(workdir, unless="embeddings/**/*.npz"):
        # A worker joins others in the folder and must not replace what they read.
        clips = find_data(config, workdir, overwrite=overwrite and not worker)
        skipped = []
        # Measuring the statistics reads all training clips first, so bad ones must be known.
        if config.features.statistics == "train":
            clips, skipped = readable_clips(config, clips)
        else:
            clips = with_held_out(config, clips)
        encoder, params = frozen_encoder(config, clips)
        run = Run(workdir)
        if worker:
            # Without a lock, because several workers share the folder.
            run.check_config(to_dict(config))
            count = embed_clips(config, encoder, params, clips, run.embeddings, join=False)
            print_line(
                f"{count} clips embedded here; the same command without --worker joins and scores "
                "all"
            )
            return {}
        # Recordings may change: the embeddings that depend on them are made again.
        with run.claim(to_dict(config), clips, overwrite=overwrite, may_change=True):
            return embed_and_score(config, encoder, params, clips, workdir, skipped=skipped)


def embed_and_score(
    config: RunConfig,
    encoder: EncoderConfig,
    params: dict,
    clips: Sequence[Clip],
    workdir: Path,
    *,
    skipped: Sequence[dict] = (),
    timing: Mapping[str, float] = MappingProxyType({}),
) -> dict:
    """Embeds every clip with the encoder and the bare filter bank, and returns results.json's
    content.

    Args:
        config: the settings of the run.
        encoder: the encoder's settings.
        params: the encoder's parameters.
        clips: all clips of the run.
        workdir: the folder for all results.
        skipped: {"file", "reason"} of clips that could not be read; written beside the embeddings
            and into results.json.
        timing: the seconds that other stages took.
    """
    run = Run(workdir)
    folder = run.embeddings
    begin = time.perf_counter()
    # Before embedding, so that an interrupted run knows its bad clips.
    write_json(folder / SKIPPED, {"skipped": [without_path(clip) for clip in skipped]})
    write_front_end(folder, encoder.front_end)
    count = embed_clips(config, encoder, params, clips, folder)
    # Scoring takes seconds, and only the first process writes files.
    if not processes.is_first():
        return {}
    seconds = time.perf_counter() - begin
    device = jax.devices()[0].device_kind
    # A call that embeds nothing leaves the timing of the one that did.
    if count:
        speed = {
            "embedding_seconds": seconds,
            "embedding_clips_per_second": count / seconds,
            "device": device,
        }
        write_json(run.timing, {**timing, **speed, **made_by()})
        print_line(f"{count} clips embedded, {count / seconds:.1f} clips/s on {device}")
    if count < len(clips):
        print_line(f"{len(clips) - count} clips were embedded before, by these weights: {folder}")
    return score_embeddings(config, folder, workdir)


def score_embeddings(
    config: RunConfig, folder: Path, workdir: Path, output: Path | None = None
) -> dict:
    """Scores the embeddings of each machine, prints the table and returns the content of
    results.json.

    Writes scores/, results.json and the report into `output`, by default the workdir. The results
    include the filter-bank baseline if the folder has its embeddings.
    """
    new = Run(output or workdir)
    # Machines without test clips are named in the notes, not refused.
    machines, notes = load_tested(folder)
    scoring = config.scoring
    year = config.data.year
    scored = score_machines(machines, scoring)
    found = results(scored, scoring, year)
    baseline = None
    plain = None
    found["notes"] = [*notes, *found["notes"]]
    # Only runs embed the bare filter bank; embeddings of other models come without it.
    if (folder / BASELINE_FOLDER).is_dir():
        plain = score_machines(load_tested(folder / BASELINE_FOLDER)[0], BASELINE)
        baseline = results(plain, BASELINE, year)
        kept = ("official_score", "year", "scoring", "machines", "arithmetic_mean", "harmonic_mean")
        found["filter_bank_baseline"] = {key: baseline[key] for key in kept if key in baseline}
    skipped = [clip for path in sorted(folder.glob(f"*{SKIPPED}")) for clip in read_skipped(path)]
    found |= {"skipped_clips": len(skipped), "skipped": skipped}
    write_scores(scored, new.scores, year)
    # No time, date or path: the same seed gives the same bytes.
    write_json(new.results, found | {"seed": config.seed, "versions": versions()})
    print_table(results_table(found, baseline))
    for note in found["notes"]:
        print_line(f"note: {note}")
    if skipped:
        print_line(
            f"note: {len(skipped)} clips could not be read and were left out, see results.json"
        )
    with doing("writing the page"):
        write_report(config, machines, scored, found, run=Run(workdir), output=new, plain=plain)
    name = new.page.relative_to(new.workdir)
    page = f", {name} to look at and listen to" if config.report.page else ""
    print_line(f"in {new.workdir}: results.json, scores/{page}")
    return found


def score_machines(
    machines: Mapping[str, Embeddings], scoring: Scoring
) -> dict[str, MachineScores]:
    """Returns {machine: scores}; the message of an error names its machine.

    With back_end=auto, each machine has a back end of its own, which its notes name.
    """
    chosen = {machine: (scoring, "") for machine in machines}
    if scoring.back_end == AUTO:
        chosen = chosen_scoring(machines, scoring)
    scored = {}
    for machine, embeddings in machines.items():
        own, note = chosen[machine]
        with error_context(f"machine {machine}"), doing(f"scoring {machine}"):
            scores = score_machine(embeddings, own)
        notes = (note, *scores.notes) if note else scores.notes
        scored[machine] = dataclasses.replace(scores, notes=notes)
    return scored


def write_scores(scored: Mapping[str, MachineScores], folder: Path, year: int) -> None:
    """Writes the submission's files, and removes other such files from the folder."""
    clips = [clip for machine, scores in scored.items() for clip in _rows(machine, scores)]
    written = write_submission(folder, clips, year=year)
    # Files of machines or years that were scored before must not stay in the submission.
    for old in submission_files(folder) - set(written):
        old.unlink()


def _rows(machine: str, scores: MachineScores) -> Iterator[ScoredClip]:
    """Yields the rows of a submission that a machine's test clips make."""
    clips = scores.clips
    for n, file in enumerate(clips.files):
        yield ScoredClip(
            machine=machine,
            section=str(clips.section[n]),
            file=Path(str(file)).name,
            domain=str(clips.domain[n]),
            label=int(clips.label[n]),
            score=float(scores.score[n]),
            decision=int(scores.decision[n]),
        )


def compare(config: RunConfig, folder: Path, workdir: Path) -> None:
    """Compares all back ends under all domain normalisations; writes comparison.json, prints a
    table.
    """
    machines, untested = load_tested(folder)
    grid, notes = compare_back_ends(machines, config.scoring, config.data.year)
    notes = [*untested, *notes]
    write_json(Run(workdir).comparison, {"official_score": grid, "notes": notes})
    print_table(grid_table(grid, title=f"official score {config.data.year}, %"))
    for note in notes:
        print_line(f"note: {note}")


def load_embeddings(folder: Path) -> StoredEmbeddings:
    """Returns {machine: embeddings} of the <machine>.npz files in a folder.

    Raises:
        InputError: the folder does not exist, has no such file, or a file is not valid.
    """
    return StoredEmbeddings(folder)


def load_tested(folder: Path) -> tuple[StoredEmbeddings, list[str]]:
    """Returns {machine: embeddings} of the machines that have test clips, and notes on the others.

    Raises:
        InputError: as for `load_embeddings`, or no machine has test clips.
    """
    machines = load_embeddings(folder)
    tested = machines.only("test")
    if not tested:
        raise InputError(
            f"{folder}: no test clips of {', '.join(machines)}, so there is nothing to score"
        )
    return tested, [
        f"{machine}: no test clips, so it has no scores"
        for machine in machines
        if machine not in tested
    ]


def summarize_seeds(config: RunConfig, seeds: Sequence[Run], output: Run) -> None:
    """Writes the mean and standard deviation (n - 1) of the seeds' results to results.json.

    The ensemble of the seeds, which scores each clip by the mean of its scores, is an entry of the
    results, and its scores are in scores/.

    Args:
        config: the settings of the scoring.
        seeds: the runs of the seeds, with their embeddings.
        output: the results, which have those of the seeds in folders of the seeds' names.
    """
    parts = [Run(output.workdir / seed.workdir.name) for seed in seeds]
    every = [read_json(part.results) for part in parts]
    found = over_seeds(every)
    found["seeds"] = [
        {"seed": one["seed"], "official_score": one["official_score"]} for one in every
    ]
    # The mean belongs to no single seed.
    del found["seed"]
    # Computed again from the embeddings, because results.json holds no scores of clips.
    scored = [score_machines(load_tested(seed.embeddings)[0], config.scoring) for seed in seeds]
    together = mean_scores(scored)
    ensemble = results(together, config.scoring, config.data.year)
    found["ensemble"] = {key: ensemble[key] for key in ("official_score", "machines")}
    write_scores(together, output.scores, config.data.year)
    write_json(output.results, found)
    write_seeds_report(found, parts, output)
    print_table(results_table(found, found.get("filter_bank_baseline")))
    for note in found["notes"]:
        print_line(f"note: {note}")
    if found["official_score"] is not None:
        deviation = found["standard_deviation"]["official_score"]
        print_line(
            f"mean of {len(seeds)} seeds: {percent(found['official_score'])} %, standard deviation "
            f"{percent(deviation)} %"
        )
    if ensemble["official_score"] is not None:
        print_line(
            f"ensemble, the mean of the seeds' scores: {percent(ensemble['official_score'])} %, in "
            f"{output.scores}"
        )
