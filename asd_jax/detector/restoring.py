"""Restores what a detector learned from the tables of its file, and rejects what cannot be true.

A file may have been altered by anybody. Each number is therefore compared with the others before it
is used as an index, a size or a divisor.
"""

import numpy as np

from asd_jax.data.simulated_session import COLOUR_DB
from asd_jax.detector.header import Header
from asd_jax.detector.heat_map import grid
from asd_jax.detector.notes import Kind, Note
from asd_jax.detector.tables import check_within
from asd_jax.detector.views import RESERVED, rate_of, shapes
from asd_jax.runtime.errors import InputError
from asd_jax.scoring.normal_bank import FEWEST_TO_COMPARE, NormalBank
from asd_jax.scoring.normal_windows import (
    BANKS,
    NormalWindows,
    SelfScores,
    SimulatedWindows,
)
from asd_jax.scoring.patch_bank import PatchBank
from asd_jax.scoring.scorers import scorers_of
from asd_jax.training.weights import Pipeline


def restored_attributes(tensors, header: Header, encoder: Pipeline | None) -> dict:
    """Returns the attributes of the detector that tables and a header describe.

    Args:
        tensors: {name: table} with the axes that `check_tables` requires.
        header: the header of the file.
        encoder: the encoder that the header describes.

    Raises:
        InputError: the numbers or the axes of a table do not agree with the header.
    """
    scoring = header.scoring
    settings = header.settings
    samples = round(settings.window_seconds * rate_of(encoder))
    # A machine without a rhythm has no such view, nor has a file of an earlier version.
    expected = shapes(encoder, samples, with_rhythm="rhythm" in scoring)
    # The encoder says how long a vector of each view is; a wrong length would fail later, at the
    # first score.
    if {view: tensors[f"bank/{view}"].shape[1:] for view in scoring} != expected:
        raise InputError("its bank is not of the views that its encoder gives")
    if any(tensors[f"moved/{view}"].shape[1:] != expected[view] for view in scoring):
        raise InputError("its moved copies are not of the views that its encoder gives")
    if len(header.sessions) != len(header.names):
        raise InputError("sessions of other recordings than it names")
    if len(header.colour) not in (0, len(COLOUR_DB)):
        raise InputError(f"a colour of {len(header.colour)} numbers")
    # The numbers are checked before any of them is used as an index.
    _check_numbers(tensors, header)
    # Files of earlier versions have notes without kinds.
    kinds = header.note_kinds or (Kind.OTHER,) * len(header.notes)
    if len(kinds) != len(header.notes):
        raise InputError(f"kinds of {len(kinds)} notes, but it has {len(header.notes)}")
    patches = "patches/vectors" in tensors
    return {
        "pipeline": encoder,
        "bank": _bank(tensors, header),
        "settings": settings,
        "threshold": header.threshold,
        "notes": tuple(map(Note, kinds, header.notes)),
        "names": header.names,
        "reduced": header.reduced,
        "origin": header.origin,
        "patches": _patches(tensors, encoder, settings.tokens) if patches else None,
        "sessions": header.sessions,
        "colour": header.colour,
    }


def _check_numbers(tensors, header: Header) -> None:
    """Raises InputError if a table holds a number of a window or recording that does not exist."""
    windows = len(tensors["counted"])
    recordings = len(header.names)
    sizes = {
        "counted": 2,
        "evidence": 2,
        "domain": len(BANKS),
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
        # A window that is there twice would be its own neighbour.
        if len(np.unique(tensors[f"rows/{view}"])) != len(tensors[f"rows/{view}"]):
            raise InputError(f"not a whole detector: the bank of {view} holds a window twice")


def _bank(tensors, header: Header) -> NormalBank:
    """Returns the bank of the normal sounds."""
    windows = NormalWindows(
        recording=tensors["recording"].astype(np.int64),
        start=tensors["start"],
        unsteadiness=tensors["unsteadiness"],
        domain=np.array(BANKS)[tensors["domain"]],
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
    # The threshold rests on these scores.
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


def _patches(tensors, pipeline, tokens) -> PatchBank:
    """Returns the patches, if they match the settings."""
    bank = PatchBank(*(tensors[f"patches/{name}"] for name in ("vectors", "recording", "usual")))
    # The settings say how patches lie on the spectrogram, and so how many there must be.
    cells = grid(pipeline, tokens)
    bands, count, width = bank.vectors.shape
    expected = (cells.front_end.bins // cells.filters, cells.width), (bands, count), (bands, 2)
    stored = (bands, width), bank.recording.shape, bank.usual.shape
    if stored != expected or not count or not (bank.usual[:, 1] > 0).all():
        raise InputError("its patches are not of the kind that its settings say")
    return bank
