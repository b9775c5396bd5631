"""Exports the states of all machines to Prometheus."""

from collections.abc import Iterator

from prometheus_client import (
    CollectorRegistry,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from asd_jax.service.service import Service

MICROPHONE = ("starting", "listening", "silent", "lost", "ended")
_GAUGES = {
    "score": "anomaly score of the last window",
    "threshold": "score above which a window counts towards an alarm",
    "alarm": "whether an alarm is on",
    "time": "end of the last window that was scored, Unix time",
    "unwritten": "entries that wait for the disk",
}
_COUNTERS = {"windows": "windows scored", "dropped": "windows dropped, as scoring fell behind"}


class Metrics:
    """A collector of prometheus_client, which asks for the states when it is read."""

    def __init__(self, service: Service):
        self._service = service
        # The service has its own registry, because the global one keeps collectors of services that
        # have ended.
        self.registry = CollectorRegistry()
        self.registry.register(self)  # pyright: ignore[reportArgumentType] has collect()
        PlatformCollector(registry=self.registry)
        ProcessCollector(registry=self.registry)

    def text(self) -> bytes:
        """Returns the metrics in Prometheus's text format."""
        return generate_latest(self.registry)

    def collect(self) -> Iterator:
        """Yields the families of metrics."""
        states = self._service.states()
        for names, family in ((_GAUGES, GaugeMetricFamily), (_COUNTERS, CounterMetricFamily)):
            for name, meaning in names.items():
                metric = family(f"asd_{name}", meaning, labels=["machine"])
                for state in states:
                    # Before the first window there is no score, and a gap says that better than 0.
                    if state[name] is not None:
                        metric.add_metric([state["machine"]], float(state[name]))
                yield metric
        microphones = GaugeMetricFamily(
            "asd_microphone", "1 at the present state", labels=["machine", "state"]
        )
        for state in states:
            # Prometheus has no texts, so each state is a series, of which one is 1.
            for kind in MICROPHONE:
                microphones.add_metric([state["machine"], kind], float(state["microphone"] == kind))
        yield microphones
        undelivered = GaugeMetricFamily(
            "asd_undelivered_events", "events that wait for a receiver", labels=["receiver"]
        )
        for receiver in self._service.receivers():
            if receiver["waiting"] is not None:
                undelivered.add_metric([receiver["receiver"]], receiver["waiting"])
        yield undelivered
