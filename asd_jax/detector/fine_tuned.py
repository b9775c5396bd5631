"""Trains an encoder to distinguish the classes of one user's normal recordings."""

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np

from asd_jax.data.audio import fit_length
from asd_jax.data.clips import Clip, clip_class
from asd_jax.data.windows import Window, windows_of
from asd_jax.models.encoder import Pooling
from asd_jax.runtime.errors import InputError
from asd_jax.training.clips import TrainingClips
from asd_jax.training.fine_tuning import FineTuning, fine_tune
from asd_jax.training.loop import Job
from asd_jax.training.weights import Pipeline

# Share of each class that is held out. An encoder finds everything it was trained on normal, so
# other recordings must set the threshold.
HELD_OUT = 0.3


def fine_tuned(
    pipeline: Pipeline | None,
    clips: Sequence[Clip],
    read: Callable[[Clip], np.ndarray],
    *,
    window_seconds: float,
    workdir: AbstractContextManager[Path],
    epochs: int = 10,
    seed: int = 0,
) -> tuple[Pipeline, np.ndarray]:
    """Returns the fine-tuned pipeline, and for each recording whether it was trained on.

    If training is interrupted, calling the function again resumes it.

    Args:
        pipeline: the encoder.
        clips: normal recordings of two or more classes.
        read: function from clip to waveform, at the sampling rate of the encoder.
        window_seconds: length of a window.
        workdir: context manager that gives the folder of the training; it is entered only after all
            other checks.
        epochs: number of training epochs.
        seed: seed of the training and of the choice of held-out recordings.

    Raises:
        InputError: there is no encoder to train, only one class, or a class with fewer than three
            recordings.
    """
    if pipeline is None or pipeline.config.eat is None:
        raise InputError(
            "--fine_tune: the filter bank has nothing to train; give --weights of an encoder"
        )
    if len({clip_class(clip) for clip in clips}) < 2:
        raise InputError(
            "--fine_tune needs recordings of two classes or more: subfolders (speeds, products, "
            "machines), or a csv list with the column attribute"
        )
    trained = ~_held_out(clips, seed)
    # Distinguishing classes needs a trained embedding on top, whatever the encoder had.
    config = dataclasses.replace(pipeline.config, pooling=Pooling("attentive_statistics", -1, 256))
    rate = config.front_end.sample_rate
    samples = round(window_seconds * config.front_end.sample_rate)
    chosen = [clip for clip, used in zip(clips, trained, strict=True) if used]
    windows = windows_of(chosen, length="window", samples=samples, hop=samples, sample_rate=rate)

    def read_window(window: Window) -> np.ndarray:
        return fit_length(read(window)[window.start :], window.samples)

    # There may be fewer windows than a usual batch holds.
    settings = FineTuning(epochs=epochs, batch_size=min(16, len(windows)))
    with workdir as folder:
        params = fine_tune(
            config,
            pipeline.params["eat"],
            TrainingClips(windows, read_window),
            settings,
            Job(folder, seed=seed),
        )
    return Pipeline(config, params), trained


def _held_out(clips: Sequence[Clip], seed: int) -> np.ndarray:
    """Returns a mask of the recordings held out, a share of each class."""
    held_out = np.zeros(len(clips), bool)
    # The choice must be the same when an interrupted training goes on.
    rng = np.random.default_rng(seed)
    classes = [clip_class(clip) for clip in clips]
    for label in sorted(set(classes)):
        members = rng.permutation([n for n, name in enumerate(classes) if name == label])
        if len(members) < 3:
            raise InputError(
                f"--fine_tune: {len(members)} recordings of class {label[-1]!r}; at least 3 are "
                "needed"
            )
        # At least one of each class is held out, because the threshold must know them all.
        held_out[members[: max(1, round(HELD_OUT * len(members)))]] = True
    return held_out
