"""Claims about recordings that are far from all others."""

import numpy as np
import pytest
from detectors import FAULTY
from machine_sound import RATE, sound

from asd_jax.detector.detector import Detector


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
