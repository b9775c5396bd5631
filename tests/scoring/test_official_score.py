import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from asd_jax.data.dcase import edition
from asd_jax.runtime.errors import InputError
from asd_jax.scoring.official_score import (
    check_year,
    decision_values,
    harmonic_mean,
    mean_of_machine_means,
    official_score,
    section_values,
    summary,
)

RNG = np.random.default_rng(0)
CLIPS = [
    (machine, section, domain, label, float(RNG.normal() + label))
    for machine in ("fan", "ToyCar")
    for section in ("00", "01")
    for domain in ("source", "target")
    for label in (0, 1)
    for _ in range(20)
]


def part(machine, section, keep=lambda domain, label: True):
    rows = [(y, s) for m, sec, d, y, s in CLIPS if (m, sec) == (machine, section) and keep(d, y)]
    return zip(*rows, strict=True)


def test_the_average_of_the_2024_baseline_is_the_published_one():
    """Rounded values per machine: AUC source, AUC target, pAUC."""
    values = [
        *(
            0.7912,
            0.4796,
            0.4942,
            0.6500,
            0.4824,
            0.5547,
            0.6916,
            0.5374,
            0.5011,
            0.7658,
            0.5266,
            0.5000,
        ),
        *(
            0.8602,
            0.4388,
            0.5021,
            0.6224,
            0.4598,
            0.5163,
            0.7504,
            0.6948,
            0.5274,
            0.6596,
            0.4152,
            0.5116,
        ),
        *(0.7070, 0.6352, 0.5558),
    ]
    assert harmonic_mean(values) == pytest.approx(0.5650850743959795, abs=1e-15)


# AUC source, AUC target and pAUC of the eight evaluation machines, and the official score of both
# baselines, as the README of nttcslab/dcase2025_task2_evaluator prints them.
BASELINES_2025 = {
    "selective Mahalanobis": (
        0.5650558189601554,
        (0.7726, 0.8616, 0.6982, 0.5586, 0.7638, 0.7498, 0.7042, 0.729),
        (0.526, 0.4264, 0.509, 0.5548, 0.3268, 0.4042, 0.5278, 0.7904),
        (
            *(0.541578947368421, 0.5184210526315789, 0.5684210526315789, 0.54),
            *(0.49105263157894735, 0.5142105263157895, 0.5378947368421052, 0.7005263157894737),
        ),
    ),
    "MSE": (
        0.5442827820713174,
        (0.8102, 0.814, 0.677, 0.5284, 0.7198, 0.7304, 0.6686, 0.6486),
        (0.3436, 0.4976, 0.367, 0.6272, 0.3956, 0.4436, 0.443, 0.6592),
        (
            *(0.5421052631578948, 0.5284210526315789, 0.55, 0.5552631578947368),
            *(0.5205263157894737, 0.5342105263157895, 0.5231578947368422, 0.6210526315789474),
        ),
    ),
}


@pytest.mark.parametrize("baseline", BASELINES_2025)
def test_the_average_of_the_2025_baselines_is_what_the_evaluator_prints(baseline):
    score, *columns = BASELINES_2025[baseline]
    assert harmonic_mean([v for column in columns for v in column]) == pytest.approx(score, 1e-14)


# AUC source, AUC target and pAUC of the five evaluation machines of 2026 by frozen BEATs, and the
# official score that github kasahart/asd-experiments (results/by_machine.csv, summary.csv) prints.
PUBLISHED_2026 = {
    "near microphone": (
        0.628411282823721,
        (0.7482, 0.8776, 0.72),
        (0.7126, 0.6262, 0.5194736842105263),
        (0.6552, 0.6229999999999999, 0.66),
        (0.6726000000000001, 0.4522, 0.501578947368421),
        (0.6232, 0.7103999999999999, 0.578421052631579),
    ),
    "far microphone": (
        0.5836163461864645,
        (0.6804, 0.66, 0.598421052631579),
        (0.5287999999999999, 0.5334, 0.4926315789473684),
        (0.618, 0.639, 0.5915789473684211),
        (0.5596, 0.4958, 0.5136842105263157),
        (0.7372000000000001, 0.6586, 0.5710526315789474),
    ),
    "cancelled": (
        0.6683499584355611,
        (0.7980000000000002, 0.9106, 0.731578947368421),
        (0.7798, 0.6754, 0.5594736842105263),
        (0.793, 0.6814, 0.6710526315789473),
        (0.6936000000000001, 0.46220000000000006, 0.5321052631578947),
        (0.6476000000000001, 0.7562, 0.6231578947368421),
    ),
}


@pytest.mark.parametrize("heard", PUBLISHED_2026)
def test_the_score_of_2026_is_the_harmonic_mean_of_fifteen_values(heard):
    expected, *values = PUBLISHED_2026[heard]
    columns = ("auc_source", "auc_target", "pauc")
    machines = {
        machine: {"00": dict(zip(columns, of_it, strict=True))}
        for machine, of_it in zip(edition(2026).evaluation, values, strict=True)
    }
    found = summary(machines, 2026)
    assert found.official_score == pytest.approx(expected, abs=1e-12)


def test_since_2022_a_domains_normals_stand_against_all_anomalies():
    found = official_score(CLIPS, 2024)
    values = []
    for machine in ("ToyCar", "fan"):
        for section in ("00", "01"):
            ours = found.machines[machine][section]
            for domain in ("source", "target"):
                expected = roc_auc_score(
                    *part(machine, section, lambda d, y, own=domain: d == own or y == 1)
                )
                assert ours[f"auc_{domain}"] == pytest.approx(expected, abs=1e-15)
            assert ours["pauc"] == pytest.approx(
                roc_auc_score(*part(machine, section), max_fpr=0.1), abs=1e-15
            )
            values += ours.values()
    assert len(values) == 12
    assert found.official_score == pytest.approx(
        len(values) / sum(1 / v for v in values), abs=1e-15
    )


def test_2021_keeps_to_each_domains_own_clips():
    found = official_score(CLIPS, 2021)
    values = []
    for machine in found.machines:
        for section, ours in found.machines[machine].items():
            for domain in ("source", "target"):
                y, s = part(machine, section, lambda d, y, own=domain: d == own)
                assert ours[f"auc_{domain}"] == pytest.approx(roc_auc_score(y, s), abs=1e-15)
                assert ours[f"pauc_{domain}"] == pytest.approx(
                    roc_auc_score(y, s, max_fpr=0.1), abs=1e-15
                )
            values += ours.values()
    assert found.official_score == pytest.approx(
        len(values) / sum(1 / v for v in values), abs=1e-15
    )
    both = [
        v
        for of in found.machines.values()
        for s in of.values()
        for k, v in s.items()
        if k.startswith("auc")
    ]
    assert found.arithmetic_mean["auc"] == pytest.approx(np.mean(both), abs=1e-15)


def test_2020_averages_machine_ids_whatever_their_domain():
    found = official_score([(m, s, "unknown", y, x) for m, s, _, y, x in CLIPS], 2020)
    assert found.machines["fan"]["01"] == pytest.approx(
        {
            "auc": roc_auc_score(*part("fan", "01")),
            "pauc": roc_auc_score(*part("fan", "01"), max_fpr=0.1),
        },
        abs=1e-15,
    )
    mean = found.arithmetic_mean
    assert found.official_score == pytest.approx((mean["auc"] + mean["pauc"]) / 2, abs=1e-15)


def test_2020s_other_average_weighs_machine_types_alike():
    machines = {
        "fan": {"00": {"auc": 0.9, "pauc": 0.7}, "02": {"auc": 0.7, "pauc": 0.5}},
        "ToyConveyor": {"01": {"auc": 0.6, "pauc": 0.5}},
    }
    assert mean_of_machine_means(machines) == pytest.approx((0.7 + 0.55) / 2, abs=1e-15)


def test_means_are_over_machines_and_sections_for_each_column():
    machines = {
        "fan": {"00": {"auc_source": 0.5, "auc_target": 1.0, "pauc": 0.25}},
        "pump": {"00": {"auc_source": 0.25, "auc_target": 0.5, "pauc": 0.5}},
    }
    found = summary(machines, 2024)
    assert found.arithmetic_mean == {"auc_source": 0.375, "auc_target": 0.75, "pauc": 0.375}
    third = pytest.approx(1 / 3)
    assert found.harmonic_mean == {"auc_source": third, "auc_target": 2 / 3, "pauc": third}
    assert found.official_score == pytest.approx(6 / (2 + 1 + 4 + 4 + 2 + 2))
    assert (found.year, found.machines) == (2024, machines)
    # A machine whose target clips have no labels.
    of_2021 = {"fan": {"00": {"auc_source": 0.5, "pauc_source": 1.0}}}
    of_2021["pump"] = {"00": of_2021["fan"]["00"] | {"auc_target": 1.0, "pauc_target": 0.5}}
    found = summary(of_2021, 2021)
    means = {"auc_source": 0.5, "pauc_source": 1, "auc_target": 1, "pauc_target": 0.5}
    assert found.arithmetic_mean == means | {"auc": 2 / 3, "pauc": 2.5 / 3}
    assert found.harmonic_mean == means | {"auc": 3 / 5, "pauc": 3 / 4}
    assert found.official_score == pytest.approx(6 / (2 + 1 + 2 + 1 + 1 + 2))


def test_the_task_was_held_from_2020_to_2026():
    for year in range(2020, 2027):
        check_year(year)
    for year in (2019, 2027):
        with pytest.raises(InputError, match=f"^year {year}: .* from 2020 to 2026$"):
            check_year(year)


def test_columns_that_lack_clips_are_left_out_if_that_is_asked_for():
    domain = np.array(["source"] * 4)
    label = np.array([0, 1, 0, 1])
    score = np.array([0.0, 1.0, 2.0, 3.0])
    lacking = []
    found = section_values("fan section 00", domain, label, score, 2024, lacking)
    assert found == {"auc_source": 0.75, "pauc": pytest.approx(0.5 + 0.5 * 0.045 / 0.095)}
    assert lacking == [
        "fan section 00: auc_target needs normal and anomalous clips, found 0 and 2 (domains must "
        "be source or target; the rule of year 2020 needs no domains)"
    ]
    lacking.clear()
    assert section_values("fan", domain, 0 * label, score, 2020, lacking) == {}
    assert lacking == [
        f"fan: {name} needs normal and anomalous clips, found 4 and 0" for name in ("auc", "pauc")
    ]


def test_the_order_of_clips_and_any_rising_map_of_scores_change_nothing():
    shuffled = [CLIPS[i] for i in np.random.default_rng(1).permutation(len(CLIPS))]
    assert official_score(shuffled, 2024) == official_score(CLIPS, 2024)
    assert official_score([(*c[:4], np.exp(c[4])) for c in CLIPS], 2024) == official_score(
        CLIPS, 2024
    )


def test_a_perfectly_wrong_machine_floors_the_harmonic_mean_instead_of_dividing_by_zero():
    clips = [("fan", "00", d, y, 1.0 - y) for d in ("source", "target") for y in (0, 1)]
    assert 0 < official_score(clips, 2024).official_score < 1e-14


@pytest.mark.parametrize(
    "clips, year, said",
    [
        (CLIPS, 2019, "2019"),
        ([], 2024, "no clips"),
        (CLIPS, 2027, "2027"),
        ([*CLIPS, ("fan", "01", "source", 1, np.inf)], 2024, "fan section 01.*not finite"),
        ([*CLIPS, ("fan", "01", "source", 2, 0.0)], 2024, "fan section 01: labels"),
        ([c for c in CLIPS if c[:2] != ("fan", "01") or c[3]], 2024, "fan section 01: auc_source"),
        (
            [c for c in CLIPS if c[:2] != ("fan", "01") or not c[3]],
            2020,
            "fan section 01: auc needs",
        ),
        ([(*c[:2], "unknown", *c[3:]) for c in CLIPS], 2024, "domains must be source or target"),
        ([(*c[:2], "unknown", *c[3:]) for c in CLIPS], 2021, "domains must be source or target"),
    ],
)
def test_what_cannot_be_scored_is_named(clips, year, said):
    with pytest.raises(InputError, match=said):
        official_score(clips, year)


def test_decisions_count_on_each_domains_own_clips():
    domain = ["source"] * 4 + ["target"] * 4
    values = decision_values(domain, [0, 0, 1, 1] * 2, [0, 1, 1, 1, 0, 0, 0, 1])
    assert values["precision_source"] == pytest.approx(2 / 3)
    assert (values["recall_source"], values["recall_target"]) == (1, 0.5)
    assert values["f1_source"] == pytest.approx(0.8)
    assert values["precision_target"] == 1
    assert list(values) == [
        f"{name}_{d}" for d in ("source", "target") for name in ("precision", "recall", "f1")
    ]
    assert decision_values(["source"] * 3, [0, 1, 1], [0, 1, 0])["recall_source"] == 0.5
    assert decision_values(["unknown"] * 2, [0, 1], [0, 0]) == {
        "precision": 0,
        "recall": 0,
        "f1": 0,
    }
