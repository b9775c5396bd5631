"""The header of a detector's file: everything that is not a table of numbers."""

import dataclasses
import importlib.metadata
from typing import TYPE_CHECKING

from asd_jax.detector.notes import Kind
from asd_jax.detector.settings import Settings
from asd_jax.models.encoder import EncoderConfig
from asd_jax.runtime.errors import InputError
from asd_jax.scoring.options import BACK_ENDS, Scoring

if TYPE_CHECKING:
    from asd_jax.detector.detector import Detector


@dataclasses.dataclass(frozen=True)
class Header:
    """The header of a detector's file; its types and ranges are those of the dataclasses."""

    encoder: EncoderConfig | None
    origin: dict[str, str]
    settings: Settings
    scoring: dict[str, Scoring]
    threshold: float
    notes: tuple[str, ...]
    names: tuple[str, ...]
    reduced: bool
    sessions: tuple[str, ...]
    voting: tuple[str, ...]
    on_trial: tuple[str, ...]
    colour: tuple[float, ...]
    versions: dict[str, str]
    # What each note is about; files of earlier versions do not say.
    note_kinds: tuple[Kind, ...] = ()

    def __post_init__(self):
        # A file must not choose which code is imported and run.
        for one in self.scoring.values():
            if any(name not in BACK_ENDS for name in one.back_end.split("+")):
                raise InputError(f"back_end={one.back_end[:40]!r} is none that a detector may have")


def header_of(detector: "Detector") -> dict:
    """Returns the header of a detector, without its checksum, as JSON holds it."""
    pipeline = detector.pipeline
    bank = detector.bank
    return {
        "kind": "detector",
        "encoder": None if pipeline is None else dataclasses.asdict(pipeline.config),
        "origin": dict(detector.origin),
        "settings": dataclasses.asdict(detector.settings),
        "scoring": {view: scoring.recorded() for view, scoring in bank.scoring.items()},
        "threshold": detector.threshold,
        "notes": [str(note) for note in detector.notes],
        "note_kinds": [str(note.kind) for note in detector.notes],
        "names": list(detector.names),
        "reduced": detector.reduced,
        "sessions": list(detector.sessions),
        "voting": list(bank.voting),
        "on_trial": list(bank.on_trial),
        "colour": list(detector.colour),
        "versions": {
            name: importlib.metadata.version(name)
            for name in ("flax", "jax", "numpy", "scikit-learn")
        },
    }
