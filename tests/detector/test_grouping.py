"""Claims about windows that must not be compared with each other, and about domains."""

import numpy as np
import pytest
from detectors import FAULTY, HEALTHY
from machine_sound import RATE

from asd_jax.detector.detector import Detector
from asd_jax.detector.grouping import check_domains, copies, domains_of, groups
from asd_jax.detector.notes import Kind
from asd_jax.runtime.errors import InputError


def test_one_long_recording_is_enough(normal):
    one = Detector.fit([np.concatenate(normal)], RATE, weights=None, window_seconds=2.0)
    assert len(set(one.bank.windows.group)) == 10 and all(one.is_anomaly(wave) for wave in FAULTY)


@pytest.mark.slow
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


def test_fewer_than_three_recordings_are_divided_into_ten_stretches_each():
    level = np.zeros((25, 1))
    recording = np.repeat([0, 1], [20, 5])
    stretch = [*np.arange(20) // 2, *range(10, 15)]
    assert groups(recording, level, 2.0).tolist() == stretch
    three = groups(np.arange(3), np.eye(3), 2.0)
    assert three.tolist() == [0, 1, 2]
    assert groups(np.zeros(3, int), level[:3], 2.0).tolist() == [0, 1, 2]
    with pytest.raises(InputError, match="^2 windows of 2 s in 1 normal recordings: at least 3 "):
        groups(np.zeros(2, int), level[:2], 2.0)


@pytest.mark.parametrize(("distance", "found"), [(0.019, [(1, 3)]), (0.021, [])])
def test_copies_are_within_two_percent_of_the_usual_distance(distance, found):
    level = np.array([0.0, 1.0, 2.0, 1.0 + distance, 3.0, 4.0, 5.0])[:, None]
    assert copies(np.arange(7), level) == found
    # Neighbouring windows of one recording are no copies.
    assert copies(np.array([0, 1, 2, 1, 4, 5, 6]), level) == []


def test_each_domain_needs_four_recordings_that_are_no_copies():
    domains = ["source"] * 4 + ["target"] * 4
    recording = np.repeat(np.arange(8), 2)
    domain, notes = domains_of(domains, recording, recording)
    assert domain.tolist() == list(np.repeat(domains, 2)) and notes == ()
    copied = np.where(recording == 7, 6, recording)
    for given, group in ((domains[:5] + ["source"] * 3, recording), (domains, copied)):
        pooled, (note,) = domains_of(given, recording, group)
        assert set(pooled) == {"pooled"} and note.kind == Kind.DOMAINS
    pooled, notes = domains_of(["unknown"] * 8, recording, recording)
    assert pooled.tolist() == ["pooled"] * 16 and notes == ()


def test_a_domain_is_named_with_a_file_that_has_it():
    check_domains(["unknown"] * 2)
    check_domains(["source", "target"])
    message = r"^domain 'unknown': .*; found 'source' \(a.wav\), 'unknown' \(b.wav\)$"
    with pytest.raises(InputError, match=message):
        check_domains(["source", "unknown"], ["a.wav", "b.wav"])
    with pytest.raises(InputError, match="found 'source', 'unknown'$"):
        check_domains(["source", "unknown"])
