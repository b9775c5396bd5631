"""Text of JSON -> values of a size, depth and shape that ours can have."""

import json
import math
from typing import Any

import msgspec

from asd_jax.runtime.errors import InputError

LARGEST = 64 << 20  # bytes; the lists of a million recordings have fewer
_CONTAINERS = 1 << 20  # lists and objects, which take 30 times their text in memory
_DEEPEST = 64  # ours are 5 deep
_DIGITS = 20  # of a whole number: 64 bits


def parse_json(text: bytes, name: str, shape: Any = dict, *, largest: int = LARGEST) -> Any:
    """What JSON says, if it is of the shape that is expected.

    Args:
        text: UTF-8.
        name: what the text is, for messages.
        shape: a type such as `dict[str, list[str]]`, or a dataclass, to which the value must
            conform (msgspec.convert): 2.0 and true are no integers, a string is no number.
        largest: number of bytes.

    Raises:
        InputError: not JSON, larger, deeper than 64, NaN, infinity or a number of more than 64
            bits in it, or of another shape.
    """
    try:
        if len(text) > largest or text.count(b"{") + text.count(b"[") > _CONTAINERS:
            raise ValueError(f"larger than any of ours, {len(text)} bytes")
        value = json.loads(
            text.decode(), parse_int=_whole, parse_float=_finite, parse_constant=_finite
        )
        if _depth(value) > _DEEPEST:
            raise ValueError(f"nested deeper than {_DEEPEST}")
        if shape is dict and not isinstance(value, dict):
            raise ValueError(f"holds no JSON object, but a {type(value).__name__}")
        return msgspec.convert(value, shape)
    except (ValueError, RecursionError) as error:  # of JSON, UTF-8 and msgspec
        raise InputError(f"{name}: not a readable JSON file ({error})") from error


def _finite(digits: str) -> float:
    if not math.isfinite(number := float(digits)):
        raise ValueError(f"{digits[:40]} is no finite number")
    return number


def _whole(digits: str) -> int:
    if len(digits) > _DIGITS:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def _depth(value: Any) -> int:
    """How deep lists and objects are nested."""
    depth, level = 0, [value]
    while level := [item for item in level if isinstance(item, dict | list)]:
        level = [item for of in level for item in (of.values() if isinstance(of, dict) else of)]
        depth += 1
    return depth
