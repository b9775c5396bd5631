"""The clips that an encoder is fine-tuned on: their classes, and their batches on the devices."""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import numpy as np

from asd_jax.data.batches import Change, Examples, Reader, training_batches
from asd_jax.data.clips import Clip, clip_class, training_classes
from asd_jax.data.resident import draw_batch, resident_clips
from asd_jax.models.encoder import EncoderConfig
from asd_jax.runtime.errors import InputError
from asd_jax.training.loop import Job
from asd_jax.training.mesh import (
    process_rows,
    process_share,
    replicated,
    shard_batch,
    shard_by_clip,
)

Extras = Sequence[dict[str, int]]


@dataclasses.dataclass(frozen=True)
class TrainingClips:
    """Normal clips to train on, and how they are read.

    Attributes:
        clips: clips, or windows of them, of two classes or more.
        read: returns a clip's waveform; all have the same length.
        with_domain: whether source and target are different classes.
        change: changes waveforms as they are read, see `Examples`.
        tokens: the frozen EAT's tokens "n d" of each clip, see run/cached_tokens.py.
        resident: keep all clips on the device instead of reading every batch.
        threads: number of threads that read ahead.

    Raises:
        InputError: resident clips are to be changed as they are read.
    """

    clips: Sequence[Clip]
    read: Reader
    with_domain: bool = False
    change: Change | None = None
    tokens: Sequence[np.ndarray] | None = None
    resident: bool = False
    threads: int = 4

    def __post_init__(self):
        if self.resident and self.change:
            raise InputError(
                "data.resident=True keeps the clips as they are, without "
                "augment.noise_probability; set one of them back to its default"
            )

    def files_of(self, batch: dict[str, jax.Array]) -> list[str]:
        """Returns the files of this process's part of a batch.

        Resident clips are drawn on the device, so the host does not know which.
        """
        if self.resident:
            return []
        return [self.clips[number].path for number in process_rows(batch["clip"])]

    def batches(
        self, extras: Extras, job: Job, *, steps: int, batch_size: int
    ) -> Callable[[int], Iterable]:
        """Returns a function that maps the number of steps done to the batches of the later steps.

        Batches are read ahead; each of several processes reads its share. If clips are resident,
        every step gets all of them, and `draw_from_resident` makes it draw its batch.
        """
        if self.resident:
            clips = resident_clips(self.clips, extras, self.read, threads=self.threads)
            # Every device holds all clips, because each may draw any of them.
            data = replicated(job.mesh, clips)
            return lambda start: itertools.repeat(data, steps - start)
        if self.tokens is None:
            examples = Examples(self.clips, extras, self.read, change=self.change)
        else:
            # The examples are numbers, by which the kept tokens are read.
            numbers = range(len(self.clips))
            examples = Examples(numbers, extras, self.tokens.__getitem__, reads="tokens")

        def read(start: int) -> Iterable[dict[str, jax.Array]]:
            read_ahead = training_batches(
                examples,
                batch_size=batch_size,
                # As many passes as the steps need, the last one perhaps in part.
                epochs=-(-steps * batch_size // len(self.clips)),
                seed=job.seed,
                start=start,
                share=process_share(job.mesh),
                threads=self.threads,
            )
            return (shard_batch(job.mesh, batch) for batch in read_ahead)

        return read


def draw_from_resident(train_step: Callable, batch_size: int, key: jax.Array) -> Callable:
    """Returns a step on resident clips, which draws its batch from them and calls `train_step`.

    The key is that of the order of the clips.
    """

    def step(state, data: dict[str, Any], step_key):
        # The number of the step selects the batch, so that a continued run draws the same ones.
        batch = draw_batch(data, state.step, key, batch_size)
        return train_step(state, shard_by_clip(batch), step_key)

    return step


def class_numbers(
    clips: Sequence[Clip], config: EncoderConfig, with_domain: bool
) -> tuple[list[tuple[str, ...]], list[dict[str, int]]]:
    """Returns the classes, and the label and SimAM mode of each clip.

    Raises:
        InputError: there are fewer than two classes.
    """
    classes = training_classes(clips, with_domain=with_domain)
    if len(classes) < 2:
        raise InputError(
            f"all training clips are of one class {classes}: ArcFace needs at least two (machine, "
            "section, attribute) classes. Add machines (--config.data.machines), tell domains "
            "apart (--config.data.domain_in_class=True) if the clips have two, or use the "
            "encoder as it is, without training:\n"
            "  python -m asd_jax.evaluate --config=FILE --weights=FILE.safetensors --workdir=DIR"
        )
    # Sorted classes have the same numbers in every run.
    number = {c: n for n, c in enumerate(classes)}
    return classes, [
        {
            "label": number[clip_class(clip, with_domain=with_domain)],
            "simam_mode": config.front_end.simam.mode_of(clip.machine),
        }
        for clip in clips
    ]
