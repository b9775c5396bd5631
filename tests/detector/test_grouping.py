"""Claims about windows that must not be compared with each other, and about domains."""

import numpy as np
import pytest
from detectors import FAULTY, HEALTHY
from machine_sound import RATE

from asd_jax.detector.detector import Detector
from asd_jax.detector.grouping import check_domains, copies, groups
from asd_jax.runtime.errors import InputError


def test_one_long_recording_is_enough(normal):
    one = Detector.fit([np.concatenate(normal)], RATE, weights=None, window_seconds=2.0)
    assert len(set(one.bank.windows.group)) == 10 and all(one.is_anomaly(wave) for wave in FAULTY)


def test_domains_are_told_apart_where_both_are_there(normal):
    quiet = [wave / 8 for wave in normal[:6]]
    one = Detector.fit(normal + quiet, RATE, weights=None, domains=["source"] * 24 + ["target"] * 6)
    assert one.bank.domains == ["source", "target"]
    assert not one.is_anomaly(HEALTHY[0] / 8) and not one.is_anomaly(HEALTHY[0])
    few = Detector.fit(
        normal + quiet[:2], RATE, weights=None, domains=["source"] * 24 + ["target"] * 2
    )
    assert few.bank.domains == ["pooled"]
    (note,) = [note for note in few.notes if "2 target recordings" in note]
    assert note in few.update(HEALTHY[:2]).notes
    assert few.update(HEALTHY[:2], names=["a", "b"]).names[-1] == "b"
    same = Detector.fit(
        normal + quiet[:1] * 4, RATE, weights=None, domains=["source"] * 24 + ["target"] * 4
    )
    assert same.bank.domains == ["pooled"]
    assert any("1 target recordings (copies count as one)" in note for note in same.notes)
    assert not any("left out" in note for note in (*few.notes, *same.notes))
    with pytest.raises(InputError, match="names of 1 recordings"):
        few.update(HEALTHY[:2], names=["a"])
    with pytest.raises(InputError, match="source or target"):
        one.update(normal[:1])


def test_copies_do_not_vouch_for_each_other(normal):
    once, twice = (Detector.fit(waves, RATE, weights=None) for waves in (normal, normal + normal))
    assert twice.bank.normal.min() > once.bank.normal.min() - 0.5
    assert np.array_equal(twice.bank.windows.group, np.tile(np.arange(24), 2))


def test_copies_of_a_copy_are_one_group():
    rng = np.random.default_rng(0)
    level = rng.normal(size=(6, 8))
    level[[1, 2]] = level[4] + [[1e-4], [-1e-4]]
    recording = np.arange(6)
    assert copies(recording, level) == [(1, 4), (2, 4)]
    group = groups(recording, level, 2.0)
    assert group[1] == group[2] == group[4] and len(set(group)) == 4


def test_a_domain_is_named_with_a_file_that_has_it():
    check_domains(["unknown"] * 2)
    check_domains(["source", "target"])
    message = r"^domain 'unknown': .*; found 'source' \(a.wav\), 'unknown' \(b.wav\)$"
    with pytest.raises(InputError, match=message):
        check_domains(["source", "unknown"], ["a.wav", "b.wav"])
