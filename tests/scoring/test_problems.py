import pytest
from scoring.submissions import change

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.submission import read_submission


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
