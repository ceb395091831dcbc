"""What all connections of an application may hold together: how many there are, and the bytes of what they send. A
server that nobody has proved anything to stays within both, and says who gives way when they are reached.

A request of up to `FEW_BYTES` is its connection's own affair and always has room. What is larger is counted from when
that is known until it is answered. Those that came whole go before those that have not: of these the one that has been
large for longest gives way, for who sends slowly costs most and loses least. Answers that wait to be read have as much
room again, and a client goes with its answer.
"""

import asyncio
import resource
from heapq import nsmallest
from typing import Protocol

import structlog

from landline.core.errors import Unavailable
from landline.edge.http import Limits, Request

log = structlog.get_logger()

FEW_BYTES = 4096
"""What a request may hold without being counted."""
LARGE_BYTES = 65_536
"""Unfinished requests over this give way before the others."""
RETRY_AFTER_S = 2.0
TELL_EVERY_S = 60.0
FEWER_S = 60.0
"""For how long fewer connections are let in after the process ran out of files."""
FEWEST = 16
"""Connections that are let in however few files are left."""
LOOK_EVERY_S = 1.0
"""How long nobody looks for idle connections again after none was found."""


class Guest(Protocol):
    """A connection."""

    def give_way(self, refusal: Unavailable) -> None:
        """Answer the unfinished request with `refusal` and drop what came of it."""
        ...

    def abort(self) -> None:
        """End now."""
        ...

    @property
    def idle_until(self) -> float | None:
        """When it will be closed unless a request comes, by the loop's clock; None while it has one."""
        ...


class Room:
    """For one event loop's thread. Instants are the loop's."""

    def __init__(self, limits: Limits, *, descriptors: int | None = None) -> None:
        """`descriptors`: so many files the process may open; None: as the system says."""
        self._limits = limits
        # One body of the largest kind has to find room beside others, whatever that is set to.
        self.most_bytes = max(limits.total_bytes, 8 * limits.body_bytes)
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0] if descriptors is None else descriptors
        self._last_descriptor = files - min(256, files // 8) if files > 0 else 1 << 31
        """The rest is for the database, carriers, and files."""
        self._most = limits.connections
        self._most_until = 0.0
        self._halls: list[set[object]] = []
        self._strangers: dict[Guest, None] = {}
        """Those that have sent no whole request yet, the first of them first."""
        self._known: set[Guest] = set()
        self._unfinished: dict[Guest, int] = {}
        """Bytes of requests that are being read, of those that are counted."""
        self._large: dict[Guest, None] = {}
        self._unread: dict[asyncio.Transport, int] = {}
        self.held_bytes = 0
        self.unread_bytes = 0
        self.cut_readers = 0
        self.refused_requests = 0
        self.cut_connections = 0
        self.refused_connections = 0
        self._told_at = self._looked_at = -TELL_EVERY_S

    # connections

    def add(self, connections: set[object]) -> None:
        """Count those in `connections`, a server's own set, from now on."""
        self._halls.append(connections)

    def remove(self, connections: set[object]) -> None:
        """Count those in `connections` no longer."""
        self._halls = [hall for hall in self._halls if hall is not connections]  # all empty ones are equal

    @property
    def connections(self) -> int:
        """How many are open."""
        return sum([len(hall) for hall in self._halls])

    def enter(self, guest: Guest, descriptor: int, now: float) -> bool:
        """Whether `guest`, who has just connected with the file `descriptor`, may stay. Another one may go for it."""
        over = self._over(descriptor, now)
        if over >= 0 or len(self._strangers) >= self._limits.strangers:
            self._tell("edge.too_many_connections", now, descriptor=descriptor)
            made = self._cut(now)
            if over > 0 and made:
                self._cut(now)
            if not made:
                self.refused_connections += 1
                return False
        self._strangers[guest] = None
        return True

    def _over(self, descriptor: int, now: float) -> int:
        """How many connections are over the bound before the next is let in; negative when there is room. A high number
        says that the files are nearly all in use, a low one nothing: for a while then no more are let in than are."""
        count = self.connections
        if descriptor > self._last_descriptor and count < self._most:
            self._most, self._most_until = max(count, FEWEST), now + FEWER_S
        elif now > self._most_until:
            self._most = self._limits.connections
        return count - self._most

    def know(self, guest: Guest) -> None:
        """It has sent a whole request."""
        if guest in self._strangers:
            del self._strangers[guest]
            self._known.add(guest)

    def leave(self, guest: Guest) -> None:
        """It is gone, or no longer speaks HTTP."""
        self._strangers.pop(guest, None)
        self._known.discard(guest)

    def _cut(self, now: float) -> bool:
        """Cut the first of those that have asked for nothing yet; else, a few at once because they have to be looked
        for, those that are idle for longest. Whether there was anyone."""
        going = [next(iter(self._strangers))] if self._strangers else self._idle(now)
        for guest in going:
            self.leave(guest)
            guest.abort()
        self.cut_connections += len(going)
        return bool(going)

    def _idle(self, now: float) -> list[Guest]:
        if now - self._looked_at < LOOK_EVERY_S:
            return []
        idle = [(until, id(guest), guest) for guest in self._known if (until := guest.idle_until) is not None]
        if not idle:
            self._looked_at = now
        return [guest for _, _, guest in nsmallest(1 + len(idle) // 64, idle)]

    # bodies

    def grow(self, guest: Guest, size: int, now: float) -> None:
        """`guest` has read `size` bytes, more than `FEW_BYTES`, of a request that is not whole yet."""
        self.held_bytes += size - self._unfinished.get(guest, 0)
        self._unfinished[guest] = size
        if size > LARGE_BYTES:
            self._large[guest] = None  # it keeps its place
        while self.held_bytes > self.most_bytes and self._unfinished:
            self._give_way(now)

    def finish(self, guest: Guest) -> None:
        """What `guest` was reading has come whole, or is dropped."""
        self.held_bytes -= self._unfinished.pop(guest, 0)
        self._large.pop(guest, None)

    def hold(self, request: Request, now: float) -> Unavailable | None:
        """Keep room for `request`, whose body has come whole and is over `FEW_BYTES`, until `release`; or why there is
        none, and then its body is dropped."""
        size = len(request.body)
        while self.held_bytes + size > self.most_bytes and self._unfinished:
            self._give_way(now)
        if self.held_bytes + size > self.most_bytes:
            request.body = b""
            return self._refused(now)
        self.held_bytes += size
        return None

    def release(self, request: Request) -> None:
        """`request` is handled, or nobody will."""
        self.held_bytes -= len(request.body)
        request.body = b""

    # answers

    def owe(self, transport: asyncio.Transport, now: float) -> None:
        """A client has much to read. When all have too much, the first of them is cut."""
        size = transport.get_write_buffer_size()
        self._unread[transport] = size
        self.unread_bytes += size
        while self.unread_bytes > self.most_bytes and len(self._unread) > 1:
            first = next(iter(self._unread))
            self.read(first)
            self.cut_readers += 1
            self._tell("edge.too_many_unread", now)
            first.abort()

    def read(self, transport: asyncio.Transport) -> None:
        """It has read, or is gone."""
        self.unread_bytes -= self._unread.pop(transport, 0)

    def _give_way(self, now: float) -> None:
        guest = next(iter(self._large or self._unfinished))
        self.finish(guest)
        guest.give_way(self._refused(now))

    def _refused(self, now: float) -> Unavailable:
        self.refused_requests += 1
        self._tell("edge.too_many_bytes", now)
        return Unavailable("The server has too much to read at once. Try again.", retry_after_s=RETRY_AFTER_S)

    def _tell(self, event: str, now: float, **more: int) -> None:
        """Once in a while: whoever floods the server is not to flood its log."""
        if now - self._told_at < TELL_EVERY_S:
            return
        self._told_at = now
        log.warning(
            event,
            connections=self.connections,
            held_bytes=self.held_bytes,
            cut_connections=self.cut_connections,
            refused_connections=self.refused_connections,
            refused_requests=self.refused_requests,
            unread_bytes=self.unread_bytes,
            cut_readers=self.cut_readers,
            **more,
        )
