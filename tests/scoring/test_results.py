import dataclasses

import numpy as np
import pytest
from scoring.machines import machine

from asd_jax.runtime.files import write_json
from asd_jax.scoring.anomaly_score import score_machine
from asd_jax.scoring.comparison import compare_back_ends
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
    assert [clip["file"] for clip in found["skipped"]] == ["a", "b"] and found["skipped_clips"] == 2
