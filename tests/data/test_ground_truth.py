import pytest

from asd_jax.data.ground_truth import find_ground_truth
from asd_jax.runtime.errors import InputError


def test_names_follow_the_line_with_their_machine(tmp_path):
    (tmp_path / "eval_data_list_2024.csv").write_text(
        "Scanner\nsection_00_0001.wav,section_00_source_test_normal_0001_s_1.wav\n"
        "RoboticArm\nsection_00_0001.wav,section_00_target_anomaly_0001_load_2.wav\n"
    )
    assert find_ground_truth(tmp_path) == {
        ("Scanner", "section_00_0001.wav"): "section_00_source_test_normal_0001_s_1.wav",
        ("RoboticArm", "section_00_0001.wav"): "section_00_target_anomaly_0001_load_2.wav",
    }


def test_list_of_2020_has_the_label_in_a_third_column(tmp_path):
    (tmp_path / "eval_data_list.csv").write_text(
        "fan\nid_01_00000000.wav,anomaly_id_01_00000007.wav,1\n"
    )
    assert find_ground_truth(tmp_path) == {
        ("fan", "id_01_00000000.wav"): "anomaly_id_01_00000007.wav"
    }


def test_toy_labels_of_2022_are_those_of_the_evaluator(tmp_path):
    """The list and the attribute files contradict it."""
    (tmp_path / "eval_data_list_2022.csv").write_text(
        "fan\nsection_03_0000.wav,section_03_source_test_normal_0000_m_1.wav\n"
        "ToyCar\nsection_03_0000.wav,section_03_source_test_normal_0000_car_A1.wav\n"
        "ToyTrain\nsection_03_0000.wav,section_03_source_test_normal_0000_car_B1.wav\n"
    )
    for kind in ("data", "domain"):
        folder = tmp_path / "ground_truth" / f"ground_truth_{kind}"
        folder.mkdir(parents=True)
        file = folder / "ground_truth_ToyCar_section_03_test.csv"
        file.write_text("section_03_0000.wav,1\n")
    (tmp_path / "ground_truth" / "ToyCar_attributes_03.csv").write_text(
        "file_name,d1p,d1v,file_name_with_attributes\n"
        "ToyCar/train/a.wav,car,A1,ToyCar/train/a.wav\n"
        "ToyCar/test/section_03_0000.wav,car,A1,"
        "ToyCar/test/section_03_source_test_normal_0011_car_A1.wav\n"
    )
    assert find_ground_truth(tmp_path) == {
        ("fan", "section_03_0000.wav"): "section_03_source_test_normal_0000_m_1.wav",
        ("ToyCar", "section_03_0000.wav"): "section_03_target_test_anomaly_0000.wav",
    }


def test_names_without_an_ending_are_those_of_wav_files(tmp_path):
    (tmp_path / "eval_data_list_2025.csv").write_text(
        "AutoTrash\nsection_00_0000.wav,section_00_target_test_anomaly_0012_id_C1_mic_2\n"
    )
    assert find_ground_truth(tmp_path) == {
        ("AutoTrash", "section_00_0000.wav"): "section_00_target_test_anomaly_0012_id_C1_mic_2.wav"
    }


def test_no_list_beside_the_data_is_no_error_but_a_list_asked_for_is(tmp_path):
    assert find_ground_truth(tmp_path) == {}
    with pytest.raises(InputError, match="no ground truth here"):
        find_ground_truth(tmp_path, tmp_path)


@pytest.mark.parametrize(
    "text", ["section_00_0001.wav,section_00_x.wav\n", "fan\nsection_00_0001.wav,1\n", "fan\na,b"]
)
def test_other_csv_is_refused(tmp_path, text):
    (tmp_path / "eval_data_list_2023.csv").write_text(text)
    with pytest.raises(InputError, match=r"eval_data_list_2023.csv: line \d is"):
        find_ground_truth(tmp_path)


@pytest.mark.parametrize(
    "rows",
    ["../fan\n0.wav,1.wav\n", "fan\n../0.wav,1.wav\n", f"fan\n0.wav,{'1' * 5000}.wav\n"],
    ids=["machine", "released", "labelled"],
)
def test_a_name_that_is_none_is_refused(tmp_path, rows):
    """6710c64 took any."""
    (tmp_path / "eval_data_list_2024.csv").write_text(rows)
    with pytest.raises(InputError, match="eval_data_list_2024.csv: (machine|file) "):
        find_ground_truth(tmp_path)


ATTRIBUTES = "file_name,file_name_with_attributes\nfan/test/a.wav,fan/test/b.wav\n"


@pytest.mark.parametrize("row", ["fan/test/a.wav", "fan/test/a.wav,", ",fan/test/b.wav", "x"])
def test_a_row_of_attributes_that_is_cut_is_named(tmp_path, row):
    (tmp_path / "fan_attributes_00.csv").write_text(ATTRIBUTES + row + "\n")
    with pytest.raises(InputError, match="fan_attributes_00.csv: line 3 is"):
        find_ground_truth(tmp_path)


def test_rows_of_commas_say_nothing(tmp_path):
    (tmp_path / "fan_attributes_00.csv").write_text(ATTRIBUTES + ",\n,,,\n")
    (tmp_path / "eval_data_list_2024.csv").write_text(
        ",,\nfan,,\nsection_00_0.wav,c.wav,\n,,\n,pump\nsection_00_0.wav,d.wav\n"
    )
    assert find_ground_truth(tmp_path) == {
        ("fan", "a.wav"): "b.wav",
        ("fan", "section_00_0.wav"): "c.wav",
        ("pump", "section_00_0.wav"): "d.wav",
    }
