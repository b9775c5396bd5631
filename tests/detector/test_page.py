"""Claims about the page of scores."""

import dataclasses
import re

import numpy as np
import pytest
from detectors import FAULTY, HEALTHY
from machine_sound import RATE

from asd_jax.detector import page as module
from asd_jax.detector.notes import Kind, Note
from asd_jax.detector.page import write_score_page
from asd_jax.detector.verdict import Verdict
from asd_jax.detector.views import mel_front_end
from asd_jax.detector.where import Band
from asd_jax.reporting.page import ClipCard, Plot


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


@pytest.fixture
def drawn(monkeypatch):
    """What the page would show, instead of drawing it."""
    seen = {"pages": [], "histograms": [], "spectrograms": [], "sounds": []}

    def spectrogram(front_end, wave, caption, *, heat=None, beside=None):
        seen["spectrograms"].append((front_end, wave, heat, beside))
        return Plot("", caption)

    monkeypatch.setattr(module, "write_page", lambda path, page: seen["pages"].append(page))
    monkeypatch.setattr(module, "_spectrogram", spectrogram)
    monkeypatch.setattr(
        module.plots, "score_histograms", lambda *a, **b: seen["histograms"].append((a, b)) or ""
    )
    monkeypatch.setattr(
        module, "sound_url", lambda wave, rate: seen["sounds"].append((wave, rate)) or ""
    )
    return seen


def verdict(score, **changes):
    one = Verdict(score, 2.0, 0.0123, score > 2, (1.04, 2.04), "level", np.array([score]))
    return dataclasses.replace(one, **changes)


def test_the_page_has_all_recordings_in_its_table_and_twelve_cards(plain, drawn, monkeypatch):
    monkeypatch.setattr(module, "_card", lambda detector, file, *_: ClipCard(file, ()))
    band = Band(900.0, 1300.0, 6.4)
    short = (Note(Kind.SHORT, "less"),)
    verdicts = [(f"in/{n}.wav", verdict(n / 4)) for n in range(13)]
    verdicts += [("b/odd.wav", verdict(9.0, band=band, notes=short, view="rhythm"))]
    write_score_page("x.html", plain, verdicts, lambda file: HEALTHY[0])
    (page,) = drawn["pages"]
    scores, cards = page.sections
    table = scores.parts[0]
    shown = ["b/odd.wav", *(f"in/{n}.wav" for n in range(12, 1, -1))]
    assert [card.title for card in cards.parts] == shown
    where = "0.90-1.3 kHz, +6 dB against normal"
    said = ["anomaly (short: less)", "9.000", "0.012", "1.0", "rhythm", where, "b"]
    assert len(table.columns) == 8 and len(table.rows) == 14
    assert table.rows[0] == ["odd.wav", *said]
    assert table.rows[-1] == [
        "0.wav", "normal", "0.000", "0.012", "1.0", "mean spectrum", "", "in",
    ]  # fmt: skip
    assert page.title == "Anomalous sounds" and "5 of 14 recordings" in page.lead[0]
    (((panels,), options),) = drawn["histograms"]
    found = {name: sorted(values) for name, values in panels["sounds"].items()}
    assert found == {
        "learned from": sorted(plain.bank.normal),
        "called anomalous": [2.25, 2.5, 2.75, 3.0, 9.0],
        "called normal": [n / 4 for n in range(9)],
    }
    assert options["threshold"] == plain.threshold and "deviations" in options["unit"]
    write_score_page("x.html", plain, [("a.wav", verdict(1.0))], lambda file: HEALTHY[0])
    assert set(drawn["histograms"][1][0][0]["sounds"]) == {"learned from", "called normal"}


@pytest.fixture(scope="module")
def heat_map(plain):
    wave = np.concatenate([HEALTHY[0], FAULTY[0]])
    return dataclasses.replace(plain.explain(wave), nearest_start=2.0)


def test_a_card_shows_the_minute_around_the_worst_moment_and_plays_it_from_four_seconds_before(
    plain, drawn, heat_map, monkeypatch
):
    monkeypatch.setattr(type(plain), "explain", lambda detector, wave: heat_map)
    wave = (np.arange(100 * RATE) / (100 * RATE)).astype(np.float32)
    normal = wave[::-1]
    worst = verdict(9.0, worst_seconds=(50.0, 51.0))
    card = module._card(plain, "in/a.wav", worst, wave, lambda name: normal)
    front_end = heat_map.front_end
    minute, window, beside = drawn["spectrograms"]
    assert np.array_equal(minute[1], wave[20 * RATE : 80 * RATE]) and minute[0] == front_end
    assert np.array_equal(window[1], heat_map.window) and window[2] is heat_map.values
    assert np.array_equal(beside[1], normal[2 * RATE : 4 * RATE])
    assert np.array_equal(beside[3], heat_map.window) and minute[2] is minute[3] is None
    (played, rate), (normal_played, _) = drawn["sounds"]
    assert np.array_equal(played, wave[46 * RATE :]) and rate == RATE
    assert np.array_equal(normal_played, normal[2 * RATE : 4 * RATE])
    captions = [plot.caption for plot in card.plots]
    assert "from 20 s on" in captions[0] and "from 2.0 s on" in captions[1]
    assert card.title == "a.wav" and len(card.facts) == 4 and len(card.sounds) == 2
    # A moment near the beginning is shown and played from the beginning on.
    early = verdict(9.0, worst_seconds=(3.0, 4.0))
    card = module._card(plain, "in/a.wav", early, wave, None)
    assert np.array_equal(drawn["spectrograms"][3][1], wave[: 60 * RATE])
    assert np.array_equal(drawn["sounds"][2][0], wave) and card.plots[0].caption == "energies"
    assert len(card.plots) == 2 and len(card.sounds) == 1


def test_a_card_reaches_as_high_as_the_recording_and_needs_no_heat_map(
    plain, drawn, heat_map, monkeypatch
):
    monkeypatch.setattr(type(plain), "explain", lambda detector, wave: heat_map)
    settings = dataclasses.replace(plain.settings, sample_rate=48000)
    high = dataclasses.replace(plain, settings=settings)
    module._card(high, "a.wav", verdict(9.0), np.zeros(48000), None)
    assert drawn["spectrograms"][0][0] == mel_front_end(48000)
    without = dataclasses.replace(plain, patches=None)
    card = module._card(without, "a.wav", verdict(9.0), np.zeros(RATE), lambda name: None)
    assert drawn["spectrograms"][-1][0] == mel_front_end(RATE)
    assert (len(card.facts), len(card.plots), len(card.sounds)) == (3, 1, 1)


def test_two_spectrograms_beside_each_other_have_the_colours_of_one_range(monkeypatch):
    drawn = []
    monkeypatch.setattr(
        module.spectrograms, "spectrograms", lambda *given, **options: drawn.append(options) or ""
    )
    front_end = mel_front_end(RATE)
    heat = np.ones((198, 128), np.float32)
    for given in ({}, {"beside": FAULTY[0]}, {"heat": heat}):
        assert module._spectrogram(front_end, HEALTHY[0], "below", **given).caption == "below"
    module._spectrogram(front_end, FAULTY[0], "")
    alone, beside, hot, other = drawn
    assert beside["decibels"] == other["decibels"] != alone["decibels"] == hot["decibels"]
    assert hot["heat"] is heat and alone["heat"] is None
