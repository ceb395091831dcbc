"""The ASGI application of the edge: one HTTP request in, its route's handler called, one response out.

In order: headers and body read within their limits, route found on the raw path, api-version looked at, caller proved
(`gate`), handler called, failures answered (`errors`), and the whole counted and logged. It knows no service.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from time import perf_counter
from typing import Any, TypeAlias

import structlog

from landline.core.errors import Forbidden, Invalid, NotFound, Refusal, TooLarge, Unavailable
from landline.edge import errors, request_ids
from landline.edge.cors import Cors, RawHeaders
from landline.edge.gate import Gate
from landline.edge.http import Live, Request, Response
from landline.edge.metrics import RequestMetrics
from landline.edge.routes import Access, MethodNotAllowed, Route, Router
from landline.edge.websockets import Gone, SocketRoute, WebSocket

log = structlog.get_logger()

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

OLDEST_API_VERSION = "2021-03-07"

_SINGLE = frozenset(
    {"host", "authorization", "content-length", "date", "x-ms-date", "x-ms-content-sha256"}
    | {"x-ms-host", "x-forwarded-host", "x-skypetoken"}
)
"""Headers that mean something else to each reader when they are sent twice."""
_API_VERSION = re.compile(r"[?&]api-version=([^&]*)")
_VERSION_FORM = re.compile(r"(\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01]))(?:-[A-Za-z0-9.-]{1,32})?", re.ASCII)
_ENUM_NAME = "ApiVersion.V"
"""azure-communication-rooms 1.2.0, from Python 3.11 on, follows a nextLink with the name of its enum's member for the
version: `ApiVersion.V2025_03_13`."""
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_PIECE_TIMEOUT_S = 30.0
"""How long a client may take to read a piece of a streamed answer."""
_UNKNOWN = Route("", "", lambda _: _nowhere(), access=Access.NONE, versioned=False, name="unknown")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may cost before anyone is known to have sent it."""

    body_bytes: int = 1 << 20
    body_timeout_s: float = 30.0
    header_bytes: int = 32_768
    header_count: int = 100
    target_bytes: int = 8_192


class TooSlow(Refusal):
    """The body did not arrive in time (RFC 9110 §15.5.9)."""

    status = 408
    code = "RequestTimeout"


class Disconnected(Exception):
    """The client went away before its request was complete."""


class Edge:
    """An ASGI application that serves `routes`. One in `log_every` plain successes is logged; everything else is."""

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
        self._limits = limits or Limits()
        self._log_every = log_every
        self._slow_s = slow_s
        self._successes = 0
        self._live: set[Live] = set()

    def stopping(self) -> None:
        """The server stops: answers without an end are to end now."""
        for live in list(self._live):
            live.stopping()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "http":
            await self._serve(scope, receive, send)
        elif kind == "websocket":
            await self._serve_socket(scope)
        elif kind == "lifespan":
            await _lifespan(receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = perf_counter()
        request = _request(scope)
        token = request_ids.current.set(request.request_id)
        self._metrics.in_flight += 1
        route, response = _UNKNOWN, None
        try:
            route, response = await self._answer(scope, request, receive)
            if response.live is None:
                await _send(send, request, response, self._cors)
            else:
                await self._send_live(send, receive, request, response, response.live)
        except Disconnected:
            pass
        finally:
            self._metrics.in_flight -= 1
            status = response.status if response is not None else 499  # nobody was left to answer
            seconds = perf_counter() - started
            self._metrics.observe(route.name or route.template, status, seconds)
            self._log(request, route, status, seconds)
            request_ids.current.reset(token)

    async def _send_live(self, send: Send, receive: Receive, request: Request, response: Response, live: Live) -> None:
        """An answer without an end: that its reader is gone shows only where nothing more is to be read."""
        self._live.add(live)
        watching = asyncio.create_task(_gone(receive, live))
        try:
            await _send(send, request, response, self._cors)
        finally:
            self._live.discard(live)
            watching.cancel()

    async def _serve_socket(self, scope: Scope) -> None:
        request, socket = _request(scope), WebSocket.of(scope)
        token = request_ids.current.set(request.request_id)
        route = _UNKNOWN
        try:
            self._check_limits(scope, request)
            if not self._cors.allows(request.headers.get("origin")):
                raise Forbidden("Pages of this origin may not open sockets here.")
            route, request.params = self._socket_router.find("GET", request.target.partition("?")[0])
            await self._sockets[route.template].handler(request, socket)
        except Gone:
            pass
        except Exception as error:
            if not isinstance(error, Refusal | Unavailable):  # a bug: the edge is where it ends
                log.exception("edge.bug", operation=route.name, request_id=request.request_id)
            if socket.accepted:
                socket.close(1011)
            else:
                self._refuse_socket(socket, request, route, error)
        finally:
            request_ids.current.reset(token)

    def _refuse_socket(self, socket: WebSocket, request: Request, route: Route, error: Exception) -> None:
        response = errors.answer(error, route.errors, route.access, request.request_id)
        self._metrics.observe(route.name, response.status, 0.0)
        self._log(request, route, response.status, 0.0)
        ids = {name.decode(): value.decode("latin-1") for name, value in request_ids.headers(request)}
        socket.refuse(response.status, {**response.headers, **ids}, response.body)

    async def _answer(self, scope: Scope, request: Request, receive: Receive) -> tuple[Route, Response]:
        route = _UNKNOWN
        try:
            self._check_limits(scope, request)
            if request.method == "OPTIONS":
                return route, self._options(request)
            route, request.params = self._find(request)
            request.body = await self._body(request, receive)
            if route.versioned:
                _check_version(request)
            if route.access is not Access.NONE:
                await self._gate.admit(request, route.access)
            return route, await route.handler(request)
        except (Refusal, Unavailable) as error:
            return route, errors.answer(error, route.errors, route.access, request.request_id)
        except Disconnected:
            raise
        except Exception as error:  # a bug: the edge is where it ends
            log.exception("edge.bug", operation=route.name, request_id=request.request_id)
            return route, errors.answer(error, route.errors, route.access, request.request_id)

    def _check_limits(self, scope: Scope, request: Request) -> None:
        raw: Sequence[tuple[bytes, bytes]] = scope["headers"]
        if len(raw) > self._limits.header_count or len(request.target) > self._limits.target_bytes:
            raise TooLarge("The request has too many headers, or too long a path and query.")
        if sum([len(name) + len(value) for name, value in raw]) > self._limits.header_bytes:
            raise TooLarge(f"The request's headers are over {self._limits.header_bytes} bytes.")
        if len(request.headers) != len(raw):
            names = [name.decode("latin-1") for name, _ in raw]
            repeated = sorted(name for name in _SINGLE if names.count(name) > 1)
            if repeated:
                raise Refusal(f"The header {repeated[0]} was sent more than once.", target=repeated[0])
        if "host" not in request.headers:
            raise Refusal("The request has no Host header.", target="host")  # RFC 9112 §3.2
        if "%00" in request.target:
            raise Refusal("The path and query may not hold NUL.")

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
        try:
            self._router.find("OPTIONS", request.target.partition("?")[0])
        except MethodNotAllowed as error:
            return Response(204, headers={"allow": ", ".join([*error.allowed, "OPTIONS"])})
        raise NotFound("There is no such path on this server.")

    async def _body(self, request: Request, receive: Receive) -> bytes:
        length = request.headers.get("content-length")
        if length is None and "transfer-encoding" not in request.headers:
            return b""
        if length is not None:
            if not (length.isascii() and length.isdigit()):
                raise Refusal("Content-Length is not a number.", target="content-length")
            if int(length) > self._limits.body_bytes:
                raise TooLarge(f"The body is over {self._limits.body_bytes} bytes.")
        try:
            async with asyncio.timeout(self._limits.body_timeout_s):
                body = await _read(receive, self._limits.body_bytes)
        except TimeoutError:
            raise TooSlow("The body did not arrive in time.") from None
        # PostgreSQL's text takes no NUL, and no string of this wire has use for one.
        if b"\\u0000" in body and _NUL.search(body):
            raise Invalid("The body may not hold the character NUL.", target="body")
        return body

    def _log(self, request: Request, route: Route, status: int, seconds: float) -> None:
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
        )


def _request(scope: Scope) -> Request:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    target = scope["raw_path"].decode("latin-1")
    query: bytes = scope["query_string"]
    if query:
        target = f"{target}?{query.decode('latin-1')}"
    peer = scope.get("client")
    return Request(scope.get("method", "GET"), target, headers, b"", request_ids.new(), peer[0] if peer else "")


async def _read(receive: Receive, limit: int) -> bytes:
    message = await receive()
    chunk: bytes = message.get("body", b"")
    if message["type"] == "http.request" and not message.get("more_body") and len(chunk) <= limit:
        return chunk
    body = bytearray()
    while True:
        if message["type"] == "http.disconnect":
            raise Disconnected
        body += message.get("body", b"")
        if len(body) > limit:
            raise TooLarge(f"The body is over {limit} bytes.")
        if not message.get("more_body"):
            return bytes(body)
        message = await receive()


def _check_version(request: Request) -> None:
    match = _API_VERSION.search(request.target)
    version = match.group(1) if match else request.query.get("api-version")
    if not version:
        raise Refusal(
            "The api-version query parameter (?api-version=) is required for all requests.",
            code="MissingApiVersionParameter",
        )
    if not _is_version(version):
        raise Refusal(
            f"The api-version must be {OLDEST_API_VERSION} or later, written as YYYY-MM-DD or YYYY-MM-DD-preview.",
            code="InvalidApiVersionParameter",
        )


@lru_cache(maxsize=256)
def _is_version(version: str) -> bool:
    if version.startswith(_ENUM_NAME):
        version = version.removeprefix(_ENUM_NAME).replace("_", "-").lower()
    match = _VERSION_FORM.fullmatch(version)
    return match is not None and match.group(1) >= OLDEST_API_VERSION


async def _send(send: Send, request: Request, response: Response, cors: Cors) -> None:
    headers: RawHeaders = [
        (name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers.items()
    ]
    headers += request_ids.headers(request)
    headers += cors.headers(request.headers.get("origin"))
    if response.stream is not None:
        return await _send_stream(send, request, response, headers)
    if response.status != 204:  # RFC 9110 §8.6
        headers.append((b"content-length", str(len(response.body)).encode()))
    body = b"" if request.method == "HEAD" else response.body
    try:
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
    except OSError as error:
        raise Disconnected from error


async def _send_stream(send: Send, request: Request, response: Response, headers: RawHeaders) -> None:
    """The answer in pieces, each given to a reader that took the one before in time."""
    assert response.stream is not None
    try:
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        if request.method != "HEAD":
            await _send_piece(send, response.body)
            async for piece in response.stream:
                await _send_piece(send, piece)
        await send({"type": "http.response.body", "body": b""})
    except OSError as error:
        raise Disconnected from error
    except Exception as error:  # too late for another status
        log.exception("edge.stream_cut", request_id=request.request_id)
        raise Disconnected from error
    finally:
        await response.stream.aclose()


async def _gone(receive: Receive, live: Live) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    live.gone()


async def _send_piece(send: Send, piece: bytes) -> None:
    async with asyncio.timeout(_PIECE_TIMEOUT_S):
        await send({"type": "http.response.body", "body": piece, "more_body": True})


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await send({"type": "lifespan.shutdown.complete"})
            return


def _place(route: SocketRoute) -> Route:
    return Route("GET", route.template, lambda _: _nowhere(), access=Access.NONE, versioned=False, name=route.name)


async def _nowhere() -> Response:
    raise NotFound("There is no such path on this server.")
