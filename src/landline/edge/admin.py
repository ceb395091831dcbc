"""The application of the admin port: the slices' admin routes behind one bearer token, and what operators' tools read
without it: `/metrics`, `/healthz`, `/openapi.json`."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any

import structlog
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import CollectorRegistry

import landline
from landline.core.errors import Unavailable
from landline.edge.app import Edge
from landline.edge.cors import Cors
from landline.edge.gate import Gate
from landline.edge.http import Limits, Request, Response, json_response
from landline.edge.metrics import RequestMetrics
from landline.edge.routes import Access, Route

log = structlog.get_logger()

Check = Callable[[], Awaitable[None]]
"""Returns when a part of the server is well, raises when it is not."""
_CHECK_TIMEOUT_S = 3.0
_PARAMETER = re.compile(r"\{(\w+)\}")


def admin_app(
    routes: Sequence[Route],
    *,
    token: str,
    registry: CollectorRegistry,
    checks: Mapping[str, Check],
    lesser: Collection[str] = (),
    cors: Cors | None = None,
    limits: Limits | None = None,
) -> Edge:
    """The application of the admin port, `routes` being the slices' own. Without those of `checks` that are `lesser` a
    server still does what it promised, only later: it is degraded then, and goes on taking requests."""
    own = [
        _open("/metrics", _metrics(registry), "Admin_Metrics"),
        _open("/healthz", _health(checks, lesser), "Admin_Health"),
        _open("/openapi.json", _openapi(routes), "Admin_OpenApi"),
    ]
    return Edge(
        [*routes, *own],
        Gate(admin_token=token),
        metrics=RequestMetrics(registry, prefix="landline_admin"),
        cors=cors or Cors(()),
        limits=limits or Limits(total_bytes=32 << 20, connections=256, strangers=64),
    )


def _open(template: str, handler: Callable[[Request], Awaitable[Response]], name: str) -> Route:
    return Route("GET", template, handler, access=Access.NONE, versioned=False, name=name)


def _metrics(registry: CollectorRegistry) -> Callable[[Request], Awaitable[Response]]:
    async def handler(_request: Request) -> Response:
        return Response(200, generate_latest(registry), {"content-type": CONTENT_TYPE_LATEST})

    return handler


def _health(checks: Mapping[str, Check], lesser: Collection[str]) -> Callable[[Request], Awaitable[Response]]:
    async def handler(_request: Request) -> Response:
        results = await asyncio.gather(*(_checked(name, check) for name, check in checks.items()))
        parts = dict(zip(checks, results, strict=True))
        ill = {name for name, result in parts.items() if result != "ok"}
        status = "ok" if not ill else "degraded" if ill <= set(lesser) else "unavailable"
        body = {"status": status, "version": landline.__version__, "checks": parts}
        return json_response(503 if status == "unavailable" else 200, body, {"cache-control": "no-store"})

    return handler


async def _checked(name: str, check: Check) -> str:
    try:
        async with asyncio.timeout(_CHECK_TIMEOUT_S):
            await check()
    except TimeoutError:
        return "timed out"
    except Unavailable as error:
        return error.message
    except Exception:  # a health check that breaks is news for the log, and the part counts as ill
        log.exception("admin.check_failed", check=name)
        return "failed"
    return "ok"


def _openapi(routes: Sequence[Route]) -> Callable[[Request], Awaitable[Response]]:
    async def handler(_request: Request) -> Response:
        return json_response(200, document(routes))

    return handler


def document(routes: Sequence[Route]) -> dict[str, Any]:
    """An OpenAPI 3.1 description of `routes`: where they are, what they are called, what they need."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.template, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Landline admin API", "version": landline.__version__},
        "components": {"securitySchemes": {"adminToken": {"type": "http", "scheme": "bearer"}}},
        "paths": paths,
    }


def _operation(route: Route) -> dict[str, Any]:
    summary = " ".join((route.handler.__doc__ or "").split())
    operation: dict[str, Any] = {
        "operationId": route.name or f"{route.method} {route.template}",
        "responses": {"default": {"description": "JSON; failures carry an error object."}},
    }
    if summary:
        operation["summary"] = summary
    if route.access is Access.ADMIN:
        operation["security"] = [{"adminToken": []}]
    names: list[str] = _PARAMETER.findall(route.template)
    if names:
        operation["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
        ]
    return operation
