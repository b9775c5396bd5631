"""Reading JSON: its size, depth, numbers and shape are known before anything relies on it."""

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import read_json
from asd_jax.runtime.json_text import parse_json

HOSTILE = {
    "nested 100,000 deep": b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "nested 500 deep": b'{"a":' + b"[" * 500 + b"]" * 500 + b"}",
    "a number of 5,000 digits": b'{"a":' + b"9" * 5000 + b"}",
    "a number of 4,000 digits": b'{"a":1' + b"0" * 4000 + b"}",
    "NaN": b'{"a": NaN}',
    "infinity": b'{"a": -Infinity}',
    "a list": b"[1, 2]",
    "a number": b"3",
    "null": b"null",
    "nothing": b"",
    "half of it": b'{"a": [1, 2',
    "not UTF-8": b'{"a": "\xff"}',
    "60 MB of empty lists": b'{"a": [' + b"[]," * (20 << 20) + b"[]]}",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_json_is_refused_by_name(name, tmp_path):
    (tmp_path / "a.json").write_bytes(HOSTILE[name])
    with pytest.raises(InputError, match="a.json: not a readable JSON file") as error:
        read_json(tmp_path / "a.json")
    assert len(str(error.value)) < 400


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        ({"a": [1]}, dict[str, list[str]]),
        ({"a": 2.0}, dict[str, int]),
        ({"a": True}, dict[str, int]),
        ({"a": None}, dict[str, float]),
        ([{"a": 1}], dict),
        ({}, list),
    ],
)
def test_another_shape_than_expected_is_refused(value, shape):
    with pytest.raises(InputError, match="what.json: .*(Expected|but a list)"):
        parse_json(json.dumps(value).encode(), "what.json", shape)


def test_more_bytes_than_allowed_are_not_read(tmp_path):
    (tmp_path / "a.json").write_text('{"a": "' + 1000 * "x" + '"}')
    assert read_json(tmp_path / "a.json", largest=2000)
    with pytest.raises(InputError, match="larger than 900 bytes"):
        read_json(tmp_path / "a.json", largest=900)


def test_what_is_no_file_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name, words in (("pipe", "no regular"), ("", "no regular"), ("missing", "No such file")):
        with pytest.raises(InputError, match=words):
            read_json(tmp_path / name)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(width=32) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_what_is_finite_comes_back_as_it_was(value):
    text = json.dumps(value).encode()
    if b"NaN" in text or b"Infinity" in text:
        return
    assert parse_json(text, "x") == value


@given(st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_read_or_refused(text):
    try:
        assert isinstance(parse_json(text, "x", dict[str, int]), dict)
    except InputError as error:
        assert str(error).startswith("x: ")
