"""Tests claim 1 without a data set: which filter bank detects a known signal best, and at which
frequencies?

    python -m benchmarks.detectability --output=DIR [--snr=-20] [--clips=40] [--seconds=1]

A tone, a train of ringing clicks, and a band of noise, at 0.1 to 7.9 kHz, are added to white noise
at a fixed signal-to-noise ratio. Each bank alone scores the clips as in every table (time mean,
standardised, 1-NN against noise), and the AUC separates noise with the signal from noise alone. For
each frequency range, a paired bootstrap over clips determines which bank is better. The command
writes detectability.json and the page.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import flags
from jaxtyping import Float

from asd_jax.features.filter_bank import log_filter_bank
from asd_jax.reporting import plots
from asd_jax.reporting.page import Page, Plot, Section, Table, write_page
from asd_jax.reporting.table import print_table, text_table
from asd_jax.runtime.command import run
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import write_json
from asd_jax.scoring.anomaly_score import score_machine
from asd_jax.scoring.auc import auc, tie_groups
from asd_jax.scoring.embeddings import Embeddings
from asd_jax.scoring.options import Scoring
from benchmarks.provenance import provenance
from benchmarks.verdict import Row, compared

FLAGS = flags.FLAGS
SAMPLE_RATE = 16000
BANKS = {"o-FB": "mel", "g-FB": "gammatone", "m-FB": "even"}
REFERENCE = "o-FB"
KILOHERTZ = (0.1, 0.25, 0.5, 0.8, 1.2, 2.0, 3.0, 4.5, 5.5, 6.5, 7.2, 7.9)
RANGES = {"below 1 kHz": (0.0, 1.0), "1 to 4 kHz": (1.0, 4.0), "above 4 kHz": (4.0, 8.0)}
# Parameters of the signals.
CLICKS_PER_SECOND = 20
RING_Q = 8.0
BAND_HZ = 200.0
BARE = Scoring(distance="euclidean", standardize=True, normalization="none")


def define_flags(argv: Sequence[str]) -> None:
    """Defines the flags of the command."""
    flags.DEFINE_float(
        "snr", -20.0, "power of the signal over that of the noise, in dB, both over all frequencies"
    )
    flags.DEFINE_integer(
        "clips",
        40,
        "number of clips of each kind: noise to learn from, noise alone, noise with the signal",
    )
    flags.DEFINE_float("seconds", 1.0, "length of a clip")
    flags.DEFINE_integer("seed", 0, "seed of the noise and the phases")
    flags.DEFINE_string("output", None, "folder for detectability.json and the page", required=True)


def main() -> None:
    """Prints a table of AUCs per signal, frequency and bank, and the verdict by frequency range."""
    if FLAGS.clips < 4 or FLAGS.seconds < 0.1:
        raise InputError("--clips must be at least 4 and --seconds at least 0.1")
    scores = detect(FLAGS.snr, FLAGS.clips, FLAGS.seconds, FLAGS.seed)
    values = {
        bank: {name: float(auc(*tie_groups(label, score))) for name, (label, score) in of.items()}
        for bank, of in scores.items()
    }
    found = {"snr_db": FLAGS.snr, "clips": FLAGS.clips, "auc": values, "ranges": by_range(scores)}
    columns = ["signal", *BANKS]
    rows = [
        [name, *(f"{100 * values[bank][name]:.1f}" for bank in BANKS)] for name in values[REFERENCE]
    ]
    print_table(text_table(columns, rows, title=f"AUC at {FLAGS.snr:g} dB, %"))
    for name, of in found["ranges"].items():
        print(f"{name}: {of['verdict']}")
    write_json(Path(FLAGS.output) / "detectability.json", found | provenance())
    _write_page(found, columns, rows)


def detect(
    snr: float, clips: int, seconds: float, seed: int
) -> dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Returns {bank: {"signal at f kHz": (labels, scores) of the test clips}}.

    All banks process the same clips.
    """
    rng = np.random.default_rng(seed)
    samples = round(seconds * SAMPLE_RATE)
    scores: dict[str, dict] = {bank: {} for bank in BANKS}
    for kind in SIGNALS:
        for kilohertz in KILOHERTZ:
            # Each condition has its own noise, because shared noise would make the intervals too
            # narrow.
            waves = rng.normal(size=(3 * clips, samples)) * 0.05
            signal = np.stack([SIGNALS[kind](1000 * kilohertz, samples, rng) for _ in range(clips)])
            signal *= 0.05 * 10 ** (snr / 20) / np.sqrt(np.mean(signal**2, axis=1, keepdims=True))
            waves[2 * clips :] += signal
            for bank, spacing in BANKS.items():
                scores[bank][f"{kind} at {kilohertz:g} kHz"] = _scored(
                    time_mean(waves, spacing), clips
                )
    return scores


def time_mean(waves: Float[np.ndarray, "b s"], spacing: str) -> Float[np.ndarray, "b f"]:
    """Returns the time mean of the filter bank's log energies for each waveform."""
    return np.asarray(log_filter_bank(waves.astype(np.float32), spacing=spacing).mean(1))


def tone(hz: float, samples: int, rng: np.random.Generator) -> np.ndarray:
    """Returns a sine of random phase."""
    return np.sin(2 * np.pi * (hz * np.arange(samples) / SAMPLE_RATE + rng.uniform()))


def click_train(hz: float, samples: int, rng: np.random.Generator) -> np.ndarray:
    """Returns impacts at a steady rate, each a decaying oscillation at `hz`."""
    seconds = np.arange(samples) / SAMPLE_RATE
    since = (seconds + rng.uniform() / CLICKS_PER_SECOND) % (1 / CLICKS_PER_SECOND)
    return np.exp(-np.pi * hz / RING_Q * since) * np.sin(2 * np.pi * hz * since)


def noise_band(hz: float, samples: int, rng: np.random.Generator) -> np.ndarray:
    """Returns noise with a bandwidth of BAND_HZ around `hz`."""
    spectrum = np.fft.rfft(rng.normal(size=samples))
    spectrum[np.abs(np.fft.rfftfreq(samples, 1 / SAMPLE_RATE) - hz) > BAND_HZ / 2] = 0
    return np.fft.irfft(spectrum, samples)


SIGNALS = {"tone": tone, "click train": click_train, "noise band": noise_band}


def by_range(scores: dict) -> dict[str, dict]:
    """Returns, for each frequency range, the differences in AUC and pAUC to o-FB, and a verdict."""
    found = {}
    for title, (low, high) in RANGES.items():
        rows = {}
        for bank, of in scores.items():
            own = {name: pair for name, pair in of.items() if low <= float(name.split()[-2]) < high}
            clips = [
                (name, "00", "source", label)
                for name, (labels, _) in own.items()
                for label in labels.tolist()
            ]
            values = np.concatenate([score for _, score in own.values()])[None]
            aucs = [float(auc(*tie_groups(label, score))) for label, score in own.values()]
            rows[bank] = Row(
                folder=bank,
                clips=clips,
                scores=values,
                official=[float(np.mean(aucs))],
                columns={},
                seconds=0.0,
            )
        # The rule of 2020 uses AUC and pAUC without domains.
        cells = compared(rows, REFERENCE, 2020)["cells"]
        sentences = [
            f"{bank} {of['verdict']} ({100 * of['minus_reference']['difference']:+.1f} points, "
            f"{100 * of['minus_reference']['low']:+.1f} to "
            f"{100 * of['minus_reference']['high']:+.1f})"
            for bank, of in cells.items()
            if bank != REFERENCE
        ]
        found[title] = {"verdict": f"against {REFERENCE}, " + "; ".join(sentences), "cells": cells}
    return found


def _scored(vectors, clips) -> tuple[np.ndarray, np.ndarray]:
    n = len(vectors)
    columns = [
        np.full(n, "00"),
        np.repeat(["train", "test"], [clips, n - clips]),
        np.full(n, "source"),
    ]
    label = np.repeat([0, 1], [2 * clips, clips])
    embeddings = Embeddings(
        vectors, np.arange(n).astype(str), *columns, label=label, attribute=np.full(n, "")
    )
    scored = score_machine(embeddings, BARE)
    return scored.clips.label, scored.score


def _write_page(found, columns, rows) -> None:
    drawn = []
    for kind in SIGNALS:
        curves = {
            bank: [100 * found["auc"][bank][f"{kind} at {k:g} kHz"] for k in KILOHERTZ]
            for bank in BANKS
        }
        drawn.append(
            Plot(
                plots.curves(KILOHERTZ, curves, "frequency (kHz)", "AUC (%)"),
                f"{kind}, by filter bank.",
            )
        )
    lead = [f"{name}: {of['verdict']}" for name, of in found["ranges"].items()]
    sections = [Section("AUC", [*drawn, Table(columns, rows, "AUC in percent.")])]
    write_page(
        Path(FLAGS.output) / "report" / "index.html",
        Page("Detectability of known signals", sections, lead),
    )


if __name__ == "__main__":
    run(main, define_flags)
