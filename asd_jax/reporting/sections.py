"""Builds the sections of a run's page from scores and embeddings, as parts of page.py.

It does not depend on configs or files.
"""

from collections.abc import Callable, Mapping, Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from asd_jax.features.filter_bank import normalize
from asd_jax.features.front_end import FRAME_MULTIPLE, FrontEnd
from asd_jax.features.simam import MODES, simam_weights
from asd_jax.reporting import plots
from asd_jax.reporting.page import ClipCard, Plot, Section, Sound, Table, sound_url
from asd_jax.reporting.table import percent
from asd_jax.scoring.anomaly_score import MachineScores
from asd_jax.scoring.back_ends.knn import nearest
from asd_jax.scoring.embeddings import Embeddings
from asd_jax.scoring.intervals import section_intervals
from asd_jax.scoring.options import Scoring
from asd_jax.scoring.patch_bank import (
    FILTERS,
    FRAMES,
    Considered,
    PatchBank,
    energy_patches,
    over_cells,
)
from asd_jax.scoring.preparation import Preparation

# (split, file, start in s) -> waveform, or None if it is not available
Hear = Callable[[str, str, float], np.ndarray | None]
_KINDS = {0: "normal", 1: "anomaly", -1: "unlabelled"}


def score_section(found: Mapping, scored: Mapping[str, MachineScores]) -> Section:
    """Returns the scores of every machine and section as a table and bars.

    Args:
        found: content of results.json.
        scored: {machine: the scores behind it}.
    """
    rows = []
    bars = {}
    plain = found.get("filter_bank_baseline", {}).get("machines", {})
    columns = _auc_columns(found)
    for machine, sections in found["machines"].items():
        for section, values in sections.items():
            own = [percent(values.get(column)) for column in columns]
            other = plain.get(machine, {}).get(section, {})
            rows.append(
                [
                    f"{machine} {section}",
                    *own,
                    *(percent(other.get(column)) for column in columns if plain),
                ]
            )
            here = scored[machine].clips.section == section
            clips = scored[machine].clips[here]
            bars[rows[-1][0]] = section_intervals(
                clips.domain, clips.label, scored[machine].score[here], found["year"]
            )
    if not rows:
        return Section(
            "Scores",
            [],
            ["No section has test clips known to be normal and anomalous: no AUC to show."],
        )
    titles = [plots.column_title(column) for column in columns]
    titles += [f"filter bank {title}" for title in titles if plain]
    shown = Plot(
        plots.auc_bars(bars),
        "AUC by machine and section, in percent, with 95 % bootstrap intervals over clips.",
    )
    return Section(
        "Scores", [Table(["machine", *titles], rows, "Percent; click a heading to sort."), shown]
    )


def _auc_columns(found: Mapping) -> list[str]:
    return [
        c
        for c in plots.COLUMNS
        if any(c in v for of in found["machines"].values() for v in of.values())
    ]


def mean_section(found: Mapping) -> Section:
    """Returns a table of means and standard deviations from results.json of several seeds."""
    rows = []
    columns = _auc_columns(found)
    for machine, sections in found["machines"].items():
        for section, values in sections.items():
            spread = found["standard_deviation"]["machines"][machine][section]
            cells = [
                text for c in columns for text in (percent(values.get(c)), percent(spread.get(c)))
            ]
            rows.append([f"{machine} {section}", *cells])
    titles = [title for c in columns for title in (plots.column_title(c), "deviation")]
    return Section(
        "Scores",
        [Table(["machine", *titles], rows, "Percent, mean and standard deviation over seeds.")],
    )


def machine_section(
    machine: str,
    section: str,
    embeddings: Embeddings,
    scores: MachineScores,
    unit: str,
    way: str,
    links: Sequence[tuple[str, str]] = (),
) -> Section:
    """Returns histograms, ROC, embedding map and table of clips for one section of a machine.

    Args:
        machine: name of the machine.
        section: name of the section.
        embeddings: embeddings "n ..." of the machine.
        scores: scores of the machine.
        unit: unit of the scores, for the axis.
        way: projection of the embeddings, "pca" or "umap".
        links: (text, relative address) of the files with these scores.
    """
    here = scores.clips.section == section
    clips = scores.clips[here]
    score = scores.score[here]
    threshold = scores.threshold[section]
    parts = {
        domain: {
            kind: score[own]
            for label, kind in _KINDS.items()
            if (own := (clips.domain == domain) & (clips.label == label)).any()
        }
        for domain in sorted(set(clips.domain.tolist()))
    }
    histogram = plots.score_histograms(parts, threshold=threshold, unit=unit)
    shown: list[Plot | Table] = [
        Plot(histogram, f"Anomaly scores of the test clips of {machine}, by domain.")
    ]
    if curves := _roc(clips, score):
        shown.append(
            Plot(plots.roc_curves(curves), "ROC: a domain's normal clips against all anomalies.")
        )
    points, axes, caption = project(embeddings[embeddings.section == section], way)
    groups = [
        f"{'training' if split != 'test' else _KINDS[label]}, {domain}"
        for split, label, domain in zip(
            *_columns(embeddings[embeddings.section == section]), strict=True
        )
    ]
    shown.append(Plot(plots.embedding_map(points, groups, axes), caption))
    order = np.argsort(-score, kind="stable")
    rows = [
        [
            str(clips.files[n]),
            str(clips.domain[n]),
            _KINDS[int(clips.label[n])],
            f"{score[n]:.3f}",
            _verdict(score[n], threshold),
        ]
        for n in order
    ]
    shown.append(
        Table(
            ["clip", "domain", "truth", "score", "decision"],
            rows,
            f"All {len(rows)} test clips",
            folded=True,
        )
    )
    return Section(f"{machine} {section}", shown, links=links)


def project(embeddings: Embeddings, way: str) -> tuple[Float[np.ndarray, "n 2"], list[str], str]:
    """Returns (map "n 2", axis labels, caption) of embeddings "n ...", by "pca" or "umap"."""
    vectors = embeddings.vectors.reshape(len(embeddings.vectors), -1).astype(np.float64)
    if way == "umap":
        from umap import UMAP

        neighbours = max(2, min(15, len(vectors) - 1))  # UMAP's default
        points = UMAP(
            neighbours, metric="cosine", init="pca", random_state=0, n_jobs=1
        ).fit_transform(vectors)
        caption = (
            "Embeddings by UMAP: neighbours are alike; distances between groups, and the axes, "
            "have no unit."
        )
        return points, ["UMAP 1", "UMAP 2"], caption
    from sklearn.decomposition import PCA

    pca = PCA(min(2, *vectors.shape), random_state=0).fit(vectors)
    points = np.zeros((len(vectors), 2))
    points[:, : pca.n_components_] = pca.transform(vectors)
    # Few clips, or short vectors, may give fewer than two components.
    share = np.r_[pca.explained_variance_ratio_, 0, 0]
    labels = [f"component {n + 1} ({100 * share[n]:.0f} % of the variance)" for n in (0, 1)]
    return points, labels, "Embeddings, first two principal components."


def clip_sections(
    machine: str,
    section: str,
    embeddings: Embeddings,
    scores: MachineScores,
    scoring: Scoring,
    hear: Hear,
    front_end: FrontEnd,
    count: int,
) -> list[Section]:
    """Returns the `count` highest-scored and the `count` most wrongly scored clips of a section.

    Each clip is shown beside its nearest normal clip.
    """
    own = embeddings[embeddings.section == section]
    near = _nearest_normal(own, scoring)
    here = np.flatnonzero(scores.clips.section == section)
    highest = here[np.argsort(-scores.score[here], kind="stable")[:count]]
    wrong = here[most_wrong(scores.clips.label[here], scores.score[here], count)]
    bank = _patch_bank(own, hear, front_end) if len(highest) else None
    sections = []
    for title, numbers in (("highest scores", highest), ("most wrong", wrong)):
        cards = [
            _card(machine, scores, n, own, near, scoring, hear, front_end, bank)
            for n in numbers.tolist()
        ]
        if cards:
            name = f"{machine} {section}: {title}"
            sections.append(Section(name, cards, part_of_previous=True))
    return sections


def most_wrong(label: np.ndarray, score: np.ndarray, count: int) -> np.ndarray:
    """Returns the numbers of the most wrongly scored clips, given labels and scores "n".

    These are the clips on the wrong side of the largest share of clips of the other kind.
    """
    normal = score[label == 0]
    anomalous = score[label == 1]
    share = np.zeros(len(score))
    for n in np.flatnonzero(label >= 0):
        other = score[n] > anomalous if label[n] == 0 else score[n] < normal
        share[n] = other.mean() if len(other) else 0
    # Clips with the same share are ordered by their distance from the median score.
    order = np.lexsort((-np.abs(score - np.median(score)), -share))
    return order[share[order] > 0][:count]


def filter_section(front_end: FrontEnd) -> Section:
    """Returns a plot of the shapes of the front end's filters."""
    title = {"even": "evenly spaced (m-FB)", "mel": "mel (o-FB)", "gammatone": "gammatone (g-FB)"}[
        front_end.spacing
    ]
    drawn = plots.filter_shapes(front_end.filters, front_end.sample_rate)
    return Section(
        "Filter bank", [Plot(drawn, f"Filters, {title}; neighbours differ in colour and line.")]
    )


def training_section(rows: Sequence[Mapping[str, float | int]]) -> Section:
    """Returns training curves from the rows of metrics.jsonl."""
    return Section(
        "Training",
        [
            Plot(
                plots.training_curves(rows), "Loss, accuracy and learning rate over training steps."
            )
        ],
    )


def attention(
    front_end: FrontEnd, wave: Float[np.ndarray, "s"], machine: str
) -> tuple[Float[np.ndarray, "t f"], Float[np.ndarray, "t f"] | None]:
    """Returns the log energies of a waveform and its SimAM weights, for real frames only.

    The weights are None if SimAM is off.
    """
    frames = front_end.real_frames(len(wave))
    mode = MODES[front_end.simam.mode_of(machine)]
    energies = front_end.log_energies(wave[None])
    if mode == "none":
        return np.asarray(energies[0]), None
    seen = jnp.pad(energies, ((0, 0), (0, -frames % FRAME_MULTIPLE), (0, 0)))
    weights = simam_weights(
        seen
        if front_end.simam.before_normalization
        else normalize(seen, front_end.mean, front_end.std),
        tile=front_end.simam.tile if mode == "local" else None,
        e_lambda=front_end.simam.e_lambda,
        valid_frames=frames if front_end.simam.ignores_padding else None,
    )
    return np.asarray(energies[0]), np.asarray(weights[0, :frames])


def _patch_bank(
    own: Embeddings, hear: Hear, front_end: FrontEnd, most: int = 16
) -> PatchBank | None:
    """Returns a bank of filter-bank patches of some training clips.

    Returns None if the clips are not available or shorter than a patch.
    """
    train = np.flatnonzero(own.split == "train")
    recording = own.clip
    considered = Considered()
    for row in train[np.unique(np.linspace(0, len(train) - 1, most).astype(int))].tolist():
        wave = _hear(hear, own, row)
        if wave is not None and front_end.real_frames(len(wave)) >= FRAMES:
            considered.add(
                np.asarray(energy_patches(front_end.log_energies(wave[None]))), int(recording[row])
            )
    return PatchBank.fit(*considered.bands()) if considered.kept else None


def _card(machine, scores, n, own, near, scoring, hear, front_end, bank) -> ClipCard:
    clips = scores.clips
    score = scores.score[n]
    # The scores of other sections have other scales, so the rank is within the section.
    rivals = scores.score[clips.section == clips.section[n]]
    threshold = scores.threshold[str(clips.section[n])]
    kind = _KINDS[int(clips.label[n])]
    distance, row, bank_row = near(str(clips.files[n]))
    facts = [
        f"truth: {kind}, {clips.domain[n]} domain",
        f"score {score:.3f}, threshold {threshold:.3f}: called {_verdict(score, threshold)}",
        f"rank {1 + int(np.sum(rivals > score))} of {len(rivals)} test clips",
        f"nearest normal: {own.files[bank_row]} ({own.domain[bank_row]}, {scoring.distance} "
        f"distance {distance:.4g})",
    ]
    pair = [("this clip", row), ("nearest normal", bank_row)]
    waves = [(what, _hear(hear, own, place)) for what, place in pair]
    waves = [(what, wave) for what, wave in waves if wave is not None]
    seen = [attention(front_end, wave, machine) for _, wave in waves]
    drawn = []
    sounds = []
    if seen:
        # Both spectrograms use one range of colours, so that they can be compared.
        decibels = plots.decibel_range(np.concatenate([energies.ravel() for energies, _ in seen]))
    for (what, wave), (energies, weights) in zip(waves, seen, strict=True):
        heat = None
        if bank is not None and what == "this clip":
            heat = over_cells(
                bank.heat(energy_patches(energies[None])[0]), (FRAMES, FILTERS), *energies.shape
            )
        look = {"hop_seconds": 0.01, "decibels": decibels, "heat": heat}
        shown = {"filter bank": energies, "SimAM weights": weights, "where it is odd": heat}
        caption = ", ".join(name for name, values in shown.items() if values is not None)
        picture = plots.spectrograms(energies, weights, front_end.filter_centres, **look)
        drawn.append(Plot(picture, f"{what}: {caption}"))
        sounds.append(Sound(what, sound_url(wave, front_end.sample_rate)))
    return ClipCard(str(clips.files[n]), facts, drawn, sounds)


def _hear(hear: Hear, rows: Embeddings, n: int):
    start = 0.0 if rows.window_start_seconds is None else float(rows.window_start_seconds[n])
    return hear(str(rows.split[n]), str(rows.files[n]), start)


def _nearest_normal(own: Embeddings, scoring: Scoring):
    """Returns a function that finds the normal clip nearest to a test clip.

    The function maps the file of a test clip to (distance, row of the test clip, row of the nearest
    training clip). Rows may be windows: of a clip's windows, the one farthest from all normal ones
    is used.
    """
    train = np.flatnonzero(own.split == "train")
    test = np.flatnonzero(own.split == "test")
    by_domain = {
        d: own.vectors[train][own.domain[train] == d] for d in ("source", "target", "unknown")
    }
    prepare = Preparation.fit(by_domain, scoring, own.axes)
    bank, queries = (prepare(own.vectors[rows]).reshape(len(rows), -1) for rows in (train, test))
    distances, rows = nearest(queries, bank, 1, scoring.metric)

    def of(file):
        here = np.flatnonzero(own.files[test] == file)
        place = here[np.argmax(distances[here, 0])]
        return distances[place, 0], int(test[place]), int(train[rows[place, 0]])

    return of


def _roc(clips, score):
    curves = {}
    for domain in sorted(set(clips.domain.tolist())):
        mask = (clips.label == 1) | ((clips.domain == domain) & (clips.label == 0))
        if len(set(clips.label[mask].tolist())) == 2:
            curves[f"{domain} domain"] = (clips.label[mask], score[mask])
    return curves


def _columns(of: Embeddings):
    return of.split.tolist(), of.label.tolist(), of.domain.tolist()


def _verdict(score, threshold) -> str:
    return "anomalous" if score > threshold else "normal"
