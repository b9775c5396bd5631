import numpy as np
import pytest

from asd_jax.data.factory import factory_clip
from benchmarks.adaptation import (
    KINDS,
    MOST_ABSORBED,
    NEW,
    clip,
    fitted,
    markdown,
    measured,
    summary,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def detector():
    return fitted("fan")


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_that_is_there_already_is_reported_not_learnt(detector, kind):
    rows = [measured(detector, "fan", kind, session) for session in NEW]
    clear = [row for row in rows if row["score"] > row["threshold"]]
    assert clear or kind in ("tone", "missing_harmonic")  # which are subtle in some sessions
    assert all(row["reported"] or row["absorbed"] <= MOST_ABSORBED for row in clear)


def test_a_healthy_session_is_learnt(detector):
    row = measured(detector, "fan", "", NEW[0])
    assert not row["reported"] and row["score"] == row["score_adapted_to_it"]


def test_loudness_and_noise_change_what_they_say():
    healthy = factory_clip("fan", session=100, seed=100_000, clip_seconds=1.0)
    louder = clip("fan", 100, 0, "loudness") - healthy.background
    ratio = louder.std() / healthy.machine_stem.std()
    assert 20 * np.log10(ratio) == pytest.approx(12, abs=0.01)
    noise = clip("fan", 100, 0, "noise") - healthy.wave
    assert noise.std() == pytest.approx(healthy.machine_stem.std(), rel=0.02)


def test_the_table_has_a_row_per_fault():
    row = {"fault": "tone", "score": 9.0, "threshold": 3.0, "reported": False, "absorbed": 0.02}
    text = markdown(summary([row]), {"device": "a", "date": "b", "commit": "c", "command": "d"})
    assert "| tone | 1 of 1 | 0 of 1 | 2.0 % | 2.0 % |" in text and text.count("\n|") == 10
