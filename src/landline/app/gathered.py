"""The figures and the health of all processes of a server on its one admin port.

Each process's metrics keep their own series, told apart by the label `worker`: a sum made here would go backwards when
one process is started anew, and be read as a restart of all.
"""

import asyncio
import json
from collections.abc import Iterator, Sequence
from typing import Any, cast

from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector, CollectorRegistry

from landline.core.errors import Refusal, Unavailable
from landline.edge.http import Request, Response
from landline.edge.server import App
from landline.edge.websockets import WebSocket
from landline.engines.callout import HttpCallout
from landline.ports.callout import CalloutFailed

_TIMEOUT_S = 4.0
_LIMIT_BYTES = 16 << 20


class Gathered:
    """The admin application, whose `/metrics` and `/healthz` are those of all processes at `ports` of loopback."""

    def __init__(self, app: App, ports: Sequence[int]) -> None:
        self._app = app
        self.limits = app.limits
        self.room = app.room
        self._ports = list(ports)
        self._callout = HttpCallout(loopback_open=True)

    async def respond(self, request: Request, refusal: Refusal | Unavailable | None = None) -> Response:
        """See `HttpApp.respond`."""
        path = request.target.partition("?")[0]
        if refusal is not None or request.method != "GET" or path not in ("/metrics", "/healthz"):
            return await self._app.respond(request, refusal)
        answers = await asyncio.gather(*(_ask(self._callout, port, path) for port in self._ports))
        status, body, kind = _metrics(answers) if path == "/metrics" else _health(answers)
        return Response(status, body, {"content-type": kind, "cache-control": "no-store"})

    async def connect(self, request: Request, socket: WebSocket) -> None:
        """See `SocketApp.connect`."""
        await self._app.connect(request, socket)


_Answer = tuple[int, bytes] | None
"""Status and body; None when the process does not answer."""


async def _ask(callout: HttpCallout, port: int, path: str) -> _Answer:
    try:
        answer = await callout.request(
            "GET",
            f"http://127.0.0.1:{port}{path}",
            headers={},
            timeout_s=_TIMEOUT_S,
            answer_limit_bytes=_LIMIT_BYTES,
        )
    except CalloutFailed:
        return None
    return answer.status, answer.body


def _metrics(answers: Sequence[_Answer]) -> tuple[int, bytes, str]:
    registry = CollectorRegistry()
    registry.register(_Merged(answers))
    return 200, generate_latest(registry), CONTENT_TYPE_LATEST


class _Merged(Collector):
    """The metrics of several processes as one process's, each sample with the number of its process."""

    def __init__(self, answers: Sequence[_Answer]) -> None:
        self._answers = answers

    def collect(self) -> Iterator[Metric]:
        merged: dict[str, Metric] = {}
        answering = Metric("landline_worker_up", "Whether the process answers.", "gauge")
        for number, answer in enumerate(self._answers):
            label = {"worker": str(number)}
            well = answer is not None and answer[0] == 200
            answering.add_sample("landline_worker_up", label, float(well))
            if answer is None or not well:
                continue
            for family in text_string_to_metric_families(answer[1].decode()):
                into = merged.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                for sample in family.samples:
                    into.add_sample(sample.name, {**sample.labels, **label}, sample.value)
        yield answering
        yield from merged.values()


def _health(answers: Sequence[_Answer]) -> tuple[int, bytes, str]:
    """As one process says it, of all of them: a check is well when it is everywhere."""
    shown = [_said(answer) for answer in answers]
    checks: dict[str, object] = {}
    for each in shown:
        for name, result in cast(dict[str, object], each.get("checks", {})).items():
            if checks.get(name, "ok") == "ok":
                checks[name] = result
    told = {each["status"] for each in shown}
    status = "ok" if told == {"ok"} else "degraded" if told <= {"ok", "degraded"} else "unavailable"
    version = next((each["version"] for each in shown if "version" in each), None)
    body = {"status": status, "version": version, "checks": checks, "workers": shown}
    return 503 if status == "unavailable" else 200, json.dumps(body).encode(), "application/json"


def _said(answer: _Answer) -> dict[str, Any]:
    try:
        return json.loads(answer[1]) if answer is not None else {"status": "does not answer"}
    except ValueError:
        return {"status": "does not answer"}
