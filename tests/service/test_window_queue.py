"""Claims about the queue between the thread that reads and the one that scores."""

import threading

import pytest
from watch_service import soon

from asd_jax.service.window_queue import WAITING, WindowQueue


def taken(queue):
    return list(iter(queue.get, None))


@pytest.fixture
def reader():
    """Returns a function that puts so many items into a queue in a thread, which is returned."""

    def reader(queue, count):
        thread = threading.Thread(
            target=lambda: [queue.put(number) for number in range(count)], daemon=True
        )
        thread.start()
        thread.join(0.05)
        return thread

    return reader


def test_a_live_source_loses_the_oldest_windows_and_counts_them():
    queue = WindowQueue(live=True)
    for number in range(8):
        queue.put(number)
    assert queue.dropped == 0 and WAITING == 8
    for number in range(8, 11):
        queue.put(number)
    assert queue.dropped == 3 and taken(queue) == list(range(3, 11))
    assert queue.get() is None


def test_a_reader_of_files_waits_for_room_and_loses_nothing(reader):
    queue = WindowQueue(live=False)
    thread = reader(queue, WAITING)
    assert not thread.is_alive()  # there was room for all
    thread = reader(queue, 2)
    found = []
    for _ in range(2):
        assert thread.is_alive()
        found.append(soon(queue.get))
        thread.join(0.05)
    thread.join(5)
    assert not thread.is_alive()
    assert queue.dropped == 0 and found + taken(queue) == [*range(WAITING), 0, 1]


def test_a_queue_that_is_closed_lets_its_reader_end(reader):
    queue = WindowQueue(live=False)
    thread = reader(queue, WAITING + 2)
    assert thread.is_alive()
    soon(queue.close)
    thread.join(5)
    assert not thread.is_alive()
