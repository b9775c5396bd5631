"""Gives the states of all machines to Prometheus."""

from collections.abc import Callable, Iterable

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

    def __init__(self, states: Callable[[], Iterable[dict]]):
        from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector

        self._states = states
        self.registry = CollectorRegistry()
        self.registry.register(self)  # pyright: ignore[reportArgumentType] has collect()
        PlatformCollector(registry=self.registry)
        ProcessCollector(registry=self.registry)

    def collect(self):
        """Yields the families of metrics."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        states = list(self._states())
        for names, family, prefix in (
            (_GAUGES, GaugeMetricFamily, "asd_"),
            (_COUNTERS, CounterMetricFamily, "asd_"),
        ):
            for name, meaning in names.items():
                made = family(prefix + name, meaning, labels=["machine"])
                for state in states:
                    if state[name] is not None:
                        made.add_metric([state["machine"]], float(state[name]))
                yield made
        made = GaugeMetricFamily(
            "asd_microphone", "1 at the present state", labels=["machine", "state"]
        )
        for state in states:
            for kind in MICROPHONE:
                made.add_metric([state["machine"], kind], float(state["microphone"] == kind))
        yield made

    def text(self) -> bytes:
        """Returns the metrics in Prometheus's text format."""
        from prometheus_client import generate_latest

        return generate_latest(self.registry)
