import dataclasses
import re

import numpy as np

from asd_jax.reporting.page import Page, Section, render
from asd_jax.reporting.summary import WORDS, run_section, verdict_lines, words_section
from asd_jax.scoring.anomaly_score import MachineScores
from asd_jax.scoring.embeddings import Embeddings
from asd_jax.scoring.intervals import bootstrap, paired_bootstrap
from asd_jax.scoring.options import Scoring
from asd_jax.scoring.results import results

LABEL = np.tile([0, 1], 60)


def scored(gap, seed):
    """Scores of a fan's 120 clips, the anomalies `gap` higher."""
    score = np.random.default_rng(seed).normal(size=120) + gap * LABEL
    text = [np.full(120, "00"), np.full(120, "test"), np.repeat(["source", "target"], 60)]
    clips = Embeddings(
        np.zeros((120, 2), np.float32), np.arange(120).astype(str), *text, LABEL, np.full(120, "")
    )
    return {"fan": MachineScores(clips, score, (score > 1).astype(int), {"00": 1.0}, ())}


def lines(own, plain):
    found, baseline = (results(of, Scoring(), 2024) for of in (own, plain))
    return " ".join(verdict_lines(found | {"filter_bank_baseline": baseline}, own, plain))


def test_the_page_says_whether_the_filter_bank_is_beaten_beyond_chance():
    good = scored(2, 0)
    weak = scored(0.2, 1)
    same = scored(0.2, 2)
    assert ": better than the filter bank beyond chance" in lines(good, weak)
    assert ": worse than the filter bank beyond chance" in lines(weak, good)
    assert ": not distinguishable from the filter bank by these clips" in lines(weak, same)
    said = lines(good, weak)
    low, high = said.split("95 % interval ")[1].split(" %.")[0].split(" to ")
    score = results(good, Scoring(), 2024)["official_score"]
    assert float(low) < 100 * score < float(high)


def test_a_baseline_of_other_clips_is_not_compared():
    own = scored(2, 0)
    plain = scored(0, 1)
    clips = plain["fan"].clips[np.arange(120) > 3]
    less = MachineScores(clips, plain["fan"].score[4:], plain["fan"].decision[4:], {"00": 1.0}, ())
    assert "On the same clips" not in lines(own, {"fan": less})


def test_the_verdict_gives_the_numbers_of_the_paired_comparison():
    """The filter bank's clips may come in another order."""
    own = scored(1, 0)
    turned = np.arange(120)[::-1]
    plain = rows(scored(0.2, 1), turned)
    clips = [("fan", "00", ("source", "target")[n // 60], int(LABEL[n])) for n in range(120)]
    score = bootstrap(clips, own["fan"].score, 2021)
    less = paired_bootstrap(clips, own["fan"].score, plain["fan"].score[turned], 2021)
    found, alone = (results(of, Scoring(), 2021) for of in (own, plain))
    said = verdict_lines(found | {"filter_bank_baseline": alone}, own, plain)
    assert numbers(said[0]) == [
        "2021",
        f"{100 * found['official_score']:.2f}",
        "95",
        f"{100 * score.low:.2f}",
        f"{100 * score.high:.2f}",
        "50",
        "100",
    ]
    assert numbers(said[1]) == [
        f"{100 * alone['official_score']:.2f}",
        f"{100 * less.difference:+.2f}",
        "95",
        f"{100 * less.low:+.2f}",
        f"{100 * less.high:+.2f}",
    ]
    without_clips = verdict_lines(found | {"filter_bank_baseline": alone}, own)
    assert without_clips == [said[0], said[1].split(" On the same clips")[0]]
    assert verdict_lines(found, own) == said[:1]
    (nothing,) = verdict_lines(found | {"official_score": None}, own)
    assert "No official score" in nothing


def test_a_section_that_the_official_score_leaves_out_is_not_in_its_interval():
    """Such as one of which only some clips have labels."""
    whole = scored(1, 0)
    clips = dataclasses.replace(
        whole["fan"].clips,
        section=np.tile(["00", "00", "01", "01"], 30),
        label=np.where(np.arange(120) == 1, -1, LABEL),
    )
    thresholds = {"00": 1.0, "01": 1.0}
    own = {"fan": dataclasses.replace(whole["fan"], clips=clips, threshold=thresholds)}
    counted = rows(own, np.flatnonzero(clips.section == "01"))
    found, alone = (results(of, Scoring(), 2024) for of in (own, counted))
    assert found["official_score"] == alone["official_score"]
    assert verdict_lines(found, own) == verdict_lines(alone, counted)


def numbers(line):
    return re.findall(r"[-+]?\d+(?:\.\d+)?", line)


def rows(machines, order):
    of = machines["fan"]
    columns = {"clips": of.clips[order], "score": of.score[order], "decision": of.decision[order]}
    return {"fan": dataclasses.replace(of, **columns)}


def test_the_same_scores_are_no_better_than_themselves():
    own = scored(1, 0)
    assert ": not distinguishable from the filter bank by these clips" in lines(own, own)


def test_the_words_are_folded_sentences_and_a_run_without_facts_has_files_alone():
    (table,) = words_section().parts
    assert table.rows == [[word, meaning] for word, meaning in WORDS.items()]
    assert table.folded and table.prose
    section = run_section({"device": "cpu"}, [("a", "../a")])
    (facts,) = section.parts
    assert facts.rows == [["device", "cpu"]] and facts.prose and not facts.folded
    assert section.links == [("a", "../a")] and run_section({}, []).parts == []


def test_words_and_files_are_on_the_page_and_subsections_not_in_its_contents():
    parts = [
        words_section(),
        run_section({"command": "python -m x"}, [("results.json", "../results.json")]),
        Section("fan 00: most wrong", part_of_previous=True),
    ]
    html = render(Page("fan", parts))
    assert all(word in html for word in WORDS)
    assert 'href="../results.json"' in html and "python -m x" in html
    assert html.count("fan 00: most wrong") == 1 and 'href="#s3"' not in html
