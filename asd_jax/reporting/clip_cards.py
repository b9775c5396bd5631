"""Shows single clips of a run beside their nearest normal clip: spectrograms, sound and facts."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from asd_jax.features.filter_bank import normalize
from asd_jax.features.front_end import FRAME_MULTIPLE, FrontEnd
from asd_jax.features.simam import MODES, simam_weights
from asd_jax.reporting.page import ClipCard, Plot, Section, Sound, sound_url
from asd_jax.reporting.sections import KINDS, ScoredSection, called
from asd_jax.reporting.spectrograms import decibel_range, spectrograms
from asd_jax.scoring.back_ends.knn import nearest
from asd_jax.scoring.embeddings import Embeddings
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
Read = Callable[[str, str, float], np.ndarray | None]


@dataclasses.dataclass(frozen=True)
class Recordings:
    """The recordings of a machine, to be drawn and played.

    Attributes:
        read: reads a recording of the embeddings.
        front_end: makes the spectrograms.
        machine: name of the machine.
    """

    read: Read
    front_end: FrontEnd
    machine: str

    def wave(self, rows: Embeddings, n: int) -> Float[np.ndarray, "s"] | None:
        """Returns the waveform of a row of embeddings, None if it is not available."""
        start = 0.0 if rows.window_start_seconds is None else float(rows.window_start_seconds[n])
        return self.read(str(rows.split[n]), str(rows.files[n]), start)


class Nearest(NamedTuple):
    """The normal clip nearest to a test clip; rows are those of the section's embeddings."""

    distance: float
    row: int
    normal_row: int


def clip_sections(
    scored: ScoredSection, recordings: Recordings, scoring: Scoring, count: int
) -> list[Section]:
    """Returns the `count` highest-scored and the `count` most wrongly scored clips of a section.

    Each clip is shown beside its nearest normal clip.
    """
    near = _nearest_normal(scored.embeddings, scoring)
    highest = np.argsort(-scored.score, kind="stable")[:count]
    wrong = most_wrong(scored.clips.label, scored.score, count)
    bank = _patch_bank(scored.embeddings, recordings) if len(highest) else None
    sections = []
    for title, numbers in (("highest scores", highest), ("most wrong", wrong)):
        cards = []
        for n in numbers.tolist():
            nearest_clip = near(str(scored.clips.files[n]))
            facts = _facts(scored, n, nearest_clip, scoring.distance)
            drawn, sounds = _pair(scored.embeddings, nearest_clip, recordings, bank)
            cards.append(ClipCard(str(scored.clips.files[n]), facts, drawn, sounds))
        if cards:
            name = f"{scored.machine} {scored.section}: {title}"
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
    # lexsort sorts by its last key first.
    order = np.lexsort((-np.abs(score - np.median(score)), -share))
    return order[share[order] > 0][:count]


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
    # Padded as the encoder gets it, because the statistics of SimAM may include the padding.
    seen = jnp.pad(energies, ((0, 0), (0, -frames % FRAME_MULTIPLE), (0, 0)))
    if not front_end.simam.before_normalization:
        seen = normalize(seen, front_end.mean, front_end.std)
    weights = simam_weights(
        seen,
        tile=front_end.simam.tile if mode == "local" else None,
        e_lambda=front_end.simam.e_lambda,
        valid_frames=frames if front_end.simam.ignores_padding else None,
    )
    return np.asarray(energies[0]), np.asarray(weights[0, :frames])


def _patch_bank(own: Embeddings, recordings: Recordings, most: int = 16) -> PatchBank | None:
    """Returns a bank of filter-bank patches of some training clips.

    Returns None if the clips are not available or shorter than a patch.
    """
    front_end = recordings.front_end
    train = np.flatnonzero(own.split == "train")
    recording = own.clip
    considered = Considered()
    # A few clips, spread over all, show what is usual; more would only cost time.
    for row in train[np.unique(np.linspace(0, len(train) - 1, most).astype(int))].tolist():
        wave = recordings.wave(own, row)
        if wave is not None and front_end.real_frames(len(wave)) >= FRAMES:
            patches = energy_patches(front_end.log_energies(wave[None]))
            considered.add(np.asarray(patches), int(recording[row]))
    return PatchBank.fit(*considered.bands()) if considered.kept else None


def _facts(scored: ScoredSection, n: int, near: Nearest, metric: str) -> list[str]:
    """Returns what is known of a test clip, as lines of text."""
    clips = scored.clips
    own = scored.embeddings
    score = scored.score[n]
    kind = KINDS[int(clips.label[n])]
    verdict = called(score, scored.threshold)
    # The scores of other sections have other scales, so the rank is within the section.
    return [
        f"truth: {kind}, {clips.domain[n]} domain",
        f"score {score:.3f}, threshold {scored.threshold:.3f}: called {verdict}",
        f"rank {1 + int(np.sum(scored.score > score))} of {len(scored.score)} test clips",
        f"nearest normal: {own.files[near.normal_row]} ({own.domain[near.normal_row]}, {metric} "
        f"distance {near.distance:.4g})",
    ]


def _pair(
    own: Embeddings, near: Nearest, recordings: Recordings, bank: PatchBank | None
) -> tuple[list[Plot], list[Sound]]:
    """Returns the spectrograms and the sounds of a test clip and of its nearest normal clip."""
    front_end = recordings.front_end
    pair = [("this clip", near.row), ("nearest normal", near.normal_row)]
    waves = [(what, recordings.wave(own, place)) for what, place in pair]
    waves = [(what, wave) for what, wave in waves if wave is not None]
    seen = [attention(front_end, wave, recordings.machine) for _, wave in waves]
    drawn = []
    sounds = []
    if seen:
        # Both spectrograms use one range of colours, so that they can be compared.
        decibels = decibel_range(np.concatenate([energies.ravel() for energies, _ in seen]))
    for (what, wave), (energies, weights) in zip(waves, seen, strict=True):
        heat = None
        if bank is not None and what == "this clip":
            patches = energy_patches(energies[None])[0]
            heat = over_cells(bank.heat(patches), (FRAMES, FILTERS), *energies.shape)
        shown = {"filter bank": energies, "SimAM weights": weights, "where it is odd": heat}
        caption = ", ".join(name for name, values in shown.items() if values is not None)
        picture = spectrograms(
            energies, weights, front_end.filter_centres, decibels=decibels, heat=heat
        )
        drawn.append(Plot(picture, f"{what}: {caption}"))
        sounds.append(Sound(what, sound_url(wave, front_end.sample_rate)))
    return drawn, sounds


def _nearest_normal(own: Embeddings, scoring: Scoring) -> Callable[[str], Nearest]:
    """Returns a function that finds the normal clip nearest to a test clip, given by its file.

    Rows may be windows: of a clip's windows, the one farthest from all normal ones is used.
    """
    train = np.flatnonzero(own.split == "train")
    test = np.flatnonzero(own.split == "test")
    by_domain = {
        d: own.vectors[train][own.domain[train] == d] for d in ("source", "target", "unknown")
    }
    # The neighbours of the page are those of the scoring, so vectors are prepared alike.
    prepare = Preparation.fit(by_domain, scoring, own.axes)
    # Several vectors for a clip count as one long one, as in the scoring.
    bank, queries = (prepare(own.vectors[rows]).reshape(len(rows), -1) for rows in (train, test))
    distances, rows = nearest(queries, bank, 1, scoring.metric)

    def of(file):
        here = np.flatnonzero(own.files[test] == file)
        # The window that is farthest from normal shows best what is odd.
        place = here[np.argmax(distances[here, 0])]
        return Nearest(distances[place, 0], int(test[place]), int(train[rows[place, 0]]))

    return of
