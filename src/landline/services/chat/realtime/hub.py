"""The connections of this process and what they are told: one ear per resource, one frame per change, one write per
connection and turn of the event loop."""

import asyncio
from collections.abc import Iterable
from functools import partial
from itertools import count
from typing import Protocol

import structlog

from landline.core.errors import TooMany, Unavailable
from landline.core.ids import RawId, ResourceId
from landline.ports.bus import Subscription
from landline.services.chat.feed import Feed
from landline.services.chat.model.changes import ChatChange
from landline.services.chat.realtime import payloads
from landline.services.chat.realtime.frames import Frame
from landline.services.chat.realtime.metrics import Figures
from landline.services.chat.realtime.tickets import Holder

log = structlog.get_logger()

MOST = 20_000
"""Connections of a process."""
MOST_OF_A_USER = 32
AT_ONCE = 256
"""Connections that are written to in one turn of the loop, some 2 ms: what else there is to do comes in between."""
MOST_BEHIND = 1024
"""Connections that may be behind at once, each by up to 256 KiB (`sockets.UNREAD_BYTES`)."""


class Member(Protocol):
    """One connection of a user."""

    holder: Holder

    def push(self, frame: bytes) -> bool:
        """Keep `frame` until the next `flush`; True when it is the first to wait for it."""
        ...

    def flush(self) -> None:
        """Send what waits."""
        ...

    @property
    def unsent(self) -> int:
        """Bytes that this process holds until the client reads them; 0 while they are few."""
        ...

    def cut(self) -> None:
        """It holds too much: away with it."""
        ...

    def end(self) -> None:
        """Its token is worth nothing any more."""
        ...


class Hub:
    """All connections of this process."""

    def __init__(
        self,
        feed: Feed,
        *,
        most: int = MOST,
        most_of_a_user: int = MOST_OF_A_USER,
        most_behind: int = MOST_BEHIND,
    ) -> None:
        self._feed = feed
        self._most = most
        self._most_of_a_user = most_of_a_user
        self._most_behind = most_behind
        self._rooms: dict[ResourceId, dict[RawId, list[Member]]] = {}
        self._ears: dict[ResourceId, Subscription] = {}
        self._opening = asyncio.Lock()
        self._numbers = count(1)
        self._due: list[Member] = []
        self._behind: dict[Member, None] = {}
        """Those who were behind when they were last written to, the first of them first."""
        self.size = 0
        self.figures = Figures()

    async def join(self, member: Member) -> None:
        """`member` is told of every change that is committed from now on, unless it leaves meanwhile. Raises `TooMany`,
        `Unavailable`."""
        resource, user = member.holder.resource, member.holder.user
        if self.size >= self._most:
            raise Unavailable("This process has all the connections it can have.", retry_after_s=5.0)
        members = self._rooms.setdefault(resource, {}).setdefault(user, [])
        if len(members) >= self._most_of_a_user:
            raise TooMany(f"A user has at most {self._most_of_a_user} connections.", retry_after_s=5.0)
        members.append(member)
        self.size += 1
        try:
            async with self._opening:
                if resource not in self._ears:
                    self._ears[resource] = await self._feed.listen(resource, partial(self._heard, resource))
        except BaseException:
            if self._has(member):
                self.leave(member)
            raise
        if resource not in self._rooms:  # all of it left meanwhile, and found no ear to close
            self._deafen(resource)

    def leave(self, member: Member) -> None:
        """`member` is told nothing more."""
        resource, user = member.holder.resource, member.holder.user
        room = self._rooms[resource]
        room[user].remove(member)
        self._behind.pop(member, None)
        self.size -= 1
        if not room[user]:
            del room[user]
        if not room:
            del self._rooms[resource]
            self._deafen(resource)

    def _has(self, member: Member) -> bool:
        return member in self._rooms.get(member.holder.resource, {}).get(member.holder.user, ())

    def _deafen(self, resource: ResourceId) -> None:
        ear = self._ears.pop(resource, None)
        if ear is not None:
            ear.close()

    def members(self) -> Iterable[Member]:
        """All of them."""
        for room in self._rooms.values():
            for members in room.values():
                yield from members

    def close(self) -> None:
        """Hear nothing more."""
        for ear in self._ears.values():
            ear.close()
        self._ears.clear()

    def _heard(self, resource: ResourceId, change: ChatChange) -> None:
        room = self._rooms.get(resource)
        if not room:
            return
        frame, due, figures = None, self._due, self.figures
        waited = bool(due)
        for user in payloads.told(change):
            members = room.get(user)
            if members:
                frame = frame or Frame(change, next(self._numbers))
                framed = frame.to(user)
                figures.frames += len(members)
                figures.frame_bytes += len(framed) * len(members)
                for member in members:
                    if member.push(framed):
                        due.append(member)
        if due and not waited:
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        due = self._due
        now = due[:AT_ONCE]
        del due[:AT_ONCE]
        if due:
            asyncio.get_running_loop().call_soon(self._flush)
        behind = self._behind
        for member in now:
            member.flush()
            if member.unsent:
                behind[member] = None
            elif behind:
                behind.pop(member, None)
        while len(behind) > self._most_behind:
            self._relieve()

    def _relieve(self) -> None:
        """Readers that are all slow could hold more together than the process has: who is behind for longest goes."""
        member = next(iter(self._behind))
        del self._behind[member]
        if member.unsent:
            log.info("chat.slow_reader_cut", user=member.holder.user, unsent_bytes=member.unsent)
            self.figures.slow_readers += 1
            member.cut()
