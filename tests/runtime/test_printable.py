"""Names as they are shown: nothing in them steers the screen."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asd_jax.runtime.log import print_error, print_line
from asd_jax.runtime.printable import printable

NAMES = {
    "pump[a]": "pump[a]",
    "Lüfter ファン 1": "Lüfter ファン 1",
    "\x1b[31mred\x1b]0;title\x07": r"\x1b[31mred\x1b]0;title\x07",
    "a\nerror: b\r\tc\x00": r"a\nerror: b\r\tc\x00",
    "\udcff.wav": r"\udcff.wav",
    "a\u202egpj.wav": r"a\u202egpj.wav",  # shown as a, then vaw.jpg
    "\x9b31m\u2028": r"\x9b31m\u2028",
    "می\u200cخواهم": "می\u200cخواهم",
}


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_name_is_shown_as_it_is_but_for_what_steers(name):
    assert printable(name) == NAMES[name]


@given(st.text(st.characters(codec=None)))
def test_any_text_can_be_encoded_and_steers_nothing(text):
    shown = printable(text)
    shown.encode()
    assert {unicodedata.category(c) for c in shown} & {"Cc", "Cs", "Zl", "Zp"} == set()
    assert shown == printable(shown)
    assert shown == text or not text.isprintable()


def test_lines_on_the_screen_keep_their_ends_only(capsys):
    print_line("two\nlines", "\x1b[31mred")
    print_error("b\x07\n  \udcff")
    assert capsys.readouterr() == ("two\nlines \\x1b[31mred\n", "b\\x07\n  \\udcff\n")
