"""What the guard blocked, for Prometheus; read from its counters when scraped."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector, CollectorRegistry

from landline.services.sms.guard import Guard


class GuardMetrics(Collector):
    """`landline_sms_blocked_total` by reason: `country`, `sequence`, `recipient`, `prefix`, `cap`, `spend`."""

    def __init__(self, registry: CollectorRegistry, guard: Guard) -> None:
        self._guard = guard
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        blocked = CounterMetricFamily("landline_sms_blocked", "Texts the guard did not send.", labels=["reason"])
        for reason, count in self._guard.counters().items():
            blocked.add_metric([reason], count)
        yield blocked
