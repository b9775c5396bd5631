"""Claims about readings as arrays, and about several of them as one."""

import numpy as np
import pytest

from asd_jax.monitoring.series import merged, series_of


def rows(*bands, level=-30.0, count=1):
    """Returns rows as the table of readings has them, one for each of the bands' levels."""
    names = ("time", "seconds", "score", "highest", "threshold")
    return [
        dict.fromkeys(names, float(n))
        | {"level": level, "count": count, "bands": own and np.array(own, "<f4").tobytes()}
        for n, own in enumerate(bands)
    ]


def test_bands_of_different_number_and_unknown_levels_make_one_table():
    found = series_of(rows([-40.0, -50.0], None, [-60.0], level=None))
    np.testing.assert_array_equal(found.bands, [[-40, -50], [np.nan] * 2, [-60, np.nan]])
    assert np.isnan(found.level).all() and found.time.tolist() == [0, 1, 2]
    assert series_of([]).bands.shape == (0, 0)


def test_a_merger_weighs_each_reading_by_its_windows_and_keeps_the_last_threshold():
    few, many, last = rows([-40.0], [-30.0], None)
    many |= {"count": 3, "level": -40.0}
    last |= {"level": None, "highest": 0.5, "score": 0.25}
    count, score, highest, threshold, level, bands = merged(series_of([few, many, last]))
    assert (count, score, highest, threshold) == (5, 0.65, 1.0, 2.0)
    # The mean of energies, not of decibels.
    assert level == pytest.approx(10 * np.log10((1e-3 + 3e-4) / 4))
    assert np.frombuffer(bands, "<f4")[0] == pytest.approx(10 * np.log10((1e-4 + 3e-3) / 4))


def test_a_merger_leaves_out_levels_that_are_unknown():
    known, unknown = rows([-40.0, -50.0], None)
    unknown["level"] = None
    *_, level, bands = merged(series_of([known, unknown]))
    assert level == pytest.approx(-30) and np.frombuffer(bands, "<f4").tolist() == [-40, -50]
    *_, level, bands = merged(series_of([unknown]))
    assert level is None and bands is None
