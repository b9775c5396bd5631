"""What the view "rhythm" finds, and what it may cost, on a machine of the factory."""

import pytest

from benchmarks.timing import measured


@pytest.mark.slow
def test_missing_beats_are_found_and_a_steady_fault_as_well_as_without_the_rhythm():
    faults = ("tone", "missing_beat")
    found = measured("valve", False, draws=2, clips=40, seconds=4.0, faults=faults)
    assert found["missing_beat"]["auc"] >= 0.95
    tone = found["tone"]
    assert tone["without_rhythm"] < 0.9 and tone["auc"] >= tone["without_rhythm"] - 0.01
