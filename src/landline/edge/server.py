"""Listening: an ASGI application on sockets of our own, over TLS or not, in the running loop, drained at the end."""

import asyncio
import errno
import socket
import ssl
from collections.abc import Awaitable, Callable, Generator, MutableMapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias, cast

import uvicorn

from landline.core.errors import Refusal
from landline.edge.websockets import upgraded

Message: TypeAlias = MutableMapping[str, Any]
AsgiApp: TypeAlias = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Any]

KEEP_ALIVE_S = 75
DRAIN_S = 3
BACKLOG = 2048
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"  # RFC 9325 §4.2, for TLS 1.2; those of TLS 1.3 need no choosing
_PORT_TRIES = 20


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
        context.load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        raise CannotListen(
            f"the certificate {certificate} and the key {key} do not belong together, or are no PEM files: correct them"
        ) from error
    except OSError as error:
        raise CannotListen(f"cannot read the certificate {certificate} and the key {key}: {error.strerror}") from error
    return context


class Listener:
    """A running server. Its task ends with `close`, or with an exception that `wait` raises."""

    def __init__(self, server: uvicorn.Server, sockets: Sequence[socket.socket], task: "asyncio.Task[None]") -> None:
        self.port: int = sockets[0].getsockname()[1]
        self._server = server
        self._task = task

    async def wait(self) -> None:
        """Until it has ended."""
        await asyncio.shield(self._task)

    async def close(self) -> None:
        """Take no more connections, let requests in progress end for at most `DRAIN_S`, then cancel them."""
        self._server.should_exit = True
        await self._task


async def listen(app: AsgiApp, sockets: Sequence[socket.socket], tls: ssl.SSLContext | None = None) -> Listener:
    """Serve `app` on `sockets` (from `bind`), which become the listener's; it serves when this returns. An `app` with a
    method `stopping` is told when the server stops."""
    config = uvicorn.Config(
        app,
        loop="none",
        http="httptools",
        ws=cast("type[asyncio.Protocol]", upgraded),  # whatever makes one does
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=DRAIN_S,
        ssl_context_factory=(lambda _config, _default: tls) if tls is not None else None,
    )
    server = _Server(config, getattr(app, "stopping", None))
    task = asyncio.create_task(server.serve(list(sockets)))
    ready = asyncio.create_task(server.ready.wait())
    await asyncio.wait([task, ready], return_when=asyncio.FIRST_COMPLETED)
    if not ready.done():
        ready.cancel()
        await task  # raises why it ended
    return Listener(server, sockets, task)


class _Server(uvicorn.Server):
    """uvicorn's server without its signal handlers (the supervisor has its own), and with word of its start and end."""

    def __init__(self, config: uvicorn.Config, stopping: Callable[[], None] | None) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()
        self._stopping = stopping

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._stopping is not None:
            self._stopping()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


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
