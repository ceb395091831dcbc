"""Figures of SMS for Prometheus: what was accepted, what became of it, and how the carriers are; read when scraped."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector, CollectorRegistry

from landline.core import money
from landline.ports.sms_carrier import SmsCarrier
from landline.services.sms.handover import HandOver


@dataclass(slots=True)
class Counts:
    """Since this process's start; counted after the commit."""

    accepted: int = 0
    segments: int = 0
    ended: Counter[int] = field(default_factory=Counter[int])
    """By ACS detail code; 2000 is delivered."""
    failed_over: int = 0
    answered_late: int = 0
    received: int = 0
    cost: int = 0
    """In millionths of the currency, of accepted messages that have a price."""
    unpriced: int = 0


class SmsMetrics(Collector):
    """`landline_sms_*`. `figures` gives a carrier's own counters by name, where it has any."""

    def __init__(
        self,
        registry: CollectorRegistry,
        counts: Counts,
        handover: HandOver,
        carriers: Mapping[str, SmsCarrier],
        figures: Callable[[SmsCarrier], Mapping[str, int]],
    ) -> None:
        self._counts = counts
        self._handover = handover
        self._carriers = carriers
        self._figures = figures
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        counts = self._counts
        yield CounterMetricFamily("landline_sms_accepted", "Messages accepted.", value=counts.accepted)
        yield CounterMetricFamily("landline_sms_segments", "Segments of accepted messages.", value=counts.segments)
        yield CounterMetricFamily("landline_sms_received", "Texts from phones.", value=counts.received)
        yield CounterMetricFamily("landline_sms_failed_over", "Hand-overs to a next carrier.", value=counts.failed_over)
        yield CounterMetricFamily(
            "landline_sms_answered_late", "Messages a carrier had after all, as it said too late.", counts.answered_late
        )
        yield CounterMetricFamily(
            "landline_sms_cost", "What accepted messages cost by carriers' prices.", value=counts.cost / money.ONE
        )
        yield CounterMetricFamily(
            "landline_sms_unpriced", "Messages accepted without a price while others have one.", value=counts.unpriced
        )
        ended = CounterMetricFamily("landline_sms_ended", "Messages that ended, by detail code.", labels=["code"])
        for code, count in sorted(counts.ended.items()):
            ended.add_metric([str(code)], count)
        yield ended
        yield GaugeMetricFamily(
            "landline_sms_in_hand", "Messages not answered by a carrier.", value=self._handover.count
        )
        yield from self._of_carriers()

    def _of_carriers(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("landline_sms_carrier_up", "Whether the carrier takes messages.", labels=["carrier"])
        own = GaugeMetricFamily(
            "landline_sms_carrier", "The carrier's own figures since its start.", labels=["carrier", "figure"]
        )
        for name, carrier in self._carriers.items():
            up.add_metric([name], int(carrier.up))
            for figure, value in self._figures(carrier).items():
                own.add_metric([name, figure], value)
        yield up
        yield own
