import pytest
from scoring.submissions import FILES, LINES, change

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.labels import read_labels
from asd_jax.scoring.score_files import score_files
from asd_jax.scoring.submission import read_submission


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "anomaly_score_fan_section_00_test.csv",
            ("anomaly_score", "fan", "00", None, "", True),
        ),
        ("anomaly_score_fan_section_00.csv", ("anomaly_score", "fan", "00", None, "", False)),
        (
            "decision_result_my_fan_section_07_target_test.csv",
            ("decision_result", "my_fan", "07", "target", "", True),
        ),
        ("anomaly_score_fan_id_02.csv", ("anomaly_score", "fan", "02", None, "", True)),
        (
            "anomaly_score_DCASE2024T2fan_section_00_test_seed1_Eval.csv",
            ("anomaly_score", "fan", "00", None, "_seed1_Eval", False),
        ),
        (
            "anomaly_score_DCASE2024T2fan_section_00_test.csv",
            ("anomaly_score", "fan", "00", None, "", False),
        ),
        (
            "anomaly_score_fan_section_00_test_seed1.csv",
            ("anomaly_score", "fan", "00", None, "_seed1", False),
        ),
    ],
)
def test_a_name_says_what_is_in_the_file(tmp_path, name, said):
    (tmp_path / name).write_text("")
    (tmp_path / "anomaly_score_z_section_00_test.csv").mkdir()
    (tmp_path / "anomaly_scores.csv").write_text("")
    (found,) = score_files(tmp_path)
    assert found == (tmp_path / name, *said)
    kinds = ("anomaly_score", "decision_result")
    other = kinds[1 - kinds.index(found.kind)]
    assert found.partner == tmp_path / name.replace(found.kind, other)


def test_files_are_in_order_of_name(tmp_path):
    for n in (2, 0, 1):
        (tmp_path / f"anomaly_score_m{n}_id_00.csv").write_text("")
    assert [file.machine for file in score_files(tmp_path)] == ["m0", "m1", "m2"]


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
