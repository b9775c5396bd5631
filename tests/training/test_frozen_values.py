"""Whatever is made once stays as it is: no dataclass of the training can be changed."""

import dataclasses

import pytest

from asd_jax.training import (
    clips,
    distillation,
    embedding,
    loop,
    optimizer,
    pretraining,
    settings,
    tensors,
    weights,
)

ROOM = (clips, distillation, embedding, loop, optimizer, pretraining, settings, tensors, weights)
CLASSES = [
    of
    for module in ROOM
    for of in vars(module).values()
    if dataclasses.is_dataclass(of) and of.__module__ == module.__name__
]


@pytest.mark.parametrize("of", CLASSES, ids=lambda of: of.__name__)
def test_what_was_made_cannot_be_changed(of):
    made = object.__new__(of)
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(made, dataclasses.fields(of)[0].name, None)
