"""The processes on this database, for operators: `GET /processes`, their number in the metrics, and a word when some of
them cannot hear one another."""

from collections.abc import Iterator, Sequence

import structlog
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector, CollectorRegistry

from landline.core.errors import Unavailable
from landline.edge.http import Request, Response, json_response
from landline.edge.routes import Route, admin_route
from landline.store.processes import Process, Processes
from landline.wire.base import timestamp

log = structlog.get_logger()


class Hearing:
    """Whether every process that takes requests hears this one at once: where one does not, live events of chat do not
    reach its clients, and limits are not counted together."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._apart: set[str] = set()
        processes.changed = self._look

    async def check(self) -> None:
        """For `/healthz`. Raises `Unavailable`."""
        apart = self._processes.apart()
        if apart:
            raise Unavailable(unheard(apart))

    def _look(self) -> None:
        apart = self._processes.apart()
        if {str(each.owner) for each in apart} - self._apart:
            log.warning("processes.apart", advice=unheard(apart))
        self._apart = {str(each.owner) for each in apart}


class Clocks:
    """Whether no machine's clock is ahead of this one's: what this one holds would be taken from it while it works."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes

    async def check(self) -> None:
        """For `/healthz`. Raises `Unavailable`."""
        ahead = self._processes.ahead()
        if ahead:
            named = ", ".join(f"{host} ({seconds:.0f} s)" for host, seconds in sorted(ahead.items()))
            raise Unavailable(f"ahead of this machine's clock: {named}; texts may be sent twice, see to NTP on both")


def unheard(apart: Sequence[Process]) -> str:
    """What to do when these processes and others do not hear one another."""
    named = ", ".join(sorted({f"{each.host} (pid {each.pid})" for each in apart}))
    return (
        f"clients of {named} see no live events of chat from here, nor the other way round: give all servers on this "
        "database the same nats_urls and nats_prefix (docs/guides/cluster.md)"
    )


class ProcessMetrics(Collector):
    """`landline_processes`: how many processes live, as this one knows; `landline_processes_apart` of them in vain."""

    def __init__(self, registry: CollectorRegistry, processes: Processes) -> None:
        self._processes = processes
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "landline_processes", "Processes that work on this database.", value=self._processes.live
        )
        yield GaugeMetricFamily(
            "landline_processes_apart",
            "Those of them that take requests and do not hear this one.",
            value=len(self._processes.apart()),
        )


def routes(processes: Processes) -> list[Route]:
    """`GET /processes`: those that live, and for an hour those that fell silent."""

    async def list_processes(_request: Request) -> Response:
        """The processes that work on this database."""
        return json_response(200, {"value": [_shown(process) for process in await processes.listed()]})

    return [admin_route("GET", "/processes", list_processes, "Processes_List")]


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
