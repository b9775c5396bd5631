"""Delivers the events of the store in order to one receiver, each exactly once while it runs."""

import threading
from collections.abc import Callable

from asd_jax.monitoring.store import NotStored, Store

FIRST_WAIT, LONGEST_WAIT = 0.5, 60.0  # seconds between two attempts


class Delivery:
    """A thread that hands each event to a receiver and then moves the receiver's mark.

    The queue is the store itself, on disk: while the receiver is away its mark stays, and events
    collect behind it. After a kill between delivery and mark, one event comes again with the same
    id; none is lost.
    """

    def __init__(self, name: str, store: Store, send: Callable[[dict, threading.Event], bool]):
        """Takes the receiver's name and a function that returns whether it received an event."""
        self.name, self.store, self.send = name, store, send
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self.thread.start()

    def end(self) -> None:
        """Ends the thread after the event that it is delivering."""
        self.stop.set()
        self.thread.join(10)

    def _run(self) -> None:
        wait = FIRST_WAIT
        while not self.stop.is_set():
            if self.deliver():
                wait = FIRST_WAIT
                self.stop.wait(FIRST_WAIT)
            else:
                self.stop.wait(wait)
                wait = min(2 * wait, LONGEST_WAIT)

    def deliver(self) -> bool:
        """Delivers what waits, and returns whether all of it was received."""
        try:
            for event in self.store.events(after=self.store.mark(self.name)):
                if self.stop.is_set() or not self.send(event, self.stop):
                    return False
                self.store.set_mark(self.name, event["id"])
        except NotStored:
            return False
        return True
