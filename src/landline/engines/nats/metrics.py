"""What passes over the bus between processes, for Prometheus; read from its counters when scraped."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector, CollectorRegistry

from landline.engines.nats.bus import NatsBus


class BusMetrics(Collector):
    """`landline_bus_*`: published, heard, dropped, connections made, and whether there is one now."""

    def __init__(self, registry: CollectorRegistry, bus: NatsBus) -> None:
        self._bus = bus
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        figures = self._bus.figures
        for name, told, value in (
            ("published", "News sent to other processes.", figures.published),
            ("heard", "News heard from other processes.", figures.heard),
            ("dropped", "News that was not sent, or not taken, in time.", self._bus.dropped),
            ("connections", "Connections made to a NATS server.", figures.connections),
        ):
            counter = CounterMetricFamily(f"landline_bus_{name}", told)
            counter.add_metric([], value)
            yield counter
        yield GaugeMetricFamily(
            "landline_bus_connected", "Whether other processes are reached.", value=float(self._bus.together)
        )
