"""Claims about a verdict in words."""

import dataclasses

import numpy as np
import pytest

from asd_jax.detector.notes import Kind, Note
from asd_jax.detector.verdict import Verdict
from asd_jax.detector.where import Band


@pytest.fixture
def verdict():
    return Verdict(3.0, 2.0, 0.1, True, (1.0, 2.0), "level", np.array([3.0]))


def test_a_verdict_says_in_what_a_sound_differs(verdict):
    assert verdict.difference == "it differs most in its mean spectrum"
    heard = dataclasses.replace(verdict, view="rhythm", band=Band(900.0, 1300.0, 6.4))
    assert heard.difference == "it differs most in its rhythm, 0.90-1.3 kHz, +6 dB against normal"


def test_further_notes_come_after_those_it_has(verdict):
    short = Note(Kind.SHORT, "a")
    clipped = Note(Kind.CLIPPING, "b")
    noted = verdict.noted(short).noted(clipped)
    assert noted.notes == (short, clipped) and noted.note == "short: a; clipping: b"
    assert verdict.notes == () and verdict.note == ""


def test_the_message_of_an_alarm_names_the_score_the_threshold_and_the_difference(verdict):
    assert verdict.alarm_message == f"score 3.00 above 2.00; {verdict.difference}"
