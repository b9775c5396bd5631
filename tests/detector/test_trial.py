import numpy as np
import pytest
from machine_sound import RATE

from asd_jax.detector import detector, trial
from asd_jax.detector.detector import Detector
from asd_jax.detector.trial import AUTO, FaultyWindows, Trial


def with_encoder_view(monkeypatch, view):
    """Replaces the encoder's vectors in the trial by `view(healthy, faulty)`, of a pair."""
    plain = trial.views

    def replaced(pipeline, pair):
        vectors, seconds = plain(pipeline, pair)
        return vectors | {"encoder": view(vectors["encoder"])}, seconds

    monkeypatch.setattr(trial, "views", replaced)


def test_an_encoder_that_hears_nothing_of_faults_is_left_out(
    monkeypatch, encoder_file, normal, plain
):
    monkeypatch.setattr(detector, "BOX", encoder_file)
    # What it gives for a faulty window is what it gives for the healthy one.
    with_encoder_view(monkeypatch, lambda pair: np.repeat(pair[:1], 2, axis=0))
    found = Detector.fit(normal, RATE, weights=AUTO)
    assert found.pipeline is None and "encoder" not in found.bank.vectors
    assert any("does not help" in note for note in found.notes)
    # Without the encoder it is the detector of the filter bank.
    assert found.threshold == plain.threshold and found.score(normal[0]) == plain.score(normal[0])


def test_an_encoder_that_hears_more_than_the_filter_bank_is_used(monkeypatch, encoder_file, normal):
    monkeypatch.setattr(detector, "BOX", encoder_file)
    with_encoder_view(
        monkeypatch, lambda pair: pair + 100 * np.arange(2, dtype=np.float32)[:, None, None]
    )
    found = Detector.fit(normal, RATE, weights=AUTO)
    assert found.pipeline is not None and "encoder" in found.bank.vectors
    assert any("helps" in note and "is used" in note for note in found.notes)


def test_windows_are_taken_one_from_each_recording_and_are_repeatable(encoder_file, normal):
    from asd_jax.training.weights import load_pipeline

    pipeline = load_pipeline(encoder_file)
    first, again = FaultyWindows(pipeline), FaultyWindows(pipeline)
    for of in (first, again):
        for number, wave in enumerate(normal[:4]):
            of.add(np.stack([wave, wave[::-1]]), number)
    assert first.recording.tolist() == [0, 1, 2, 3]
    every = np.ones(4, bool)
    for fault in (False, True):
        for view, vectors in first.vectors(fault, every).items():
            np.testing.assert_array_equal(vectors, again.vectors(fault, every)[view])
    healthy, faulty = (first.vectors(fault, every)["level"] for fault in (False, True))
    assert (np.abs(healthy - faulty).max(1) > 0).all()


@pytest.mark.parametrize(("with_encoder", "helps"), [(0.804, False), (0.811, True), (0.7, False)])
def test_a_gain_below_a_hundredth_does_not_count(with_encoder, helps):
    assert Trial(0.8, with_encoder).helps is helps
