"""What goes to the connections of this process, counted as it goes and shown to Prometheus when scraped."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector, CollectorRegistry


@dataclass(slots=True)
class Figures:
    """Counters of one process since its start."""

    frames: int = 0
    """Notifications given to connections, one for each."""
    frame_bytes: int = 0
    slow_readers: int = 0
    """Connections that were cut because too much waited for them."""
    reconnects: int = 0
    """Clients that were told to open another connection, at shutdown."""


class ConnectionMetrics(Collector):
    """`landline_chat_connections` by kind (the feed's among them), and the counters `landline_chat_*`."""

    def __init__(self, registry: CollectorRegistry, figures: Figures, connections: Callable[[], Mapping[str, int]]):
        """`connections`: how many there are of each kind."""
        self._figures = figures
        self._connections = connections
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        gauge = GaugeMetricFamily("landline_chat_connections", "Open real-time connections of users.", labels=["kind"])
        for kind, number in self._connections().items():
            gauge.add_metric([kind], number)
        yield gauge
        figures = self._figures
        for name, told, value in (
            ("frames", "Notifications given to connections.", figures.frames),
            ("frame_bytes", "Bytes of these.", figures.frame_bytes),
            ("slow_readers", "Connections cut because their clients read too slowly.", figures.slow_readers),
            ("reconnects", "Clients told to open another connection because this process stops.", figures.reconnects),
        ):
            counter = CounterMetricFamily(f"landline_chat_{name}", told)
            counter.add_metric([], value)
            yield counter
