"""Writes the scores of recordings as one page with plots, spectrograms and players."""

import datetime
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from asd_jax.data.audio import resample
from asd_jax.detector.detector import Detector
from asd_jax.detector.heat_map import HeatMap
from asd_jax.detector.verdict import VIEW_WORDS, Verdict
from asd_jax.detector.views import mel_front_end
from asd_jax.features.front_end import FrontEnd
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
    read: Callable[[str], Float[np.ndarray, "s"]],
    read_normal: Callable[[str], Float[np.ndarray, "s"]] | None = None,
    name: str = "",
) -> None:
    """Writes recordings and their verdicts as a self-contained page.

    The recordings with the highest scores get a spectrogram and a player.

    Args:
        path: path of the page.
        detector: the detector that gave the verdicts.
        verdicts: (file, verdict) of each recording.
        read: function from file to waveform, at the rate given at the fit.
        read_normal: function from the name of a recording used in the fit to its waveform at that
            rate; None if those recordings are not available.
        name: name of the detector, for the title.
    """
    # The highest scores come first, because they are what somebody opens the page for.
    ranked = sorted(verdicts, key=lambda pair: -pair[1].score)
    anomalous = sum(verdict.is_anomaly for _, verdict in verdicts)
    cards = [_card(detector, file, v, read(file), read_normal) for file, v in ranked[:CARDS]]
    sections = [
        Section("Scores", [_table(ranked), _histogram(detector, verdicts)]),
        Section("Highest scores", cards),
    ]
    lead = [
        f"{anomalous} of {len(verdicts)} recordings are called anomalous; scored on "
        f"{datetime.date.today().isoformat()} by a detector of {len(detector.names)} normal "
        "recordings.",
        f"Threshold {detector.threshold:.3f}, for a false-alarm rate of "
        f"{detector.settings.false_alarm_rate:g}.",
        *(f"Note: {note}." for note in detector.notes),
    ]
    title = f"{name}: {anomalous} of {len(verdicts)} anomalous" if name else "Anomalous sounds"
    write_page(path, Page(title, sections, lead))


def _histogram(detector: Detector, verdicts: Sequence[tuple[str, Verdict]]) -> Plot:
    """Returns the histograms of normal and of scored sounds, with the threshold."""
    scores = {
        "learned from": detector.bank.normal,
        "called anomalous": np.array([v.score for _, v in verdicts if v.is_anomaly]),
        "called normal": np.array([v.score for _, v in verdicts if not v.is_anomaly]),
    }
    picture = plots.score_histograms(
        {"sounds": {name: values for name, values in scores.items() if len(values)}},
        threshold=detector.threshold,
        unit="standard deviations of normal sounds",
    )
    return Plot(picture, "The normal sounds that the detector learned from, and these recordings.")


def _table(ranked: Sequence[tuple[str, Verdict]]) -> Table:
    """Returns the table of all recordings, from the highest score down."""
    # The verdict is near the front and the folder last, as a phone shows only the first columns.
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
    rows = [
        [
            Path(file).name,
            _decision(v),
            f"{v.score:.3f}",
            f"{v.p_value:.3f}",
            f"{v.worst_seconds[0]:.1f}",
            VIEW_WORDS[v.view],
            str(v.band or ""),
            str(Path(file).parent),
        ]
        for file, v in ranked
    ]
    return Table(columns, rows)


def _card(
    detector: Detector,
    name: str,
    verdict: Verdict,
    wave: np.ndarray,
    read_normal: Callable[[str], np.ndarray] | None,
) -> ClipCard:
    """Returns the spectrograms and the players of a recording."""
    rate = detector.settings.sample_rate
    heat_map = None if detector.patches is None else detector.explain(wave)
    # The pictures of a card share the frequency axis of the heat map, if that reaches as high as
    # the recording.
    front_end = mel_front_end(rate)
    if heat_map is not None and heat_map.front_end.sample_rate >= rate:
        front_end = heat_map.front_end
    # A spectrogram shows at most the minute around the worst moment.
    begin = max(0, round((verdict.worst_seconds[0] - 30) * rate))
    minute = resample(wave[begin : begin + 60 * rate], rate, front_end.sample_rate)
    # The player begins four seconds earlier, so that the moment is heard in its context.
    worst = max(0, round((verdict.worst_seconds[0] - 4) * rate))
    first, last = verdict.worst_seconds
    facts = [
        f"score {verdict.score:.3f}, p-value {verdict.p_value:.3f}: called {_decision(verdict)}",
        f"worst from {first:.1f} to {last:.1f} s, in its {VIEW_WORDS[verdict.view]}",
        str(verdict.band),
    ]
    since = f", from {begin / rate:.0f} s on" if begin else ""
    pictures = [_spectrogram(front_end, minute, f"energies{since}")]
    sounds = [Sound("around the worst moment", sound_url(wave[worst:], rate))]
    if heat_map is not None:
        facts.append(f"nearest normal: {heat_map.nearest} at {heat_map.nearest_start:.1f} s")
        caption = f"the worst window, from {heat_map.start:.1f} s on, and where it is anomalous"
        pictures.append(
            _spectrogram(heat_map.front_end, heat_map.window, caption, heat=heat_map.values)
        )
        if read_normal is not None:
            picture, sound = _nearest_normal(heat_map, read_normal(heat_map.nearest), rate)
            pictures.append(picture)
            sounds.append(sound)
    return ClipCard(Path(name).name, facts, pictures, sounds)


def _nearest_normal(heat_map: HeatMap, normal: np.ndarray, rate: int) -> tuple[Plot, Sound]:
    """Returns the spectrogram and the player of the nearest normal window of a recording."""
    front_end = heat_map.front_end
    # The detector keeps no sound, only where the nearest window was.
    normal = normal[round(heat_map.nearest_start * rate) :]
    normal = resample(normal, rate, front_end.sample_rate)[: len(heat_map.window)]
    name = "the nearest normal sound"
    picture = _spectrogram(front_end, normal, name, beside=heat_map.window)
    return picture, Sound(name, sound_url(normal, front_end.sample_rate))


def _spectrogram(
    front_end: FrontEnd,
    wave: np.ndarray,
    caption: str,
    *,
    heat: np.ndarray | None = None,
    beside: np.ndarray | None = None,
) -> Plot:
    """Returns the spectrogram of a waveform.

    If `beside` is given, the spectrogram uses the colour range of that sound.
    """
    energies = np.asarray(front_end.log_energies(wave[None]))[0]
    # Two pictures can be compared only if a colour means the same level in both.
    reference = energies if beside is None else np.asarray(front_end.log_energies(beside[None]))[0]
    picture = spectrograms.spectrograms(
        energies,
        None,
        front_end.filter_centres,
        decibels=spectrograms.decibel_range(reference),
        heat=heat,
    )
    return Plot(picture, caption)


def _decision(verdict: Verdict) -> str:
    """Returns "anomaly" or "normal", and why the score is not comparable, if so."""
    decision = "anomaly" if verdict.is_anomaly else "normal"
    return f"{decision} ({verdict.note})" if verdict.note else decision
