"""Holds what one thread has read until another has scored it; a bounded queue."""

import collections
import threading
from typing import Generic, TypeVar

T = TypeVar("T")
WAITING = 8  # that may wait; each holds a window in memory


class WindowQueue(Generic[T]):
    """A bounded queue between the thread that reads a source and the one that scores.

    When it is full, a live source loses its oldest item, and the reader of files waits.

    Attributes:
        dropped: number of items that were lost.
    """

    def __init__(self, *, live: bool):
        self.live = live
        self.dropped = 0
        self._items: collections.deque[T] = collections.deque()
        self._closed = False
        self._changed = threading.Condition()

    def put(self, item: T) -> None:
        """Adds an item at the end."""
        with self._changed:
            # A live source does not wait, so the oldest window is given up.
            if self.live and len(self._items) >= WAITING:
                self._items.popleft()
                self.dropped += 1
            # The reader of files waits, so that memory holds a few windows only.
            while not self.live and not self._closed and len(self._items) >= WAITING:
                self._changed.wait()
            self._items.append(item)

    def get(self) -> T | None:
        """Returns the oldest item and removes it; None if nothing waits."""
        with self._changed:
            if not self._items:
                return None
            item = self._items.popleft()
            self._changed.notify()
            return item

    def close(self) -> None:
        """Lets readers that wait go on, since nobody scores any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
