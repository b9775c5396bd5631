"""Converts recordings to windows of one length, their views, and patches for heat maps."""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Float

from asd_jax.data.another_day import another_day
from asd_jax.data.audio import LOUDEST, resample
from asd_jax.data.decode import FASTEST_HZ, SLOWEST_HZ
from asd_jax.data.windows import cut_windows
from asd_jax.detector import heat_map
from asd_jax.detector.views import rate_of, views, views_and_unsteadiness
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.settings import check_settings, key
from asd_jax.scoring.conformal import RAREST
from asd_jax.scoring.patch_bank import Considered
from asd_jax.training.weights import Pipeline

# Encoders are trained on 10 s, and EAT needs 16 frames.
LONGEST_WINDOW_S, SHORTEST_WINDOW_S = 10.0, 0.2
# Share of a window below which a sound counts as short. Short sounds are repeated to fill the
# window, but their scores scatter more than those of normal windows.
SHORT = 0.9
MOST_REPEATED = 10  # how often the longest recording may be repeated to fill a window
# Windows that get a moved copy, which simulates another day. Further recordings get one each.
MOVED = 256


@dataclasses.dataclass(frozen=True)
class Settings:
    """The settings chosen when a detector is fitted."""

    sample_rate: int = key(
        16000, "of the waveforms given to it, in Hz", least=SLOWEST_HZ, most=FASTEST_HZ
    )
    window_seconds: float = key(
        LONGEST_WINDOW_S,
        "that it hears at once; the score of a longer sound is the mean of its windows'",
        least=SHORTEST_WINDOW_S,
        most=60,
    )
    false_alarm_rate: float = key(
        0.05, "share of normal windows above the threshold", least=RAREST, most=1 - RAREST
    )
    tokens: bool = key(
        False, "whether `explain` compares the encoder's tokens, not patches of the filter bank"
    )

    def __post_init__(self):
        check_settings(self)

    def short(self, samples: int) -> str:
        """Returns a note if this many samples are much shorter than the window, else ""."""
        if samples >= SHORT * self.window_seconds * self.sample_rate:
            return ""
        return (
            f"short: less than the window of {self.window_seconds:g} s, the score is not comparable"
        )


@dataclasses.dataclass(frozen=True)
class Heard:
    """Recordings divided into windows, with the views of each window.

    Attributes:
        vectors: {view: "n ..."}.
        recording: "n", the number of each window's recording.
        start: "n", the start of each window in its recording, in seconds.
        patches: a sample of patches by band "f n e", and the recording of each "f n"; None in files
            of earlier versions.
        unsteadiness: "n", the difference between the halves of each window.
        moved: the windows "m" that have a moved copy, and the copies' {view: "m ..."}.
    """

    vectors: dict[str, np.ndarray]
    recording: np.ndarray
    start: np.ndarray
    patches: tuple[np.ndarray, np.ndarray] | None
    unsteadiness: np.ndarray
    moved: tuple[np.ndarray, dict[str, np.ndarray]]

    def names(self, given: Sequence[str] | None, first: int = 0) -> tuple[str, ...]:
        """Returns the names of the recordings, with numbers from `first` on if none are given."""
        if given is not None:
            return tuple(given)
        return tuple(f"recording {first + n}" for n in range(int(self.recording.max()) + 1))

    def with_more(self, more: "Heard", first: int) -> "Heard":
        """Returns these recordings followed by others, which are numbered from `first` on."""
        patches = None
        if self.patches is not None and more.patches is not None:
            (old, of), (new, of_new) = self.patches, more.patches
            patches = (
                np.concatenate([old, new], axis=1),
                np.concatenate([of, of_new + first], axis=1),
            )
        moved, further = self.moved[1], more.moved[1]
        return Heard(
            {view: np.concatenate([old, more.vectors[view]]) for view, old in self.vectors.items()},
            np.concatenate([self.recording, more.recording + first]),
            np.concatenate([self.start, more.start]),
            patches,
            np.concatenate([self.unsteadiness, more.unsteadiness]),
            (
                np.concatenate([self.moved[0], more.moved[0] + len(self.recording)]),
                {view: np.concatenate([old, further[view]]) for view, old in moved.items()},
            ),
        )

    def without(self, recordings: Sequence[int]) -> "Heard":
        """Returns the same without some recordings; the others are renumbered."""
        stay = ~np.isin(self.recording, recordings)
        number = np.cumsum(~np.isin(np.arange(self.recording.max() + 1), recordings)) - 1
        patches = None
        if self.patches is not None:
            kept = ~np.isin(self.patches[1], recordings).any(0)
            of = number[self.patches[1][:, kept]].astype(np.int32)
            patches = self.patches[0][:, kept], of
        rows, moved = self.moved
        copies = stay[rows]
        return Heard(
            {view: vectors[stay] for view, vectors in self.vectors.items()},
            number[self.recording[stay]],
            self.start[stay],
            patches,
            self.unsteadiness[stay],
            (
                (np.cumsum(stay) - 1)[rows[copies]],
                {view: vectors[copies] for view, vectors in moved.items()},
            ),
        )


def hear_all(
    pipeline: Pipeline | None,
    settings: Settings,
    waves: Iterable[np.ndarray],
    *,
    move: bool = True,
    **of_each: Sequence | np.ndarray | None,
) -> tuple[Heard, tuple[str, ...]]:
    """Returns (windows and views of the waveforms, notes for the user).

    Each waveform is released after use.

    Args:
        pipeline: the encoder, if there is one.
        settings: settings of the detector.
        waves: normal recordings.
        move: whether to add moved copies, which simulate another day.
        of_each: values given for each recording, by name; None where nothing was given.

    Raises:
        InputError: there are no recordings, their number differs from that of the values, or as for
            `windows_of`.
    """
    parts, recording, start, considered, short = [], [], [], Considered(), 0
    unsteadiness, moved_rows, moved, rate, before = [], [], [], rate_of(pipeline), 0
    for number, wave in enumerate(waves):
        windows, starts = windows_of(wave, settings, rate)
        of_wave, _, unsteady = views_and_unsteadiness(pipeline, windows)
        if move and (chosen := windows[: max(1, MOVED - len(moved_rows))]).size:
            moved.append(views(pipeline, np.stack([another_day(w, rate) for w in chosen]))[0])
            moved_rows += range(before, before + len(chosen))
        before += len(windows)
        parts.append(of_wave)
        unsteadiness.append(unsteady)
        considered.add(heat_map.patches(pipeline, settings.tokens, windows), number)
        recording.append(np.full(len(starts), number))
        start.append(starts)
        short += bool(settings.short(len(wave)))
    if not parts:
        raise InputError("no normal recordings to learn from")
    for what, given in of_each.items():
        if given is not None and len(given) != len(parts):
            raise InputError(f"{what} of {len(given)} recordings, but {len(parts)} are given")
    vectors = {view: np.concatenate([part[view] for part in parts]) for view in parts[0]}
    notes = (
        f"{short} of {len(parts)} recordings are shorter than the window of "
        f"{settings.window_seconds:g} s and scatter more than whole windows do, which spoils the "
        "threshold: leave them out, or fit with shorter windows (window_seconds)",
    )
    # Without moved copies, each view still needs an empty array of the right shape.
    copies = {view: np.concatenate([one[view] for one in moved]) for view in vectors if moved}
    return Heard(
        vectors,
        np.concatenate(recording),
        np.concatenate(start),
        considered.bands(),
        np.concatenate(unsteadiness),
        (np.array(moved_rows, np.int64), copies or {v: x[:0] for v, x in vectors.items()}),
    ), notes if short else ()


def windows_of(
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
    if len(wave) * 1000 < 25 * settings.sample_rate:
        raise InputError(f"a waveform of {len(wave)} samples is shorter than one frame of 25 ms")
    if not np.isfinite(wave).all():
        raise InputError("a waveform with NaN or infinity among the samples")
    if (loudest := float(np.abs(wave).max())) > LOUDEST:
        raise InputError(f"a waveform of samples up to {loudest:.4g}: scale it to [-1, 1]")
    # Resampling may overshoot the range of the samples.
    wave = resample(wave.astype(np.float32, copy=False), settings.sample_rate, rate).clip(-1, 1)
    samples = round(settings.window_seconds * rate)
    windows, starts = cut_windows(wave, samples, samples)
    return windows, starts / rate


def check_window(window_seconds: float, seconds: Sequence[float]) -> None:
    """Raises InputError if a window is over ten times as long as the longest recording.

    Args:
        window_seconds: length of the window.
        seconds: lengths of the recordings.
    """
    if len(seconds) and MOST_REPEATED * (longest := max(seconds)) < window_seconds:
        raise InputError(
            f"windows of {window_seconds:g} s, but the longest of {len(seconds)} recordings lasts "
            f"{longest:.4g} s: give at most that (window_seconds)"
        )


def usual_window(seconds: Sequence[float]) -> float:
    """Returns the default window: the median length of recordings, from 0.2 to 10 s."""
    if not len(seconds):
        raise InputError("no normal recordings to learn from")
    return float(np.clip(np.median(seconds), SHORTEST_WINDOW_S, LONGEST_WINDOW_S))
