"""Claims about the header of a detector's file."""

import json

import pytest

from asd_jax.detector.header import Header, header_of
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.schema import build_checked


def entries_of(detector):
    """Returns the header as JSON gives it back, without the kind of the file."""
    entries = json.loads(json.dumps(header_of(detector)))
    assert entries.pop("kind") == "detector"
    return entries


def test_json_gives_back_what_the_detector_has(plain):
    header = build_checked(Header, entries_of(plain))
    assert header.settings == plain.settings and header.threshold == plain.threshold
    assert header.names == plain.names and header.voting == tuple(plain.bank.voting)
    assert header.scoring == plain.bank.scoring and header.encoder is None


@pytest.mark.parametrize("name", ["os:system", "pca_residual+package.module:function"])
def test_a_header_chooses_no_code(plain, name):
    entries = entries_of(plain)
    entries["scoring"]["level"]["back_end"] = name
    with pytest.raises(InputError, match="is none that a detector may have"):
        build_checked(Header, entries)
