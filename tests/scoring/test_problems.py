from pathlib import Path

import pytest
from scoring.submissions import change

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.problems import Problems
from asd_jax.scoring.submission import read_submission


def test_problems_are_listed_by_kind_and_place():
    """Up to three in a place are shown each, of more the first; and up to four places."""
    problems = Problems()
    counts = {"a": 3, "b": 4, "c": 1, "d": 1, "e": 2, "f": 5}
    for place, count in counts.items():
        for n in range(count):
            problems.add("kind", place, f"{place}{n}")
    for place in "abcd":
        problems.add("other", Path(place), f"other {place}")
    problems.add("kind", "a", "a3")
    assert problems.lines() == [
        "a0 (and 3 more like it)",
        "b0 (and 3 more like it)",
        "c0",
        "d0",
        "... and 7 more like the last, in 2 other places",
        "other a",
        "other b",
        "other c",
        "other d",
    ]
    three = Problems()
    for n in range(3):
        three.add("kind", "a", f"a{n}")
    assert three.lines() == ["a0", "a1", "a2"]
    assert len(problems) == 21


def test_one_mistake_in_every_row_is_reported_once(folder):
    path = folder / "anomaly_score_fan_section_00_test.csv"
    change(path, lambda text: text.replace(",", ";"))
    path.with_name("decision_result_fan_section_00_test.csv").unlink()
    path.with_name("decision_result_ToyCar_section_00_test.csv").unlink()
    with pytest.raises(InputError, match=r"20 problem\(s\)") as error:
        read_submission(folder)
    assert str(error.value).count("expected <file name>,<value>") == 1
    assert "(and 19 more like it)" in str(error.value)


def test_one_mistake_in_every_file_is_shown_at_four_places(tmp_path):
    for n in range(9):
        (tmp_path / f"anomaly_score_m{n}_section_00_test.csv").write_text("")
    with pytest.raises(InputError, match="and 5 more like the last, in 5 other places") as error:
        read_submission(tmp_path)
    assert str(error.value).count("empty") == 4
