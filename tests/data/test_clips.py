import pytest

from asd_jax.data.clips import (
    Clip,
    find_clips,
    machine_clips,
    machine_folders,
    parse_clip,
    training_classes,
)
from asd_jax.runtime.errors import InputError

TRAIN = "section_00_source_train_normal_0000_car_A1_spd_28V.wav"
TEST = "section_00_target_test_anomaly_0001_car_A1_spd_28V.wav"


def tree(root, *files):
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    return root


def said(root, **options):
    """What the clips say of themselves, without paths."""
    return [
        (c.machine, c.section, c.split, c.domain, c.label, c.attribute)
        for c in find_clips(root, **options)
    ]


@pytest.mark.parametrize(
    ("name", "split", "message"),
    [
        ("section_00_sauce_train_normal_0000.wav", "train", "not a DCASE file name"),
        (TEST, "train", "a test clip in the train folder"),
        ("anomaly_id_00_00000000.wav", "train", "anomaly in the train folder"),
        ("section_00_source_anomaly_0000_load_1.wav", "train", "anomaly in the train folder"),
    ],
)
def test_bad_name_is_refused(name, split, message):
    with pytest.raises(InputError, match=f"{name}.*{message}"):
        parse_clip(name, "fan", split)


@pytest.mark.parametrize(
    "levels", [".", "raw", "dev_data", "dev_data/raw", "dcase2024/dev_data/raw", "dev_ToyCar"]
)
def test_tree_is_found_however_it_was_unpacked(tmp_path, levels):
    tree(
        tmp_path,
        f"{levels}/ToyCar/train/{TRAIN}",
        f"{levels}/ToyCar/test/{TEST}",
        f"{levels}/README.md",
    )
    assert said(tmp_path) == [
        ("ToyCar", "00", "test", "target", 1, "car_A1_spd_28V"),
        ("ToyCar", "00", "train", "source", 0, "car_A1_spd_28V"),
    ]


def test_dev_and_eval_sections_of_one_machine_come_together(tmp_path):
    for data, machine_id in (("dev_data", "00"), ("eval_data", "01")):
        tree(tmp_path, f"{data}/fan/train/normal_id_{machine_id}_00000000.wav")
    assert training_classes(find_clips(tmp_path)) == [("fan", "00", ""), ("fan", "01", "")]


def test_two_clips_of_one_name_in_a_machines_split_are_both_named(tmp_path):
    tree(tmp_path, "here/fan/train/a.wav", "here/fan/test/a.wav")
    assert len(find_clips(tmp_path)) == 2
    tree(tmp_path, "there/fan/train/a.wav")
    both = (
        f"{tmp_path}/there/fan/train/a.wav and {tmp_path}/here/fan/train/a.wav: two train clips "
        "of one name"
    )
    with pytest.raises(InputError, match=both):
        find_clips(tmp_path)
    told = []
    assert (
        len(machine_clips(machine_folders(tmp_path)["fan"], "fan", {}, told)) == 3
        and both in told[0]
    )


def test_split_test_folders_of_2021_are_one_test_set(tmp_path):
    name = "section_00_{}_test_normal_0000.wav"
    tree(tmp_path, "fan/train/section_00_source_train_normal_0000.wav")
    tree(tmp_path, *(f"fan/{d}_test/{name.format(d)}" for d in ("source", "target")))
    assert [(c.split, c.domain) for c in find_clips(tmp_path)] == [
        ("test", "source"),
        ("test", "target"),
        ("train", "source"),
    ]


def test_supplemental_clips_are_a_split_of_their_own(tmp_path):
    tree(tmp_path, f"ToyPet/train/{TRAIN}", "ToyPet/supplemental/section_00_machine_0001_.wav")
    assert [c.split for c in find_clips(tmp_path)] == ["train"]
    assert [c.split for c in find_clips(tmp_path, splits=("train", "supplemental"))] == [
        "supplemental",
        "train",
    ]


def test_renamed_copies_stand_in_for_the_released_test_clips(tmp_path):
    tree(tmp_path, f"fan/train/{TRAIN}", "fan/test/section_00_0001.wav", f"fan/test_rename/{TEST}")
    assert [c.label for c in find_clips(tmp_path) if c.split == "test"] == [1]


def test_ground_truth_beside_the_data_labels_released_clips(tmp_path):
    tree(
        tmp_path,
        f"eval_data/raw/Scanner/train/{TRAIN}",
        "eval_data/raw/Scanner/test/section_00_0001.wav",
    )
    (tmp_path / "ground_truth").mkdir()
    (tmp_path / "ground_truth" / "eval_data_list_2024.csv").write_text(
        f"Scanner\nsection_00_0001.wav,{TEST}\n"
    )
    assert said(tmp_path)[0] == ("Scanner", "00", "test", "target", 1, "car_A1_spd_28V")
    clip = find_clips(tmp_path)[0]
    assert clip.path.endswith("section_00_0001.wav")


def test_a_machine_folder_is_a_root_too(tmp_path):
    tree(tmp_path, "My pump/train/a.wav", "My pump/test/b.mp3")
    assert said(tmp_path / "My pump") == [
        ("My pump", "00", "test", "source", -1, ""),
        ("My pump", "00", "train", "source", 0, ""),
    ]


def test_wanted_machines_only(tmp_path):
    tree(tmp_path, f"fan/train/{TRAIN}", f"pump/train/{TRAIN}", "broken/test/b.wav")
    assert [c.machine for c in find_clips(tmp_path, ["pump"])] == ["pump"]


def test_classes_are_counted_by_machine_section_attribute_and_domain():
    def clip(machine, section, domain, attribute, split="train"):
        return Clip(f"{machine}.wav", machine, section, split, domain, 0, attribute)

    clips = [
        clip("fan", "00", "source", "v_1"),
        clip("fan", "00", "target", "v_1"),  # the same attribute in both domains
        clip("fan", "00", "source", "v_2"),
        clip("fan", "01", "source", "v_1"),
        clip("gearbox", "00", "source", ""),  # concealed: one class for the machine
        clip("gearbox", "00", "source", ""),
        clip("gearbox", "00", "target", ""),
        clip("fan", "00", "target", "v_9", split="test"),  # no training class
    ]
    assert len(training_classes(clips)) == 4
    assert len(training_classes(clips, with_domain=True)) == 6


def test_missing_root_prints_the_expected_tree(tmp_path):
    with pytest.raises(
        InputError, match=r"nowhere: no such folder; expected tree[^$]*<root>/<machine>/train/"
    ):
        find_clips(tmp_path / "nowhere")


def test_empty_root_prints_what_was_found(tmp_path):
    tree(tmp_path, "notes.txt", "pictures/a.png")
    with pytest.raises(
        InputError, match=r"no recordings here; expected tree[^$]*found: notes.txt, pictures/"
    ):
        find_clips(tmp_path)


def test_unknown_machine_is_named_beside_those_there(tmp_path):
    with pytest.raises(InputError, match="no machine pump here; found: fan"):
        find_clips(tree(tmp_path, f"fan/train/{TRAIN}"), ["pump"])


def test_machine_without_training_clips_is_named(tmp_path):
    tree(tmp_path, f"fan/train/{TRAIN}", f"pump/test/{TEST}")
    with pytest.raises(InputError, match="machine pump has no training clips"):
        find_clips(tmp_path)


@pytest.mark.parametrize(
    "machine",
    ["m" * 101, "fan\udcff", "fan\x1b[31m", "fan\n"],
    ids=["long", "bytes", "esc", "line"],
)
def test_a_machines_folder_of_a_name_that_no_file_of_ours_can_bear_is_refused_at_once(
    tmp_path, machine
):
    """6710c64 embedded and scored everything before it failed to write the scores."""
    (tmp_path / machine / "train").mkdir(parents=True)
    (tmp_path / machine / "train" / "a.wav").touch()
    with pytest.raises(InputError, match=": machine '"):
        find_clips(tmp_path)
    problems = []
    machine_clips([tmp_path / machine], machine, {}, problems)
    assert len(problems) == 1


def test_a_section_of_a_hundred_digits_is_refused():
    with pytest.raises(InputError, match="is longer than 100 bytes"):
        parse_clip(f"section_{'0' * 101}_source_test_normal_0000_a.wav", "fan", "test")
