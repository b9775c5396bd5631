"""Runs the watch: a thread for each source and each receiver, one that scores, one for the time."""

import threading
import time
import traceback
from pathlib import Path

from asd_jax.detector.detector import Detector
from asd_jax.monitoring.store import Store
from asd_jax.runtime.errors import InputError, error_context
from asd_jax.runtime.log import print_error
from asd_jax.service.configuration import Configuration
from asd_jax.service.delivery import Delivery
from asd_jax.service.mqtt import Publisher
from asd_jax.service.notifications import Notifier
from asd_jax.service.sources import FIRST_WAIT, Lost, Reader, reader_of, reconnecting
from asd_jax.service.watcher import Watcher

STATE_SECONDS = 10.0  # between two states of a machine at the broker: the heartbeat
STUCK_SECONDS = 60.0  # without a beat after which a thread counts as stuck


class Service:
    """All machines and all receivers of one configuration."""

    def __init__(self, configuration: Configuration):
        """Opens the store, the detectors and the sources.

        Raises:
            InputError: one of them cannot be used; the message names the machine.
        """
        self.configuration = configuration
        self.store = Store(configuration.state / "service.db")
        self.watchers: dict[str, Watcher] = {}
        self._readers: dict[str, Reader] = {}
        loaded: dict[str, Detector] = {}
        for machine in configuration.machines:
            with error_context(f"machine {machine.name}"):
                if machine.detector not in loaded:
                    loaded[machine.detector] = Detector.load(machine.detector)
                detector = loaded[machine.detector]
                self._readers[machine.name], live = reader_of(machine)
                self.watchers[machine.name] = Watcher(machine, detector, self.store, live=live)
        self._stop, self._work = threading.Event(), threading.Event()
        self._threads: list[threading.Thread] = []
        self._beats = {"score": time.monotonic(), "tick": time.monotonic()}
        self.publisher, self.deliveries = None, []
        if configuration.mqtt.host:
            self.publisher = Publisher(
                configuration.mqtt, configuration.password, list(self.watchers)
            )
            self.deliveries.append(Delivery("mqtt", self.store, self.publisher.event))
        for address in configuration.notify:
            notifier = Notifier(address)
            self.deliveries.append(Delivery(notifier.name, self.store, notifier.send))

    def start(self) -> None:
        """Starts all threads."""
        for name in self.watchers:
            self._thread(self._read, name)
        self._thread(self._score)
        self._thread(self._look_after)
        if self.publisher:
            self.publisher.start()
        for delivery in self.deliveries:
            delivery.start()

    def end(self) -> None:
        """Stops all threads and closes the store."""
        self._stop.set()
        self._work.set()
        for watcher in self.watchers.values():
            watcher.closed = True
        for delivery in self.deliveries:
            delivery.end()
        for thread in self._threads:
            thread.join(10)
        if self.publisher:
            self.publisher.end()
        self.store.close()

    def health(self) -> tuple[bool, dict]:
        """Returns whether the service itself is alive, and in words what is wrong."""
        now = time.monotonic()
        stuck = [name for name, beat in self._beats.items() if now - beat > STUCK_SECONDS]
        full = [name for name, watcher in self.watchers.items() if watcher.unwritten]
        away = [
            name for name, watcher in self.watchers.items() if watcher.microphone != "listening"
        ]
        said = {"stuck": stuck, "not_written": full, "not_listening": away}
        return not stuck, {"status": "stuck" if stuck else "ok", **said}

    def states(self) -> list[dict]:
        """Returns the states of all machines."""
        return [watcher.state() for watcher in self.watchers.values()]

    def _thread(self, function, *arguments) -> None:
        thread = threading.Thread(target=function, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _read(self, name: str) -> None:
        watcher, read = self.watchers[name], self._readers[name]

        def guarded(stop):
            try:
                yield from read(stop)
            except InputError as error:
                raise Lost(str(error)) from error
            except (Lost, GeneratorExit):
                raise
            # A fault of one source must not end the watch over the others.
            except Exception as error:
                print_error(traceback.format_exc())
                raise Lost(f"{type(error).__name__}: {error}") from error

        for item in reconnecting(guarded, self._stop, first_wait=FIRST_WAIT):
            watcher.take(item)
            self._work.set()

    def _score(self) -> None:
        import numpy as np

        # Compiling now, while the first window is still being recorded, avoids a delay.
        for detector in {id(w.detector): w.detector for w in self.watchers.values()}.values():
            seconds, rate = detector.settings.window_seconds, detector.recorded_rate
            noise = np.random.default_rng(0).normal(0, 0.01, round(seconds * rate))
            detector.examine(noise.astype(np.float32), rate)
            self._beats["score"] = time.monotonic()
        while not self._stop.is_set():
            self._work.wait(1.0)
            self._work.clear()
            self._beats["score"] = time.monotonic()
            # One window of each machine in turn, so that none holds up the others.
            while any([self._scored(watcher) for watcher in self.watchers.values()]):
                self._beats["score"] = time.monotonic()

    def _scored(self, watcher: Watcher) -> bool:
        if self._stop.is_set():
            return False
        try:
            return watcher.score_next()
        except Exception as error:  # of one window: the next one is scored all the same
            print_error(traceback.format_exc())
            watcher.note("error", f"a window was not scored ({type(error).__name__}: {error})")
            return True

    def _look_after(self) -> None:
        told: dict[str, tuple] = {}
        since = 0.0
        while not self._stop.wait(1.0):
            now = self._beats["tick"] = time.monotonic()
            beat = now - since >= STATE_SECONDS
            since = now if beat else since
            for name, watcher in self.watchers.items():
                watcher.tick()
                state = watcher.state()
                change = (state["microphone"], state["alarm"], state["windows"])
                if self.publisher and (beat or told.get(name) != change):
                    self.publisher.state(state)
                told[name] = change


def compiled_programs(folder: Path) -> None:
    """Makes JAX keep compiled programs in a folder, so that a restart takes seconds."""
    import jax

    folder.mkdir(parents=True, exist_ok=True)
    if not jax.config.jax_compilation_cache_dir:  # pyright: ignore[reportAttributeAccessIssue]
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
