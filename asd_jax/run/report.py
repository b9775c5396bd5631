"""Writes report/index.html, a page that shows the results of a run and plays its clips."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from asd_jax.config import RunConfig
from asd_jax.data.clips import find_clips
from asd_jax.features.front_end import FrontEnd
from asd_jax.reporting import sections
from asd_jax.reporting.page import Page, Section, write_page
from asd_jax.reporting.table import percent
from asd_jax.run.clips import clip_windows, window_reader
from asd_jax.run.embed import FRONT_END
from asd_jax.run.encoder import front_end
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import read_json
from asd_jax.runtime.log import read_metrics
from asd_jax.runtime.schema import build_checked
from asd_jax.scoring.anomaly_score import MachineScores
from asd_jax.scoring.embeddings import Embeddings
from asd_jax.training.weights import front_end_of

REPORT = Path("report") / "index.html"


def write_report(
    config: RunConfig,
    machines: Mapping[str, Embeddings],
    scored: Mapping[str, MachineScores],
    found: Mapping,
    workdir: Path,
) -> None:
    """Writes workdir/report/index.html from the embeddings, the scores and the content of
    results.json.

    Spectrograms and players need the recordings; if they cannot be found any more, the page says
    so.
    """
    if not config.report.page:
        return
    scoring = config.scoring
    unit = (
        "a distance" if scoring.normalization == "none" else "standard deviations of normal clips"
    )
    parts = [sections.score_section(found, scored)]
    places = [(machine, s) for machine, scores in scored.items() for s in sorted(scores.threshold)]
    parts += [
        sections.machine_section(m, s, machines[m], scored[m], unit, config.report.map)
        for m, s in places
    ]
    try:
        front, hear = _recordings(config, list(machines), workdir)
    except InputError as error:
        parts.append(Section("Clips", [], [str(error)]))
    else:
        for number, (machine, section) in enumerate(places):
            # The clips are divided among the machines and sections as evenly as possible.
            count = (config.report.clips + len(places) - 1 - number) // len(places)
            about = machines[machine], scored[machine], scoring, hear(machine), front, count
            parts += sections.clip_sections(machine, section, *about)
        parts.append(sections.filter_section(front))
    parts += _training(workdir / "metrics.jsonl")
    title = f"Anomalous sounds of {', '.join(machines)}"
    write_page(workdir / REPORT, Page(title, parts, _lead(found, config)))


def write_seeds_report(found: Mapping, folders: Sequence[Path], workdir: Path) -> None:
    """Writes workdir/report/index.html with the means over seeds and links to the seeds' pages."""
    links = [(folder.name, f"../{folder.name}/{REPORT.as_posix()}") for folder in folders]
    spread = found["standard_deviation"]["official_score"]
    lead = [f"Means over {len(folders)} seeds."]
    if found["official_score"] is not None:
        lead.append(
            f"Official score {found['year']}: {percent(found['official_score'])} %, standard "
            f"deviation {percent(spread)} percentage points."
        )
    write_page(
        workdir / REPORT,
        Page(f"Mean of {len(folders)} seeds", [sections.mean_section(found)], lead, links),
    )


def _lead(found, config) -> list[str]:
    score = found["official_score"]
    lead = [
        f"Official score {found['year']}: {percent(score)} %."
        if score is not None
        else "No official score."
    ]
    plain = found.get("filter_bank_baseline", {}).get("official_score")
    if plain is not None:
        lead.append(f"The filter bank alone, without a model: {percent(plain)} %.")
    of = found["scoring"]
    lead.append(
        f"Encoder {config.model.encoder}, filter bank {config.features.spacing}, SimAM "
        f"{config.features.simam}; back end {of['back_end']} ({of['distance']}), domain "
        f"normalisation {of['normalization']}; seed {config.seed}."
    )
    return lead + [f"Note: {note}" for note in found["notes"]]


def _recordings(config, machines, workdir):
    """Returns the front end, and a function: machine -> (split, file, start in seconds) ->
    waveform.

    Raises:
        InputError: the recordings are not available; the message says why.
    """
    root = config.data.root
    # The runs of several seeds share the factory in the folder above.
    if root == "factory":
        root = next(
            (f for f in (workdir / "factory", workdir.parent / "factory") if f.is_dir()),
            workdir / "factory",
        )
    if not root:
        raise InputError("Embeddings came without recordings, so there is nothing to hear.")
    try:
        clips = {
            (clip.machine, clip.split, Path(clip.path).name): clip
            for clip in find_clips(root, machines)
        }
        front = _front_end(config, list(clips.values()), workdir)
    except InputError as error:
        raise InputError(f"No spectrograms and no players: {str(error).splitlines()[0]}") from error
    read = window_reader(config)

    def hear(machine):
        def of(split, file, start):
            clip = clips.get((machine, "train" if split == "held_out" else split, file))
            if clip is None:
                return None
            begin = round(start * FrontEnd.sample_rate)
            return read(
                min(clip_windows(config, [clip]), key=lambda window: abs(window.start - begin))
            )

        return of

    return front, hear


def _front_end(config, clips, workdir):
    """Returns the front end that was recorded when the clips were embedded.

    Runs of earlier versions did not record it; for them it is that of the weights, or of the
    config.
    """
    noted = workdir / "embeddings" / FRONT_END
    if noted.is_file():
        try:
            return build_checked(FrontEnd, read_json(noted))
        except InputError as error:
            raise InputError(f"{noted}: not the note of a front end ({error})") from error
    own = workdir / "weights.safetensors"
    frozen = config.model.weights if config.frozen.features == "weights" else "none"
    file = own if own.is_file() else frozen
    if file in ("", "none") or config.model.encoder == "filter_bank":
        return front_end(config, clips)
    return front_end_of(file) or front_end(config, clips)


def _training(path: Path) -> list[Section]:
    """Returns the section with the training curves, if there was a training.

    If the metrics cannot be read, the section says why.
    """
    try:
        rows = [row for row in read_metrics(path) if len(row) > 1] if path.exists() else []
    except InputError as error:
        return [Section("Training", [], [str(error)])]
    return [sections.training_section(rows)] if rows else []
