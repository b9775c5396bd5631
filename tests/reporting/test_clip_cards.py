import numpy as np

from asd_jax.features.front_end import FrontEnd
from asd_jax.reporting.clip_cards import Recordings, clip_sections, most_wrong
from asd_jax.reporting.sections import ScoredSection
from asd_jax.scoring.anomaly_score import score_machine
from asd_jax.scoring.embeddings import Embeddings
from asd_jax.scoring.options import Scoring


def test_a_clip_is_ranked_among_its_section():
    """Section 01's anomalies stand out a thousand times as far, which says nothing of section
    00's.
    """
    n = 40
    rng = np.random.default_rng(0)
    section = np.repeat(["00", "01"], 20)
    split = np.array(["train", "test"] * 20)
    vectors = rng.normal(size=(n, 5)) + np.outer(
        (section == "01") & (split == "test"), np.full(5, 1e3)
    )
    columns = [section, split, np.full(n, "source"), np.zeros(n, int), np.full(n, "")]
    embeddings = Embeddings(vectors.astype(np.float32), np.arange(n).astype(str), *columns)
    scoring = Scoring(distance="euclidean")
    scores = score_machine(embeddings, scoring)
    recordings = Recordings(lambda *of: None, FrontEnd("even"), "pump")
    section_00 = ScoredSection.of("pump", "00", embeddings, scores)
    (found,) = clip_sections(section_00, recordings, scoring, 1)
    assert "rank 1 of 10 test clips" in found.parts[0].facts


def test_most_wrong_are_normals_above_anomalies_and_anomalies_below_normals():
    label = np.array([0, 0, 0, 1, 1, 1, -1])
    score = np.array([0.1, 0.2, 9.0, 5.0, 6.0, 0.0, 99.0])
    assert set(most_wrong(label, score, 2).tolist()) == {2, 5}
    assert most_wrong(np.full(3, -1), score[:3], 2).tolist() == []
