"""Builds the sections of a run's page from scores and embeddings, as parts of page.py.

It does not depend on configs or files.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from asd_jax.features.front_end import FrontEnd
from asd_jax.reporting import plots
from asd_jax.reporting.page import Plot, Section, Table
from asd_jax.reporting.table import COLUMNS, column_title, percent
from asd_jax.scoring.anomaly_score import MachineScores
from asd_jax.scoring.embeddings import Embeddings
from asd_jax.scoring.intervals import section_intervals

KINDS = {0: "normal", 1: "anomaly", -1: "unlabelled"}


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
            # Intervals of the plot are computed here, as results.json has none.
            bars[rows[-1][0]] = section_intervals(
                clips.domain, clips.label, scored[machine].score[here], found["year"]
            )
    if not rows:
        return Section(
            "Scores",
            [],
            ["No section has test clips known to be normal and anomalous: no AUC to show."],
        )
    titles = [column_title(column) for column in columns]
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
        c for c in COLUMNS if any(c in v for of in found["machines"].values() for v in of.values())
    ]


def mean_section(found: Mapping) -> Section:
    """Returns a table of means and standard deviations from results.json of several seeds."""
    rows = []
    columns = _auc_columns(found)
    for machine, sections in found["machines"].items():
        for section, values in sections.items():
            deviations = found["standard_deviation"]["machines"][machine][section]
            cells = [
                text
                for c in columns
                for text in (percent(values.get(c)), percent(deviations.get(c)))
            ]
            rows.append([f"{machine} {section}", *cells])
    titles = [title for c in columns for title in (column_title(c), "deviation")]
    return Section(
        "Scores",
        [Table(["machine", *titles], rows, "Percent, mean and standard deviation over seeds.")],
    )


@dataclasses.dataclass(frozen=True)
class ScoredSection:
    """One section of a machine, with its embeddings and the scores of its test clips.

    Attributes:
        machine: name of the machine.
        section: name of the section.
        embeddings: "n ...", of its training and test clips.
        clips: its test clips.
        score: the score of each test clip.
        threshold: the score above which a clip is called anomalous.
    """

    machine: str
    section: str
    embeddings: Embeddings
    clips: Embeddings
    score: np.ndarray
    threshold: float

    @classmethod
    def of(
        cls, machine: str, section: str, embeddings: Embeddings, scores: MachineScores
    ) -> "ScoredSection":
        """Returns a section of a machine's embeddings and scores."""
        here = scores.clips.section == section
        return cls(
            machine=machine,
            section=section,
            embeddings=embeddings[embeddings.section == section],
            clips=scores.clips[here],
            score=scores.score[here],
            threshold=scores.threshold[section],
        )


def machine_section(
    scored: ScoredSection, unit: str, way: str, links: Sequence[tuple[str, str]] = ()
) -> Section:
    """Returns histograms, ROC, embedding map and table of clips for one section of a machine.

    Args:
        scored: the section.
        unit: unit of the scores, for the axis.
        way: projection of the embeddings, "pca" or "umap".
        links: (text, relative address) of the files with these scores.
    """
    clips = scored.clips
    # Groups without clips are left out of the legend.
    parts = {
        f"{domain} domain": {
            kind: scored.score[own]
            for label, kind in KINDS.items()
            if (own := (clips.domain == domain) & (clips.label == label)).any()
        }
        for domain in sorted(set(clips.domain.tolist()))
    }
    histogram = plots.score_histograms(parts, threshold=scored.threshold, unit=unit)
    title = f"Anomaly scores of the test clips of {scored.machine}, by domain."
    shown: list[Plot | Table] = [Plot(histogram, title)]
    if curves := _roc(clips, scored.score):
        title = "ROC: a domain's normal clips against all anomalies."
        shown.append(Plot(plots.roc_curves(curves), title))
    shown += [_embedding_map(scored.embeddings, way), _clip_table(scored)]
    return Section(f"{scored.machine} {scored.section}", shown, links=links)


def _embedding_map(embeddings: Embeddings, way: str) -> Plot:
    points, axes, caption = project(embeddings, way)
    columns = (embeddings.split, embeddings.label, embeddings.domain)
    groups = [
        f"{'training' if split != 'test' else KINDS[label]}, {domain}"
        for split, label, domain in zip(*(of.tolist() for of in columns), strict=True)
    ]
    return Plot(plots.embedding_map(points, groups, axes), caption)


def _clip_table(scored: ScoredSection) -> Table:
    """Returns the table of the test clips, the highest score first."""
    clips = scored.clips
    rows = [
        [
            str(clips.files[n]),
            str(clips.domain[n]),
            KINDS[int(clips.label[n])],
            f"{scored.score[n]:.3f}",
            called(scored.score[n], scored.threshold),
        ]
        # A stable order, so that equal scores give the same page again.
        for n in np.argsort(-scored.score, kind="stable")
    ]
    titles = ["clip", "domain", "truth", "score", "decision"]
    return Table(titles, rows, f"All {len(rows)} test clips", folded=True)


def project(embeddings: Embeddings, way: str) -> tuple[Float[np.ndarray, "n 2"], list[str], str]:
    """Returns (map "n 2", axis labels, caption) of embeddings "n ...", by "pca" or "umap"."""
    # The vectors of several bands are joined, as a map needs one vector for each clip.
    vectors = embeddings.vectors.reshape(len(embeddings.vectors), -1).astype(np.float64)
    if way == "umap":
        # UMAP is optional, and takes seconds to import.
        from umap import UMAP

        neighbours = max(2, min(15, len(vectors) - 1))  # UMAP's default
        # A seed and a single thread, so that the same embeddings give the same map.
        points = UMAP(
            neighbours, metric="cosine", init="pca", random_state=0, n_jobs=1
        ).fit_transform(vectors)
        caption = (
            "Embeddings by UMAP: neighbours are alike; distances between groups, and the axes, "
            "have no unit."
        )
        return points, ["UMAP 1", "UMAP 2"], caption
    # scikit-learn takes more than half a second to import, at the start of every run.
    from sklearn.decomposition import PCA

    pca = PCA(min(2, *vectors.shape), random_state=0).fit(vectors)
    points = np.zeros((len(vectors), 2))
    # The second column stays 0 if there is one component only.
    points[:, : pca.n_components_] = pca.transform(vectors)
    # One clip, or vectors of one value, give one component only.
    share = np.r_[pca.explained_variance_ratio_, 0]
    labels = [f"component {n + 1} ({100 * share[n]:.0f} % of the variance)" for n in (0, 1)]
    return points, labels, "Embeddings, first two principal components."


def filter_section(front_end: FrontEnd) -> Section:
    """Returns a plot of the shapes of the front end's filters."""
    known = {"even": "evenly spaced (m-FB)", "mel": "mel (o-FB)", "gammatone": "gammatone (g-FB)"}
    title = known.get(front_end.spacing, front_end.spacing)
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


def _roc(clips, score):
    curves = {}
    for domain in sorted(set(clips.domain.tolist())):
        # Anomalies of both domains count for each, as in the official score since 2022.
        mask = (clips.label == 1) | ((clips.domain == domain) & (clips.label == 0))
        # A curve needs clips of both kinds.
        if len(set(clips.label[mask].tolist())) == 2:
            curves[f"{domain} domain"] = (clips.label[mask], score[mask])
    return curves


def called(score: float, threshold: float) -> str:
    """Returns the verdict on a clip with this score."""
    return "anomalous" if score > threshold else "normal"
