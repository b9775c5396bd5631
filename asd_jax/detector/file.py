"""Saves a detector as one safetensors file, and loads it.

Files that were truncated, altered or manipulated are rejected.
"""

import dataclasses
import hashlib
import importlib.metadata
import json
from pathlib import Path

import numpy as np
from flax.traverse_util import flatten_dict

from asd_jax.data.simulated_session import COLOUR_DB
from asd_jax.detector.detector import Detector
from asd_jax.detector.heat_map import grid
from asd_jax.detector.notes import Kind, Note
from asd_jax.detector.settings import Settings
from asd_jax.detector.tables import check_tables, check_within
from asd_jax.detector.views import RESERVED, rate_of, shapes
from asd_jax.models.encoder import EncoderConfig
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.names import check_names
from asd_jax.runtime.schema import build_checked
from asd_jax.scoring.normal_bank import FEWEST_TO_COMPARE, NormalBank
from asd_jax.scoring.normal_windows import (
    DOMAINS,
    NormalWindows,
    SelfScores,
    SimulatedWindows,
)
from asd_jax.scoring.options import BACK_ENDS, Scoring
from asd_jax.scoring.patch_bank import PatchBank
from asd_jax.scoring.scorers import scorers_of
from asd_jax.training.weights import (
    BOX,
    Pipeline,
    abstract_encoder,
    fill_template,
    finite_values,
    open_weights,
    origin_entries,
    read_weights,
    save_weights,
)


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


def save(path: str | Path, detector: Detector) -> None:
    """Writes a detector atomically; the same detector gives the same bytes with the same versions.

    The encoder that comes with the package is not written to the file, only its hash.
    """
    tensors = _tables(detector)
    pipeline = detector.pipeline
    # The packaged encoder need not be stored, because every installation has it.
    if pipeline is not None and dict(detector.origin) != origin_entries(BOX):
        tensors |= {
            f"encoder/{name}": np.asarray(value)
            for name, value in flatten_dict(pipeline.params, sep="/").items()
        }
    header = _header(detector)
    save_weights(path, tensors, header | {"sha256": _digest(tensors, header)})


def _tables(detector: Detector) -> dict[str, np.ndarray]:
    """Returns {name in the file: table} of what a detector learned (see tables.py)."""
    bank = detector.bank
    windows = bank.windows
    self_scores = bank.self_scores
    new_scores = bank.new_session_scores
    simulated = bank.simulated.vectors
    tensors = {f"bank/{view}": vectors for view, vectors in bank.vectors.items()}
    tensors |= {f"rows/{view}": rows.astype(np.int32) for view, rows in bank.rows.items()}
    tensors |= {f"raw/{scorer}": scores for scorer, scores in self_scores.values.items()}
    tensors |= {f"new/{scorer}": scores for scorer, scores in new_scores.values.items()}
    # A view that has no simulated windows gets an empty table.
    tensors |= {
        f"moved/{view}": simulated.get(view, vectors[:0]) for view, vectors in bank.vectors.items()
    }
    tensors |= {
        "counted": self_scores.of.astype(np.uint8),
        "domain": np.array([DOMAINS.index(name) for name in windows.domain], np.uint8),
        "group": windows.group.astype(np.int32),
        "recording": windows.recording.astype(np.int32),
        "start": windows.start.astype(np.float64),
        "session": windows.session.astype(np.int32),
        "evidence": new_scores.of.astype(np.uint8),
        "unsteadiness": windows.unsteadiness.astype(np.float32),
        "moved_rows": bank.simulated.rows.astype(np.int32),
    }
    if detector.patches is not None:
        tensors |= {f"patches/{name}": tensor for name, tensor in vars(detector.patches).items()}
    return tensors


def _header(detector: Detector) -> dict:
    """Returns the header of a detector's file, without its checksum."""
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


def load(path: str | Path) -> Detector:
    """Returns the detector read from a file.

    Raises:
        InputError: the file is missing, truncated, altered, of another kind or of a newer format.
    """
    if not Path(path).is_file():
        raise InputError(
            f"{path}: no such detector; python -m asd_jax.detect fit --normal=DIR --output={path} "
            "makes one"
        )
    stored, entries = open_weights(path, kinds=("detector",))
    entries = {name: value for name, value in entries.items() if name != "format"}
    checksum = entries.pop("sha256", None)
    # Earlier versions did not store which scorers vote.
    if "voting" not in entries:
        raise InputError(
            f"{path}: of an earlier version, whose threshold knows nothing of sessions: fit the "
            "detector again"
        )
    try:
        header = build_checked(
            Header, {name: value for name, value in entries.items() if name != "kind"}
        )
        check_names("attribute", header.names)  # these are paths if a list named the recordings
        # The shapes are checked before the numbers are read and used.
        check_tables(stored, header.scoring, scorers_of(header.scoring))
        encoder = _encoder(stored, header, path)
        tensors = {name: finite_values(tensor) for name, tensor in stored.items()}
        if checksum != _digest(tensors, entries):
            raise InputError(
                "altered since it was written (its checksum does not fit); fit the detector again"
            )
        return _detector(tensors, header, encoder)
    except InputError as error:
        raise InputError(
            f"{path}: {error}" if str(path) not in str(error) else str(error)
        ) from error


def _encoder(tensors, header: Header, path) -> Pipeline | None:
    """Returns the encoder of the file, or the packaged one that its header names."""
    if header.encoder is None:
        return None
    weights = {
        name.removeprefix("encoder/"): tensor
        for name, tensor in tensors.items()
        if name.startswith("encoder/")
    }
    weights = weights or _packaged_weights(header.origin)
    return Pipeline(header.encoder, fill_template(abstract_encoder(header.encoder), weights, path))


def _detector(tensors, header: Header, encoder: Pipeline | None) -> Detector:
    """Returns the detector of tables whose numbers and axes agree with the header."""
    scoring = header.scoring
    settings = header.settings
    samples = round(settings.window_seconds * rate_of(encoder))
    # A machine without a rhythm has no such view, nor has a file of an earlier version.
    expected = shapes(encoder, samples, with_rhythm="rhythm" in scoring)
    if {view: tensors[f"bank/{view}"].shape[1:] for view in scoring} != expected:
        raise InputError("its bank is not of the views that its encoder gives")
    if any(tensors[f"moved/{view}"].shape[1:] != expected[view] for view in scoring):
        raise InputError("its moved copies are not of the views that its encoder gives")
    if len(header.sessions) != len(header.names):
        raise InputError("sessions of other recordings than it names")
    if len(header.colour) not in (0, len(COLOUR_DB)):
        raise InputError(f"a colour of {len(header.colour)} numbers")
    _check_numbers(tensors, header)
    kinds = header.note_kinds or (Kind.OTHER,) * len(header.notes)
    if len(kinds) != len(header.notes):
        raise InputError(f"kinds of {len(kinds)} notes, but it has {len(header.notes)}")
    patches = "patches/vectors" in tensors
    return Detector(
        pipeline=encoder,
        bank=_bank(tensors, header),
        settings=settings,
        threshold=header.threshold,
        notes=tuple(map(Note, kinds, header.notes)),
        names=header.names,
        reduced=header.reduced,
        origin=header.origin,
        patches=_patches(tensors, encoder, settings.tokens) if patches else None,
        sessions=header.sessions,
        colour=header.colour,
    )


def _check_numbers(tensors, header: Header) -> None:
    """Raises InputError if a table holds a number of a window or recording that does not exist."""
    windows = len(tensors["counted"])
    recordings = len(header.names)
    sizes = {
        "counted": 2,
        "evidence": 2,
        "domain": len(DOMAINS),
        "group": windows,
        "recording": recordings,
        "session": int(tensors["session"].max()) + 1,
        "moved_rows": windows,
    }
    sizes |= {f"rows/{view}": windows for view in header.scoring}
    if "patches/recording" in tensors:
        sizes["patches/recording"] = recordings
    for name, size in sizes.items():
        check_within(tensors, name, size)
    for view in header.scoring:
        if len(np.unique(tensors[f"rows/{view}"])) != len(tensors[f"rows/{view}"]):
            raise InputError(f"not a whole detector: the bank of {view} holds a window twice")


def _bank(tensors, header: Header) -> NormalBank:
    """Returns the bank of the normal sounds."""
    windows = NormalWindows(
        recording=tensors["recording"].astype(np.int64),
        start=tensors["start"],
        unsteadiness=tensors["unsteadiness"],
        domain=np.array(DOMAINS)[tensors["domain"]],
        group=tensors["group"].astype(np.int64),
        session=tensors["session"].astype(np.int64),
        scored=tensors["counted"].astype(bool),
    )
    bank = NormalBank(
        scoring=header.scoring,
        vectors={view: tensors[f"bank/{view}"] for view in header.scoring},
        rows={view: tensors[f"rows/{view}"].astype(np.int64) for view in header.scoring},
        windows=windows,
        self_scores=_scores(tensors, "raw", "counted", header, windows.domains),
        new_session_scores=_scores(tensors, "new", "evidence", header, windows.domains),
        simulated=SimulatedWindows(
            tensors["moved_rows"].astype(np.int64),
            {view: tensors[f"moved/{view}"] for view in header.scoring},
        ),
        voting=header.voting,
        on_trial=header.on_trial,
        reserved=RESERVED,
        named=bool(header.sessions) and all(header.sessions),
    )
    too_few = bank.new_session_scores.of.sum() < FEWEST_TO_COMPARE
    if not bank.voting or set(bank.voting) - set(bank.scorers) or too_few:
        raise InputError("not a whole detector: no scorer in it votes")
    bank.check()
    return bank


def _scores(tensors, kind: str, mask: str, header: Header, domains) -> SelfScores:
    """Returns the scores of the windows in a mask."""
    has_scores = tensors[mask].astype(bool)
    values = {}
    for scorer in scorers_of(header.scoring):
        values[scorer] = tensors[f"{kind}/{scorer}"]
        if values[scorer].shape != (has_scores.sum(), len(domains)):
            raise InputError(
                f"not a whole detector: {kind}/{scorer} of {values[scorer].shape} is of other banks"
            )
    return SelfScores(has_scores, values)


def _packaged_weights(origin: dict[str, str]) -> dict[str, np.ndarray]:
    """Returns the weights of the packaged encoder, if the detector was fitted with that encoder."""
    if origin != origin_entries(BOX):
        raise InputError(
            f"fitted with an encoder that does not come with this version of asd_jax ({origin}); "
            "fit the detector again, or load it with the version that wrote it"
        )
    return read_weights(BOX)[0]


def _patches(tensors, pipeline, tokens) -> PatchBank:
    """Returns the patches, if they match the settings."""
    bank = PatchBank(*(tensors[f"patches/{name}"] for name in ("vectors", "recording", "usual")))
    cells = grid(pipeline, tokens)
    bands, count, width = bank.vectors.shape
    expected = (cells.front_end.bins // cells.filters, cells.width), (bands, count), (bands, 2)
    stored = (bands, width), bank.recording.shape, bank.usual.shape
    if stored != expected or not count or not (bank.usual[:, 1] > 0).all():
        raise InputError("its patches are not of the kind that its settings say")
    return bank


def _digest(tensors, header) -> str:
    """Returns the SHA-256 of the tensors and the header."""
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = np.ascontiguousarray(tensors[name])
        digest.update(f"{name} {tensor.dtype} {tensor.shape}".encode())
        digest.update(tensor.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
