"""Claims about the keywords of `Detector.fit` and `Detector.update`."""

import pytest
from machine_sound import RATE

from asd_jax.detector.detector import Detector
from asd_jax.detector.options import FitOptions, RecordingOptions, check_options


def test_a_keyword_that_does_not_exist_is_an_error_of_type(plain, normal):
    with pytest.raises(TypeError, match="unexpected keyword argument 'window_second'"):
        Detector.fit(normal, RATE, weights=None, window_second=1.0)
    # A threshold is set at the fit, not with further recordings.
    with pytest.raises(TypeError, match="unexpected keyword argument 'false_alarm_rate'"):
        plain.update(normal, false_alarm_rate=0.1)


def test_a_fit_knows_the_keywords_of_an_update_and_its_own():
    known = {"names": None, "sessions": None, "domains": None}
    check_options(known, RecordingOptions)
    check_options(known | {"coreset_size": 3, "origin": None}, FitOptions)
