"""Claims about notes."""

import pickle

from asd_jax.detector.notes import Kind, Note, text_of


def test_a_note_is_its_text_and_keeps_its_kind_in_a_copy():
    note = Note(Kind.LEFT_OUT, "left out: a.wav")
    for again in (note, pickle.loads(pickle.dumps(note))):
        assert again == "left out: a.wav" and again.kind is Kind.LEFT_OUT


def test_only_notes_on_what_is_decided_anew_do_not_last():
    passing = {kind for kind in Kind if not Note(kind, "").lasts}
    assert passing == {Kind.THRESHOLD, Kind.TOO_FEW, Kind.SESSIONS}


def test_the_notes_on_a_score_are_one_text_with_their_kinds():
    notes = (Note(Kind.SHORT, "less than a window"), Note(Kind.CLIPPING, "turn it down"))
    assert text_of(notes) == "short: less than a window; clipping: turn it down"
    assert text_of(()) == ""
