"""Settings: frozen dataclasses whose fields carry their default, their range and their meaning."""

import dataclasses
import math
import reprlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from asd_jax.runtime.errors import InputError, near, section


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
) -> Any:
    """A dataclass field with its default, what it means, and the values that it may take.

        batch_size: int = key(32, "clips a step", least=1)

    Args:
        default: also says the type; a whole number does for a float.
        meaning: in a few words, without the default.
        choices: all values there are, of a text.
        least, above, most, below: the range of a number; `least` and `most` are in it.
        mapping: whether a mapping may stand in its place.
    """
    limits = {"least": least, "above": above, "most": most, "below": below}
    known = {name: limit for name, limit in limits.items() if limit is not None}
    metadata = {"meaning": meaning, "choices": choices, "limits": known, "mapping": mapping}
    return dataclasses.field(default=default, metadata=metadata)


def like(cls: type, name: str) -> Any:
    """A dataclass field with the default, the meaning and the range of another class's."""
    field = {field.name: field for field in dataclasses.fields(cls)}[name]
    return dataclasses.field(default=field.default, metadata=field.metadata)


def check_settings(settings: Any) -> None:
    """Returns if every field holds a value of its type and range; NumPy's numbers become Python's.

    Raises:
        InputError: names the first field that does not, its value, and what it may be.
    """
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if isinstance(value, np.generic):
            value = value.item()
        object.__setattr__(settings, field.name, value)  # it is frozen
        if field.metadata:
            _check(field, value)


def _check(field: dataclasses.Field, value: Any) -> None:
    name, kind, choices = field.name, type(field.default), field.metadata["choices"]
    if field.metadata["mapping"] and isinstance(value, Mapping):
        return
    whole = kind is float and type(value) is int
    if not whole and not (isinstance(value, kind) and isinstance(value, bool) == (kind is bool)):
        raise InputError(
            f"{name}={reprlib.repr(value)} should be of type {kind.__name__}, e.g. "
            f"{field.default!r}"
        )
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{name}={value} is not a finite number")
    if choices and value not in choices:
        known = ", ".join(choice or "empty" for choice in choices)
        raise InputError(f"{name}={reprlib.repr(value)}; known: {known}.{near(value, choices)}")
    if (limits := field.metadata["limits"]) and not within(value, limits):
        raise InputError(f"{name}={reprlib.repr(value)} must {limits_in_words(limits)}")


def within(value: float | int, limits: Mapping[str, float | int]) -> bool:
    """Whether a number keeps the limits of `key`."""
    return (
        ("least" not in limits or value >= limits["least"])
        and ("above" not in limits or value > limits["above"])
        and ("most" not in limits or value <= limits["most"])
        and ("below" not in limits or value < limits["below"])
    )


def limits_in_words(limits: Mapping[str, float | int]) -> str:
    """The limits of `key` as the end of "... must"."""
    if limits.keys() == {"least", "most"}:
        return f"lie in {limits['least']}..{limits['most']}"
    words = {"least": "at least", "above": "above", "most": "at most", "below": "below"}
    return "be " + " and ".join(f"{words[name]} {limit}" for name, limit in limits.items())


def settings_from(cls: type, values: Any, where: str = "") -> Any:
    """A mapping with a key for each field of `cls` -> the settings, sections within it included.

    Args:
        cls: a dataclass of settings.
        values: what a config file, a command line or config.json holds.
        where: the section's name with a dot behind it, for messages.

    Raises:
        InputError: names a key that is unknown (and the nearest), missing or wrong.
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
                f"config: no key {where + str(name)!r}; {where or 'it '}has "
                f"{known}.{near(str(name), fields)}"
            )
    for name, field in fields.items():
        if name not in values:
            raise InputError(f"config: lacks {where + name!r}, e.g. {field.default!r}")
    given = {}
    for name, field in fields.items():
        if dataclasses.is_dataclass(field.type):
            given[name] = settings_from(field.type, values[name], f"{where}{name}.")
            continue
        with section(where):
            _check(field, values[name])
        whole = type(field.default) is float and type(values[name]) is int
        given[name] = float(values[name]) if whole else values[name]
    with section(where):
        return cls(**given)


def changed(settings: Any, values: Mapping[str, Any]) -> Any:
    """The settings with other values: {"section.key": value, ...}.

    Raises:
        InputError: names a key that is unknown, or a value that cannot be.
    """
    for name, value in values.items():
        head, _, rest = name.partition(".")
        if head not in {field.name for field in dataclasses.fields(settings)}:
            raise InputError(f"{name}: no such key")
        if rest:
            with section(f"{head}."):
                value = changed(getattr(settings, head), {rest: value})
        settings = dataclasses.replace(settings, **{head: value})
    return settings


def as_mapping(settings: Any) -> dict[str, Any]:
    """The settings as nested plain values, in the order of the fields."""
    return {
        field.name: as_mapping(value)
        if dataclasses.is_dataclass(value := getattr(settings, field.name))
        else dict(value)
        if isinstance(value, Mapping)
        else value
        for field in dataclasses.fields(settings)
    }
