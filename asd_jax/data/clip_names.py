"""Parses the names of recordings by the grammars of DCASE Task 2 from 2020 to 2026."""

import re
from typing import NamedTuple

# The grammar of 2021 and later. RoboticArm (2024) lacks the token of the split, and attribute
# strings contain underscores.
_LABELLED = re.compile(
    r"section_(?P<section>\d+)_(?P<domain>source|target)_(?:(?P<split>train|test)_)?"
    r"(?P<label>normal|anomaly)_(?P<number>\d+)(?:_(?P<attribute>.*))?\.\w+"
)
# Evaluation clips as released have a section and a number, and in 2021 also the domain.
_RELEASED = re.compile(
    r"section_(?P<section>\d+)_(?:(?P<domain>source|target)_)?(?:test_)?\d+\.\w+"
)
_SUPPLEMENTAL = re.compile(
    r"section_(?P<section>\d+)_(?P<attribute>[a-zA-Z]+)_\d+_?.*\.\w+"
)  # the grammar of 2025
_ID = re.compile(r"(?:(?P<label>normal|anomaly)_)?id_(?P<section>\d+)_\d+\.\w+")  # 2020
_LABELS = {"normal": 0, "anomaly": 1}


class NameFields(NamedTuple):
    """The information in a file name: "unknown", None or "" where the name does not state it."""

    section: str
    domain: str = "unknown"
    split: str | None = None
    label: int | None = None
    attribute: str = ""


def parse_name(name: str, *, supplemental: bool = False) -> NameFields | None:
    """Returns the information in a file name, or None if the name follows no DCASE grammar.

    Args:
        name: The file name without folders.
        supplemental: Whether to accept the grammar of the supplemental clips of 2025 too.
    """
    if match := _LABELLED.fullmatch(name):
        attribute = match["attribute"] or ""
        return NameFields(
            match["section"],
            match["domain"],
            match["split"],
            _LABELS[match["label"]],
            # The challenge's word for a concealed attribute.
            "" if attribute == "noAttribute" else attribute,
        )
    if match := _ID.fullmatch(name):  # the edition of 2020 has one domain
        return NameFields(match["section"], "source", None, _LABELS.get(match["label"]))
    if supplemental and (match := _SUPPLEMENTAL.fullmatch(name)):
        return NameFields(match["section"], label=-1, attribute=match["attribute"])
    if match := _RELEASED.fullmatch(name):
        return NameFields(match["section"], match["domain"] or "unknown")
    return None
