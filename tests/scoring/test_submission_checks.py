import re
from pathlib import Path

import pytest
from scoring.submissions import FILES, SCORES, change, write

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.labels import read_labels
from asd_jax.scoring.problems import Problems
from asd_jax.scoring.score_files import ScoredClip, score_file
from asd_jax.scoring.submission import read_submission
from asd_jax.scoring.submission_checks import check_clips, check_runs, check_sections, some


def test_dev_files_beside_are_a_fault_of_a_submission(folder):
    with pytest.raises(InputError, match="ToyCar section 00 is not of the evaluation set"):
        read_submission(folder, expected={"fan": [("00", "")]}, strict=True)
    read_submission(folder, machines=["fan"], expected={"fan": [("00", "")]}, strict=True)


def problems_of(check, *args, **options):
    problems = Problems()
    check(*args, problems=problems, **options)
    return [problem.text for problem in problems]


def scored(machine="fan", section="00", domain="source", *files):
    return [ScoredClip(machine, section, file, domain, -1, 1.0, None) for file in files or ("a",)]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, []),
        ({"expected": {"fan": [("00", "")]}}, []),
        ({"expected": {"fan": [("00", "source")]}}, []),
        (
            {"expected": {"fan": [("00", "target")]}},
            ["runs: no anomaly scores of fan section 00, target domain"],
        ),
        (
            {"expected": {"fan": [("01", "")], "pump": [("00", "")]}},
            [
                "runs: no anomaly scores of fan section 01",
                "runs: no anomaly scores of pump section 00",
            ],
        ),
        # Of machines that are asked for, only those count.
        ({"expected": {"pump": [("00", "")]}, "machines": ["fan"], "strict": True}, []),
        ({"machines": ["fan", "fun"]}, ["runs: no files of machine fun"]),
        ({"strict": True}, []),
        ({"expected": {"fan": [("00", "")]}, "strict": True}, []),
        (
            {"expected": {"fan": [("01", "")]}, "strict": True},
            [
                "runs: no anomaly scores of fan section 01",
                "runs: fan section 00 is not of the evaluation set; leave its files out, or "
                "choose --machines",
            ],
        ),
    ],
)
def test_sections_are_those_that_are_expected(options, said):
    given = {"machines": (), "expected": None, "strict": False} | options
    assert problems_of(check_sections, Path("runs"), scored(), **given) == said


def test_a_folder_without_scores_is_told_once():
    options = {"machines": (), "strict": False}
    (said,) = problems_of(check_sections, Path("runs"), [], expected=None, **options)
    assert said == (
        "runs: no anomaly_score_<machine>_section_<SS>_test.csv (2020: "
        "anomaly_score_<machine>_id_<ID>.csv)"
    )
    (said,) = problems_of(
        check_sections, Path("runs"), [], expected={"fan": [("00", "")]}, **options
    )
    assert said == "runs: no anomaly scores of fan section 00"


def test_each_domain_of_a_section_is_one_run(tmp_path):
    names = [f"anomaly_score_fan_section_00_{domain}_test.csv" for domain in ("source", "target")]
    files = [score_file(Path(name)) for name in names]
    decisions = [score_file(file.partner) for file in files]
    assert problems_of(check_runs, Path("runs"), [*files, *decisions]) == []
    other = score_file(Path(names[0].replace("test", "test_seed1")))
    assert problems_of(check_runs, Path("runs"), [other, *files]) == [
        "runs: 2 score files of fan section 00 (_seed1, ); give each run a folder"
    ]


def test_the_first_names_are_listed_and_the_others_counted():
    assert some(["a"]) == "a" and some(["a", "b", "c"]) == "a, b, c"
    assert some(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"


def test_clips_are_compared_with_the_ground_truth_of_their_section():
    known = {("fan", f"section_00_{n:04}.wav"): ("source", n % 2) for n in range(6)}
    names = [name for _, name in known]
    assert (
        problems_of(check_clips, Path("runs"), scored("fan", "00", "source", *names), known) == []
    )
    assert (
        problems_of(check_clips, Path("runs"), scored("pump", "00", "source", *names), known) == []
    )
    assert (
        problems_of(check_clips, Path("runs"), scored("fan", "01", "source", *names), known) == []
    )
    fewer = scored("fan", "00", "source", *names[4:], "new.wav")
    assert problems_of(check_clips, Path("runs"), fewer, known) == [
        "runs: fan section 00: no score for section_00_0000.wav, section_00_0001.wav, "
        "section_00_0002.wav and 1 more",
        "runs: fan section 00: the ground truth does not know new.wav",
    ]
    # Clips that name their own label stand for as many of the released ones.
    named = [clip._replace(label=1) for clip in scored("fan", "00", "source", "x", "y")]
    assert problems_of(
        check_clips, Path("runs"), [*named, *scored("fan", "00", "source", *names[4:])], known
    ) == ["runs: fan section 00: no score for 2 source normal"]
    zero = [clip._replace(label=0) for clip in named]
    assert problems_of(
        check_clips, Path("runs"), [*zero, *scored("fan", "00", "source", *names[4:])], known
    ) == ["runs: fan section 00: no score for 2 source anomaly"]
    twice = scored("fan", "00", "source", "a", "b", "a") + scored("pump", "00", "source", "a")
    assert problems_of(check_clips, Path("runs"), twice, None) == [
        "runs: fan/a is scored in two files"
    ]


def test_decisions_may_be_left_out_unless_they_are_asked_for(folder):
    for path in folder.glob("decision_result_*"):
        path.unlink()
    assert read_submission(folder)
    with pytest.raises(InputError, match="decision_result_ToyCar_section_00_test.csv: missing"):
        read_submission(folder, complete=True)


def test_decisions_on_other_clips_and_clips_in_two_files_are_faults(folder):
    change(
        folder / "decision_result_fan_section_00_test.csv",
        lambda t: "".join(t.splitlines(True)[1:]),
    )
    (folder / "anomaly_score_ToyCar_section_00_source_test.csv").write_text(
        f"{FILES[0]},1\n{FILES[1]},2\n"
    )
    with pytest.raises(InputError) as error:
        read_submission(folder)
    assert "its clips are not those of the decision file" in str(error.value)
    assert f"ToyCar/{FILES[0]} is scored in two files" in str(error.value)


def test_missing_machines_and_folders_are_named(folder):
    with pytest.raises(InputError, match="no files of machine pump"):
        read_submission(folder, machines=["fan", "pump"])
    with pytest.raises(InputError, match="no such folder"):
        read_submission(folder / "nowhere")
    (folder / "empty").mkdir()
    with pytest.raises(InputError, match="no anomaly_score_<machine>"):
        read_submission(folder / "empty")


def test_clips_the_ground_truth_has_and_the_scores_lack_are_named(released):
    labels = read_labels(released / "evaluator", 2024)
    change(
        released / "scores" / "anomaly_score_fan_section_00_test.csv",
        lambda t: "".join(t.splitlines(True)[1:]),
    )
    (released / "scores" / "decision_result_fan_section_00_test.csv").unlink()
    with pytest.raises(InputError, match="fan section 00: no score for section_00_0000.wav"):
        read_submission(released / "scores", labels=labels)


def test_clips_that_tell_their_own_label_need_no_ground_truth(released):
    scores = released / "scores"
    files = [f.replace("_00_", "_01_", 1) for f in FILES]
    write(scores, "fan", files, SCORES, SCORES > 0, section="01")
    found = read_submission(scores, labels=read_labels(released / "evaluator", 2024))
    assert len(found) == 2 * len(FILES) and {clip.label for clip in found} == {0, 1}
    change(
        scores / "anomaly_score_fan_section_00_test.csv",
        lambda text: text.replace("_0000.wav", "_0077.wav"),
    )
    (scores / "decision_result_fan_section_00_test.csv").unlink()
    (scores / "decision_result_fan_section_01_test.csv").unlink()
    with pytest.raises(InputError, match="the ground truth does not know section_00_0077.wav"):
        read_submission(scores, labels=read_labels(released / "evaluator", 2024))


def test_labelled_names_go_with_the_ground_truth_of_their_section(released):
    scores = released / "scores"
    write(scores, "fan", FILES, SCORES, SCORES > 0)
    for source in ("evaluator", "eval_data_list_2024.csv"):
        found = read_submission(scores, labels=read_labels(released / source, 2024))
        assert [clip.file for clip in found] == sorted(FILES)
    fewer = [file for file in FILES if "target_test_normal_0003" not in file]
    write(scores, "fan", fewer, SCORES[: len(fewer)], SCORES[: len(fewer)] > 0)
    with pytest.raises(InputError, match="fan section 00: no score for 1 target normal"):
        read_submission(scores, labels=read_labels(released / "evaluator", 2024))


def test_two_runs_of_a_machine_in_one_folder_are_refused(folder):
    (folder / "decision_result_fan_section_00_test.csv").unlink()
    first = folder / "anomaly_score_fan_section_00_test.csv"
    for seed in (1, 2):
        name = f"anomaly_score_fan_section_00_test_seed{seed}_Eval.csv"
        (folder / name).write_text(first.read_text())
    first.unlink()
    said = "2 score files of fan section 00 (_seed1_Eval, _seed2_Eval); give each run a folder"
    with pytest.raises(InputError, match=re.escape(said)):
        read_submission(folder, machines=["fan"])
