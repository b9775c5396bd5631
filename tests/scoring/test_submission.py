import pytest
from scoring.submissions import FILES, LINES, SCORES, change, write

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.submission import read_submission, submission_files


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


def test_rows_are_sorted_and_lines_end_as_on_unix(tmp_path):
    names = ["b.wav", "a.wav", "\udce4.wav"]  # the last is not valid UTF-8
    written = write(tmp_path, "fan", names, [1.5, 1e-17, 2.0], [1, 0, 1])
    assert [path.name for path in written] == [
        f"{kind}_fan_section_00_test.csv" for kind in ("anomaly_score", "decision_result")
    ]
    assert written[0].read_bytes() == b"a.wav,1e-17\nb.wav,1.5\n\\udce4.wav,2.0\n"
    assert written[1].read_bytes() == b"a.wav,0\nb.wav,1\n\\udce4.wav,1\n"


def test_the_files_of_a_submission_are_those_of_its_names(folder):
    (folder / "anomaly_score_fan_section_01.csv").write_text("")
    (folder / "notes.csv").write_text("")
    assert {path.name for path in submission_files(folder)} == {
        f"{kind}_{machine}_section_00_test.csv"
        for kind in ("anomaly_score", "decision_result")
        for machine in ("fan", "ToyCar")
    }
    assert submission_files(folder / "nowhere") == set()


def test_a_faultless_submission_has_no_problems_and_is_sorted(folder):
    found = read_submission(folder, expected=EXPECTED, complete=True, strict=True)
    assert [(clip.machine, clip.file) for clip in found] == [
        (machine, file) for machine in ("ToyCar", "fan") for file in sorted(FILES)
    ]


EXPECTED = {machine: [("00", "")] for machine in ("fan", "ToyCar")}


def lines_of(error):
    """The problems that an error lists."""
    return [line.strip() for line in str(error.value).splitlines()[1:]]


def only(folder, text, machine="fan"):
    """A folder with the scores of one section alone."""
    for path in folder.iterdir():
        path.unlink()
    path = folder / f"anomaly_score_{machine}_section_00_test.csv"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        (f"{FILES[0]},1,2\n", ["line 1 is '{0},1,2'; expected <file name>,<value>, no header"]),
        ("a.wav,1\n,2\n", ["line 2 is ',2'; expected <file name>,<value>, no header"]),
        ("a.wav,1\n\n", ["line 2 is ''; expected <file name>,<value>, no header"]),
        ("a.wav\n", ["line 1 is 'a.wav'; expected <file name>,<value>, no header"]),
        ("../a.wav,1\n", ["line 1 is '../a.wav,1'; expected <file name>,<value>, no header"]),
        ("", ["empty"]),
    ],
)
def test_a_row_that_is_none_is_told_once(folder, text, problems):
    path = only(folder, text)
    with pytest.raises(InputError) as error:
        read_submission(folder)
    expected = [f"{path}: {problem.replace('{0}', FILES[0])}" for problem in problems]
    # Where nothing is left, that is said of the folder too.
    assert lines_of(error)[: len(expected)] == expected
    assert sum("empty" in line for line in lines_of(error)) == (text == "")


def test_bytes_that_are_no_text_are_told(folder):
    only(folder, "").write_bytes(b"a.wav,1\n\xff.wav,2\n")
    with pytest.raises(InputError, match="not readable as UTF-8 csv"):
        read_submission(folder)


@pytest.mark.parametrize(("label", "kind"), [("normal", "normal"), ("anomaly", "anomalous")])
def test_clips_of_one_label_alone_are_told(folder, label, kind):
    path = only(folder, "".join(line for line in LINES.splitlines(True) if label in line))
    with pytest.raises(InputError) as error:
        read_submission(folder)
    assert lines_of(error) == [f"{path}: only {kind} clips; a score needs both"]


def test_one_clip_alone_may_have_any_score(folder):
    only(folder, "section_00_0000.wav,1\n")
    (clip,) = read_submission(folder, strict=True)
    assert clip == ("fan", "00", "section_00_0000.wav", "unknown", -1, 1.0, None)
    only(folder, "section_00_0000.wav,1\nsection_00_0001.wav,1\n")
    with pytest.raises(InputError, match="all 2 scores are equal, which ranks nothing"):
        read_submission(folder, strict=True)


def test_a_files_domain_is_that_of_its_clips(tmp_path):
    path = tmp_path / "anomaly_score_fan_section_00_target_test.csv"
    path.write_text("section_00_target_test_normal_0.wav,1\nsection_00_0001.wav,2\n")
    found = read_submission(tmp_path)
    assert [clip.domain for clip in found] == ["target", "target"]
    path.write_text("section_00_source_test_0000.wav,1\n")
    with pytest.raises(InputError) as error:
        read_submission(tmp_path)
    said = "section_00_source_test_0000.wav is a clip of the source domain"
    assert lines_of(error) == [f"{path}: {said}"]


def test_a_clip_of_another_name_has_the_section_of_its_file(folder):
    only(folder, "my_clip_07.wav,1\n")
    assert read_submission(folder)[0].section == "00"
    path = only(folder, "id_07_00000001.wav,1\n")
    with pytest.raises(InputError) as error:
        read_submission(folder)
    assert lines_of(error) == [f"{path}: id_07_00000001.wav is a clip of section 07"]


def test_a_clip_whose_decision_is_missing_has_none(folder):
    path = folder / "decision_result_fan_section_00_test.csv"
    text = path.read_text()
    assert {clip.decision for clip in read_submission(folder)} == {0, 1}
    path.write_text(text.partition("\n")[2])
    with pytest.raises(InputError) as error:
        read_submission(folder)
    scores = folder / "anomaly_score_fan_section_00_test.csv"
    first = text.partition(",")[0]
    assert lines_of(error) == [f"{scores}: its clips are not those of the decision file, {first}"]


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
