"""Generates the parts of the README that come from a program: the picture of the pipeline, and the
table of the quick start.

    python -m benchmarks.readme
        # benchmarks/pictures/pipeline_{light,dark}.svg
    python -m benchmarks.readme --run=runs/quickstart      # the table of that run too

The waveform, the filter bank and SimAM's weights in the picture are computed from a clip of the
synthetic factory.
"""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from absl import flags
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from asd_jax import log_filter_bank, normalize, simam_weights
from asd_jax.data.synthesis import factory_clip
from asd_jax.runtime.command import run
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import atomic_file, read_json
from benchmarks.cost_model import write_between

REPOSITORY = Path(__file__).parent.parent
INK = {"light": "#1f2328", "dark": "#e6edf3"}  # GitHub's text colours
ODD = "#d9534f"
ROOMS = {"asd_jax/features": (0, 2), "asd_jax/models": (3, 4), "asd_jax/scoring": (5, 6)}
STAGES = (
    ("waveform", "16 kHz, any length"),
    ("log filter bank", "mel, even or\ngammatone"),
    ("SimAM", "weights without\nparameters"),
    ("EAT", "pre-trained ViT,\nfine-tuned"),
    ("pooling", "ArcFace while\ntraining"),
    ("back end", "distance to normal\nclips"),
    ("anomaly score", "domains normalised,\nofficial score"),
)


def define_flags(argv: Sequence[str]) -> None:
    """Defines the flags of the command."""
    flags.DEFINE_string(
        "run", None, "workdir of a quick start, whose table is to be put into the README"
    )
    flags.DEFINE_string("readme", str(REPOSITORY / "README.md"), "file that holds the table")
    flags.DEFINE_string(
        "output", str(REPOSITORY / "benchmarks" / "pictures"), "folder of the pictures"
    )


def main() -> None:
    """Draws the pictures, and writes the table."""
    args = flags.FLAGS
    if args.run:
        write_between(Path(args.readme), "results", results_table(Path(args.run)))
    for theme in INK:
        draw(theme, Path(args.output) / f"pipeline_{theme}.svg")


def results_table(workdir: Path) -> str:
    """Returns the Markdown table of a finished run.

    It contains each machine's values in percent, and the official scores of the filter bank and of
    the run.

    Raises:
        InputError: The folder has no results, or has those of several seeds or of another model's
            embeddings.
    """
    if not (workdir / "results.json").is_file():
        raise InputError(f"{workdir}: no results.json; --run takes the workdir of a finished run")
    found = read_json(workdir / "results.json")
    columns = ("auc_source", "auc_target", "pauc")
    if not {"seed", "filter_bank_baseline"} <= set(found):
        raise InputError(
            f"{workdir}: --run takes a quick start of one seed, scored beside the filter bank"
        )
    lines = ["| machine | AUC source, % | AUC target, % | pAUC, % |", "|---|---|---|---|"]
    for machine, sections in found["machines"].items():
        for values in sections.values():
            lines.append(
                f"| {machine} | {' | '.join(f'{100 * values[column]:.2f}' for column in columns)} |"
            )
    baseline = found["filter_bank_baseline"]["official_score"]
    return "\n".join(lines) + (
        f"\n\nOfficial score {found['year']}: **{100 * found['official_score']:.2f} %**; the "
        f"filter bank's time mean"
        f" alone, without any encoder, {100 * baseline:.2f} %. Seed {found['seed']}, jax "
        f"{found['versions']['jax']}."
    )


def draw(theme: str, path: Path) -> None:
    """Writes the picture in the text colour of the theme "light" or "dark"."""
    ink = INK[theme]
    with matplotlib.rc_context(
        {"svg.fonttype": "none", "svg.hashsalt": "asd_jax", "font.size": 9, "text.color": ink}
    ):
        figure = Figure((9.6, 2.5))
        every = figure.subplots(1, len(STAGES), gridspec_kw={"wspace": 0.35})
        figure.subplots_adjust(left=0.01, right=0.99, top=0.76, bottom=0.36)
        for axes, (name, words) in zip(every, STAGES, strict=True):
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_color(ink)
            axes.text(
                0.5, -0.1, name, transform=axes.transAxes, ha="center", va="top", weight="bold"
            )
            axes.text(0.5, -0.32, words, transform=axes.transAxes, ha="center", va="top", size=8)
        for axes in every[:-1]:
            arrow = {"arrowstyle": "->", "color": ink}
            axes.annotate(
                "",
                (1.33, 0.5),
                (1.04, 0.5),
                "axes fraction",
                arrowprops=arrow,
                annotation_clip=False,
            )
        for room, (first, last) in ROOMS.items():
            left = every[first].get_position().x0
            right = every[last].get_position().x1
            figure.text((left + right) / 2, 0.92, room, ha="center", family="monospace")
            figure.add_artist(Line2D([left, right], [0.86, 0.86], color=ink, linewidth=0.8))
        _computed(every[:3], ink)
        _sketched(every[3:], ink)
        with atomic_file(path) as file:
            figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})


def _computed(every: Sequence, ink: str) -> None:
    """Plots a valve with a fault: its waveform, its filter bank, and the output of SimAM."""
    wave = factory_clip("valve", fault_kind="rubbing", grade=1).wave
    features = normalize(log_filter_bank(wave[None]))
    every[0].plot(wave[::16], color=ink, linewidth=0.4)
    every[0].margins(x=0.02, y=0.2)
    for axes, shown in zip(every[1:], (features, simam_weights(features)), strict=True):
        axes.imshow(np.asarray(shown)[0].T, origin="lower", aspect="auto", cmap="magma")


def _sketched(every: Sequence, ink: str) -> None:
    """Plots blocks, an embedding, a neighbourhood and a histogram as sketches of the method, not as
    measurements.
    """
    draw = np.random.default_rng(0)
    blocks, embedding, space, scores = every
    for n in range(6):
        blocks.barh(n, 1, 0.7, color=ink, alpha=0.15 + 0.1 * n)
    blocks.set(xlim=(-0.4, 1.4), ylim=(-1, 6))
    embedding.imshow(
        draw.normal(size=(8, 3)), cmap="magma", aspect="auto", extent=(0.35, 0.65, 0.1, 0.9)
    )
    embedding.set(xlim=(0, 1), ylim=(0, 1))
    normal = draw.normal((-1, -0.8), 0.45, (40, 2))
    odd = np.array([1.2, 1.3])
    target = draw.normal((1.3, -0.9), 0.3, (6, 2))
    space.scatter(*normal.T, s=5, color=ink)
    space.scatter(*target.T, s=10, color=ink, marker="^")
    nearest = min(target, key=lambda at: np.sum((at - odd) ** 2))
    space.plot(*np.transpose([odd, nearest]), color=ODD, linewidth=1)
    space.scatter(*odd, s=30, color=ODD, marker="x")
    space.margins(0.15)
    scores.hist(draw.normal(0, 1, 300), 16, color=ink, alpha=0.6)
    scores.hist(draw.normal(3.4, 1.1, 120), 16, color=ODD, alpha=0.8)
    scores.margins(x=0.1)


if __name__ == "__main__":
    run(main, define_flags)
