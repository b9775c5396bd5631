"""Where the time of a training step goes."""

import itertools
import time

import pytest

from asd_jax.models.eat import EATConfig
from asd_jax.runtime.errors import InputError
from benchmarks import training_step


def test_the_median_of_rounds_in_turn_is_returned(monkeypatch):
    order = []
    seconds = iter([1.0, 10.0, 5.0, 20.0, 2.0, 90.0])
    marks = itertools.chain.from_iterable((0.0, next(seconds)) for _ in range(6))
    monkeypatch.setattr(time, "process_time", lambda: next(marks))
    made = {name: lambda name=name: order.append(name) for name in "ab"}
    assert training_step.medians(made, 3) == {"a": 2.0, "b": 20.0}
    assert order == list("abababab")  # the first round warms up


def test_more_than_one_thread_is_refused(monkeypatch):
    monkeypatch.delenv("NPROC", raising=False)
    with pytest.raises(InputError, match="NPROC=1"):
        training_step.main()


@pytest.mark.slow
def test_every_part_of_a_block_runs_forward_and_backward():
    eat = EATConfig(embed_dim=16, depth=1, num_heads=2)
    made = training_step.programs(eat, 1)
    for once in made.values():
        once()
    forward = {name.removesuffix(", forward") for name in made if name.endswith(", forward")}
    backward = {name.removesuffix(", backward") for name in made if name.endswith(", backward")}
    assert forward == backward and "attention" in forward
    found, gradients = (once() for once in training_step.whole_blocks(eat, 1, []).values())
    assert gradients[1].shape == found.shape == (1, 513, 16)
