"""The processes on this database, for operators: `GET /processes`, and their number in the metrics."""

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector, CollectorRegistry

from landline.edge.http import Request, Response, json_response
from landline.edge.routes import Access, Route
from landline.store.processes import Process, Processes
from landline.wire.base import timestamp


class ProcessMetrics(Collector):
    """`landline_processes`: how many processes live, as this one knows."""

    def __init__(self, registry: CollectorRegistry, processes: Processes) -> None:
        self._processes = processes
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "landline_processes", "Processes that work on this database.", value=self._processes.live
        )


def routes(processes: Processes) -> list[Route]:
    """`GET /processes`: those that live, and for an hour those that fell silent."""

    async def list_processes(_request: Request) -> Response:
        """The processes that work on this database."""
        return json_response(200, {"value": [_shown(process) for process in await processes.listed()]})

    return [Route("GET", "/processes", list_processes, access=Access.ADMIN, versioned=False, name="processes_list")]


def _shown(process: Process) -> dict[str, object]:
    return {
        "id": str(process.owner),
        "kind": process.kind,
        "host": process.host,
        "pid": process.pid,
        "serves": list(process.serves),
        "startedAt": timestamp(process.started_at),
        "seenAt": timestamp(process.seen_at),
        "live": process.live,
    }
