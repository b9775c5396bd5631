import re

import pytest
from scoring.submissions import FILES, SCORES, change, write

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.labels import read_labels
from asd_jax.scoring.submission import read_submission


def test_dev_files_beside_are_a_fault_of_a_submission(folder):
    with pytest.raises(InputError, match="ToyCar section 00 is not of the evaluation set"):
        read_submission(folder, expected={"fan": [("00", "")]}, strict=True)
    read_submission(folder, machines=["fan"], expected={"fan": [("00", "")]}, strict=True)


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
