"""Claims about the queue between the thread that reads and the one that scores."""

import threading

from asd_jax.service.window_queue import WAITING, WindowQueue


def taken(queue):
    return list(iter(queue.get, None))


def test_a_live_source_loses_the_oldest_windows_and_counts_them():
    queue = WindowQueue(live=True)
    for number in range(WAITING + 3):
        queue.put(number)
    assert queue.dropped == 3 and taken(queue) == list(range(3, WAITING + 3))
    assert queue.get() is None


def test_a_reader_of_files_waits_and_loses_nothing():
    queue = WindowQueue(live=False)
    thread = threading.Thread(target=lambda: [queue.put(n) for n in range(WAITING + 2)])
    thread.start()
    thread.join(0.05)
    assert thread.is_alive()  # two windows too many
    found = []
    while thread.is_alive() or len(found) < WAITING + 2:
        item = queue.get()
        found += [] if item is None else [item]
    assert queue.dropped == 0 and found == list(range(WAITING + 2))


def test_a_queue_that_is_closed_lets_its_reader_end():
    queue = WindowQueue(live=False)
    thread = threading.Thread(target=lambda: [queue.put(n) for n in range(WAITING + 1)])
    thread.start()
    thread.join(0.05)
    queue.close()
    thread.join(0.5)
    assert not thread.is_alive()
