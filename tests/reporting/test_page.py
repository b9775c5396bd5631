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
