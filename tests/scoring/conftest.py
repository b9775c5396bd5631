import pytest
from scoring.submissions import FILES, SCORES, write


@pytest.fixture
def folder(tmp_path):
    """A faultless submission of two machines."""
    for machine in ("fan", "ToyCar"):
        write(tmp_path, machine, FILES, SCORES, SCORES > 0)
    return tmp_path


@pytest.fixture
def released(tmp_path):
    """Unlabelled scores, an evaluator's folder and a baseline's list that say the same of them."""
    names = [f"section_00_{i:04d}.wav" for i in range(len(FILES))]
    write(tmp_path / "scores", "fan", names, SCORES, SCORES > 0)
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
