"""What the name of a recording says, by the grammars of DCASE Task 2 from 2020 to 2026."""

import re
from typing import NamedTuple

# 2021 and later. RoboticArm (2024) lacks the split's token; attribute strings contain underscores.
_LABELLED = re.compile(
    r"section_(?P<section>\d+)_(?P<domain>source|target)_(?:(?P<split>train|test)_)?"
    r"(?P<label>normal|anomaly)_(?P<number>\d+)(?:_(?P<attribute>.*))?\.\w+"
)
# Evaluation clips as released: section and number, in 2021 with the domain.
_RELEASED = re.compile(
    r"section_(?P<section>\d+)_(?:(?P<domain>source|target)_)?(?:test_)?\d+\.\w+"
)
_SUPPLEMENTAL = re.compile(
    r"section_(?P<section>\d+)_(?P<attribute>[a-zA-Z]+)_\d+_?.*\.\w+"
)  # 2025
_ID = re.compile(r"(?:(?P<label>normal|anomaly)_)?id_(?P<section>\d+)_\d+\.\w+")  # 2020
_LABELS = {"normal": 0, "anomaly": 1}


class Said(NamedTuple):
    """What a name says: "unknown", None and "" where it says nothing."""

    section: str
    domain: str = "unknown"
    split: str | None = None
    label: int | None = None
    attribute: str = ""


def said_by_name(name: str, *, supplemental: bool = False) -> Said | None:
    """A file's name -> what it says; None for a name of one's own.

    Args:
        name: without folders.
        supplemental: whether the grammar of the supplemental clips of 2025 holds too.
    """
    if match := _LABELLED.fullmatch(name):
        attribute = match["attribute"] or ""
        return Said(
            match["section"],
            match["domain"],
            match["split"],
            _LABELS[match["label"]],
            "" if attribute == "noAttribute" else attribute,
        )
    if match := _ID.fullmatch(name):  # 2020 knows one domain
        return Said(match["section"], "source", None, _LABELS.get(match["label"]))
    if supplemental and (match := _SUPPLEMENTAL.fullmatch(name)):
        return Said(match["section"], label=-1, attribute=match["attribute"])
    if match := _RELEASED.fullmatch(name):
        return Said(match["section"], match["domain"] or "unknown")
    return None
