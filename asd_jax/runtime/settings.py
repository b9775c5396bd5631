"""Provides frozen dataclasses whose fields carry their default, their range and their meaning."""

import dataclasses
import math
import reprlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from asd_jax.runtime.errors import InputError, config_section, did_you_mean
from asd_jax.runtime.functions import names_function


def key(
    default: Any,
    meaning: str,
    *,
    choices: tuple[str, ...] = (),
    least: float | int | None = None,
    above: float | int | None = None,
    most: float | int | None = None,
    below: float | int | None = None,
    mapping: bool = False,
    function: bool = False,
) -> Any:
    """Returns a dataclass field with its default, its meaning and its permitted values.

        batch_size: int = key(32, "clips a step", least=1)

    Args:
        default: also defines the type; an integer is accepted for a float.
        meaning: a few words, without the default.
        choices: all permitted values of a text.
        least, above, most, below: the range of a number; `least` and `most` are inclusive.
        mapping: whether a mapping is accepted instead.
        function: whether the name of the user's own function is accepted beside `choices`.
    """
    limits = {"least": least, "above": above, "most": most, "below": below}
    known = {name: limit for name, limit in limits.items() if limit is not None}
    metadata = {
        "meaning": meaning,
        "choices": choices,
        "limits": known,
        "mapping": mapping,
        "function": function,
    }
    return dataclasses.field(default=default, metadata=metadata)


def like(cls: type, name: str) -> Any:
    """Returns a dataclass field with the default, the meaning and the range of another class's
    field.
    """
    field = {field.name: field for field in dataclasses.fields(cls)}[name]
    return dataclasses.field(default=field.default, metadata=field.metadata)


def check_settings(settings: Any) -> None:
    """Checks that every field has a value of its type and range, and converts NumPy scalars to
    Python.

    Raises:
        InputError: names the first field with a wrong value, the value, and what is permitted.
    """
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if isinstance(value, np.generic):
            value = value.item()
        object.__setattr__(settings, field.name, value)  # the dataclass is frozen
        if field.metadata:
            _check(field, value)


class CheckedSettings:
    """Base of the dataclasses of settings: checks every field when an instance is made."""

    def __post_init__(self):
        check_settings(self)


def _check(field: dataclasses.Field, value: Any) -> None:
    name = field.name
    kind = type(field.default)
    choices = field.metadata["choices"]
    if field.metadata["mapping"] and isinstance(value, Mapping):
        return
    # An integer is accepted for a float. A bool is not, although it is a subclass of int.
    whole = kind is float and type(value) is int
    if not whole and not (isinstance(value, kind) and isinstance(value, bool) == (kind is bool)):
        raise InputError(
            f"{name}={reprlib.repr(value)} should be of type {kind.__name__}, e.g. "
            f"{field.default!r}"
        )
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{name}={value} is not a finite number")
    own = field.metadata["function"] and names_function(str(value))
    if choices and value not in choices and not own:
        known = ", ".join(choice or "empty" for choice in choices)
        known += " or package.module:function" if field.metadata["function"] else ""
        raise InputError(
            f"{name}={reprlib.repr(value)}; known: {known}.{did_you_mean(value, choices)}"
        )
    if (limits := field.metadata["limits"]) and not is_within(value, limits):
        raise InputError(f"{name}={reprlib.repr(value)} must {limits_text(limits)}")


def is_within(value: float | int, limits: Mapping[str, float | int]) -> bool:
    """Returns whether a number is within the limits of `key`."""
    return (
        ("least" not in limits or value >= limits["least"])
        and ("above" not in limits or value > limits["above"])
        and ("most" not in limits or value <= limits["most"])
        and ("below" not in limits or value < limits["below"])
    )


def limits_text(limits: Mapping[str, float | int]) -> str:
    """Returns the limits of `key` as the end of a sentence with "must".

    Example:
        limits_text({"least": 0, "below": 1})  # "be at least 0 and below 1"
    """
    if limits.keys() == {"least", "most"}:
        return f"lie in {limits['least']}..{limits['most']}"
    words = {"least": "at least", "above": "above", "most": "at most", "below": "below"}
    return "be " + " and ".join(f"{words[name]} {limit}" for name, limit in limits.items())


def settings_from(cls: type, values: Any, where: str = "") -> Any:
    """Returns the settings that a mapping describes, with a key for each field, sections included.

    Args:
        cls: a dataclass of settings.
        values: the content of a config file, a command line or config.json.
        where: the section's name with a trailing dot, for messages.

    Raises:
        InputError: a key is unknown, missing or has a wrong value; the message names the key and,
            for an unknown one, the nearest known key.
    """
    fields = {field.name: field for field in dataclasses.fields(cls)}
    if not isinstance(values, Mapping):
        raise InputError(
            f"config: {where.rstrip('.')}={values!r} should have keys: {', '.join(fields)}"
        )
    for name in values:
        if name not in fields:
            known = ", ".join(fields)
            raise InputError(
                f"config: no key {where + str(name)!r}; {where.rstrip('.') or 'it'} has "
                f"{known}.{did_you_mean(str(name), fields)}"
            )
    for name, field in fields.items():
        if name not in values:
            raise InputError(f"config: lacks {where + name!r}, e.g. {field.default!r}")
    given = {}
    for name, field in fields.items():
        if dataclasses.is_dataclass(field.type):
            given[name] = settings_from(field.type, values[name], f"{where}{name}.")
            continue
        with config_section(where):
            _check(field, values[name])
        # As a float from here on, so that files always record it in the same way.
        whole = type(field.default) is float and type(values[name]) is int
        given[name] = float(values[name]) if whole else values[name]
    with config_section(where):
        return cls(**given)


def with_values(settings: Any, values: Mapping[str, Any]) -> Any:
    """Returns the settings with some values replaced: {"section.key": value, ...}.

    Example:
        with_values(config, {"model.weights": "none"})

    Raises:
        InputError: a key is unknown or a value is not permitted; the message names it.
    """
    for name, value in values.items():
        head, _, rest = name.partition(".")
        if head not in {field.name for field in dataclasses.fields(settings)}:
            raise InputError(f"{name}: no such key")
        if rest:
            with config_section(f"{head}."):
                value = with_values(getattr(settings, head), {rest: value})
        settings = dataclasses.replace(settings, **{head: value})
    return settings


def to_dict(settings: Any) -> dict[str, Any]:
    """Returns the settings as nested plain values, in the order of the fields."""
    return {
        field.name: to_dict(value)
        if dataclasses.is_dataclass(value := getattr(settings, field.name))
        else dict(value)
        if isinstance(value, Mapping)
        else value
        for field in dataclasses.fields(settings)
    }
