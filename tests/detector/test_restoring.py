"""Claims about the tables of a file that agree in their axes, but not in their numbers."""

import json

import numpy as np
import pytest

from asd_jax.detector.detector import Detector
from asd_jax.detector.header import Header, header_of
from asd_jax.detector.restoring import restored_attributes
from asd_jax.detector.tables import tables_of
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.schema import build_checked


def restored(detector, change=lambda tables, entries: None):
    """Returns the detector of the tables and the header of another, after a change to them."""
    tables = tables_of(detector)
    entries = json.loads(json.dumps(header_of(detector)))
    entries.pop("kind")
    change(tables, entries)
    return Detector(**restored_attributes(tables, build_checked(Header, entries), None))


def test_the_tables_give_back_what_was_learned(plain):
    again = restored(plain)
    for table, expected in tables_of(again).items():
        np.testing.assert_array_equal(expected, tables_of(plain)[table])
    assert header_of(again) == header_of(plain)
    assert again.bank.reserved == plain.bank.reserved and not again.bank.named
    assert [note.kind for note in again.notes] == [note.kind for note in plain.notes]


def test_sessions_are_named_if_each_recording_has_one(plain):
    def named(*last):
        return lambda tables, entries: entries.update(sessions=["monday"] * 23 + list(last))

    assert restored(plain, named("tuesday")).bank.named
    assert not restored(plain, named("")).bank.named


def test_files_of_earlier_versions_have_notes_of_no_kind_and_no_patches(plain):
    def earlier(tables, entries):
        entries.pop("note_kinds")
        for name in [name for name in tables if name.startswith("patches/")]:
            tables.pop(name)

    again = restored(plain, earlier)
    assert again.patches is None and [str(n) for n in again.notes] == [str(n) for n in plain.notes]
    assert {note.kind for note in again.notes} == {"other"}


def one(name, number, at=0):
    """Returns a change of one number of a table."""

    def change(tables, entries):
        tables[name] = tables[name].copy()
        tables[name].flat[at] = number

    return change


def first_of_view(tables, entries):
    tables["moved/level"] = tables["moved/level"][:, :9]


def of_scores(tables, entries, change=lambda scores: np.ones_like(scores)):
    for name in tables:
        if name.startswith("raw/"):
            tables[name] = change(tables[name])


def two_are_evidence(tables, entries):
    tables["evidence"] = (np.arange(24) < 2).astype(np.uint8)
    for name in tables:
        if name.startswith("new/"):
            tables[name] = tables[name][:2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, e: t.update({"rows/level": 0 * t["rows/level"]}), "level holds a window twice"),
        (lambda t, e: t.update(recording=t["recording"] + 1), "recording has numbers 1 to 24"),
        (lambda t, e: e.update(voting=["level/other"]), "no scorer in it votes"),
        (lambda t, e: e.update(sessions=["monday"]), "sessions of other recordings"),
        (lambda t, e: e.update(colour=[1.0]), "a colour of 1 numbers"),
        (lambda t, e: e["note_kinds"].append("short"), "kinds of "),
        (lambda t, e: t.update({"patches/usual": 0 * t["patches/usual"]}), "its patches are not"),
        (lambda t, e: t.update({"bank/level": t["bank/level"][:, :9]}), "its bank is not of"),
        (first_of_view, "its moved copies are not of"),
        (one("counted", 2), "counted has numbers 0 to 2|counted has numbers 1 to 2"),
        (one("evidence", 2), "evidence has numbers 1 to 2"),
        (one("domain", 5), "domain has numbers . to 5"),
        (one("group", 24), "group has numbers 1 to 24"),
        (one("session", -1), "session has numbers -1 to"),
        (one("moved_rows", 24), "moved_rows has numbers 0 to 24"),
        (one("rows/level", 24), "rows/level has numbers 1 to 24"),
        (one("patches/recording", 24), "patches/recording has numbers"),
        (one("patches/usual", 1.0), None),
        (one("patches/usual", 0.0, at=1), "its patches are not of"),
        (of_scores, "scores that .* gives normal sounds are all equal"),
        (lambda t, e: of_scores(t, e, lambda s: np.tile(s, 2)), "is of other banks"),
        (two_are_evidence, "no scorer in it votes"),
        (lambda t, e: e.update(voting=[]), "no scorer in it votes"),
    ],
)
def test_numbers_that_cannot_be_true_are_refused(plain, change, message):
    if message is None:
        assert restored(plain, change).patches is not None
        return
    with pytest.raises(InputError, match=message):
        restored(plain, change)
