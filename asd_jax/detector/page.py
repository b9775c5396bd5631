"""Writes the scores of recordings as one page with plots, spectrograms and players."""

import datetime
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from asd_jax.data.audio import resample
from asd_jax.detector.detector import Detector
from asd_jax.detector.verdict import VIEW_WORDS, Verdict
from asd_jax.detector.views import mel_front_end
from asd_jax.reporting import plots, spectrograms
from asd_jax.reporting.page import (
    ClipCard,
    Page,
    Plot,
    Section,
    Sound,
    Table,
    sound_url,
    write_page,
)

CARDS = 12  # number of recordings with the highest scores that get a card


def write_score_page(
    path: str | Path,
    detector: Detector,
    verdicts: Sequence[tuple[str, Verdict]],
    hear: Callable[[str], Float[np.ndarray, "s"]],
    hear_normal: Callable[[str], Float[np.ndarray, "s"]] | None = None,
    name: str = "",
) -> None:
    """Writes recordings and their verdicts as a self-contained page.

    The recordings with the highest scores get a spectrogram and a player.

    Args:
        path: path of the page.
        detector: the detector that gave the verdicts.
        verdicts: (file, verdict) of each recording.
        hear: function from file to waveform, at the rate given at the fit.
        hear_normal: function from the name of a recording used in the fit to its waveform at that
            rate; None if those recordings are not available.
        name: name of the detector, for the title.
    """
    ranked = sorted(verdicts, key=lambda pair: -pair[1].score)
    odd = sum(verdict.is_anomaly for _, verdict in verdicts)
    scores = {
        "normal": detector.bank.normal,
        "anomaly": np.array([v.score for _, v in verdicts if v.is_anomaly]),
        "scored": np.array([v.score for _, v in verdicts if not v.is_anomaly]),
    }
    drawn = plots.score_histograms(
        {"every": {name: values for name, values in scores.items() if len(values)}},
        threshold=detector.threshold,
        unit="standard deviations of normal sounds",
    )
    caption = (
        "Normal: the sounds the detector was fitted to. Scored, anomaly: the recordings given, "
        "by verdict."
    )
    rows = [
        [
            Path(file).name,
            _called(v),
            f"{v.score:.3f}",
            f"{v.p_value:.3f}",
            f"{v.worst_seconds[0]:.1f}",
            VIEW_WORDS[v.view],
            str(v.band or ""),
            str(Path(file).parent),
        ]
        for file, v in ranked
    ]
    columns = [
        "recording",
        "verdict",
        "score",
        "p-value",
        "worst at (s)",
        "differs in",
        "where",
        "folder",
    ]
    parts = [
        Section("Scores", [Table(columns, rows), Plot(drawn, caption)]),
        Section(
            "The oddest", [_card(detector, n, v, hear(n), hear_normal) for n, v in ranked[:CARDS]]
        ),
    ]
    lead = [
        f"{odd} of {len(verdicts)} recordings are called anomalous; scored on "
        f"{datetime.date.today().isoformat()} by a detector of {len(detector.names)} normal "
        "recordings.",
        f"Threshold {detector.threshold:.3f}, for a false-alarm rate of "
        f"{detector.settings.false_alarm_rate:g}.",
        *(f"Note: {note}." for note in detector.notes),
    ]
    title = f"{name}: {odd} of {len(verdicts)} anomalous" if name else "Anomalous sounds"
    write_page(path, Page(title, parts, lead))


def _card(detector, name, verdict, wave, hear_normal) -> ClipCard:
    rate = detector.settings.sample_rate
    seen = None if detector.patches is None else detector.explain(wave)
    # The pictures of a card share the frequency axis of the heat map, if that reaches as high as
    # the recording.
    shared = seen is not None and seen.front_end.sample_rate >= rate
    front_end = seen.front_end if shared else mel_front_end(rate)
    # A spectrogram shows at most the minute around the worst moment.
    begin = max(0, round((verdict.worst_seconds[0] - 30) * rate))
    shown = wave[begin : begin + 60 * rate]
    worst = max(0, round((verdict.worst_seconds[0] - 4) * rate))
    first, last = verdict.worst_seconds
    facts = [
        f"score {verdict.score:.3f}, p-value {verdict.p_value:.3f}: called {_called(verdict)}",
        f"worst from {first:.1f} to {last:.1f} s, in its {VIEW_WORDS[verdict.view]}",
        str(verdict.band),
    ]
    since = f", from {begin / rate:.0f} s on" if begin else ""
    drawn = [
        _spectrogram(front_end, resample(shown, rate, front_end.sample_rate), f"energies{since}")
    ]
    sounds = [Sound("around the worst moment", sound_url(wave[worst:], rate))]
    if seen is not None:
        facts.append(f"nearest normal: {seen.nearest} at {seen.nearest_start:.1f} s")
        caption = f"the worst window, from {seen.start:.1f} s on, and where it is odd"
        drawn.append(_spectrogram(seen.front_end, seen.window, caption, heat=seen.values))
        if hear_normal is not None:
            normal = hear_normal(seen.nearest)[round(seen.nearest_start * rate) :]
            normal = resample(normal, rate, seen.front_end.sample_rate)[: len(seen.window)]
            drawn.append(
                _spectrogram(seen.front_end, normal, "the nearest normal sound", beside=seen.window)
            )
            sounds.append(
                Sound("the nearest normal sound", sound_url(normal, seen.front_end.sample_rate))
            )
    return ClipCard(Path(name).name, facts, drawn, sounds)


def _spectrogram(front_end, wave, caption, *, heat=None, beside=None) -> Plot:
    """Returns the spectrogram of a waveform.

    If `beside` is given, the spectrogram uses the colour range of that sound.
    """
    energies, of = (
        np.asarray(front_end.log_energies(w[None]))[0]
        for w in (wave, wave if beside is None else beside)
    )
    look = {"hop_seconds": 0.01, "decibels": spectrograms.decibel_range(of), "heat": heat}
    return Plot(
        spectrograms.spectrograms(energies, None, front_end.filter_centres, **look), caption
    )


def _called(verdict: Verdict) -> str:
    return ("anomaly" if verdict.is_anomaly else "normal") + (
        f" ({verdict.note})" if verdict.note else ""
    )
