"""What comes out of a file as a name stays in its folder; 6710c64 asked nothing of names."""

import os

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from asd_jax.runtime.errors import InputError
from asd_jax.runtime.names import check_name, check_names

TEXT = st.text(st.characters(exclude_categories=()) | st.sampled_from("./\\\0\udcff\ud800\x1b "))
EVIL = ["", ".", "..", "../x", "a/../x", "/x", "\0", "a\0b", "\ud800", "x" * 5000, "a\nb", "a\x1bb"]


def allowed(kind, name):
    try:
        check_name(kind, name)
        return True
    except InputError:
        return False


@settings(deadline=None, max_examples=300)
@given(machine=TEXT, section=TEXT)
@example(machine="m" * 100, section="s" * 100)
@example(machine="\u20ac" * 33, section="..")
def test_machines_and_sections_make_file_names_that_a_disk_takes(
    tmp_path_factory, machine, section
):
    if allowed("machine", machine) and allowed("section", section):
        folder = tmp_path_factory.mktemp("f")
        path = folder / f"decision_result_{machine}_section_{section}_source_test.csv"
        path.touch()
        assert os.listdir(folder) == [path.name] and path.name.isprintable()


@settings(deadline=None, max_examples=300)
@given(name=TEXT)
def test_names_of_recordings_are_those_that_a_disk_takes(tmp_path_factory, name):
    folder = tmp_path_factory.mktemp("f")
    if allowed("file", name):
        (folder / name).touch()
        assert os.listdir(folder) == [name]
    if allowed("path", name):
        assert (folder / name).resolve().is_relative_to(folder.resolve())


@pytest.mark.parametrize("kind", ["machine", "section"])
@pytest.mark.parametrize("name", [*EVIL, "a/b", "\udcff"])
def test_a_bad_name_of_a_machine_or_section_is_refused_and_shown_short(kind, name):
    with pytest.raises(InputError, match=f"^there: {kind} ") as error:
        check_name(kind, name, at="there")
    assert len(str(error.value)) < 400


def test_what_a_recording_may_be_called_is_more():
    check_names("file", ["own\udcff.wav", "a b.wav", "\x1b[31m.wav", "$\\foo$.wav", "-x", "\u20ac"])
    check_names("path", ["train/a.wav", "a", "a/b/c"])
    check_names("attribute", ["", "speed_1/load_2", "..", "a b"])
    for name in EVIL[:10]:
        assert not allowed("file", name)
    assert not allowed("attribute", "\0") and not allowed("attribute", "\ud800")
