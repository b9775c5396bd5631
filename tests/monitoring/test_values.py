"""What one part of the program hands to another cannot be changed by either."""

import dataclasses
import importlib
import inspect
import pkgutil

import asd_jax.monitoring


def test_every_dataclass_of_the_room_is_frozen_but_those_that_are_state():
    thawed = set()
    for found in pkgutil.iter_modules(asd_jax.monitoring.__path__):
        name = f"asd_jax.monitoring.{found.name}"
        for one in vars(importlib.import_module(name)).values():
            own = inspect.isclass(one) and one.__module__ == name
            if own and dataclasses.is_dataclass(one) and not one.__dataclass_params__.frozen:
                thawed.add(one.__name__)
    assert thawed == {"Alarm"}
