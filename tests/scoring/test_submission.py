import numpy as np
import pytest

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.labels import read_labels
from asd_jax.scoring.submission import read_submission, write_submission

FILES = [
    f"section_00_{domain}_test_{label}_{i:04d}_a.wav"
    for i in range(5)
    for domain in ("source", "target")
    for label in ("normal", "anomaly")
]
SCORES = np.random.default_rng(0).normal(size=len(FILES))


@pytest.fixture
def folder(tmp_path):
    """A faultless submission of two machines."""
    for machine in ("fan", "ToyCar"):
        write_submission(tmp_path, machine, ["00"] * len(FILES), FILES, SCORES, SCORES > 0)
    return tmp_path


def change(path, text):
    path.write_text(text(path.read_text()) if callable(text) else text)


def test_what_is_written_reads_back_bit_for_bit(folder):
    assert sorted(p.name for p in folder.iterdir()) == [
        f"{kind}_{machine}_section_00_test.csv"
        for kind in ("anomaly_score", "decision_result")
        for machine in ("ToyCar", "fan")
    ]
    found = {clip.file: clip for clip in read_submission(folder, machines=["fan"])}
    assert [found[file].score for file in FILES] == SCORES.tolist()
    assert [found[file].decision for file in FILES] == (SCORES > 0).astype(int).tolist()
    clip = found[FILES[1]]
    assert (clip.machine, clip.section, clip.domain, clip.label) == ("fan", "00", "source", 1)


def test_files_of_other_names_are_passed_over(folder):
    (folder / "tflite_anomaly_score_fan_section_00_test.csv").write_text("nonsense")
    (folder / "result.csv").write_text("fan\n")
    assert len(read_submission(folder)) == 2 * len(FILES)


def test_names_of_2020_and_2021_are_known(tmp_path):
    (tmp_path / "anomaly_score_fan_id_00.csv").write_text(
        "normal_id_00_00000000.wav,1\nanomaly_id_00_00000001.wav,2\n"
    )
    (tmp_path / "anomaly_score_pump_section_01_target_test.csv").write_text(
        "section_01_target_test_normal_0000.wav,1\nsection_01_target_test_anomaly_0001.wav,2\n"
    )
    found = [
        (c.machine, c.section, c.domain, c.label, c.decision) for c in read_submission(tmp_path)
    ]
    assert found[2:] == [
        ("pump", "01", "target", 1, None),
        ("pump", "01", "target", 0, None),
    ] or found[2:] == [
        ("pump", "01", "target", 0, None),
        ("pump", "01", "target", 1, None),
    ]
    assert {(machine, section, label) for machine, section, _, label, _ in found[:2]} == {
        ("fan", "00", 0),
        ("fan", "00", 1),
    }


LINES = "".join(f"{file},{score}\n" for file, score in zip(FILES, SCORES, strict=True))


@pytest.mark.parametrize(
    "text, said",
    [
        (lambda t: "file,score\n" + t, "line 1 is 'file,score'"),
        (lambda t: t.replace(",", ";"), "line 1 is"),
        (lambda t: t + t.splitlines()[0] + "\n", "line 21 repeats section_00"),
        (
            lambda t: t.replace(t.splitlines()[3].split(",")[1], "inf"),
            "line 4: inf is no finite number",
        ),
        (
            lambda t: t.replace(t.splitlines()[3].split(",")[1], "nan"),
            "line 4: nan is no finite number",
        ),
        ("", "empty"),
        ("".join(line for line in LINES.splitlines(True) if "normal" in line), "only normal clips"),
        (
            LINES.replace(
                "section_00_source_test_normal_0000", "section_07_source_test_normal_0000"
            ),
            "of section 07",
        ),
        (
            LINES.replace("section_00_source_test_normal_0000", "section_00_x"),
            "section_00_x_a.wav is no DCASE",
        ),
        ("\ufeff" + LINES, "line 1 is"),
    ],
)
def test_each_fault_of_a_file_is_said_with_its_name(folder, text, said):
    change(folder / "anomaly_score_fan_section_00_test.csv", text)
    (folder / "decision_result_fan_section_00_test.csv").unlink()
    (folder / "decision_result_ToyCar_section_00_test.csv").unlink()
    with pytest.raises(InputError, match=f"anomaly_score_fan_section_00_test.csv: .*{said}"):
        read_submission(folder)


def test_equal_scores_are_a_fault_of_a_submission_only(folder):
    equal = "".join(f"{file},1.0\n" for file in FILES)
    change(folder / "anomaly_score_fan_section_00_test.csv", equal)
    assert {clip.score for clip in read_submission(folder, machines=["fan"])} == {1.0}
    with pytest.raises(InputError, match="fan_section_00_test.csv: all 20 scores are equal"):
        read_submission(folder, strict=True)


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


def test_dev_files_beside_are_a_fault_of_a_submission(folder):
    with pytest.raises(InputError, match="ToyCar section 00 is not of the evaluation set"):
        read_submission(folder, expected={"fan": [("00", "")]}, strict=True)
    read_submission(folder, machines=["fan"], expected={"fan": [("00", "")]}, strict=True)


BASELINE = "{}_DCASE2024T2fan_section_00_test_seed13711_id(0_)_Eval.csv"


def test_files_of_the_baselines_own_runs_are_read(tmp_path):
    (tmp_path / BASELINE.format("anomaly_score")).write_text(LINES)
    decisions = "".join(f"{file},0\n" for file in FILES)
    (tmp_path / BASELINE.format("decision_result")).write_text(decisions)
    found = read_submission(tmp_path)
    assert {(c.machine, c.section, c.decision) for c in found} == {("fan", "00", 0)}
    with pytest.raises(InputError, match="not the name of a submission's file"):
        read_submission(tmp_path, strict=True)
    other = BASELINE.format("anomaly_score").replace("13711", "13712")
    (tmp_path / other).write_text(LINES)
    with pytest.raises(InputError, match="2 score files of fan section 00 .*seed13711.*seed13712"):
        read_submission(tmp_path)


def test_names_without_test_and_clips_without_an_ending_are_read(released):
    scores = released / "scores"
    path = scores / "anomaly_score_fan_section_00_test.csv"
    path.with_name("decision_result_fan_section_00_test.csv").unlink()
    path = path.rename(scores / "anomaly_score_fan_section_00.csv")
    change(path, lambda text: text.replace(".wav", ""))
    found = read_submission(scores, labels=read_labels(released / "evaluator", 2024))
    assert {clip.label for clip in found} == {0, 1}
    with pytest.raises(InputError, match=r"section_00_0000 lacks the clip's ending \.wav"):
        read_submission(scores, strict=True)


def test_the_folder_of_a_run_is_read_as_its_scores(released):
    assert read_submission(released) == read_submission(released / "scores")


def test_everything_wrong_is_said_at_once(folder):
    (folder / "decision_result_ToyCar_section_00_test.csv").unlink()
    change(
        folder / "decision_result_fan_section_00_test.csv",
        lambda t: t.replace(",1", ",2").replace(",0", ",0.5"),
    )
    (folder / "anomaly_score_fan_section_01_test.csv").write_text(
        LINES.replace("section_00", "section_01")
    )
    (folder / "decision_result_pump_section_00_test.csv").write_text(f"{FILES[0]},1\n")
    with pytest.raises(InputError) as error:
        read_submission(
            folder, expected={"fan": [("00", "")], "valve": [("00", "")]}, complete=True
        )
    said = str(error.value)
    for fault in (
        "decision_result_ToyCar_section_00_test.csv: missing",
        "decision 2; must be 0",
        "decision 0.5; must be 0",
        "decision_result_fan_section_01_test.csv: missing",
        "decision_result_pump_section_00_test.csv: no anomaly scores of this section",
        "no anomaly scores of valve section 00",
    ):
        assert fault in said


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


@pytest.fixture
def released(tmp_path):
    """Unlabelled scores, an evaluator's folder and a baseline's list that say the same of them."""
    names = [f"section_00_{i:04d}.wav" for i in range(len(FILES))]
    write_submission(tmp_path / "scores", "fan", ["00"] * len(names), names, SCORES, SCORES > 0)
    for kind, word in (("data", "anomaly"), ("domain", "target")):
        path = (
            tmp_path / "evaluator" / f"ground_truth_{kind}" / "ground_truth_fan_section_00_test.csv"
        )
        path.parent.mkdir(parents=True)
        path.write_text(
            "".join(f"{n},{int(word in file)}\n" for n, file in zip(names, FILES, strict=True))
        )
    lines = "".join(f"{name},{file}\n" for name, file in zip(names, FILES, strict=True))
    (tmp_path / "eval_data_list_2024.csv").write_text("fan\n" + lines)
    return tmp_path


@pytest.mark.parametrize("source", ["evaluator", "eval_data_list_2024.csv", "."])
def test_labels_come_from_an_evaluators_folder_or_a_baselines_list(released, source):
    labels = read_labels(released / source, 2024)
    found = read_submission(released / "scores", labels=labels)
    said = [("target" if "target" in file else "source", int("anomaly" in file)) for file in FILES]
    assert [(clip.domain, clip.label) for clip in found] == said


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
    write_submission(
        scores,
        "fan",
        ["01"] * len(FILES),
        [f.replace("_00_", "_01_", 1) for f in FILES],
        SCORES,
        SCORES > 0,
    )
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
    write_submission(scores, "fan", ["00"] * len(FILES), FILES, SCORES, SCORES > 0)
    for source in ("evaluator", "eval_data_list_2024.csv"):
        found = read_submission(scores, labels=read_labels(released / source, 2024))
        assert [clip.file for clip in found] == sorted(FILES)
    fewer = [file for file in FILES if "target_test_normal_0003" not in file]
    write_submission(
        scores, "fan", ["00"] * len(fewer), fewer, SCORES[: len(fewer)], SCORES[: len(fewer)] > 0
    )
    with pytest.raises(InputError, match="fan section 00: no score for 1 target normal"):
        read_submission(scores, labels=read_labels(released / "evaluator", 2024))


def test_a_machine_that_the_ground_truth_does_not_know_is_unlabelled(released):
    names = [f"section_00_{i:04d}.wav" for i in range(3)]
    write_submission(released / "scores", "mine", ["00"] * 3, names, SCORES[:3], [0, 0, 1])
    found = read_submission(released / "scores", labels=read_labels(released / "evaluator", 2024))
    assert {clip.label for clip in found if clip.machine == "mine"} == {-1}


def test_unreadable_ground_truth_is_named(released):
    path = released / "evaluator" / "ground_truth_data" / "ground_truth_fan_section_00_test.csv"
    path.write_text("section_00_0000.wav,maybe\n")
    with pytest.raises(
        InputError, match="ground_truth_fan_section_00_test.csv: not readable as ground truth"
    ):
        read_labels(released / "evaluator", 2024)


@pytest.mark.parametrize(
    ("year", "names"),
    [
        (2020, ["id_00"]),
        (2021, ["section_00_source_test", "section_00_target_test"]),
        (2024, ["section_00_test"]),
    ],
)
def test_file_names_follow_the_year(tmp_path, year, names):
    domain = ["source", "target"]
    write_submission(
        tmp_path,
        "fan",
        ["00"] * 2,
        ["a.wav", "b.wav"],
        [1.0, 2.0],
        [0, 1],
        year=year,
        domain=domain,
    )
    kinds = ("anomaly_score", "decision_result")
    assert {p.name for p in tmp_path.iterdir()} == {
        f"{kind}_fan_{name}.csv" for kind in kinds for name in names
    }


@pytest.mark.parametrize("decision", ["nan", "inf", "2", "0.5", "-1", "1e400"])
def test_decisions_that_are_none_are_told(folder, decision):
    path = folder / "decision_result_fan_section_00_test.csv"
    change(path, lambda text: text.replace(",1\n", f",{decision}\n", 1))
    with pytest.raises(InputError, match=f"{path.name}: line .* decision {decision}; must be 0"):
        read_submission(folder)
