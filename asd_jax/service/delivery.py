"""Delivers the events of the store in order to one receiver, each exactly once while it runs."""

import threading
from collections.abc import Callable

from asd_jax.monitoring.database import NotStored
from asd_jax.monitoring.store import Store

# seconds between two attempts
FIRST_WAIT = 0.5
LONGEST_WAIT = 60.0


class Delivery:
    """A thread that hands each event to a receiver and then moves the receiver's mark.

    The queue is the store itself, on disk: while the receiver is away its mark stays, and events
    collect behind it. After a kill between delivery and mark, one event comes again with the same
    id; none is lost.
    """

    def __init__(
        self,
        name: str,
        store: Store,
        send: Callable[[dict, threading.Event], bool],
        *,
        longest_wait: float = LONGEST_WAIT,
    ):
        """Makes the delivery to one receiver, which `start` begins.

        Args:
            name: of the receiver, unique in the store.
            store: the store of the events.
            send: returns whether the receiver has an event; it should return soon once the
                threading.Event is set.
            longest_wait: between two attempts, in seconds.

        Raises:
            NotStored: the store cannot be written.
        """
        self.name = name
        self.store = store
        self.send = send
        self.longest_wait = longest_wait
        self.stop = threading.Event()
        # The thread is a daemon, because a receiver that does not answer must not keep the process
        # alive.
        self.thread = threading.Thread(target=self._run, daemon=True)
        # A new receiver gets what happens from now on, not the events of past months.
        if not store.query("SELECT 1 FROM marks WHERE name = ?", name):
            store.set_mark(name, self._latest())

    def start(self) -> None:
        """Starts the thread."""
        self.thread.start()

    def end(self) -> None:
        """Ends the thread after the event that it is delivering."""
        self.stop.set()
        self.thread.join(10)

    def waiting(self) -> int | None:
        """Returns the number of events that the receiver does not have yet; None if unknown."""
        try:
            return self.store.query(
                "SELECT count(*) AS count FROM events WHERE id > ?", self.store.mark(self.name)
            )[0]["count"]
        except NotStored:
            return None

    def _latest(self) -> int:
        """Returns the id of the latest event, 0 if there is none."""
        return self.store.query("SELECT coalesce(max(id), 0) AS id FROM events")[0]["id"]

    def _run(self) -> None:
        """Delivers until the end; waits longer after each failure."""
        wait = FIRST_WAIT
        while not self.stop.is_set():
            if self.deliver():
                wait = FIRST_WAIT
                self.stop.wait(FIRST_WAIT)
            else:
                self.stop.wait(wait)
                # A receiver that has been away for a day is not asked every second.
                wait = min(2 * wait, self.longest_wait)

    def deliver(self) -> bool:
        """Delivers what waits, and returns whether all of it was received."""
        try:
            for event in self.store.events(after=self.store.mark(self.name)):
                # The rest stays in order behind the event that was refused.
                if self.stop.is_set() or not self.send(event, self.stop):
                    return False
                # After each event, so that a kill repeats one event at most.
                self.store.set_mark(self.name, event["id"])
        except NotStored:
            return False
        return True
