import numpy as np

from asd_jax.reporting.page import Page, Section, render
from asd_jax.reporting.summary import WORDS, run_section, verdict_lines, words_section
from asd_jax.scoring.anomaly_score import MachineScores
from asd_jax.scoring.embeddings import Embeddings
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
