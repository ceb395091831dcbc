"""The connections the callout engine keeps: for each origin its own, bounded for each and for all together."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from landline.engines.callout_connection import Connection, Origin, closing

Connect = Callable[[Connection], Awaitable[None]]


@dataclass(slots=True)
class Pool:
    """The connections to one origin."""

    idle: list[Connection] = field(default_factory=list[Connection])
    """The one used last comes last, and is used next: the fewest stay open."""
    connections: set[Connection] = field(default_factory=set[Connection])
    waiting: "deque[asyncio.Future[None]]" = field(default_factory=deque["asyncio.Future[None]"])


class Pools:
    """All connections. Who finds no room waits, in turn, until a connection is free or gone."""

    def __init__(self, *, per_origin: int, in_all: int, keep_s: float) -> None:
        self._per_origin = per_origin
        self._in_all = in_all
        self._keep_s = keep_s
        self._pools: dict[Origin, Pool] = {}
        self._count = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        """For room among all."""
        self._sweep: asyncio.TimerHandle | None = None
        self._gone: asyncio.Future[None] | None = None
        self._closed = False

    def take(self, origin: Origin) -> Connection | None:
        """An idle connection to `origin`, unless there is none or others wait for it already."""
        pool = self._pools.get(origin)
        return None if pool is None or pool.waiting else self._idle(pool)

    async def obtain(self, origin: Origin, connect: Connect, *, new: bool = False) -> Connection:
        """An idle connection to `origin`, or one that `connect` has made; a new one in any case when `new`."""
        while not self._closed:
            pool = self._pools.setdefault(origin, Pool())
            if not new and (connection := self._idle(pool)) is not None:
                return connection
            if len(pool.connections) >= self._per_origin:
                if new and pool.idle:
                    pool.idle.pop(0).close()
                await self._turn(pool.waiting)
            elif self._count >= self._in_all:
                self._close_an_idle_one()
                await self._turn(self._waiting)
            else:
                return await self._make(origin, pool, connect)
        raise closing()

    async def close(self, within_s: float) -> None:
        """End all connections, those with a request under way too, and make no more. What has not said goodbye
        `within_s` is cut off."""
        self._closed = True
        for waiting in (self._waiting, *(pool.waiting for pool in self._pools.values())):
            while _wake(waiting):
                pass
        connections = [connection for pool in self._pools.values() for connection in pool.connections]
        for connection in connections:
            connection.leave()
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        if self._count:
            self._gone = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._gone], timeout=within_s)
            self._gone = None
        for connection in connections:
            connection.abort()

    def free(self, connection: Connection) -> None:
        pool = self._pools[connection.origin]
        if self._waiting and not pool.waiting:
            connection.close()  # its place is wanted for another origin
            return
        pool.idle.append(connection)
        if pool.waiting:
            _wake(pool.waiting)
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(self._keep_s, self._close_old_ones)

    def lost(self, connection: Connection) -> None:
        pool = self._pools.get(connection.origin)
        if pool is None or connection not in pool.connections:
            return  # given up while it was being made
        pool.connections.remove(connection)
        if connection in pool.idle:
            pool.idle.remove(connection)
        self._count -= 1
        if not _wake(pool.waiting):
            _wake(self._waiting)
        if not pool.connections and not pool.waiting:
            del self._pools[connection.origin]
        if self._gone is not None and not self._count and not self._gone.done():
            self._gone.set_result(None)

    async def _make(self, origin: Origin, pool: Pool, connect: Connect) -> Connection:
        connection = Connection(origin, self)
        pool.connections.add(connection)
        self._count += 1
        try:
            await connect(connection)
            if self._closed:
                raise closing()
        except BaseException:
            connection.abort()
            self.lost(connection)
            raise
        return connection

    def _idle(self, pool: Pool) -> Connection | None:
        while pool.idle:
            connection = pool.idle.pop()
            if connection.usable and connection.now() - connection.idle_since < self._keep_s:
                return connection
            connection.close()
        return None

    def _close_an_idle_one(self) -> None:
        for pool in self._pools.values():
            if pool.idle:
                pool.idle.pop(0).close()
                return

    def _close_old_ones(self) -> None:
        loop = asyncio.get_running_loop()
        oldest = loop.time() - self._keep_s
        for pool in self._pools.values():
            while pool.idle and pool.idle[0].idle_since <= oldest:
                pool.idle.pop(0).close()
        first = min((pool.idle[0].idle_since for pool in self._pools.values() if pool.idle), default=None)
        self._sweep = None if first is None else loop.call_at(first + self._keep_s, self._close_old_ones)

    async def _turn(self, waiting: "deque[asyncio.Future[None]]") -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                waiting.remove(turn)
            else:
                _wake(waiting)  # it had come, so it is the next one's
            raise


def _wake(waiting: "deque[asyncio.Future[None]]") -> bool:
    """Whether anybody waited."""
    while waiting:
        turn = waiting.popleft()
        if not turn.done():
            turn.set_result(None)
            return True
    return False
