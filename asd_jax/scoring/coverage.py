"""States which machines of an edition a score covers.

Scores development and evaluation machines separately.
"""

from collections.abc import Iterable

from asd_jax.data.dcase import edition, set_of
from asd_jax.scoring.official_score import Machines, summary

_SETS = {"dev": "development", "evaluation": "evaluation"}


def scores_by_set(machines: Machines, year: int) -> dict[str, float]:
    """Returns the official score of the development and of the evaluation machines.

    The result is {} unless both sets are present: one score over both means nothing to the
    challenge.
    """
    parts: dict[str, Machines] = {}
    for machine, sections in machines.items():
        for section, values in sections.items():
            if name := set_of(machine, section, year):
                parts.setdefault(name, {}).setdefault(machine, {})[section] = values
    if len(parts) < 2:
        return {}
    return {name: summary(parts[name], year).official_score for name in sorted(parts)}


def coverage_notes(sections: Iterable[tuple[str, str]], year: int) -> list[str]:
    """Returns a note on each set of the edition of which some (machine, section) pairs are absent.

    A set of which no section is present has no note.
    """
    found = set(sections)
    notes = []
    of = edition(year)
    for name, machines in (("dev", of.dev), ("evaluation", of.evaluation)):
        wanted = [(machine, s) for machine, all_of_it in machines.items() for s in all_of_it]
        missing = [place for place in wanted if place not in found]
        if not missing or len(missing) == len(wanted):
            continue
        # Machines of one section are named without it.
        several = len(wanted) > len(machines)
        places = [f"{machine} {section}" if several else machine for machine, section in missing]
        notes.append(
            f"scores of {len(wanted) - len(missing)} of the {len(wanted)} {_SETS[name]} "
            f"{'sections' if several else 'machines'} of DCASE {year}, so this is not the "
            f"challenge's score; missing: {', '.join(places)}"
        )
    return notes
