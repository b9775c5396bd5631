import base64
import re

import jinja2
import numpy as np
import pytest
import soundfile

from asd_jax.reporting.page import (
    ClipCard,
    Page,
    Plot,
    Section,
    Sound,
    Table,
    render,
    sound_url,
    write_page,
)

PAGE = Page(
    "fan",
    [
        Section(
            "Scores",
            [
                Table(["machine", "AUC"], [["fan", "71.2"], ["gearbox", "-"]], "Percent."),
                Plot("<svg/>", "bars"),
            ],
        ),
        Section(
            "Clips",
            [
                ClipCard(
                    "a.wav", ["score 3"], [Plot("<svg/>", "seen")], [Sound("this clip", "data:,")]
                )
            ],
        ),
    ],
    ["lead"],
    [("seed_0", "../seed_0/report/index.html")],
)


def test_every_part_is_on_the_page_with_words_for_those_who_cannot_see_it():
    html = render(PAGE)
    for said in (
        'aria-label="bars"',
        ">71.2<",
        "score 3",
        'aria-label="this clip"',
        "lead",
        "../seed_0/report",
    ):
        assert said in html
    assert html.count("<svg") == 2 and html == render(PAGE)


def test_only_what_is_asked_for_is_folded_or_wraps():
    plain, folded, prose = (
        render(Page("p", [Section("s", [Table(["a"], [["1"]], "words", **options)])]))
        for options in ({}, {"folded": True}, {"prose": True})
    )
    for html, in_details, wraps in (
        (plain, False, False),
        (folded, True, False),
        (prose, False, True),
    ):
        assert ("<details><summary>words</summary>" in html) == in_details
        assert ("<caption>words</caption>" in html) != in_details
        assert ('<table class="prose">' in html) == wraps


def test_a_section_is_in_the_contents_unless_it_is_part_of_another():
    parts = [Section("whole"), Section("part", part_of_previous=True), Section("last")]
    html = render(Page("p", parts))
    assert re.findall(r'href="#(s\d)">(\w+)<', html) == [("s1", "whole"), ("s3", "last")]
    assert re.findall(r"<h2>(\w+)<", html) == ["whole", "last"]


def test_rows_follow_each_other_without_empty_lines():
    """A page holds hundreds of rows and cards, and templates would leave lines between them."""
    html = render(Page("p", [Section("s", [Table(["a"], [["1"], ["2"]])])]))
    assert "1</th></tr>\n<tr><th" in html


def test_names_of_files_are_text_not_markup():
    html = render(Page("<b>", [Section("s", [Table(["<i>"], [["<script>alert(1)</script>"]])])]))
    assert "<script>alert" not in html and "<b>" not in html and "&lt;script&gt;alert" in html


def test_the_page_asks_nobody_for_anything():
    addresses = re.findall(r"(?:src|href)=\"([^\"]*)\"|url\(([^)]*)\)", render(PAGE))
    assert {a or b for a, b in addresses} == {
        "data:",
        "data:,",
        "../seed_0/report/index.html",
        "#s1",
        "#s2",
    } - {"data:"}


def test_silence_stays_silent_and_a_short_sound_is_whole(tmp_path):
    for samples, level in ((8000, 0.0), (4000, 1e-9)):
        url = sound_url(np.full(samples, level, np.float32), 8000)
        path = tmp_path / "a.mp3"
        path.write_bytes(base64.b64decode(url.removeprefix("data:audio/mpeg;base64,")))
        wave, rate = soundfile.read(path)
        # MP3 fills up its frames. Measured 0 and 2e-3.
        assert rate == 8000 and samples <= len(wave) < samples + 4000
        assert np.abs(wave).max() < 4e-3


@pytest.mark.parametrize("level", [1.0, 1e-3])
def test_a_sound_is_heard_as_it_is_but_for_its_level_and_end(level, tmp_path):
    seconds = np.arange(12 * 16000) / 16000
    url = sound_url(level * np.sin(2 * np.pi * 1000 * seconds).astype(np.float32), 16000)
    path = tmp_path / "a.mp3"
    path.write_bytes(base64.b64decode(url.removeprefix("data:audio/mpeg;base64,")))
    wave, rate = soundfile.read(path)
    assert rate == 16000 and len(wave) / rate == pytest.approx(10, abs=0.2) and len(url) < 200_000
    spectrum = np.abs(np.fft.rfft(wave[8000:24000]))
    assert spectrum.argmax() == 1000 and np.abs(wave).max() == pytest.approx(0.9, abs=0.1)


def test_a_page_is_whole_or_not_there(tmp_path):
    path = tmp_path / "report" / "index.html"
    write_page(path, PAGE)
    before = path.read_bytes()
    broken = Page("x", [Section("s")])
    object.__setattr__(broken.sections[0], "parts", ["no part"])
    with pytest.raises(jinja2.UndefinedError):
        write_page(path, broken)
    assert path.read_bytes() == before and [p.name for p in path.parent.iterdir()] == ["index.html"]


def test_names_are_shown_as_they_are_and_steer_nothing(tmp_path):
    name = "<b>\x1b[31m\u202e\udcff\0 [a] $x$"
    shown = r"&lt;b&gt;\x1b[31m\u202e\udcff\x00 [a] $x$"
    card = ClipCard(name, [name], [Plot("<svg>\n</svg>", name)], [Sound(name, "data:,")])
    parts = [Table([name], [[name]], name), card]
    write_page(
        tmp_path / "a.html", Page(name, [Section(name, parts, [name])], [name], [(name, "x")])
    )
    html = (tmp_path / "a.html").read_text()
    # Everywhere but in the address: title twice, lead, link, section twice, its text; the table's
    # caption twice, column and cell; the card's title, fact, plot twice, sound twice.
    assert html.count(shown) == 17 and "<svg>\n</svg>" in html
    assert not set(html) & set(name[3:4] + "\u202e\0")
