"""Score files of one machine, scored and described; tests/test_dcase_score.py has the command."""

import pytest

from asd_jax.run.official_score import ScoreFiles, official_score, report_lines
from asd_jax.runtime.errors import InputError


def write_scores(folder, scores, decisions=False):
    folder.mkdir()
    kinds = {"anomaly_score": scores, "decision_result": [0, 1] * 2}
    for kind, values in kinds.items():
        if kind == "decision_result" and not decisions:
            continue
        rows = [
            f"section_00_{domain}_test_{label}_{n:04d}_noAttribute.wav,{values[n]}"
            for n, (domain, label) in enumerate(
                (d, label) for d in ("source", "target") for label in ("normal", "anomaly")
            )
        ]
        path = folder / f"{kind}_bearing_section_00_test.csv"
        path.write_text("\n".join(rows) + "\n")
    return str(folder)


def test_perfect_scores_get_100_percent_and_a_difference_is_described(tmp_path):
    right = write_scores(tmp_path / "right", [0, 1, 0, 1])
    wrong = write_scores(tmp_path / "wrong", [1, 0, 1, 0])
    found = official_score(ScoreFiles([right], 2024), against=[wrong], replicates=100)
    assert found["official_score"] == 1.0
    assert report_lines(found)[-1].startswith("difference to the other: +")


def test_the_report_has_a_line_for_each_set_and_for_the_mean_over_machine_types():
    found = {"notes": ["few"], "by_set": {"evaluation": 0.5, "development": 0.75}}
    assert report_lines(found | {"mean_of_machine_means": 0.625}) == [
        "note: few",
        "official score of the evaluation machines alone: 50.00 %",
        "official score of the development machines alone: 75.00 %",
        "official score: mean over IDs; mean over machine types of their IDs' mean (RMIS, ASDKit): "
        "62.50 %",
    ]


def test_seeds_with_and_without_decisions_are_refused(tmp_path):
    one = write_scores(tmp_path / "one", [0, 1, 0, 1])
    other = write_scores(tmp_path / "other", [0, 1, 0, 1], decisions=True)
    with pytest.raises(InputError, match="other holds decision_result files, .*one none; all must"):
        official_score(ScoreFiles([one, other], 2024))
