"""Asks the teachers of distillation what the student must predict."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from asd_jax.data.crops import Crop
from asd_jax.data.targets import TargetFile, crop_frames
from asd_jax.features.front_end import FrontEnd
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import file_sha256
from asd_jax.runtime.functions import Function, checked_embeddings, named_function
from asd_jax.runtime.log import print_line

OPTION = "pretraining.teachers"
# Stored frames are averaged over such a time, two patches of the student.
FRAME_SECONDS = 0.32


@dataclasses.dataclass(frozen=True)
class Teachers:
    """Teachers by name: functions, which are called for every sound, and files of targets.

    Attributes:
        by_name: {name: function or file}.
        root: folder of the recordings, which the names in files of targets are relative to.
        files: the recordings.
    """

    by_name: dict[str, Function | TargetFile]
    root: Path
    files: Sequence[Path]

    @classmethod
    def load(cls, names: Sequence[str], root: str, files: Sequence[Path]) -> "Teachers":
        """Returns the teachers of these names, and prints how many recordings each file covers.

        Raises:
            InputError: there is no such function, or a file is not one of targets, or not one of
                these recordings.
        """
        found = {
            name: TargetFile(name) if name.endswith(".npz") else named_function(name, OPTION)
            for name in names
        }
        teachers = cls(found, Path(root), files)
        for name, teacher in found.items():
            if isinstance(teacher, TargetFile):
                covered = sum(teacher.of(file, teachers.root) is not None for file in files)
                if not covered:
                    raise InputError(
                        f"{OPTION}={name}: has none of the {len(files)} recordings of "
                        f"data.root={root or repr('')}; it has {next(iter(teacher.places), 'none')}"
                        " and others, relative to that folder or absolute"
                    )
                print_line(f"{name}: targets for {covered} of {len(files)} recordings")
        return teachers

    @property
    def digests(self) -> dict[str, str]:
        """The SHA-256 of each file of targets, without which a run cannot be continued."""
        return {
            f"targets {name}": file_sha256(teacher.path)
            for name, teacher in self.by_name.items()
            if isinstance(teacher, TargetFile)
        }

    def targets(
        self,
        wave: Float[np.ndarray, "b s"],
        crops: Sequence[Crop | None],
        prevails: Bool[np.ndarray, "b"],
    ) -> dict[str, np.ndarray]:
        """Returns `target_N` "b t e" and `known_N` "b" of every teacher N.

        Args:
            wave: the input of the functions.
            crops: the crop that each clip is, None for a synthetic one.
            prevails: whether a clip is still mostly its crop, so that stored targets hold.

        Raises:
            InputError: a function does not return one finite vector, or one per frame, for each
                waveform.
        """
        found = {}
        for n, (name, teacher) in enumerate(self.by_name.items()):
            if isinstance(teacher, TargetFile):
                target, known = self._stored(teacher, wave.shape, crops, prevails)
            else:
                # A copy, because a user's function may change its argument.
                given = teacher(np.array(wave), FrontEnd.sample_rate)
                target = checked_embeddings(given, len(wave), name, OPTION)
                # One vector for a clip counts as a sequence of one frame.
                target = target[:, None] if target.ndim == 2 else target
                known = np.ones(len(wave), np.float32)
            found |= {f"target_{n}": target, f"known_{n}": known}
        return found

    def _stored(self, teacher, shape, crops, prevails):
        b, samples = shape
        count = max(round(samples / FrontEnd.sample_rate / FRAME_SECONDS), 1)
        # Rows that are not known stay zero, and `known` leaves them out of the loss.
        target = np.zeros((b, count, teacher.vectors.shape[1]), np.float32)
        known = np.zeros(b, np.float32)
        for row, (crop, clear) in enumerate(zip(crops, prevails, strict=True)):
            # At another speed it is another sound.
            if crop is None or not clear or crop.speed != 1:
                continue
            frames = teacher.of(self.files[crop.file], self.root)
            if frames is not None:
                target[row] = crop_frames(frames, crop, count)
                known[row] = 1
        return target, known
