"""Parses JSON text, and refuses a size, depth or structure that no file of this project has."""

import json
import math
from typing import Any

import msgspec

from asd_jax.runtime.errors import InputError

LARGEST = 64 << 20  # bytes; a list of a million recordings needs less
_CONTAINERS = 1 << 20  # lists and objects; in memory they take 30 times the size of their text
_DEEPEST = 64  # levels; files of this project have 5
_DIGITS = 20  # enough for an integer of 64 bits


def parse_json(text: bytes, name: str, shape: Any = dict, *, largest: int = LARGEST) -> Any:
    """Returns the value of a JSON text if it has the expected structure.

    Args:
        text: UTF-8.
        name: what error messages call the text.
        shape: a type such as `dict[str, list[str]]`, or a dataclass, to which the value must
            conform (msgspec.convert): 2.0 and true are not integers, a string is not a number.
        largest: the largest permitted size in bytes.

    Raises:
        InputError: the text is not JSON, is too large or is nested deeper than 64 levels, contains
            NaN, infinity or an integer of more than 64 bits, or has another structure.
    """
    try:
        if len(text) > largest:
            raise ValueError(f"larger than {largest} bytes")
        # Counting brackets bounds the memory that the parser can use.
        if text.count(b"{") + text.count(b"[") > _CONTAINERS:
            raise ValueError(f"more than {_CONTAINERS} lists and objects")
        value = json.loads(
            text.decode(), parse_int=_whole, parse_float=_finite, parse_constant=_finite
        )
        if _depth(value) > _DEEPEST:
            raise ValueError(f"nested deeper than {_DEEPEST}")
        if shape is dict and not isinstance(value, dict):
            raise ValueError(f"holds no JSON object, but a {type(value).__name__}")
        return msgspec.convert(value, shape)
    except (ValueError, RecursionError) as error:  # from the JSON, UTF-8 and msgspec decoders
        raise InputError(f"{name}: not a readable JSON file ({error})") from error


def _finite(digits: str) -> float:
    if not math.isfinite(number := float(digits)):
        raise ValueError(f"{digits[:40]} is no finite number")
    return number


def _whole(digits: str) -> int:
    # No integer of ours is longer, and a long one takes long to convert.
    if len(digits) > _DIGITS:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def _depth(value: Any) -> int:
    """Returns how deeply lists and objects are nested; 0 for a plain value."""
    depth = 0
    level = [value]
    while level := [item for item in level if isinstance(item, dict | list)]:
        level = [item for of in level for item in (of.values() if isinstance(of, dict) else of)]
        depth += 1
    return depth
