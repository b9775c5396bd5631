import dataclasses
import json

import numpy as np
import pytest
from scoring.machines import machine

from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import write_json
from asd_jax.scoring.anomaly_score import score_machine
from asd_jax.scoring.comparison import compare_back_ends
from asd_jax.scoring.official_score import decision_values, official_score
from asd_jax.scoring.options import Scoring
from asd_jax.scoring.results import over_seeds, results


def test_results_hold_the_contracts_keys_and_the_same_bytes_each_time(tmp_path):
    machines = {"fan": machine(), "pump": machine(seed=1, sections=("00", "01"))}
    for run in "12":
        scored = {name: score_machine(embeddings) for name, embeddings in machines.items()}
        write_json(tmp_path / run, results(scored, Scoring(), 2024))
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()
    found = results(scored, Scoring(), 2024)
    assert {"official_score", "year", "scoring", "machines", "notes"} <= set(found)
    assert list(found["machines"]["pump"]) == ["00", "01"]
    assert {
        "auc_source",
        "auc_target",
        "pauc",
        "precision_source",
        "f1_target",
        "threshold",
    } <= set(found["machines"]["fan"]["00"])
    assert 0.5 < found["official_score"] < 1
    assert "f1_source" in results({"fan": scored["fan"]}, Scoring(), 2021)["machines"]["fan"]["00"]
    # knows no domains
    of_2020 = results({"fan": scored["fan"]}, Scoring(), 2020)["machines"]["fan"]["00"]
    assert "f1" in of_2020 and "f1_source" not in of_2020


def test_the_values_of_a_section_are_those_of_the_years_rule_and_of_its_decisions():
    scored = {"fan": score_machine(machine(sections=("00", "01")))}
    fan = scored["fan"]
    domains = {2020: ("",), 2021: ("_source", "_target"), 2024: ("_source", "_target")}
    columns = {
        2020: ["auc", "pauc"],
        2021: ["auc_source", "auc_target", "pauc_source", "pauc_target"],
        2024: ["auc_source", "auc_target", "pauc"],
    }
    for year, ends in domains.items():
        found = results(scored, Scoring(back_end="gmm"), year)
        assert found["year"] == year and found["scoring"] == Scoring(back_end="gmm").recorded()
        decided = [f"{name}{end}" for end in ends for name in ("precision", "recall", "f1")]
        assert list(found["machines"]["fan"]["00"]) == [*columns[year], *decided, "threshold"]
        assert found["machines"]["fan"]["01"]["threshold"] == fan.threshold["01"]
        rows = zip(fan.clips.section, fan.clips.domain, fan.clips.label, fan.score, strict=True)
        official = official_score([("fan", s, d, int(y), x) for s, d, y, x in rows], year)
        for name in ("official_score", "arithmetic_mean", "harmonic_mean"):
            assert found[name] == getattr(official, name)
        for section, values in official.machines["fan"].items():
            here = fan.clips.section == section
            domain = fan.clips.domain[here] if year > 2020 else np.full(here.sum(), "")
            values |= decision_values(domain, fan.clips.label[here], fan.decision[here])
            assert values.items() <= found["machines"]["fan"][section].items()
    with pytest.raises(InputError, match="^year 2019: "):
        results(scored, Scoring(), 2019)


def test_both_sets_of_a_year_have_scores_of_their_own():
    scored = {name: score_machine(machine(seed=n)) for n, name in enumerate(("fan", "Scanner"))}
    found = results(scored, Scoring(), 2024)
    alone = {name: results({name: of}, Scoring(), 2024) for name, of in scored.items()}
    assert found["by_set"] == {
        "dev": alone["fan"]["official_score"],
        "evaluation": alone["Scanner"]["official_score"],
    }
    assert "by_set" not in alone["fan"]


def test_notes_on_scores_carry_the_machines_name():
    found = results({"fan": score_machine(machine(target=0))}, Scoring(), 2024)
    assert found["notes"] == ["fan section 00: no target training clips: that bank is left out"]


def test_a_threshold_without_bounds_is_none():
    of = machine(source=1, target=1)
    found = results({"fan": score_machine(of, Scoring(normalization="none"))}, Scoring(), 2024)
    assert found["machines"]["fan"]["00"]["threshold"] is None
    json.dumps(found, allow_nan=False)


def test_scores_that_are_no_numbers_cost_their_section_alone():
    scored = score_machine(machine(sections=("00", "01")))
    bad = scored.score.copy()
    bad[0] = np.nan
    found = results({"fan": dataclasses.replace(scored, score=bad)}, Scoring(), 2024)
    assert list(found["machines"]["fan"]) == ["01"] and found["official_score"] is None
    said = "no official score: fan section 00: 1 anomaly scores are not finite"
    assert found["notes"] == [said]


def test_a_section_without_anomalies_has_no_values():
    of = machine()
    normal = of[of.label == 0]
    found = results({"fan": score_machine(normal)}, Scoring(), 2024)
    assert found["machines"] == {} and found["official_score"] is None
    assert set(found) == {"official_score", "year", "scoring", "machines", "notes"}
    assert len(found["notes"]) == 3 and all(" and 0 (" in note for note in found["notes"])


def test_an_unlabelled_machine_is_left_out_of_the_official_score_and_named():
    fan = machine()
    pump = machine()
    pump = dataclasses.replace(pump, label=np.where(pump.split == "test", -1, pump.label))
    scored = {"fan": score_machine(fan), "pump": score_machine(pump)}
    found, alone = (results(of, Scoring(), 2024) for of in (scored, {"fan": scored["fan"]}))
    assert found["official_score"] == alone["official_score"] > 0.5
    assert list(found["machines"]) == ["fan"]
    said = "pump section 00: test clips carry no label; the official score leaves it out"
    assert found["notes"] == [said]
    assert said in compare_back_ends({"fan": fan, "pump": pump}, back_ends=["knn"])[1]
    unlabelled = results({"pump": scored["pump"]}, Scoring(), 2024)
    assert unlabelled["official_score"] is None
    assert unlabelled["notes"] == ["no official score: pump section 00: test clips carry no label"]


def test_a_section_that_cannot_be_scored_costs_no_other_its_values():
    one_domain = machine(seed=1)
    alone = dataclasses.replace(one_domain, domain=np.full(len(one_domain.files), "source"))
    found = results(
        {"fan": score_machine(machine()), "mine": score_machine(alone)}, Scoring(), 2024
    )
    assert found["official_score"] is None and {"auc_source", "auc_target"} <= set(
        found["machines"]["fan"]["00"]
    )
    assert (
        "auc_source" in found["machines"]["mine"]["00"]
        and "auc_target" not in found["machines"]["mine"]["00"]
    )
    assert found["arithmetic_mean"]["auc_target"] == found["machines"]["fan"]["00"]["auc_target"]
    assert any(
        "no official score: mine section 00: auc_target needs normal" in note
        for note in found["notes"]
    )


def test_means_over_seeds_keep_every_seeds_notes_and_skipped_clips():
    def run(score, *names):
        bad = [{"file": name, "reason": "truncated"} for name in names]
        return {
            "official_score": score,
            "machines": {},
            "notes": [*names, "all"],
            "skipped": bad,
            "skipped_clips": 1,
        }

    found = over_seeds([run(0.5, "a"), run(0.7, "b"), run(0.6, "a")])
    assert found["official_score"] == pytest.approx(0.6) and found["notes"] == ["a", "all", "b"]
    deviation = {"official_score": pytest.approx(0.1), "machines": {}}
    assert found["standard_deviation"] == deviation
    assert [clip["file"] for clip in found["skipped"]] == ["a", "b"] and found["skipped_clips"] == 2


def test_means_over_seeds_are_of_each_value_and_leave_what_is_no_number():
    def run(score, auc):
        values = {"auc": auc, "threshold": None}
        return {"official_score": score, "year": 2024, "machines": {"fan": {"00": values}}}

    found = over_seeds([run(0.5, 0.2), run(0.7, 0.4)])
    assert found == {
        "official_score": pytest.approx(0.6),
        "year": 2024,
        "machines": {"fan": {"00": {"auc": pytest.approx(0.3), "threshold": None}}},
        "standard_deviation": {
            "official_score": pytest.approx(0.1 * 2**0.5),
            "machines": {"fan": {"00": {"auc": pytest.approx(0.1 * 2**0.5), "threshold": None}}},
        },
    }
