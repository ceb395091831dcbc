"""One process's serving: its application on its sockets, until a part of it fails or it is told to stop."""

import asyncio
import gc
import resource
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import structlog

from landline.app import driven_clock
from landline.app.application import Application, Build, Place
from landline.app.config import Config
from landline.app.failures import Failures, until_one_ends
from landline.app.gathered import Gathered
from landline.app.memory import FreedMemory
from landline.app.served_certificates import Served
from landline.edge.server import DRAIN_S, Listener, listen
from landline.engines.clock import SystemClock

log = structlog.get_logger()

APPLICATION_CLOSE_S = 1.0
"""With the drain of the listeners and PostgreSQL's fast stop this makes the 5 s within which everything is down."""

MOST_FILES = 65_536


@dataclass(slots=True)
class Sockets:
    """What a process listens on; nothing of what it does not serve."""

    public: list[socket.socket] = field(default_factory=list[socket.socket])
    plain: list[socket.socket] = field(default_factory=list[socket.socket])
    admin: list[socket.socket] = field(default_factory=list[socket.socket])
    customers: list[socket.socket] = field(default_factory=list[socket.socket])
    """SMPP."""
    customers_tls: list[socket.socket] = field(default_factory=list[socket.socket])
    own: list[socket.socket] = field(default_factory=list[socket.socket])
    """The same as `admin` of this process alone, on loopback, for the one that shows the figures of all."""

    def all(self) -> list[socket.socket]:
        """All sockets, whatever they are for."""
        return [*self.public, *self.plain, *self.admin, *self.customers, *self.customers_tls, *self.own]


class Serving:
    """Started by `start`, whose ends it pushes on `stack`."""

    def __init__(self, stack: AsyncExitStack, config: Config, build: Build, place: Place) -> None:
        self._stack = stack
        self._config = config
        self._build = build
        self._place = place
        self._listeners: list[Listener] = []

    async def start(self, dsn: str, sockets: Sockets, served: Served | None, gather: Sequence[int] = ()) -> Application:
        """Serve when this returns. `gather`: ports of the `own` sockets of all processes, whose figures the admin port
        shows together. Raises `Refusal` or `Unavailable`."""
        _open_more_files()
        self._failures = Failures()
        stack, clock = self._stack, self._clock()
        self._application = await self._build(self._config, dsn, clock, self._place)
        stack.push_async_callback(_within, APPLICATION_CLOSE_S, self._application.close)
        await self._application.start(sockets.customers, sockets.customers_tls, served)
        tls = served.context if served is not None else None
        public, admin = self._application.public_app, self._application.admin_app
        listened = [
            (public, sockets.public, tls),
            (Gathered(admin, gather) if gather else admin, sockets.admin, None),
            (admin, sockets.own, None),
            (public, sockets.plain, None),
        ]
        stack.push_async_callback(self._close_listeners)
        for app, listening, context in listened:
            if listening:
                self._listeners.append(await listen(app, listening, context))
        _spare_collector()
        memory = FreedMemory()
        memory.start()
        stack.callback(memory.stop)
        return self._application

    async def wait(self) -> None:
        """Until a worker or a listener fails, which is raised: they do not end otherwise before they are closed."""
        waiting = [asyncio.create_task(self._application.failed())]
        waiting += [asyncio.create_task(listener.wait()) for listener in self._listeners]
        waiting += [asyncio.create_task(self._failures.wait())]
        await until_one_ends(*waiting)

    def _clock(self) -> SystemClock:
        return driven_clock.begin(self._config.data) if self._config.driven_clock else SystemClock()

    async def _close_listeners(self) -> None:
        ends = [_within(DRAIN_S + 0.5, listener.close) for listener in self._listeners]
        await asyncio.gather(*ends, _within(DRAIN_S + 0.5, self._application.drain, DRAIN_S))


def _open_more_files() -> None:
    """Have as many files open as this user may: what systems give at first, often 1,024, is for programs that call
    `select`, and every connection is one."""
    given, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if most == resource.RLIM_INFINITY else min(most, MOST_FILES)
    if given != resource.RLIM_INFINITY and given < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def _spare_collector() -> None:
    """Let the garbage collector look rarely: messages in hand are many and in no cycles, and walking them took an
    eighth of a busy process's time (docs/design/speed.md). What is there by now stays, and is not walked."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 1000)


async def _within(seconds: float, close: Callable[..., Awaitable[None]], *given: float) -> None:
    """Close a part, but not for ever: what comes after it must be closed too. Its failure is logged, for the same."""
    try:
        async with asyncio.timeout(seconds):
            await close(*given)
    except Exception as error:
        log.error("server.close_failed", part=getattr(close, "__qualname__", str(close)), error=repr(error))
