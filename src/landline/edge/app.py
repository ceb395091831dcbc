"""The application of the edge: one HTTP request in, its route's handler called, one response out.

In order: route found on the raw path, what `connection` refused answered, api-version looked at, caller proved
(`gate`), handler called, failures answered (`errors`), and the whole counted and logged. It knows no service.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from time import perf_counter
from types import MappingProxyType

import structlog

from landline.core.errors import Forbidden, Invalid, NoSuchPath, Refusal, Unavailable
from landline.edge import errors, request_ids
from landline.edge.cors import Cors
from landline.edge.gate import Gate
from landline.edge.http import Limits, Request, Response
from landline.edge.metrics import RequestMetrics
from landline.edge.room import FEW_BYTES, Room
from landline.edge.routes import Access, MethodNotAllowed, Route, Router
from landline.edge.websockets import Gone, SocketRoute, WebSocket

log = structlog.get_logger()

_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*)(:[0-9]*)?", re.ASCII)
"""uri-host [ ":" port ] (RFC 9110 §7.2, RFC 3986 §3.2.2); it may be empty."""

OLDEST_API_VERSION = "2021-03-07"

_API_VERSION = re.compile(r"[?&]api-version=([^&]*)")
_VERSION_FORM = re.compile(r"(\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01]))(?:-[A-Za-z0-9.-]{1,32})?", re.ASCII)
_ENUM_NAME = "ApiVersion.V"
"""azure-communication-rooms 1.2.0, from Python 3.11 on, follows a nextLink with the name of its enum's member for the
version: `ApiVersion.V2025_03_13`."""
_UNKNOWN = Route("", "", lambda _: _nowhere(), access=Access.NONE, versioned=False, name="unknown")


class Coded(Refusal):
    """The body is compressed (RFC 9110 §15.5.16)."""

    status = 415
    code = "UnsupportedMediaType"
    headers = MappingProxyType({"accept-encoding": "identity"})  # §12.5.3


class Edge:
    """Serves `routes`; fills `HttpApp`. One in `log_every` plain successes is logged; everything else is."""

    def __init__(
        self,
        routes: Sequence[Route],
        gate: Gate,
        *,
        metrics: RequestMetrics,
        sockets: Sequence[SocketRoute] = (),
        cors: Cors | None = None,
        limits: Limits | None = None,
        log_every: int = 100,
        slow_s: float = 1.0,
    ) -> None:
        self._router = Router(routes)
        self._sockets = {route.template: route for route in sockets}
        self._socket_router = Router([_place(route) for route in sockets])
        self._gate = gate
        self._metrics = metrics
        self._cors = cors or Cors()
        self.limits = limits or Limits()
        self.room = metrics.room = Room(self.limits)
        self._log_every = log_every
        self._slow_s = slow_s
        self._successes = 0

    async def respond(self, request: Request, refusal: Refusal | Unavailable | None = None) -> Response:
        """See `HttpApp.respond`."""
        started = perf_counter()
        token = request_ids.current.set(request.request_id)
        self._metrics.in_flight += 1
        try:
            route, response = await self._answer(request, refusal)
            seconds = perf_counter() - started
            self._metrics.observe(route.name or route.template, response.status, seconds)
            if refusal is None or isinstance(refusal, Refusal):  # else the room tells of all of them together
                self._log(request, route, response.status, seconds, refusal)
        finally:
            self._metrics.in_flight -= 1
            request_ids.current.reset(token)
        origin = request.headers.get("origin")
        response.headers = {
            **response.headers,
            **request_ids.headers(request),
            **(self._cors.headers(origin) if origin is not None else {}),
        }
        if route.supports:
            response.headers["api-supported-versions"] = route.supports
        return response

    async def connect(self, request: Request, socket: WebSocket) -> None:
        """See `SocketApp.connect`."""
        token = request_ids.current.set(request.request_id)
        route = _UNKNOWN
        try:
            _check(request)
            if not self._cors.allows(request.headers.get("origin")):
                raise Forbidden("Pages of this origin may not open sockets here.")
            route, request.params = self._socket_router.find("GET", request.target.partition("?")[0])
            await self._sockets[route.template].handler(request, socket)
        except Gone:
            pass
        except Exception as error:
            if not isinstance(error, Refusal | Unavailable):  # a bug: the edge is where it ends
                log.exception("edge.bug", operation=route.name, request_id=request.request_id)
            errors.untie(error)
            if socket.accepted:
                socket.close(1011)
            else:
                self._refuse(socket, request, route, error)
        finally:
            request_ids.current.reset(token)

    def _refuse(self, socket: WebSocket, request: Request, route: Route, error: Exception) -> None:
        response = errors.answer(error, route.errors, route.access, request.request_id)
        self._metrics.observe(route.name, response.status, 0.0)
        self._log(request, route, response.status, 0.0)
        socket.refuse(response.status, {**response.headers, **request_ids.headers(request)}, response.body)

    async def _answer(self, request: Request, refusal: Refusal | Unavailable | None) -> tuple[Route, Response]:
        route = _UNKNOWN
        try:
            if refusal is None:
                _check(request)
                if request.method == "OPTIONS":
                    return route, self._options(request)
            route, request.params = self._find(request)
            if refusal is not None:  # raised, it would hold this frame, and that the request
                return route, errors.answer(refusal, route.errors, route.access, request.request_id)
            if route.versioned:
                _check_version(request, route.supports)
            if route.access is not Access.NONE:
                await self._gate.admit(request, route.access)
            if route.access is Access.ADMIN:
                _check_repeated(request)
            if "content-encoding" in request.headers:
                _check_coding(request)
            if len(request.body) > FEW_BYTES and request.method in ("GET", "HEAD"):
                self.room.release(request)  # it may wait for long, and what was signed with it means nothing here
            return route, await route.handler(request)
        except (Refusal, Unavailable) as error:
            errors.untie(error)
            # What broke the grammar or a limit is told as that, also where there is no such path.
            return route, errors.answer(refusal or error, route.errors, route.access, request.request_id)
        except Exception as error:  # a bug: the edge is where it ends
            log.exception("edge.bug", operation=route.name, request_id=request.request_id)
            errors.untie(error)
            return route, errors.answer(error, route.errors, route.access, request.request_id)

    def _find(self, request: Request) -> tuple[Route, dict[str, str]]:
        path = request.target.partition("?")[0]
        try:
            return self._router.find(request.method, path)
        except MethodNotAllowed as error:
            if request.method == "HEAD" and "GET" in error.allowed:
                return self._router.find("GET", path)
            raise

    def _options(self, request: Request) -> Response:
        preflight = self._cors.preflight(request.headers)
        if preflight is not None:
            return preflight
        if request.target == "*":  # of the server as a whole there is nothing to tell (RFC 9110 §9.3.7)
            return Response(204)
        try:
            self._router.find("OPTIONS", request.target.partition("?")[0])
        except MethodNotAllowed as error:
            return Response(204, headers={"allow": ", ".join([*error.allowed, "OPTIONS"])})
        raise NoSuchPath()

    def _log(self, request: Request, route: Route, status: int, seconds: float, refusal: Refusal | None = None) -> None:
        """`refusal`: why the request was not read, which its client may not be able to see."""
        if status < 400 and seconds < self._slow_s:
            self._successes += 1
            if self._log_every == 0 or self._successes % self._log_every:
                return
        write = log.error if status >= 500 and status != 501 else log.warning if status == 429 else log.info
        write(
            "edge.request",
            request_id=request.request_id,
            operation=route.name or route.template,
            method=request.method,
            status=status,
            ms=round(seconds * 1000, 2),
            client=request.client,
            **({} if refusal is None else {"reason": refusal.message}),
        )


def _check(request: Request) -> None:
    if "host" not in request.headers:
        raise Refusal("The request has no Host header.", target="host")  # RFC 9112 §3.2
    if not _is_authority(request.headers["host"]):  # likewise
        raise Refusal("The Host header is no host name or address with a port.", target="host")
    if "%00" in request.target:
        raise Refusal("The path and query may not hold NUL.")


@lru_cache(maxsize=1024)
def _is_authority(host: str) -> bool:
    return _AUTHORITY.fullmatch(host) is not None


def _check_repeated(request: Request) -> None:
    """Our own API takes each parameter once; who gives one twice expects both to count. Of ACS's the first counts."""
    repeated = request.repeated
    if repeated is not None:
        raise Invalid("A parameter may be given once; this one is given more often.", target=repeated)


def _check_coding(request: Request) -> None:
    coding = request.headers["content-encoding"].strip().lower()
    if request.body and coding not in ("", "identity"):
        raise Coded("The body is in a content coding, and none is read: send it as it is.", target="content-encoding")


def _check_version(request: Request, supports: str) -> None:
    match = _API_VERSION.search(request.target)
    version = match.group(1) if match else request.query.get("api-version")
    if not version:
        raise Refusal(
            "The api-version query parameter (?api-version=) is required for all requests.",
            code="MissingApiVersionParameter",
        )
    day = _day(version)
    if day is None:
        raise Refusal(
            "The api-version is written as YYYY-MM-DD or YYYY-MM-DD-preview.", code="InvalidApiVersionParameter"
        )
    if day < (supports[:10] or OLDEST_API_VERSION):
        oldest = supports.partition(",")[0] or OLDEST_API_VERSION
        raise Refusal(  # the code is that of Azure's own answer
            f"The api-version {version} is too old for this operation, which serves {oldest} and later.",
            code="UnsupportedApiVersion",
        )


@lru_cache(maxsize=256)
def _day(version: str) -> str | None:
    """The date in `version`, or None when that is none."""
    if version.startswith(_ENUM_NAME):
        version = version.removeprefix(_ENUM_NAME).replace("_", "-").lower()
    match = _VERSION_FORM.fullmatch(version)
    return match.group(1) if match is not None else None


def _place(route: SocketRoute) -> Route:
    return Route("GET", route.template, lambda _: _nowhere(), access=Access.NONE, versioned=False, name=route.name)


async def _nowhere() -> Response:
    raise NoSuchPath()
