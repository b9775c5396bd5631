"""Writes report/index.html, a page that shows the results of a run and plays its clips."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from asd_jax.config import RunConfig
from asd_jax.data.clips import find_clips
from asd_jax.features.front_end import FrontEnd
from asd_jax.features.own import allow_own
from asd_jax.reporting import clip_cards, sections
from asd_jax.reporting.page import Page, Section, write_page
from asd_jax.reporting.summary import run_section, verdict_lines, words_section
from asd_jax.reporting.table import percent
from asd_jax.run.clips import clip_windows, window_reader
from asd_jax.run.embed import FRONT_END
from asd_jax.run.encoder import front_end
from asd_jax.run.workdir import Run
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import read_json
from asd_jax.runtime.log import read_metrics
from asd_jax.runtime.schema import build_checked
from asd_jax.scoring.anomaly_score import MachineScores
from asd_jax.scoring.embeddings import Embeddings
from asd_jax.scoring.score_files import score_files
from asd_jax.training.weights import front_end_of


def write_report(
    config: RunConfig,
    machines: Mapping[str, Embeddings],
    scored: Mapping[str, MachineScores],
    found: Mapping,
    *,
    run: Run,
    output: Run,
    plain: Mapping[str, MachineScores] | None = None,
) -> None:
    """Writes the page of the results from the embeddings, the scores and the content of
    results.json.

    Spectrograms and players need the recordings; if they cannot be found any more, the page says
    so.

    Args:
        config: the settings of the run.
        machines: {machine: its embeddings}.
        scored: {machine: its scores}.
        found: content of results.json.
        run: the run, with its front end, its metrics and its factory.
        output: the results, which may be in a folder of their own.
        plain: {machine: scores of the filter bank alone}, if there are any.
    """
    if not config.report.page:
        return
    scoring = config.scoring
    unit = (
        "a distance" if scoring.normalization == "none" else "standard deviations of normal clips"
    )
    parts = [sections.score_section(found, scored), words_section()]
    # A section without test clips has no threshold, and nothing to show.
    places = [(machine, s) for machine, scores in scored.items() for s in sorted(scores.threshold)]
    try:
        front, waveform_of = _recordings(config, list(machines), run)
    except InputError as error:
        front = None
        waveform_of = None
        # The page shows the scores all the same.
        silent = str(error)
    for machine, section in places:
        one = sections.ScoredSection.of(machine, section, machines[machine], scored[machine])
        links = score_file_links(output, machine, section)
        parts.append(sections.machine_section(one, unit, config.report.map, links))
        if front is not None:
            recordings = clip_cards.Recordings(waveform_of(machine), front, machine)
            parts += clip_cards.clip_sections(one, recordings, scoring, config.report.clips)
    parts.append(
        Section("Clips", [], [silent]) if front is None else sections.filter_section(front)
    )
    parts += _training(run.metrics)
    parts.append(run_section(_facts(run), _files(output)))
    title = f"Anomalous sounds of {', '.join(machines)}"
    lead = [*verdict_lines(found, scored, plain), *_lead(found, config)]
    write_page(output.page, Page(title, parts, lead))


def write_seeds_report(found: Mapping, seeds: Sequence[Run], run: Run) -> None:
    """Writes the page of a run with the means over its seeds and links to the seeds' pages."""
    links = [
        (seed.workdir.name, f"../{seed.page.relative_to(run.workdir).as_posix()}") for seed in seeds
    ]
    deviation = found["standard_deviation"]["official_score"]
    lead = [f"Means over {len(seeds)} seeds."]
    if found["official_score"] is not None:
        lead.append(
            f"Official score {found['year']}: {percent(found['official_score'])} %, standard "
            f"deviation {percent(deviation)} percentage points."
        )
    write_page(
        run.page,
        Page(f"Mean of {len(seeds)} seeds", [sections.mean_section(found)], lead, links),
    )


def _lead(found, config) -> list[str]:
    of = found["scoring"]
    lead = [
        f"Encoder {config.model.encoder}, filter bank {config.features.spacing}, SimAM "
        f"{config.features.simam}; back end {of['back_end']} ({of['distance']}), domain "
        f"normalisation {of['normalization']}; seed {config.seed}."
    ]
    return lead + [f"Note: {note}" for note in found["notes"]]


def _facts(run: Run) -> dict[str, str]:
    """Returns what timing.json says of how the clips were embedded, as text."""
    if not run.timing.is_file():
        return {}
    timing = read_json(run.timing)
    found = {
        name: str(timing[name])
        for name in ("command", "commit", "date", "device")
        if name in timing
    }
    for name, value in timing.items():
        if name.endswith("seconds") and isinstance(value, int | float):
            found[name.replace("_", " ")] = f"{value:.1f}"
    return found


def _files(run: Run) -> list[tuple[str, str]]:
    """Returns (name, address relative to the page) of the files of the results that are there."""
    paths = run.results, run.config, run.timing, run.metrics, run.scores
    # The page is in report/, one folder below the files.
    return [(path.name, f"../{path.name}") for path in paths if path.exists()]


def score_file_links(run: Run, machine: str, section: str) -> list[tuple[str, str]]:
    """Returns (name, address relative to the page) of the score files of a section."""
    files = score_files(run.scores) if run.scores.is_dir() else []
    names = [file.path.name for file in files if (file.machine, file.section) == (machine, section)]
    # The names of machines may contain characters that an address must escape.
    return [(name, f"../{run.scores.name}/{quote(name)}") for name in names]


def _recordings(config, machines, run):
    """Returns the front end, and a function: machine -> (split, file, start in seconds) ->
    waveform.

    Raises:
        InputError: the recordings are not available; the message says why.
    """
    root = config.data.root
    # The runs of several seeds share the factory in the folder above.
    if root == "factory":
        shared = Run(run.workdir.parent).factory
        root = shared if shared.is_dir() and not run.factory.is_dir() else run.factory
    if not root:
        raise InputError("Embeddings came without recordings, so there is nothing to play.")
    try:
        clips = {
            (clip.machine, clip.split, Path(clip.path).name): clip
            for clip in find_clips(root, machines)
        }
        front = _front_end(config, list(clips.values()), run)
    except InputError as error:
        raise InputError(f"No spectrograms and no players: {str(error).splitlines()[0]}") from error
    read = window_reader(config)

    def waveform_of(machine):
        def of(split, file, start):
            # Held-out clips lie among the training clips; only the run calls them so.
            clip = clips.get((machine, "train" if split == "held_out" else split, file))
            if clip is None:
                return None
            # Embeddings know a window by its file and its start in seconds.
            begin = round(start * FrontEnd.sample_rate)
            return read(
                min(clip_windows(config, [clip]), key=lambda window: abs(window.start - begin))
            )

        return of

    return front, waveform_of


def _front_end(config, clips, run):
    """Returns the front end that was recorded when the clips were embedded.

    Runs of earlier versions did not record it; for them it is that of the weights, or of the
    config.
    """
    allow_own(config.features.spacing)
    # Measured statistics need not be measured again.
    noted = run.embeddings / FRONT_END
    if noted.is_file():
        try:
            return build_checked(FrontEnd, read_json(noted))
        except InputError as error:
            raise InputError(f"{noted}: not the note of a front end ({error})") from error
    # With another front end than its own, the weight file does not describe the embeddings.
    frozen = config.model.weights if config.frozen.features == "weights" else "none"
    file = run.weights if run.weights.is_file() else frozen
    if file in ("", "none") or config.model.encoder == "filter_bank":
        return front_end(config, clips)
    return front_end_of(file) or front_end(config, clips)


def _training(path: Path) -> list[Section]:
    """Returns the section with the training curves, if there was a training.

    If the metrics cannot be read, the section says why.
    """
    try:
        # A row with the number of a step alone has nothing to draw.
        rows = [row for row in read_metrics(path) if len(row) > 1] if path.exists() else []
    except InputError as error:
        return [Section("Training", [], [str(error)])]
    return [sections.training_section(rows)] if rows else []
