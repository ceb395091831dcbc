"""Listening: an application on sockets of our own, over TLS or not, in the running loop, drained at the end."""

import asyncio
import errno
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import structlog

from landline.core.errors import Refusal
from landline.core.pass_phrase import nobody_says_it
from landline.edge.connection import HttpApp, HttpConnection, Unwelcome
from landline.edge.handshake import Handshake
from landline.edge.http import Request
from landline.edge.websockets import SocketApp, WebSocket

log = structlog.get_logger()

DRAIN_S = 3
CANCEL_S = 0.3
BACKLOG = 2048
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"  # RFC 9325 §4.2, for TLS 1.2; those of TLS 1.3 need no choosing
_PORT_TRIES = 20
_SPEAKS_HTTPS = "This port speaks HTTPS, and the request came in plain HTTP: write https:// in place of http://."


class CannotListen(Refusal):
    """The address is taken, not ours, or not allowed. One line that says what to do."""

    code = "CannotListen"


def bind(host: str, port: int) -> list[socket.socket]:
    """Sockets bound to `host`, all on one port (0: any free one). `localhost` is 127.0.0.1, and ::1 where there is one.

    Raises `CannotListen`.
    """
    for _ in range(_PORT_TRIES):
        try:
            return _bind_all(_addresses(host), port)
        except OSError as error:
            # A port that is free in one address family may be taken in the other: then try another one.
            if port == 0 and error.errno == errno.EADDRINUSE:
                continue
            raise CannotListen(_explained(error, host, port)) from error
    raise CannotListen(f"found no port that is free on every address of {host}: give one")


def tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS 1.2 and later with this chain. Loading another chain into it later changes new connections only.

    Raises `CannotListen`.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    try:
        context.load_cert_chain(certificate, key, password=nobody_says_it)
    except ssl.SSLError as error:
        raise CannotListen(
            f"the certificate {certificate} and the key {key} do not belong together, or are no PEM files: correct them"
        ) from error
    except OSError as error:
        why = error.strerror or error
        raise CannotListen(f"cannot read the certificate {certificate} and the key {key}: {why}") from error
    return context


class App(HttpApp, SocketApp, Protocol):
    """What is served: requests, and those for WebSockets."""


class Listener:
    """A running server."""

    def __init__(self, app: App, tls: ssl.SSLContext | None) -> None:
        self.port = 0
        self._app = app
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._servers: list[asyncio.AbstractServer] = []
        self._connections = Open()
        app.room.add(self._connections)
        self._tasks = Open()
        """Requests for WebSockets that are being answered."""
        self._closed: asyncio.Future[None] = self._loop.create_future()

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Serve on `sockets` when this returns."""
        self.port = sockets[0].getsockname()[1]
        for listening in sockets:
            server = await self._loop.create_server(self._accepted, sock=listening, backlog=BACKLOG)
            self._servers.append(server)

    async def wait(self) -> None:
        """Until it has ended."""
        await asyncio.shield(self._closed)

    async def close(self) -> None:
        """Take no more connections, let requests in progress end for at most `DRAIN_S`, then cancel them."""
        for server in self._servers:
            server.close()
        for connection in list(self._connections):
            connection.shutdown()
        try:
            async with asyncio.timeout(DRAIN_S):
                await asyncio.gather(self._connections.emptied(), self._tasks.emptied())
        except TimeoutError:
            await self._cancel()
        if not self._closed.done():
            self._app.room.remove(self._connections)
            self._closed.set_result(None)

    async def _cancel(self) -> None:
        log.warning("edge.drain_cut", connections=len(self._connections))
        for task in list(self._tasks):
            task.cancel()
        for connection in list(self._connections):
            connection.abort()
        try:
            async with asyncio.timeout(CANCEL_S):
                await asyncio.gather(self._connections.emptied(), self._tasks.emptied())
        except TimeoutError:
            log.error("edge.requests_left", connections=len(self._connections))

    def enter(self, guest: Handshake, descriptor: int, now: float) -> bool:
        """See `handshake.Entrance`."""
        if not self._app.room.enter(guest, descriptor, now):
            return False
        self._connections.add(guest)
        return True

    def leave(self, guest: Handshake, error: OSError | None = None) -> None:
        """See `handshake.Entrance`."""
        self._app.room.leave(guest)
        self._connections.discard(guest)

    def _accepted(self) -> asyncio.Protocol:
        if self._tls is None:
            return self._connected()
        return Handshake(self._tls, self, self._connected, self._loop, self._plain)

    def _connected(self) -> HttpConnection:
        return HttpConnection(self._app, self._connections, self._upgrade, self._loop)

    def _plain(self, left_s: float) -> HttpConnection:
        unwelcome = Unwelcome(Refusal(_SPEAKS_HTTPS), left_s)
        return HttpConnection(self._app, self._connections, self._upgrade, self._loop, unwelcome)

    def _upgrade(self, transport: asyncio.Transport, request: Request, early: bytes) -> None:
        socket = WebSocket(transport, self._app, self._connections, self._tasks)
        transport.set_protocol(socket)
        socket.ask(request)
        if early:
            socket.data_received(early)


class Open(set[Any]):
    """A set that tells when nothing is left in it."""

    def __init__(self) -> None:
        super().__init__()
        self._empty = asyncio.Event()

    def discard(self, element: object) -> None:
        super().discard(element)
        if not self:
            self._empty.set()

    async def emptied(self) -> None:
        """Until nothing is in it."""
        while self:
            self._empty.clear()
            await self._empty.wait()


async def listen(app: App, sockets: Sequence[socket.socket], tls: ssl.SSLContext | None = None) -> Listener:
    """Serve `app` on `sockets` (from `bind`), which become the listener's; it serves when this returns."""
    listener = Listener(app, tls)
    await listener.start(sockets)
    return listener


def _addresses(host: str) -> list[tuple[socket.AddressFamily, str]]:
    if host == "localhost":
        return [(socket.AF_INET, "127.0.0.1"), *([(socket.AF_INET6, "::1")] if _has_ipv6_loopback() else [])]
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found))


def _has_ipv6_loopback() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def _bind_all(addresses: list[tuple[socket.AddressFamily, str]], port: int) -> list[socket.socket]:
    bound: list[socket.socket] = []
    try:
        for family, address in addresses:
            listening = socket.socket(family, socket.SOCK_STREAM)
            bound.append(listening)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(len(addresses) > 1))
            listening.bind((address, port))
            port = listening.getsockname()[1]
            listening.listen(BACKLOG)  # now: two can be bound to a port that only one may listen on
    except OSError:
        for listening in bound:
            listening.close()
        raise
    return bound


def _explained(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is taken: stop what listens there, or choose another port"
    if error.errno == errno.EACCES:
        return f"port {port} on {host} needs more rights than this user has: choose one from 1024 on"
    return f"cannot listen on {host}:{port}: {error.strerror or error}"
