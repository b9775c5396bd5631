"""Shelves a machine, in the words of ISA-18.2: its alarms are recorded but not announced.

    shelve(store, "pump 3", time, until=time + 8 * 3600, by="Ann")
    unshelve(store, "pump 3", time + 3600, by="Ann")

A shelving ends by itself. Each change is also an event of the store: alarm_shelved,
alarm_unshelved.
"""

from asd_jax.monitoring.store import DAY, Store
from asd_jax.runtime.errors import InputError

LONGEST_SHELF = 30 * DAY  # seconds; an alarm that is shelved for longer would be forgotten


def shelve(store: Store, machine: str, time: float, until: float, by: str = "") -> None:
    """Announces no alarm of a machine for a limited time; they are recorded all the same.

    Raises:
        InputError: the store knows no such machine, or the time is in the past or too long.
    """
    if machine not in store.machines():
        known = ", ".join(store.machines()) or "none"
        raise InputError(f"no machine {machine!r} in {store.path}; it knows: {known}")
    # The condition is written so that NaN is refused, too.
    if not 0 < until - time <= LONGEST_SHELF:
        raise InputError(
            f"shelved for {(until - time) / 3600:g} h: must be above 0 and at most "
            f"{LONGEST_SHELF / 3600:g} h"
        )
    with store.transaction() as execute:
        execute(
            "UPDATE machines SET shelved_until = ?, shelved_by = ? WHERE name = ?",
            (until, by, machine),
        )
        store.event(machine, time, "alarm_shelved", "", until=until, by=by)


def unshelve(store: Store, machine: str, time: float, by: str = "") -> None:
    """Ends the shelving of a machine before its time."""
    with store.transaction() as execute:
        changed = execute(
            "UPDATE machines SET shelved_until = NULL, shelved_by = '' "
            "WHERE name = ? AND shelved_until IS NOT NULL",
            (machine,),
        ).rowcount
        # A request that changed nothing is no event.
        if changed:
            store.event(machine, time, "alarm_unshelved", "", by=by)


def move_shelving(store: Store, machine: str, seconds: float) -> None:
    """Moves the end of a shelving with a clock that was set, so that it lasts as long as meant."""
    with store.transaction() as execute:
        execute(
            "UPDATE machines SET shelved_until = shelved_until + ? WHERE name = ?",
            (seconds, machine),
        )
