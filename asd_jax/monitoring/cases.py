"""The record of alarms, in the words of ISA-18.2: raised, acknowledged, cleared, closed.

    raise_case(store, "pump 3", Occurrence(started=time, peak=4.2, threshold=2.0, message="..."))
    clear_case(store, "pump 3", ended=time, peak=5.1)
    acknowledge(store, case.id, time, by="Ann", note="bearing ordered")
    for case in announce_due(store, time, silent=quiet_hours.at(time)):
        notify(case)

A machine has at most one open case. A case is open until it is both cleared and acknowledged; if
the alarm comes back before, it is a further occurrence of the same case. A case is announced once:
when it is raised, or, if the machine is shelved (shelving.py) or it is a quiet hour then, when that
ends and the alarm is still on and not acknowledged. Every change is also an event of the store:
alarm_raised, alarm_announced, alarm_acknowledged, alarm_cleared, alarm_closed.
"""

import dataclasses
from collections.abc import Callable

from asd_jax.monitoring.shelving import LONGEST_SHELF
from asd_jax.monitoring.store import Store
from asd_jax.runtime.errors import InputError


@dataclasses.dataclass(frozen=True)
class Occurrence:
    """One time that an alarm was on.

    Attributes:
        started: start of the sound that raised it, Unix time.
        peak: highest score so far.
        threshold: threshold of the score.
        message: description in words.
        evidence: folder with sound, picture and verdict; "" if there is none.
        ended: end of the sound above the release score; None while the alarm is on.
    """

    started: float
    peak: float
    threshold: float
    message: str = ""
    evidence: str = ""
    ended: float | None = None


@dataclasses.dataclass(frozen=True)
class Case:
    """An alarm of a machine from its raising to its closing; times are Unix times or None.

    Attributes:
        id: number of the case.
        machine: name of the machine.
        raised: when it was raised.
        cleared: when the sound was normal again; None while the alarm is on.
        acknowledged: when somebody acknowledged it.
        acknowledged_by: who did.
        announced: when it was announced.
        closed: when it was both cleared and acknowledged.
        note: what was noted at the acknowledgement.
        shelved_until: until when the machine is shelved.
        occurrences: each time that the alarm was on, oldest first.
    """

    id: int
    machine: str
    raised: float
    cleared: float | None
    acknowledged: float | None
    acknowledged_by: str
    announced: float | None
    closed: float | None
    note: str
    shelved_until: float | None
    occurrences: tuple[Occurrence, ...]

    def state(self, now: float) -> str:
        """Returns shelved, raised, acknowledged, cleared (not acknowledged) or closed."""
        if self.closed is not None:
            return "closed"
        # A clock that was set back by years must not shelve a machine for years.
        if self.shelved_until is not None and 0 < self.shelved_until - now <= LONGEST_SHELF:
            return "shelved"
        # Checked after the shelving, since nothing of a shelved machine is announced.
        if self.cleared is not None:
            return "cleared"
        return "raised" if self.acknowledged is None else "acknowledged"

    @property
    def peak(self) -> float:
        """Returns the highest score of all occurrences."""
        return max(occurrence.peak for occurrence in self.occurrences)


def cases(
    store: Store, machine: str | None = None, *, only_open: bool = False, most: int = 1000
) -> list[Case]:
    """Returns up to `most` cases, newest first."""
    rows = store.query(
        "SELECT c.*, m.name, m.shelved_until FROM cases c JOIN machines m ON m.id = c.machine "
        "WHERE (? IS NULL OR m.name = ?) AND (NOT ? OR closed IS NULL) ORDER BY c.id DESC LIMIT ?",
        machine,
        machine,
        only_open,
        most,
    )
    return [_case(store, row) for row in rows]


def case_of(store: Store, number: int) -> Case:
    """Returns a case by its number.

    Raises:
        InputError: there is none of this number.
    """
    rows = store.query(
        "SELECT c.*, m.name, m.shelved_until FROM cases c JOIN machines m ON m.id = c.machine "
        "WHERE c.id = ?",
        number,
    )
    if not rows:
        raise InputError(f"no case {number}; python -m asd_jax.detect alarms list shows them")
    return _case(store, rows[0])


def open_case(store: Store, machine: str) -> Case | None:
    """Returns the open case of a machine, or None."""
    # There is at most one, which an index of the table guarantees.
    open_cases = cases(store, machine, only_open=True)
    return open_cases[0] if open_cases else None


def raise_case(store: Store, machine: str, occurrence: Occurrence) -> Case:
    """Records that an alarm is on: a new case, or a further occurrence of the open one.

    It is not announced yet: see `announce_due`.
    """
    with store.transaction() as execute:
        case = open_case(store, machine)
        if case is None:
            number = execute(
                "INSERT INTO cases (machine, raised) VALUES (?, ?)",
                (store.number(machine), occurrence.started),
            ).lastrowid
        else:
            number = case.id
            execute("UPDATE cases SET cleared = NULL WHERE id = ?", (number,))
            # An occurrence that a killed process left open gets an end.
            execute(
                "UPDATE occurrences SET ended = started WHERE case_id = ? AND ended IS NULL",
                (number,),
            )
        values = dataclasses.astuple(occurrence)
        execute(
            "INSERT INTO occurrences (case_id, started, peak, threshold, message, evidence, ended) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (number, *values),
        )
        store.event(
            machine,
            occurrence.started,
            "alarm_raised",
            occurrence.message,
            case=number,
            peak=occurrence.peak,
            threshold=occurrence.threshold,
            evidence=occurrence.evidence,
        )
        return case_of(store, number)


def clear_case(
    store: Store, machine: str, ended: float, peak: float, seconds: float | None = None
) -> Case | None:
    """Records that the sound is normal again; an acknowledged case is closed by it.

    Returns None if there is no open case.

    Args:
        store: the store.
        machine: name of the machine.
        ended: end of the sound above the release score.
        peak: highest score of the alarm.
        seconds: length of the alarm in sound; by default the difference of its times, which a clock
            that was set in between makes wrong.
    """
    with store.transaction() as execute:
        case = open_case(store, machine)
        if case is None:
            return None
        started = case.occurrences[-1].started
        seconds = max(ended - started, 0.0) if seconds is None else seconds
        # The record stays in order, even if the clock was set back during the alarm.
        ended = max(ended, started)
        execute("UPDATE cases SET cleared = ? WHERE id = ?", (ended, case.id))
        execute(
            "UPDATE occurrences SET ended = ?, peak = max(peak, ?) "
            "WHERE case_id = ? AND ended IS NULL",
            (ended, peak, case.id),
        )
        store.event(
            machine, ended, "alarm_cleared", f"after {seconds:.0f} s", case=case.id, peak=peak
        )
        # The case is read again, because the one above is not cleared yet.
        _close(store, execute, case_of(store, case.id), ended)
        return case_of(store, case.id)


def acknowledge(store: Store, number: int, time: float, by: str = "", note: str = "") -> Case:
    """Records that somebody acknowledges a case; a cleared case is closed by it.

    Raises:
        InputError: there is no such case, or it is acknowledged already.
    """
    with store.transaction() as execute:
        case = case_of(store, number)
        if case.acknowledged is not None:
            raise InputError(f"case {number} is acknowledged already, by {case.acknowledged_by!r}")
        execute(
            "UPDATE cases SET acknowledged = ?, acknowledged_by = ?, note = ? WHERE id = ?",
            (time, by, note, number),
        )
        store.event(case.machine, time, "alarm_acknowledged", note, case=number, by=by)
        # The case is read again, because the one above is not acknowledged yet.
        _close(store, execute, case_of(store, number), time)
        return case_of(store, number)


def announce_due(
    store: Store, time: float, *, machine: str | None = None, silent: bool = False
) -> list[Case]:
    """Returns the cases that must be announced now, and records that they are.

    Args:
        store: the store.
        time: the present time.
        machine: only of this machine.
        silent: whether it is a quiet hour, in which nothing is announced.
    """
    if silent:
        return []
    with store.transaction() as execute:
        # Cases are marked in the transaction that finds them, so that two processes announce none
        # twice.
        due = [
            case
            for case in cases(store, machine, only_open=True)
            if case.announced is None and case.state(time) == "raised"
        ]
        for case in due:
            execute("UPDATE cases SET announced = ? WHERE id = ?", (time, case.id))
            last = case.occurrences[-1]
            store.event(
                case.machine,
                time,
                "alarm_announced",
                last.message,
                case=case.id,
                peak=case.peak,
                threshold=last.threshold,
                evidence=last.evidence,
            )
        return due


def _close(store: Store, execute: Callable, case: Case, time: float) -> None:
    """Closes a case that is both cleared and acknowledged."""
    if case.cleared is not None and case.acknowledged is not None:
        execute("UPDATE cases SET closed = ? WHERE id = ?", (time, case.id))
        store.event(case.machine, time, "alarm_closed", "", case=case.id)


def _case(store: Store, row) -> Case:
    """Returns the case of a row, with its occurrences."""
    occurrences = store.query(
        "SELECT started, peak, threshold, message, evidence, ended FROM occurrences "
        "WHERE case_id = ? ORDER BY id",
        row["id"],
    )
    # These columns of the table are attributes of a case by the same name.
    names = ("id", "raised", "cleared", "acknowledged", "acknowledged_by", "announced", "closed")
    return Case(
        **{name: row[name] for name in (*names, "note", "shelved_until")},
        machine=row["name"],
        occurrences=tuple(Occurrence(**dict(row)) for row in occurrences),
    )
