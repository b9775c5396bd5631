"""Functions of the user's own, by their names."""

import re
import sys

import numpy as np
import pytest

from asd_jax.runtime.errors import InputError
from asd_jax.runtime.functions import checked_embeddings, named_function, names_function


def test_a_function_of_the_working_directory_is_found(tmp_path, monkeypatch):
    (tmp_path / "of_mine.py").write_text("def double(x):\n    return 2 * x\n\nnumber = 3\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", sys.path[:])
    assert named_function("of_mine:double", "--encoder")(4) == 8
    assert named_function("numpy.linalg:norm", "--encoder") is np.linalg.norm
    for name, said in (
        ("of_mine:triple", "module 'of_mine' has no attribute 'triple'"),
        ("of_mine:number", "is no function"),
        ("of_nobody:double", "No module named 'of_nobody'"),
    ):
        with pytest.raises(InputError, match=f"^--encoder={re.escape(name)}: {said}$"):
            named_function(name, "--encoder")


def test_a_name_has_one_form():
    assert names_function("a.b:c") and names_function("_a:b1")
    for name in ("a.b", ":c", "a:", "a:b:c", "/tmp/a.py:c", "a b:c", "1a:b"):
        assert not names_function(name)
    with pytest.raises(InputError, match="^model.encoder=a.b: write package.module:function$"):
        named_function("a.b", "model.encoder")


def test_embeddings_are_one_finite_vector_a_waveform_or_one_a_frame():
    for shape in ((3, 4), (3, 5, 4)):
        found = checked_embeddings(np.ones(shape), 3, "a:b", "--encoder")
        assert found.shape == shape and found.dtype == np.float32
    said = (
        "--encoder=a:b returned float64 of shape (2, 4) for 3 waveforms; expected float32 (3, e) "
        "or (3, t, e)"
    )
    with pytest.raises(InputError, match=f"^{re.escape(said)}$"):
        checked_embeddings(np.ones((2, 4)), 3, "a:b", "--encoder")
    with pytest.raises(InputError, match="^--encoder=a:b returned int64 of shape"):
        checked_embeddings(np.ones((3, 4), np.int64), 3, "a:b", "--encoder")
    with pytest.raises(InputError, match="^--encoder=a:b returned NaN or infinity$"):
        checked_embeddings(np.full((3, 4), np.inf), 3, "a:b", "--encoder")
