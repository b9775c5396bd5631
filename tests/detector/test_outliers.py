"""Claims about recordings that are far from all others."""

from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
from detectors import FAULTY
from machine_sound import RATE, sound

from asd_jax.detector.detector import Detector
from asd_jax.detector.outliers import most_anomalous, of_rare_domain, outlier_recordings
from asd_jax.scoring.normal_bank import NormalBank


def bank_of(scores, recording=None, domains=("pooled",)):
    """Returns a bank in which windows have these scores; by default one of each recording."""
    scores = np.array(scores, float)
    of = SimpleNamespace(of=np.ones(len(scores), bool))
    recording = np.arange(len(scores)) if recording is None else np.array(recording)
    bank = Mock(spec=NormalBank, self_scores=of, new_session_scores=of, domains=list(domains))
    bank.configure_mock(deviations=scores, normal=scores, windows=Mock(recording=recording))
    return bank


@pytest.mark.parametrize(
    ("scores", "first", "found"),
    [
        ([0] * 7 + [5.1], 0, [7]),
        ([5.1] + [0] * 7, 0, [0]),
        ([0] * 6 + [5.1], 0, []),  # too few beside it
        ([0] * 7 + [5.0], 0, []),
        ([0] * 6 + [3, 6.0], 0, []),  # no clear gap
        ([0] * 6 + [3, 6.1], 0, [7]),
        ([0] * 7 + [5.1], 7, [7]),
        ([0] * 7 + [5.1], 8, []),
        ([9.5] + [0] * 10 + [9], 0, [0, 11]),  # two of one kind
        ([9.5] + [0] * 10 + [9], 1, []),
        ([9.5] + [0] * 9 + [9], 0, []),  # at most one in six
        ([9.5, 9] + [4.8] * 10, 0, []),
    ],
)
def test_outliers_are_far_out_and_twice_as_far_as_all_others(scores, first, found):
    assert outlier_recordings(bank_of(scores), first) == found
    if not first:
        assert outlier_recordings(bank_of(scores)) == found


def test_the_mean_of_a_recording_decides_and_not_one_loud_window():
    recording = [*range(8), 7]
    assert outlier_recordings(bank_of([0] * 7 + [9, 1], recording)) == []
    assert outlier_recordings(bank_of([0] * 7 + [9, 2], recording)) == [7]


def test_recordings_of_a_rare_domain_are_expected_to_be_far_from_the_others():
    domains = ["target", *["source"] * 8, "target"]
    assert of_rare_domain(domains, bank_of([0])) == {0, 9}
    assert of_rare_domain(domains, bank_of([0], domains=("source", "target"))) == set()
    assert of_rare_domain(["unknown"] * 9, bank_of([0])) == set()


def test_the_most_anomalous_recording_is_known_among_five():
    highest, others = most_anomalous(bank_of([0, 3, 1, 2, 0, 0], [0, 1, 2, 3, 4, 1]))
    assert highest == 1 and others.tolist() == [True, False, True, True, True, False]
    assert most_anomalous(bank_of([0, 3, 1, 2, 0], [0, 1, 2, 3, 1])) is None


def test_one_silent_recording_neither_blinds_nor_goes_unsaid(normal, plain):
    silent = np.zeros(2 * RATE, np.float32)
    for odd, said in ((silent, " (silence)"), (1e-3 * normal[0][::-1], "")):
        one = Detector.fit([*normal, odd], RATE, weights=None)
        assert f"left out, as it is far from all others: recording 24{said}" in map(str, one.notes)
        assert len(one.names) == 24 and all(one.is_anomaly(wave) for wave in FAULTY)
        assert one.threshold == pytest.approx(plain.threshold)
    kept = Detector.fit([*normal, silent], RATE, weights=None, keep_odd=True)
    assert len(kept.names) == 25


@pytest.mark.slow
@pytest.mark.parametrize("odd", [0, 1, 2, "fault"])
def test_more_normal_sounds_never_make_it_markedly_blinder(odd):
    """Growing sets, contaminated from the beginning by odd clips or by a real fault."""
    burst = [np.where(np.arange(2 * RATE) % 9000 < 40, 0.5, sound(70)).astype("f4"), 4 * sound(71)]
    contaminants = [sound(99, fault=0.05)] if odd == "fault" else burst[:odd]
    found = []
    for count in (10, 14, 18, 24):
        waves = [*contaminants, *(sound(n) for n in range(count))]
        one = Detector.fit(waves, RATE, weights=None)
        found.append(np.mean([one.is_anomaly(sound(100 + n, fault=0.2)) for n in range(6)]))
    assert min(found) == 1
