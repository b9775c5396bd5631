"""Whatever is made once stays as it is: no dataclass of the reports can be changed."""

import dataclasses

import pytest

from asd_jax.reporting import clip_cards, page, sections

CLASSES = [
    of
    for module in (clip_cards, page, sections)
    for of in vars(module).values()
    if dataclasses.is_dataclass(of) and of.__module__ == module.__name__
]


@pytest.mark.parametrize("of", CLASSES, ids=lambda of: of.__name__)
def test_what_was_made_cannot_be_changed(of):
    made = object.__new__(of)
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(made, dataclasses.fields(of)[0].name, None)
