"""Score files of one machine, scored and described; tests/test_dcase_score.py has the command."""

import re

import numpy as np
import pytest
from scoring.submissions import write

from asd_jax.data.dcase import edition
from asd_jax.run.official_score import (
    ScoreFiles,
    check_submission,
    official_score,
    report_lines,
)
from asd_jax.runtime.errors import InputError
from asd_jax.scoring.results import over_seeds


def write_scores(folder, scores, decisions=False, machine="bearing"):
    folder.mkdir(exist_ok=True)
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
        path = folder / f"{kind}_{machine}_section_00_test.csv"
        path.write_text("\n".join(rows) + "\n")
    return str(folder)


def test_perfect_scores_get_100_percent_and_a_difference_is_described(tmp_path):
    right = write_scores(tmp_path / "right", [0, 1, 0, 1])
    wrong = write_scores(tmp_path / "wrong", [1, 0, 1, 0])
    found = official_score(ScoreFiles([right], 2024), against=[wrong], replicates=100)
    assert found["official_score"] == 1.0
    assert report_lines(found)[-1].startswith("difference to the other: +")
    # What was not asked for is not computed.
    assert not {"seeds", "bootstrap", "jackknife"} & set(found)
    assert "against" not in official_score(ScoreFiles([right], 2024))


FEW = [0.1, 0.9, 0.3, 0.2]


def test_only_the_machines_that_are_named_count(tmp_path):
    folder = write_scores(tmp_path / "run", FEW)
    write_scores(tmp_path / "run", FEW, machine="fan")
    both = official_score(ScoreFiles([folder], 2024))
    one = official_score(ScoreFiles([folder], 2024, machines=["fan"]))
    assert set(both["machines"]) == {"bearing", "fan"} and set(one["machines"]) == {"fan"}


def test_labels_of_a_ground_truth_are_those_that_count(tmp_path):
    assert ScoreFiles(["a"], 2024).labels is None
    folder = tmp_path / "run"
    names = [f"section_00_{n:04}.wav" for n in range(8)]
    write(folder, "Scanner", names, range(8), [0, 1] * 4, year=2024)
    kinds = [(d, k) for d in ("source", "target") for k in ("normal", "anomaly") for _ in "12"]
    rows = [
        f"{name},section_00_{domain}_test_{kind}_{n:04}.wav"
        for n, (name, (domain, kind)) in enumerate(zip(names, kinds, strict=True))
    ]
    (tmp_path / "eval_data_list_2024.csv").write_text("\n".join(["Scanner", *rows]) + "\n")
    files = ScoreFiles([str(folder)], 2024, ground_truth=str(tmp_path))
    values = official_score(files)["machines"]["Scanner"]["00"]
    # Of the source domain the two normal clips have the lowest scores of all.
    assert (values["auc_source"], values["auc_target"]) == (1.0, 0.5)
    with pytest.raises(InputError, match="ground_truth"):
        official_score(ScoreFiles([str(folder)], 2024))


def test_seeds_have_their_mean_and_each_its_score(tmp_path):
    folders = [
        write_scores(tmp_path / "one", FEW),
        write_scores(tmp_path / "other", [0.1, 0.9, 0.2, 0.3]),
    ]
    each = [official_score(ScoreFiles([folder], 2024)) for folder in folders]
    scores = [one["official_score"] for one in each]
    found = official_score(ScoreFiles(folders, 2024))
    assert scores[0] != scores[1] and found["seeds"] == {"official_score": scores}
    assert {key: of for key, of in found.items() if key != "seeds"} == over_seeds(each)
    write_scores(tmp_path / "other", FEW, machine="fan")
    with pytest.raises(InputError, match="same clips"):
        official_score(ScoreFiles(folders, 2024))


def test_intervals_are_of_the_labelled_sections_by_a_thousand_replicates(tmp_path):
    folder = tmp_path / "run"
    rng = np.random.default_rng(0)
    kinds = [(d, k) for d in ("source", "target") for k in ("normal", "anomaly") for _ in range(6)]
    names = [f"section_00_{d}_test_{k}_{n:04}.wav" for n, (d, k) in enumerate(kinds)]
    write(folder, "fan", names, rng.normal(size=24), [0, 1] * 12, year=2024)
    bare = [f"section_00_{n:04}.wav" for n in range(24)]
    write(folder, "Scanner", bare, rng.normal(size=24), [0, 1] * 12, year=2024)
    files = ScoreFiles([str(folder)], 2024)
    found = official_score(files, with_intervals=True)
    assert {"bootstrap", "jackknife"} <= set(found) and "against" not in found
    assert found == official_score(files, with_intervals=True, replicates=1000, seed=0)
    for other in ({"replicates": 999}, {"seed": 1}):
        again = official_score(files, with_intervals=True, **other)
        assert again["bootstrap"] != found["bootstrap"]
        assert again["official_score"] == found["official_score"]
    # The other system has labels for one machine, too.
    against = official_score(files, against=[str(folder)])
    assert against["against"]["difference"] == 0 and "bootstrap" not in against


def complete_submission(folder, year):
    of = edition(year)
    for machine, sections in of.evaluation.items():
        for section in sections:
            domain = ["source", "target"] * 2 if year == 2021 else "source"
            start = "id" if year == 2020 else "section"
            names = [f"{start}_{section}_{n:04}.wav" for n in range(4)]
            if year == 2021:
                names = [f"section_{section}_{d}_test_{n:04}.wav" for n, d in enumerate(domain)]
            write(
                folder,
                machine,
                names,
                range(4),
                [0, 1] * 2,
                section=section,
                domain=domain,
                year=year,
            )
    return folder


@pytest.mark.parametrize(("year", "needed"), [(2020, False), (2021, True)])
def test_a_submission_is_counted_and_needs_decisions_since_2021(tmp_path, capsys, year, needed):
    folder = complete_submission(tmp_path / "run", year)
    check_submission(ScoreFiles([str(folder)], year))
    sections = sum(map(len, edition(year).evaluation.values()))
    said = f"{folder}: nothing wrong; {sections} sections, {4 * sections} clips"
    assert " ".join(capsys.readouterr().out.split()) == said
    for path in folder.glob("decision_result*"):
        path.unlink()
    if needed:
        with pytest.raises(InputError, match="decision_result_.*missing"):
            check_submission(ScoreFiles([str(folder)], year))
    else:
        check_submission(ScoreFiles([str(folder)], year))


def test_a_submission_has_every_evaluation_machine_and_clips_by_their_whole_names(tmp_path):
    folder = complete_submission(tmp_path / "run", 2024)
    path = folder / "anomaly_score_Scanner_section_00_test.csv"
    whole = path.read_text()
    path.write_text(whole.replace(".wav", ""))
    with pytest.raises(InputError, match="lacks the clip's ending .wav"):
        check_submission(ScoreFiles([str(folder)], 2024))
    path.unlink()
    with pytest.raises(InputError, match="no anomaly scores of Scanner section 00"):
        check_submission(ScoreFiles([str(folder)], 2024))
    path.write_text(whole)
    write(folder, "own", ["section_00_0000.wav"], [1.0], [0], year=2024)
    with pytest.raises(InputError, match="own section 00 is not of the evaluation set"):
        check_submission(ScoreFiles([str(folder)], 2024))
    # Among machines that are named, another one's files do not count.
    check_submission(ScoreFiles([str(folder)], 2024, machines=list(edition(2024).evaluation)))


def test_a_submission_has_a_score_for_every_clip_of_the_ground_truth(tmp_path):
    folder = complete_submission(tmp_path / "run", 2024)
    lines = []
    for machine in edition(2024).evaluation:
        lines.append(machine)
        for n in range(5 if machine == "Scanner" else 4):
            kind = f"{'source' if n % 2 else 'target'}_test_{'normal' if n % 4 < 2 else 'anomaly'}"
            lines.append(f"section_00_{n:04}.wav,section_00_{kind}_{n:04}.wav")
    (tmp_path / "eval_data_list_2024.csv").write_text("\n".join(lines) + "\n")
    files = ScoreFiles([str(folder)], 2024, ground_truth=str(tmp_path))
    with pytest.raises(InputError, match="Scanner section 00: no score for section_00_0004.wav"):
        check_submission(files)


def test_the_report_has_the_numbers_in_percent_and_in_points():
    found = {
        "notes": [],
        "seeds": {"official_score": [0.1, 0.2, 0.3]},
        "standard_deviation": {"official_score": 0.0123},
        "bootstrap": {"low": 0.51, "high": 0.62},
        "jackknife": {"half_width": 0.034, "evaluator_half_width": 0.00056},
        "against": {"difference": -0.021, "low": -0.043, "high": 0.015, "p_value": 0.0784},
    }
    numbers = [re.findall(r"[-+]?\d+(?:\.\d+)?", line) for line in report_lines(found)]
    assert numbers == [
        ["3", "1.23"],
        ["95", "51.00", "62.00"],
        ["95", "3.40", "0.0560"],
        ["-2.10", "95", "-4.30", "+1.50", "0.078"],
    ]
    assert report_lines({"notes": []}) == []


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
