"""Examines waveforms with a detector: verdicts, worst moments, frequency bands and heat maps."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from asd_jax.detector.defects import MESSAGES, another_rate, defects
from asd_jax.detector.heat_map import HeatMap, anomalous_cells, grid
from asd_jax.detector.notes import Kind, Note
from asd_jax.detector.processing import cut_waveform
from asd_jax.detector.settings import Settings
from asd_jax.detector.verdict import Verdict
from asd_jax.detector.views import mel_front_end, second_starts, views
from asd_jax.detector.where import Band, band_of, filter_edges
from asd_jax.features.settings import HOP_MS
from asd_jax.runtime.errors import InputError
from asd_jax.scoring.back_ends.fusion import fused
from asd_jax.scoring.back_ends.knn import nearest

if TYPE_CHECKING:
    from asd_jax.detector.detector import Detector

_FRAMES = 1000 / HOP_MS  # in a second
_LEAST = 1e-3  # smallest deviation of log energies, which digital silence would set to zero


def examine_all(
    detector: "Detector", waves: Sequence[np.ndarray], settings: Settings
) -> list[Verdict]:
    """Returns the verdict of each waveform (see `Detector.examine_all`)."""
    # A name is the most common mistake, which NumPy's own error would not explain.
    for wave in waves:
        if isinstance(wave, str | bytes) or hasattr(wave, "__fspath__"):
            raise InputError(
                f"{wave!r} is a name, but a waveform is expected: read_clip of "
                "asd_jax.data.audio reads one, and python -m asd_jax.detect score scores files"
            )
    if not waves:
        return []
    cut = [cut_waveform(wave, settings, detector.input_rate) for wave in waves]
    # All windows go through the encoder together, which is faster than one waveform at a time.
    scores, seconds = detector.process(np.concatenate([windows for windows, _ in cut]))
    verdicts = []
    first = 0
    for wave, (windows, starts) in zip(waves, cut, strict=True):
        rows = slice(first, first + len(starts))
        scores_of_wave = {scorer: values[rows] for scorer, values in scores.items()}
        length = len(wave) / settings.sample_rate
        verdict = _verdict(detector, scores_of_wave, seconds[rows], starts, length=length)
        flags = sorted(set().union(*(defects(window, detector.input_rate) for window in windows)))
        notes = [Note(Kind(name), MESSAGES[name]) for name in flags]
        verdicts.append(
            verdict.noted(
                *settings.short(len(wave)), *notes, *low_rate(detector, settings.sample_rate)
            )
        )
        # The scores of all waveforms lie one after the other.
        first += len(starts)
    return verdicts


def low_rate(detector: "Detector", rate: int) -> tuple[Note, ...]:
    """Returns a note if `rate`, in Hz, is lower than that of the normal sounds."""
    expected = detector.recorded_rate
    if rate >= expected:
        return ()
    return (Note(Kind.RATE, another_rate(rate, expected).message),)


def explain(detector: "Detector", wave, settings: Settings) -> HeatMap:
    """Returns the heat map of a waveform's worst window (see `Detector.explain`)."""
    if detector.patches is None:
        raise InputError(
            "this detector was fitted by an earlier version, which kept no patches: fit it again"
        )
    bank = detector.bank
    tokens = detector.settings.tokens
    windows, starts = cut_waveform(wave, settings, detector.input_rate)
    windows = detector.as_fitted(windows)
    vectors, _ = views(detector.pipeline, windows, with_rhythm="rhythm" in bank.scoring)
    worst = int(fused(bank.score(vectors)).argmax())
    # One view must do: an embedding says more than a mean spectrum.
    view = "encoder" if "encoder" in vectors else "level"
    # Banks may have several bands or layers; distances are of flat vectors.
    vector = vectors[view][worst].reshape(1, -1)
    normal = bank.vectors[view].reshape(len(bank.vectors[view]), -1)
    position = nearest(vector, normal, 1, bank.scoring[view].metric)[1][0, 0]
    row = bank.rows[view][position]
    return HeatMap(
        values=anomalous_cells(detector.pipeline, tokens, detector.patches, windows[worst]),
        start=float(starts[worst]),
        window=windows[worst],
        front_end=grid(detector.pipeline, tokens).front_end,
        nearest=detector.names[bank.windows.recording[row]],
        nearest_start=float(bank.windows.start[row]),
    )


def _verdict(
    detector: "Detector",
    scores: dict[str, np.ndarray],
    seconds: np.ndarray,
    starts: np.ndarray,
    *,
    length: float,
) -> Verdict:
    """Returns the verdict from the scores of one sound's windows, and its length in seconds."""
    window_scores = fused(scores)
    worst = int(window_scores.argmax())
    moment, band = worst_second(detector, seconds[worst])
    # A sound shorter than a window is repeated in it, so the moment is mapped back into the sound.
    # The second must not begin so late that it reaches beyond the end.
    begin = min((starts[worst] + moment) % length, max(length - 1, 0))
    end = min(begin + 1, length)
    score = float(window_scores.mean())
    return Verdict(
        score=score,
        threshold=detector.threshold,
        p_value=detector.p_value(score),
        is_anomaly=score > detector.threshold,
        worst_seconds=(round(float(begin), 3), round(float(end), 3)),
        view=max(scores, key=lambda scorer: scores[scorer][worst]).partition("/")[0],
        windows=window_scores,
        band=band,
    )


def worst_second(detector: "Detector", seconds: Float[np.ndarray, "m f"]) -> tuple[float, Band]:
    """Returns (start in seconds, frequency band) of the most anomalous second of a window.

    This is the second whose spectrum is farthest from the usual one, relative to the usual
    variation of frames.

    Args:
        detector: the detector.
        seconds: log energies of each second of the window.
    """
    vectors = detector.bank.vectors
    usual, variation = (vectors[view].mean(0) for view in ("level", "fluctuation"))
    # A filter counts by how much it usually varies, so that a restless one does not decide.
    worst = np.square((seconds - usual) / np.maximum(variation, _LEAST)).mean(1).argmax()
    samples = round(detector.settings.window_seconds * detector.input_rate)
    frames = grid(detector.pipeline, False).front_end.real_frames(samples)
    # The deviation of a second's mean from the usual spectrum: between windows, and within them.
    deviation = np.sqrt(np.square(vectors["level"].std(0)) + np.square(variation) / _FRAMES)
    edges = filter_edges(mel_front_end(detector.input_rate))
    band = band_of(seconds[worst], usual, np.maximum(deviation, _LEAST), edges)
    return second_starts(frames)[worst] * HOP_MS / 1000, band
