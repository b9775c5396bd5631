"""Converts recordings to windows of one length, their views, and patches for heat maps."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from jaxtyping import Float

from asd_jax.data.audio import LOUDEST, resample
from asd_jax.data.simulated_session import simulated_session
from asd_jax.data.windows import cut_windows
from asd_jax.detector import heat_map
from asd_jax.detector.defects import defects
from asd_jax.detector.notes import Kind, Note
from asd_jax.detector.settings import Settings
from asd_jax.detector.views import rate_of, views, views_and_unsteadiness
from asd_jax.features.settings import FRAME_MS
from asd_jax.runtime.errors import InputError
from asd_jax.scoring.normal_windows import NormalWindows, SimulatedWindows
from asd_jax.scoring.patch_bank import Considered
from asd_jax.training.weights import Pipeline

# Defects of normal recordings that spoil a fit, and what to do. Silent recordings are left out.
_DEFECTS = {
    "clipping": (Kind.CLIPPED_RECORDINGS, "clipped: turn the input level down, and record again"),
    "dropout": (Kind.LOSSY_RECORDINGS, "full of gaps, as samples were lost: record again"),
}
# Simulated windows, which stand for other sessions. Each window gets two, as a threshold that rests
# on one draw of each is up to twice as high or low, as long as they are no more than this. Further
# recordings get one each.
SIMULATED = 256
COPIES = 2


@dataclasses.dataclass(frozen=True)
class Processed:
    """Recordings divided into windows, with the views of each window.

    Attributes:
        windows: the windows "n".
        vectors: {view: "n ..."}.
        simulated: windows as they might sound in another session.
        patches: a sample of patches by band "f n e", and the recording of each "f n"; None in files
            of earlier versions.
    """

    windows: NormalWindows
    vectors: dict[str, np.ndarray]
    simulated: SimulatedWindows
    patches: tuple[np.ndarray, np.ndarray] | None

    @property
    def recordings(self) -> int:
        """Returns the number of recordings."""
        return int(self.windows.recording.max()) + 1

    def names(self, given: Sequence[str] | None, first: int = 0) -> tuple[str, ...]:
        """Returns the names of the recordings, with numbers from `first` on if none are given."""
        if given is not None:
            return tuple(given)
        return tuple(f"recording {first + n}" for n in range(self.recordings))

    def with_more(self, more: "Processed", first: int) -> "Processed":
        """Returns these recordings followed by others, which are numbered from `first` on."""
        patches = None
        if self.patches is not None and more.patches is not None:
            vectors, recording = self.patches
            more_vectors, more_recording = more.patches
            patches = (
                np.concatenate([vectors, more_vectors], axis=1),
                np.concatenate([recording, more_recording + first], axis=1),
            )
        further = more.windows
        # Groups and sessions are determined again when the bank is fitted.
        number = further.recording + first
        further = dataclasses.replace(further, recording=number, group=number, session=number)
        rows = np.concatenate([self.simulated.rows, more.simulated.rows + len(self.windows)])
        return Processed(
            self.windows + further,
            _join_views([self.vectors, more.vectors]),
            SimulatedWindows(rows, _join_views([self.simulated.vectors, more.simulated.vectors])),
            patches,
        )

    def without(self, recordings: Sequence[int]) -> "Processed":
        """Returns the same without some recordings; the others are renumbered."""
        kept = ~np.isin(self.windows.recording, recordings)
        # Numbers of recordings are rows of their table, so no gap may remain.
        number = np.cumsum(~np.isin(np.arange(self.recordings), recordings)) - 1
        patches = None
        if self.patches is not None:
            vectors, recording = self.patches
            # All frequencies keep the same number of patches, so a patch is dropped from all of
            # them.
            kept_patches = ~np.isin(recording, recordings).any(0)
            renumbered = number[recording[:, kept_patches]].astype(np.int32)
            patches = vectors[:, kept_patches], renumbered
        windows = self.windows[kept]
        copies = kept[self.simulated.rows]
        rows = (np.cumsum(kept) - 1)[self.simulated.rows[copies]]
        return Processed(
            dataclasses.replace(windows, recording=number[windows.recording]),
            {view: vectors[kept] for view, vectors in self.vectors.items()},
            SimulatedWindows(
                rows, {view: vectors[copies] for view, vectors in self.simulated.vectors.items()}
            ),
            patches,
        )


def process(
    pipeline: Pipeline | None,
    settings: Settings,
    waves: Iterable[np.ndarray],
    names: Sequence[str] | None = None,
) -> tuple[Processed, tuple[Note, ...]]:
    """Returns (windows and views of normal recordings, notes for the user).

    Each waveform is released after use. The first windows are simulated in another session, too.
    `names` are those of the recordings, for the notes.

    Raises:
        InputError: there are no recordings, or as for `cut_waveform`.
    """
    patches = Considered()
    short = 0
    simulated = 0
    processed: list[Processed] = []
    defective: dict[str, list[int]] = {name: [] for name in _DEFECTS}
    for number, wave in enumerate(waves):
        windows, starts = cut_waveform(wave, settings, rate_of(pipeline))
        patches.add(heat_map.patches(pipeline, settings.tokens, windows), number)
        processed.append(_processed(pipeline, windows, starts, SIMULATED - simulated))
        simulated += len(processed[-1].simulated)
        # They are only counted, because a single note says how many there are.
        short += bool(settings.short(len(wave)))
        # A recording is named once, however many of its windows have the defect.
        names_of_defects = set().union(*(defects(one, rate_of(pipeline)) for one in windows))
        for name in names_of_defects & set(_DEFECTS):
            defective[name].append(number)
    if not processed:
        raise InputError("no normal recordings to learn from")
    note = Note(
        Kind.SHORT_RECORDINGS,
        f"{short} of {len(processed)} recordings are shorter than the window of "
        f"{settings.window_seconds:g} s and scatter more than whole windows do, which spoils the "
        "threshold: leave them out, or fit with shorter windows (window_seconds)",
    )
    joined = _join(processed, patches)
    # A wrong number of names is an error that the caller raises.
    given = names if names is not None and len(names) == len(processed) else joined.names(None)
    notes = _on_defects(
        {name: [given[n] for n in numbers] for name, numbers in defective.items() if numbers}
    )
    return joined, (*((note,) if short else ()), *notes)


def _on_defects(defective: Mapping[str, Sequence[str]]) -> list[Note]:
    """Returns a note per defect, for {defect: names of recordings}."""
    notes = []
    for name, recordings in defective.items():
        kind, advice = _DEFECTS[name]
        more = f" and {len(recordings) - 3} more" if len(recordings) > 3 else ""
        notes.append(Note(kind, f"{', '.join(recordings[:3])}{more}: {advice}"))
    return notes


def _processed(
    pipeline: Pipeline | None, windows: np.ndarray, starts: np.ndarray, most: int
) -> Processed:
    """Returns one recording with the views of its windows and of at most `most` simulated ones."""
    rate = rate_of(pipeline)
    # One window of each recording is simulated even when the limit is reached.
    chosen = windows[: max(1, most)]
    copies = min(COPIES, max(1, most // len(chosen)))
    vectors, _, unsteadiness = views_and_unsteadiness(pipeline, windows)
    sounds = [simulated_session(one, rate, n) for n in range(copies) for one in chosen]
    simulated = SimulatedWindows(
        np.tile(np.arange(len(chosen)), copies), views(pipeline, np.stack(sounds))[0]
    )
    recording = np.zeros(len(windows), np.int64)
    table = NormalWindows.of_recordings(recording, starts, unsteadiness)
    return Processed(table, vectors, simulated, None)


def _join(parts: Sequence[Processed], patches: Considered) -> Processed:
    """Returns the windows of several recordings as one table."""
    # The rows of simulated windows are numbered from the first window of their recording.
    lengths = [len(part.windows) for part in parts]
    before = np.cumsum([0, *lengths[:-1]])
    rows = [part.simulated.rows + first for part, first in zip(parts, before, strict=True)]
    windows = NormalWindows.of_recordings(
        np.repeat(np.arange(len(parts)), lengths),
        np.concatenate([part.windows.start for part in parts]),
        np.concatenate([part.windows.unsteadiness for part in parts]),
    )
    simulated = _join_views([part.simulated.vectors for part in parts])
    vectors = _join_views([part.vectors for part in parts])
    return Processed(
        windows, vectors, SimulatedWindows(np.concatenate(rows), simulated), patches.bands()
    )


def _join_views(parts: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Returns {view: vectors of all parts}."""
    return {view: np.concatenate([part[view] for part in parts]) for view in parts[0]}


def cut_waveform(
    wave: np.ndarray, settings: Settings, rate: int
) -> tuple[Float[np.ndarray, "b s"], Float[np.ndarray, "b"]]:
    """Returns (windows "b s" at the sampling rate `rate`, start of each in seconds).

    Raises:
        InputError: the waveform is not mono, not of floats, not finite, not scaled to [-1, 1] or
            shorter than a frame.
    """
    wave = np.asarray(wave)
    if not wave.ndim:
        raise InputError(
            "a number where a waveform is expected: give a list of waveforms, [wave] if there is "
            "one"
        )
    if wave.ndim != 1 or not np.issubdtype(wave.dtype, np.floating):
        raise InputError(
            f"a waveform of {wave.dtype} {wave.shape}; expected one channel of floats in [-1, 1]"
        )
    if len(wave) * 1000 < FRAME_MS * settings.sample_rate:
        raise InputError(
            f"a waveform of {len(wave)} samples is shorter than one frame of {FRAME_MS} ms"
        )
    if not np.isfinite(wave).all():
        raise InputError("a waveform with NaN or infinity among the samples")
    # Integers converted without scaling would be clipped to noise.
    if (loudest := float(np.abs(wave).max())) > LOUDEST:
        raise InputError(f"a waveform of samples up to {loudest:.4g}: scale it to [-1, 1]")
    # Resampling may overshoot the range of the samples.
    wave = resample(wave.astype(np.float32, copy=False), settings.sample_rate, rate).clip(-1, 1)
    samples = round(settings.window_seconds * rate)
    # Windows do not overlap, so that each second counts once in the mean score.
    windows, starts = cut_windows(wave, samples, samples)
    return windows, starts / rate
