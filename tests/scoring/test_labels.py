import pytest
from scoring.submissions import FILES, SCORES, write

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.labels import read_labels
from asd_jax.scoring.submission import read_submission


@pytest.mark.parametrize("source", ["evaluator", "eval_data_list_2024.csv", "."])
def test_labels_come_from_an_evaluators_folder_or_a_baselines_list(released, source):
    labels = read_labels(released / source, 2024)
    found = read_submission(released / "scores", labels=labels)
    said = [("target" if "target" in file else "source", int("anomaly" in file)) for file in FILES]
    assert [(clip.domain, clip.label) for clip in found] == said


def test_the_task_was_held_in_the_year(released):
    with pytest.raises(InputError, match="^year 2019: "):
        read_labels(released / "evaluator", 2019)


def test_a_machine_that_the_ground_truth_does_not_know_is_unlabelled(released):
    names = [f"section_00_{i:04d}.wav" for i in range(3)]
    write(released / "scores", "mine", names, SCORES[:3], [0, 0, 1])
    found = read_submission(released / "scores", labels=read_labels(released / "evaluator", 2024))
    assert {clip.label for clip in found if clip.machine == "mine"} == {-1}


def test_unreadable_ground_truth_is_named(released):
    path = released / "evaluator" / "ground_truth_data" / "ground_truth_fan_section_00_test.csv"
    path.write_text("section_00_0000.wav,maybe\n")
    with pytest.raises(
        InputError, match="ground_truth_fan_section_00_test.csv: not readable as ground truth"
    ):
        read_labels(released / "evaluator", 2024)
