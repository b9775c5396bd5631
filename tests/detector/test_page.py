"""Claims about the page of scores."""

import re

from detectors import FAULTY, HEALTHY

from asd_jax.detector.page import write_score_page


def test_the_page_ranks_all_and_shows_the_oddest_with_their_nearest_normal_sound(
    plain, normal, tmp_path, monkeypatch
):
    monkeypatch.setattr("asd_jax.detector.page.CARDS", 1)
    waves = {"in/normal.wav": HEALTHY[0], "in/<b>odd.wav": FAULTY[0]}
    verdicts = [(name, plain.examine(wave)) for name, wave in waves.items()]
    played = []

    def hear_normal(name):
        played.append(name)
        return normal[plain.names.index(name)]

    path = tmp_path / "scores.html"
    write_score_page(path, plain, verdicts, waves.__getitem__, hear_normal, name="pump")
    text = path.read_text()
    assert "<h1>pump: 1 of 2 anomalous</h1>" in text and "<b>odd" not in text
    first, second = re.findall(r'<th scope="row">(.*?)</th>', text)
    assert (first, second) == ("&lt;b&gt;odd.wav", "normal.wav")
    assert len(played) == 1 and f"nearest normal: {played[0]} at 0.0 s" in text
    assert text.count("<audio") == 2 and "called anomaly" in text
    write_score_page(path, plain, verdicts, waves.__getitem__)
    assert path.read_text().count("<audio") == 1
