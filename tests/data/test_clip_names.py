import pytest

from asd_jax.data.clip_names import NameFields, parse_name
from asd_jax.data.clips import parse_clip

TRAIN = "section_00_source_train_normal_0000_car_A1_spd_28V.wav"
TEST = "section_00_target_test_anomaly_0001_car_A1_spd_28V.wav"


@pytest.mark.parametrize(
    ("name", "split", "expected"),
    [
        (TRAIN, "train", ("00", "source", 0, "car_A1_spd_28V")),
        (TEST, "test", ("00", "target", 1, "car_A1_spd_28V")),
        ("section_02_target_test_anomaly_0001.wav", "test", ("02", "target", 1, "")),
        ("section_00_source_train_normal_0003_noAttribute.wav", "train", ("00", "source", 0, "")),
        ("section_00_source_train_normal_0003_.wav", "train", ("00", "source", 0, "")),
        ("section_00_source_train_normal_0003_v_2.5.wav", "train", ("00", "source", 0, "v_2.5")),
        # RoboticArm 2024: no `_test_`
        ("section_00_target_anomaly_0007_load_3.wav", "test", ("00", "target", 1, "load_3")),
        # evaluation clips as released, 2022 and later, then 2021
        ("section_00_0042.wav", "test", ("00", "unknown", -1, "")),
        ("section_00_test_0042.wav", "test", ("00", "unknown", -1, "")),
        ("section_03_source_test_0042.wav", "test", ("03", "source", -1, "")),
        # 2020
        ("normal_id_04_00000012.wav", "train", ("04", "source", 0, "")),
        ("anomaly_id_04_00000012.wav", "test", ("04", "source", 1, "")),
        ("id_05_00000012.wav", "test", ("05", "source", -1, "")),
        # 2025
        ("section_00_machine_0001_.wav", "supplemental", ("00", "unknown", -1, "machine")),
        ("section_00_noise_0001_.wav", "supplemental", ("00", "unknown", -1, "noise")),
        # one's own
        ("Pump 3, Monday.flac", "train", ("00", "source", 0, "")),
        ("Pump 3, Monday.flac", "test", ("00", "source", -1, "")),
    ],
)
def test_name_says(name, split, expected):
    clip = parse_clip(f"/data/fan/{split}/{name}", "fan", split)
    assert (clip.section, clip.domain, clip.label, clip.attribute) == expected
    assert (clip.machine, clip.split) == ("fan", split)


def test_a_name_of_no_grammar_says_nothing():
    assert parse_name("pump.wav") is None
    assert parse_name(TRAIN + ".bak~") is None  # the whole name must fit
    assert parse_name("section_00_noise_0001_.wav") is None  # only in the folder of such clips
    supplemental = parse_name("section_00_noise_0001_.wav", supplemental=True)
    assert supplemental == NameFields("00", label=-1, attribute="noise")
    assert parse_name(TRAIN).split == "train" and parse_name("section_00_0042.wav").split is None
