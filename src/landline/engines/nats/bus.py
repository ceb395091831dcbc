"""The bus between processes over core NATS: one connection and one subscription a subject in each process.

Own news goes straight to the own ears (the server is told not to echo it); the server passes it to the others.
"""

import asyncio
from collections import deque
from dataclasses import dataclass
from functools import partial
from random import Random

import structlog

from landline.core.errors import Unavailable
from landline.engines.bus import Ear, Ears
from landline.engines.nats.connection import CannotConnect, Connection
from landline.engines.nats.settings import Server, Settings
from landline.ports.bus import Heard
from landline.store.watched import watched

log = structlog.get_logger()

BACKLOG = 10_000
BACKLOG_BYTES = 8 << 20
"""What waits to be sent at most: while no server is reached, or one reads slowly. The oldest is dropped first."""
_START_S = 2.0
_BEAT_S = 5.0
_PAUSE_FIRST_S, _PAUSE_LIMIT_S = 0.05, 2.0
_STABLE_S = 10.0
_OTHERS_S = 0.25
"""After an outage what waited is sent this much later, and half a pause, by which others may have rested longer: they
have had time to come back, too."""
_MOMENT_S = 5.0
"""An outage that is shorter is nobody's business."""


@dataclass(slots=True)
class Figures:
    """What a bus has done, for its metrics."""

    published: int = 0
    """Sent to the server for the others."""
    heard: int = 0
    """From other processes."""
    dropped: int = 0
    connections: int = 0
    """Made so far."""


class NatsBus:
    """Fills `ports.bus.Bus`. One `start`, one `close`, in one event loop."""

    def __init__(self, settings: Settings, *, backlog: int = BACKLOG, backlog_bytes: int = BACKLOG_BYTES) -> None:
        """Raises `CannotUse`."""
        settings.check()
        self.figures = Figures()
        self._settings = settings
        self._backlog = backlog
        self._backlog_bytes = backlog_bytes
        self._ears = Ears(self._ears_changed)
        self._stale = True
        self._listened: set[str] = set()
        """Subjects that the server is known to send us."""
        self._outgoing: deque[tuple[str, bytes]] = deque()
        self._outgoing_bytes = 0
        self._connection: Connection | None = None
        self._reason = "not started"
        self._pause_s = _PAUSE_FIRST_S
        """The next one, between two attempts."""
        self._told: set[str] = set()
        """What was told since there was a connection: of several servers each has a reason of its own."""
        self._alone_since: float | None = None
        self._work = asyncio.Event()
        self._reached = asyncio.Event()
        self._waiting: list[asyncio.Future[None]] = []
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    @property
    def together(self) -> bool:
        """See `Bus.together`."""
        return self._connection is not None

    @property
    def dropped(self) -> int:
        """News that was lost here: not sent, or not taken in time."""
        return self.figures.dropped + (self._connection.dropped if self._connection is not None else 0)

    async def start(self) -> None:
        """See `Bus.start`: at most `_START_S`."""
        self._alone_since = asyncio.get_running_loop().time()
        self._task = watched(self._run(), "bus")
        try:
            async with asyncio.timeout(_START_S):
                await self._reached.wait()
        except TimeoutError:
            log.error("bus.started_alone", reason=self._reason)

    async def check(self) -> None:
        """See `Bus.check`; and when the server refuses us something."""
        since = self._alone_since
        if since is not None and asyncio.get_running_loop().time() - since > _MOMENT_S:
            raise Unavailable(f"NATS is out of reach: {self._reason}")
        if self._connection is not None and self._connection.refused is not None:
            raise Unavailable(f"NATS refuses: {self._connection.refused}")

    def publish(self, subject: str, data: bytes) -> None:
        """See `Bus.publish`."""
        self._ears.hear(subject, data)
        if self._closing or self._task is None:
            return
        self._outgoing.append((subject, data))
        self._outgoing_bytes += len(data)
        while len(self._outgoing) > self._backlog or self._outgoing_bytes > self._backlog_bytes:
            self._take()
            self.figures.dropped += 1
        self._work.set()

    async def subscribe(self, subject: str, heard: Heard) -> Ear:
        """See `Bus.subscribe`."""
        ear = self._ears.add(subject, heard)
        if self._connection is not None and subject not in self._listened:
            settled = asyncio.get_running_loop().create_future()
            self._waiting.append(settled)
            self._stale = True
            self._work.set()
            try:
                await settled
            except BaseException:
                ear.close()
                raise
        return ear

    async def close(self) -> None:
        """See `Bus.close`; what waits to be sent is sent when that goes quickly."""
        self._closing = True
        self._work.set()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=1.0)
            while not self._task.done():  # nats-py keeps some cancellations to itself
                self._task.cancel()
                await asyncio.wait([self._task], timeout=0.2)
        self._settled()
        self._ears.close()

    def _take(self) -> tuple[str, bytes]:
        subject, data = self._outgoing.popleft()
        self._outgoing_bytes -= len(data)
        return subject, data

    def _ears_changed(self) -> None:
        self._stale = True
        self._work.set()

    async def _run(self) -> None:
        """Have a connection, for ever."""
        servers = list(self._settings.servers)
        random = Random()  # noqa: S311 - so that not all processes come at once
        random.shuffle(servers)
        loop, number = asyncio.get_running_loop(), 0
        while not self._closing:
            began = loop.time()
            await self._connect_once(servers[number % len(servers)])
            number += 1
            if loop.time() - began > _STABLE_S:
                self._pause_s = _PAUSE_FIRST_S
            elif number % len(servers) == 0:
                pause_s, self._pause_s = self._pause_s, min(self._pause_s * 2, _PAUSE_LIMIT_S)
                await self._rest(pause_s * random.uniform(0.5, 1.0))

    async def _connect_once(self, server: Server) -> None:
        """Serve by a connection to `server` until it is lost; at once when there is none to be had."""
        connection = None
        try:
            connection = await Connection.open(server, self._settings, self._work.set)
            await self._reconcile(connection)
            self._arrived(connection)
            await self._serve(connection)
        except CannotConnect as error:
            told = f"{server.place}: {error}"
            if told not in self._told or self._connection is not None:
                log.warning("bus.unreachable", reason=told)
            self._told.add(told)
            self._reason = told
        finally:
            if self._connection is not None:
                self.figures.dropped += self._connection.dropped
                self._connection, self._alone_since = None, asyncio.get_running_loop().time()
            self._settled()
            if connection is not None:
                await connection.close()

    def _arrived(self, connection: Connection) -> None:
        self._connection, self._alone_since = connection, None
        self._told.clear()
        self.figures.connections += 1
        self._reached.set()
        log.info("bus.connected", server=connection.server.place)

    async def _serve(self, connection: Connection) -> None:
        """Pass on what is to be sent and listened to. Raises `CannotConnect` when the connection is lost."""
        loop = asyncio.get_running_loop()
        send_from = loop.time()
        if self.figures.connections > 1:
            send_from += _OTHERS_S + self._pause_s / 2
        ask_at = loop.time() + _BEAT_S
        while True:
            self._work.clear()
            if self._stale:
                await self._reconcile(connection)
            holds_back = loop.time() < send_from and not self._closing
            if not holds_back:
                await self._send(connection)
            if connection.lost is not None:
                raise CannotConnect(connection.lost)
            if self._closing:
                return
            try:
                async with asyncio.timeout_at(send_from if holds_back else ask_at):
                    await self._work.wait()
            except TimeoutError:
                if not holds_back:
                    await connection.settle()
                    ask_at = loop.time() + _BEAT_S

    async def _send(self, connection: Connection) -> None:
        prefix = self._settings.prefix
        while self._outgoing and connection.lost is None:
            subject, data = self._take()
            if await connection.publish(f"{prefix}.{subject}", data):
                self.figures.published += 1
            else:
                log.error("bus.not_publishable", subject=subject, size_bytes=len(data))
                self.figures.dropped += 1

    async def _reconcile(self, connection: Connection) -> None:
        """Listen to what there are ears for, and to nothing else."""
        while self._stale:
            self._stale = False
            prefix = self._settings.prefix
            waiting, self._waiting = self._waiting, []
            wanted = self._ears.subjects()
            self._listened &= wanted
            try:
                for subject in connection.subjects - wanted:
                    await connection.ignore(subject)
                for subject in wanted - connection.subjects:
                    await connection.listen(subject, f"{prefix}.{subject}", partial(self._heard, subject))
                await connection.settle()
            finally:
                _settle(waiting)
            self._listened = wanted & connection.subjects

    def _heard(self, subject: str, data: bytes) -> None:
        self.figures.heard += 1
        self._ears.hear(subject, data)

    def _settled(self) -> None:
        """There is nothing to wait for: what is to be listened to will be with the next connection."""
        self._stale = True
        self._listened = set()
        waiting, self._waiting = self._waiting, []
        _settle(waiting)

    async def _rest(self, seconds: float) -> None:
        """Unless we are closed meanwhile."""
        until = asyncio.get_running_loop().time() + seconds
        try:
            async with asyncio.timeout_at(until):
                while not self._closing:
                    await self._work.wait()
                    self._work.clear()
        except TimeoutError:
            pass


def _settle(waiting: list[asyncio.Future[None]]) -> None:
    for each in waiting:
        if not each.done():
            each.set_result(None)
