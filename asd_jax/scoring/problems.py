"""Collects the problems of a submission, so that one mistake is not reported once per clip."""

from pathlib import Path
from typing import NamedTuple

MOST_PLACES = 4  # places at which a kind of mistake is shown
FEW = 3  # mistakes of a kind in one place that are still shown each


class Problem(NamedTuple):
    """One problem: its kind, the file or machine it is found in, and the line of text."""

    kind: str
    place: str
    text: str


class Problems(list[Problem]):
    """The problems found so far."""

    def add(self, kind: str, place: str | Path, text: str) -> None:
        """Adds a problem; problems of one kind are reported together."""
        self.append(Problem(kind, str(place), text))

    def lines(self) -> list[str]:
        """Returns the problems by kind and place, at most MOST_PLACES places for a kind.

        More than FEW problems in one place are one line: the first, and the number of the others.
        """
        kinds: dict[str, dict[str, list[str]]] = {}
        for kind, place, text in self:
            kinds.setdefault(kind, {}).setdefault(place, []).append(text)
        lines = []
        for places in kinds.values():
            for here in list(places.values())[:MOST_PLACES]:
                first, *more = here
                lines += here if len(here) <= FEW else [f"{first} (and {len(more)} more like it)"]
            # One mistake in a hundred files is one problem.
            if hidden := list(places.values())[MOST_PLACES:]:
                count = sum(map(len, hidden))
                lines.append(f"... and {count} more like the last, in {len(hidden)} other places")
        return lines
