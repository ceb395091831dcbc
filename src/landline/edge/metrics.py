"""Counts and latencies of requests for Prometheus. Kept in plain lists and turned into metrics only when scraped, since
a labelled prometheus-client counter costs more than the rest of the edge's bookkeeping together."""

from bisect import bisect_left
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector, CollectorRegistry

from landline.edge.room import Room

BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class RequestMetrics(Collector):
    """Requests by operation and status, and their latency by operation. For one event loop's thread."""

    def __init__(self, registry: CollectorRegistry, *, prefix: str = "landline") -> None:
        self._prefix = prefix
        self._counts: dict[tuple[str, int], int] = {}
        self._latencies: dict[str, list[int]] = {}
        self._seconds: dict[str, float] = {}
        self.in_flight = 0
        self.room: Room | None = None
        registry.register(self)

    def observe(self, operation: str, status: int, seconds: float) -> None:
        """One request of `operation` was answered with `status` after `seconds`."""
        key = (operation, status)
        self._counts[key] = self._counts.get(key, 0) + 1
        buckets = self._latencies.get(operation)
        if buckets is None:
            buckets = self._latencies[operation] = [0] * (len(BUCKETS_S) + 1)
            self._seconds[operation] = 0.0
        buckets[bisect_left(BUCKETS_S, seconds)] += 1
        self._seconds[operation] += seconds

    def collect(self) -> Iterator[Metric]:
        counts = CounterMetricFamily(
            f"{self._prefix}_http_requests", "HTTP requests answered.", labels=["operation", "status"]
        )
        for (operation, status), count in list(self._counts.items()):
            counts.add_metric([operation, str(status)], count)
        yield counts
        latencies = HistogramMetricFamily(
            f"{self._prefix}_http_request_seconds",
            "Seconds from the request's headers to its answer.",
            labels=["operation"],
        )
        for operation, buckets in list(self._latencies.items()):
            latencies.add_metric([operation], _cumulative(buckets), self._seconds[operation])
        yield latencies
        yield GaugeMetricFamily(
            f"{self._prefix}_http_requests_in_flight", "HTTP requests being handled.", value=self.in_flight
        )
        if self.room is not None:
            yield from self._figures(self.room)

    def _figures(self, room: Room) -> Iterator[Metric]:
        prefix = f"{self._prefix}_http"
        yield GaugeMetricFamily(f"{prefix}_connections", "Open connections.", value=room.connections)
        yield GaugeMetricFamily(
            f"{prefix}_held_bytes", "Bytes of requests being read or handled, small ones apart.", value=room.held_bytes
        )
        refused = CounterMetricFamily(f"{prefix}_no_room", "What there was no room for.", labels=["what"])
        refused.add_metric(["request"], room.refused_requests)
        refused.add_metric(["connection"], room.refused_connections)
        refused.add_metric(["connection_cut"], room.cut_connections)
        refused.add_metric(["answer"], room.cut_readers)
        yield refused
        yield GaugeMetricFamily(
            f"{prefix}_unread_bytes", "Bytes of answers whose clients read slowly.", value=room.unread_bytes
        )


def _cumulative(buckets: list[int]) -> list[tuple[str, float]]:
    total = 0
    found: list[tuple[str, float]] = []
    for bound, count in zip((*map(str, BUCKETS_S), "+Inf"), buckets, strict=True):
        total += count
        found.append((bound, float(total)))
    return found
