"""Draws the pictures of the concepts, from the functions that they explain."""

from collections.abc import Callable

import numpy as np

from asd_jax import log_filter_bank, simam_weights
from asd_jax.features.filter_bank import filter_bank, normalize
from asd_jax.reporting import plots, spectrograms
from asd_jax.reporting.svg import ANOMALY, FAINT, INK, NORMAL, svg_axes
from asd_jax.scoring.auc import auc, pauc, tie_groups
from asd_jax.scoring.back_ends.knn import knn
from asd_jax.scoring.back_ends.local_density import local_density
from asd_jax.scoring.back_ends.mahalanobis import mahalanobis
from asd_jax.scoring.domain_normalization import domain_normalize

RATE = 16000


def machine(seed: int, *, seconds: float = 2.0, fault: float = 0.0, muffled: float = 0.0):
    """Returns one recording of a machine: a hum with harmonics in noise; faulty, it whistles."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    hum = sum(np.sin(2 * np.pi * rng.normal(90, 2) * k * time) / k for k in range(1, 12))
    clicks = (np.sin(2 * np.pi * 4 * time) > 0.995) * rng.normal(size=len(time))
    whistle = fault * np.sin(2 * np.pi * 3150 * time) * (time > seconds / 2)
    wave = 0.05 * hum + 0.02 * rng.normal(size=len(time)) + 0.2 * clicks + whistle
    spectrum = np.fft.rfft(wave)
    hz = np.fft.rfftfreq(len(wave), 1 / RATE)
    return np.fft.irfft(spectrum * np.exp(-muffled * hz / 8000), len(wave)).astype(np.float32)


def centres(spacing: str) -> np.ndarray:
    """Returns the centre of mass of each filter in Hz."""
    bank = filter_bank(spacing)
    hz = np.linspace(0, RATE / 2, bank.shape[1])
    weight = bank.sum(1)
    return np.where(weight > 0, bank @ hz / np.where(weight > 0, weight, 1), np.nan)


def spacing() -> tuple[str, str]:
    """Returns where the filters of each filter bank lie."""
    x = list(range(0, 128, 8))
    values = {name: centres(name)[x].tolist() for name in ("even", "mel", "gammatone")}
    svg = plots.curves(x, values, "number of the filter", "centre of the filter (Hz)")
    return svg, (
        "Centre of each of the 128 filters. Mel and gammatone filters crowd below 2 kHz, like "
        "hearing; evenly spaced ones give the high frequencies, where machines differ, as many."
    )


def simam() -> tuple[str, str]:
    """Returns a spectrogram and its SimAM weights."""
    energies = np.asarray(log_filter_bank(machine(0, fault=0.03)[None], spacing="even"))[:, :192]
    weights = np.asarray(simam_weights(normalize(energies)))[0]
    svg = spectrograms.spectrograms(
        energies[0],
        weights,
        centres("even"),
        decibels=spectrograms.decibel_range(energies),
    )
    return svg, (
        "Above, a machine that begins to whistle at 1 s; below, SimAM's weight of each cell: high "
        "where the energy is far from the mean of the whole, computed without any parameter."
    )


def patches() -> tuple[str, str]:
    """Returns a spectrogram cut into the patches that EAT sees."""
    energies = np.asarray(log_filter_bank(machine(0)[None], spacing="even"))[0, :192]
    with svg_axes(2.6) as (axes, svg):
        axes.imshow(energies.T, origin="lower", aspect="auto", cmap="magma", interpolation="none")
        for time in range(16, 192, 16):
            axes.axvline(time - 0.5, color="white", linewidth=1.2)
        for band in range(16, 128, 16):
            axes.axhline(band - 0.5, color="white", linewidth=1.2)
        axes.set(xlabel="frame of 10 ms", ylabel="filter")
    return svg[0], (
        "EAT sees squares of 16 frames by 16 filters. Each becomes a token, a vector; the tokens "
        "attend to each other, and pooling makes one embedding of them."
    )


def back_ends() -> tuple[str, str]:
    """Returns a bank of two groups in a plane, and the scores of three back ends around it."""
    rng = np.random.default_rng(0)
    dense = rng.normal([1.2, 1.0], 0.12, (40, 2))
    bank = {"source": np.r_[dense, rng.normal([3.0, 2.2], 0.45, (20, 2))]}
    x = np.linspace(0, 4.5, 90)
    y = np.linspace(0, 3.5, 70)
    plane = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
    fitted = {
        "knn": knn(bank, distance="euclidean"),
        "local_density": local_density(bank, distance="euclidean"),
        "mahalanobis": mahalanobis(bank),
    }
    with svg_axes(2.2, 1, ncols=3, sharey=True) as (axes, svg):
        for panel, (name, back_end) in zip(np.ravel(axes), fitted.items(), strict=True):
            score = back_end.score(plane)["source"].reshape(len(y), len(x))
            # The level that a tenth of the bank's own scores exceeds.
            level = np.quantile(back_end.self_scores()["source"]["source"], 0.9)
            panel.contourf(x, y, score, [0, level], colors=[NORMAL], alpha=0.3)
            panel.contour(x, y, score, [level], colors=INK, linewidths=0.8)
            panel.plot(*bank["source"].T, ".", color=NORMAL, markersize=2.5)
            panel.set_title(name, loc="left")
            panel.set(xticks=[], yticks=[])
    return svg[0], (
        "Normal embeddings (dots) in a plane, some alike, some scattered. Shaded: where a sound "
        "would be called normal, at the level that a tenth of the normal ones exceed. knn draws "
        "one distance around all; local_density a small one where they are alike; mahalanobis an "
        "ellipse."
    )


def domains() -> tuple[str, str]:
    """Returns scores of two domains before and after normalisation."""
    rng = np.random.default_rng(0)
    train = {"source": rng.normal(1, 0.2, 200), "target": rng.normal(3, 0.8, 10)}
    source = rng.normal(1, 0.2, 60)
    target = rng.normal(3, 0.8, 60)
    # Each test clip has a distance to both banks; the clips of a domain are far from the other.
    to_source = np.r_[source, target + 1]
    to_target = np.r_[source + 4, target]
    after = domain_normalize(
        to_source,
        to_target,
        train_source=train["source"],
        train_target=train["target"],
        mode="train",
    )
    shown = {
        "before: distance to the nearest bank": np.minimum(to_source, to_target),
        "after normalisation": after,
    }
    with svg_axes(2.6, 2) as (axes, svg):
        for panel, (title, values) in zip(axes, shown.items(), strict=True):
            bins = np.histogram_bin_edges(values, 30)
            panel.hist(values[:60], bins, color=NORMAL, alpha=0.8, label="source, normal")
            panel.hist(
                values[60:],
                bins,
                fill=False,
                edgecolor=ANOMALY,
                hatch="////",
                label="target, normal",
            )
            panel.set_title(title, loc="left")
        axes[0].legend()
        axes[1].set_xlabel("anomaly score")
    return svg[0], (
        "Normal clips of two domains. Before: one threshold would call the whole target domain "
        "anomalous. After: each clip's distance is measured in standard deviations of the domain "
        "that it is nearest to, and both lie at zero."
    )


def sessions() -> tuple[str, str]:
    """Returns distances of a new day's sounds beside thresholds from clips and from days."""
    muffled = {"Mon": 0.0, "Tue": 0.8, "Wed": 0.4, "Thu": 1.2}
    mean = {
        name: _level([machine(20 * n + k, muffled=value) for k in range(8)])
        for n, (name, value) in enumerate(muffled.items())
    }
    days = ["Mon", "Tue", "Wed"]
    known = np.concatenate([mean[name] for name in days])
    day = np.repeat(days, 8)
    clip_left_out = [_nearest(known[n], np.delete(known, n, 0)) for n in range(len(known))]
    day_left_out = [
        _nearest(wave, known[day != name]) for wave, name in zip(known, day, strict=True)
    ]
    faulty = _level([machine(900 + k, muffled=1.2, fault=0.3) for k in range(8)])
    groups = {
        "known days,\nclip left out": (clip_left_out, NORMAL, "o"),
        "known days,\nday left out": (day_left_out, NORMAL, "s"),
        "a new day,\nhealthy": ([_nearest(x, known) for x in mean["Thu"]], INK, "o"),
        "a new day,\nwhistling": ([_nearest(x, known) for x in faulty], ANOMALY, "x"),
    }
    with svg_axes(3.0) as (axes, svg):
        for place, (values, colour, marker) in enumerate(groups.values()):
            x = place + np.linspace(-0.3, 0.3, len(values))
            axes.plot(x, values, marker, color=colour, markersize=4, fillstyle="none")
        axes.axhline(max(clip_left_out), color=FAINT, linestyle=":", label="from clips")
        axes.axhline(max(day_left_out), color=INK, linestyle="--", label="from days")
        axes.set_xticks(range(len(groups)), list(groups))
        axes.set_ylabel("distance to the nearest normal")
        axes.figure.legend(loc="outside upper center", ncols=2, title="highest of the known days")
    return svg[0], (
        "Distances of mean log mel energies. A threshold from clips left out, among others of the "
        "same day, calls a healthy new day anomalous; one from whole days left out does not, and "
        "still finds the whistle."
    )


def roc() -> tuple[str, str]:
    """Returns the ROC curves of two detectors on the same clips."""
    rng = np.random.default_rng(0)
    label = np.repeat([0, 1], 100)
    blunt = np.r_[rng.normal(0, 1, 100), rng.normal(1.0, 1, 100)]
    # Half of the anomalies are obvious, the others are not found at all.
    sharp = np.r_[rng.normal(0, 1, 100), rng.normal(4, 1, 50), rng.normal(0, 1, 50)]
    named = {}
    for name, score in {"a little of every fault": blunt, "half of the faults": sharp}.items():
        groups = tie_groups(label, score)
        named[f"{name}: AUC {auc(*groups):.2f}, pAUC {pauc(*groups):.2f}"] = label, score
    return plots.roc_curves(named), (
        "Two detectors with nearly the same AUC. The pAUC, over the shaded region, tells which one "
        "can be used where false alarms must be rare."
    )


def _level(waves) -> np.ndarray:
    return np.asarray(log_filter_bank(np.stack(waves), spacing="mel")).mean(1)


def _nearest(vector: np.ndarray, others: np.ndarray) -> float:
    return float(np.linalg.norm(others - vector, axis=1).min())


PICTURES: dict[str, Callable[[], tuple[str, str]]] = {
    "spacing": spacing,
    "simam": simam,
    "patches": patches,
    "back_ends": back_ends,
    "domains": domains,
    "sessions": sessions,
    "roc": roc,
}
