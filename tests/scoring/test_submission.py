import pytest
from scoring.submissions import FILES, LINES, SCORES, change, write

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.submission import read_submission


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
    write(tmp_path, "fan", ["a.wav", "b.wav"], [1.0, 2.0], [0, 1], year=year, domain=domain)
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
