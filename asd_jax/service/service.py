"""Runs the watch: a thread for each source and each receiver, one that scores, one for the time."""

import threading
import time
import traceback
from collections.abc import Callable

import numpy as np

from asd_jax.detector.detector import Detector
from asd_jax.monitoring.store import Store
from asd_jax.runtime.errors import InputError, error_context
from asd_jax.runtime.log import print_error
from asd_jax.service.configuration import Configuration
from asd_jax.service.delivery import Delivery
from asd_jax.service.evidence import EvidenceKeeper
from asd_jax.service.mqtt import Publisher
from asd_jax.service.notifications import Notifier
from asd_jax.service.readers import reader_of
from asd_jax.service.sources import Item, Reader, listen
from asd_jax.service.watcher import Watcher

STATE_SECONDS = 10.0  # between two states of a machine at the broker: the heartbeat
STUCK_SECONDS = 60.0  # without a sign of the scoring thread after which it counts as stuck


class Service:
    """All machines and all receivers of one configuration.

    Attributes:
        failure: why the service must end, "" while it works.
    """

    def __init__(self, configuration: Configuration):
        """Opens the store, the detectors and the sources.

        Raises:
            InputError: one of them cannot be used; the message names the machine.
        """
        self.configuration = configuration
        self.failure = ""
        self.store = Store(configuration.state / "service.db")
        # A connection of its own: a page that reads a week must not hold up the record.
        self.web_store = Store(self.store.path)
        self.evidence = EvidenceKeeper(configuration.state.absolute() / "evidence")
        self.watchers: dict[str, Watcher] = {}
        self._readers: dict[str, Reader] = {}
        # Machines may share a detector, which is then loaded and compiled once.
        loaded: dict[tuple[str, str], Detector] = {}
        for machine in configuration.machines:
            with error_context(f"machine {machine.name}"):
                file = machine.detector, machine.runtime
                if file not in loaded:
                    loaded[file] = Detector.load(machine.detector).with_runtime(machine.runtime)
                detector = loaded[file]
                self._readers[machine.name], live = reader_of(machine, self.store)
                self.watchers[machine.name] = Watcher(
                    machine, detector, self.store, live=live, evidence=self.evidence
                )
        self._detectors = list(loaded.values())
        self._stop = threading.Event()
        self._work = threading.Event()
        self._threads: list[threading.Thread] = []
        self._steady = time.monotonic  # a clock that nobody sets
        self._scoring_at: float | None = None  # None while programs are compiled
        self._on_failure: Callable[[], None] = lambda: None
        self.publisher: Publisher | None = None
        self.deliveries: list[Delivery] = []
        if configuration.mqtt.host:
            self.publisher = Publisher(
                configuration.mqtt, configuration.password, list(self.watchers)
            )
            # The publisher itself waits between two attempts to connect.
            send = self.publisher.event
            self.deliveries.append(Delivery("mqtt", self.store, send, longest_wait=1.0))
        for address in configuration.notify:
            notifier = Notifier(address, self.store)
            self.deliveries.append(Delivery(notifier.name, self.store, notifier.send))

    def start(self, on_failure: Callable[[], None]) -> None:
        """Starts all threads; `on_failure` is called when one of them cannot go on."""
        self._on_failure = on_failure
        for name in self.watchers:
            self._thread(self._read, name)
        self._thread(self._score)
        self._thread(self._supervise)
        self._thread(self.evidence.run, self._stop)
        if self.publisher:
            self.publisher.start()
        for delivery in self.deliveries:
            delivery.start()

    def end(self) -> None:
        """Stops all threads, then closes the store."""
        self._stop.set()
        self._work.set()
        # Readers of files may wait for room in the queue.
        for watcher in self.watchers.values():
            watcher.queue.close()
        for delivery in self.deliveries:
            delivery.end()
        # Threads that hang are daemons, and end with the process.
        for thread in self._threads:
            thread.join(10)
        if self.publisher:
            self.publisher.end()
        self.close()

    def close(self) -> None:
        """Closes the store."""
        self.web_store.close()
        self.store.close()

    def health(self) -> tuple[bool, dict]:
        """Returns (whether the service itself works, what does not, for JSON)."""
        not_listening = [
            name for name, watcher in self.watchers.items() if watcher.microphone != "listening"
        ]
        not_written = [
            name for name, watcher in self.watchers.items() if watcher.recorder.unwritten
        ]
        status = "failed" if self.failure else "ok"
        state = {
            "status": status,
            "failure": self.failure,
            "receivers": self.receivers(),
            "not_listening": not_listening,
            "not_written": not_written,
        }
        return not self.failure, state

    def states(self) -> list[dict]:
        """Returns the states of all machines."""
        return [watcher.state() for watcher in self.watchers.values()]

    def receivers(self) -> list[dict]:
        """Returns {"receiver", "waiting": number of events that it does not have yet} of each."""
        return [{"receiver": one.name, "waiting": one.waiting()} for one in self.deliveries]

    def _thread(self, function: Callable, *arguments) -> None:
        """Starts a thread whose failure ends the service."""

        def guarded() -> None:
            try:
                function(*arguments)
            # Any fault of a thread ends the service, also one that nobody thought of.
            except Exception as error:
                print_error(traceback.format_exc())
                self._fail(f"{function.__name__.strip('_')}: {type(error).__name__}: {error}")

        thread = threading.Thread(target=guarded, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _fail(self, reason: str) -> None:
        """Ends the service, so that a supervisor can start it again."""
        if not self.failure and not self._stop.is_set():
            self.failure = reason
            print_error(f"the service ends: {reason}")
            self._on_failure()

    def _read(self, name: str) -> None:
        """Hands the sound of a machine to its watcher."""

        def take(item: Item) -> None:
            self.watchers[name].take(item)
            self._work.set()

        listen(self._readers[name], take, self._stop)

    def _score(self) -> None:
        """Scores the windows that wait."""
        # Compiling now, while the first window is still being recorded, avoids a delay.
        for detector in self._detectors:
            samples = round(detector.settings.window_seconds * detector.recorded_rate)
            # Any sound compiles the programs; noise has no defects to report, as silence has.
            noise = np.random.default_rng(0).normal(0, 0.01, samples).astype(np.float32)
            detector.examine(noise, detector.recorded_rate)
        while not self._stop.is_set():
            self._work.wait(1.0)
            self._work.clear()
            # One window of each machine in turn, so that none holds up the others.
            while any([self._score_one(watcher) for watcher in self.watchers.values()]):
                pass

    def _score_one(self, watcher: Watcher) -> bool:
        """Scores a window of a machine, and returns whether one waited."""
        self._scoring_at = self._steady()
        if self._stop.is_set():
            return False
        try:
            return watcher.score_next()
        except InputError as error:  # of one window: the next one is scored all the same
            watcher.note("not_scored", str(error))
            return True

    def _supervise(self) -> None:
        """Ticks the watchers once a second, publishes states, and notices a stuck thread."""
        published: dict[str, tuple] = {}
        # The first states are published at once.
        heartbeat = float("-inf")
        while not self._stop.wait(1.0):
            now = self._steady()
            # A thread that hangs raises no error, so nothing else would notice.
            if self._scoring_at is not None and now - self._scoring_at > STUCK_SECONDS:
                self._fail(f"no window was scored for {STUCK_SECONDS:.0f} s")
            due = now - heartbeat >= STATE_SECONDS
            heartbeat = now if due else heartbeat
            for name, watcher in self.watchers.items():
                watcher.tick()
                state = watcher.state()
                # A change is published at once, all else with the heartbeat.
                change = (state["microphone"], state["alarm"], state["windows"])
                if self.publisher and (due or published.get(name) != change):
                    self.publisher.state(state)
                published[name] = change
