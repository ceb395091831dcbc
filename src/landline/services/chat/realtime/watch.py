"""Ends connections whose token ends, is revoked, or was made with a key that has been replaced."""

import asyncio
from datetime import datetime, timedelta
from typing import Protocol

from landline.core.errors import Forbidden, Unauthorized, Unavailable
from landline.core.ids import RawId
from landline.ports.clock import Alarm, Clock
from landline.services.chat.realtime.hub import Hub
from landline.services.chat.realtime.tickets import Holder, Tickets

RECHECK = timedelta(seconds=30)
"""How long a replaced key may go unnoticed; users' tokens that are revoked are heard of at once."""


class Held(Protocol):
    """A connection that is worth as much as its token."""

    holder: Holder

    def end(self) -> None:
        """The token is worth nothing any more."""
        ...


class Watch:
    """Asks again who the holders of this process's connections are. `joined` and `suspect` wake it."""

    def __init__(self, hub: Hub, tickets: Tickets, clock: Clock) -> None:
        self._hub = hub
        self._tickets = tickets
        self._clock = clock
        self._alarm: Alarm | None = None
        self._checked: dict[Held, datetime] = {}
        self._next: datetime | None = None

    def joined(self, member: Held) -> None:
        """`member` was checked just now."""
        self._checked[member] = self._clock.now()
        if self._next is None or self._due_at(member) < self._next:
            self._wake()

    def left(self, member: Held) -> None:
        """`member` is no more."""
        self._checked.pop(member, None)

    def suspect(self, key: str | None) -> None:
        """Something may have happened to the tokens of the user `key`; None: to anyone's."""
        for member in self._checked:
            if key is None or member.holder.user == RawId(key):
                self._checked[member] = member.holder.ends_at - timedelta(days=36_500)
        self._wake()

    async def run(self) -> None:
        """Until cancelled."""
        alarm = self._alarm = self._clock.alarm()
        try:
            while True:
                now = self._clock.now()
                due = [member for member in self._checked if self._due_at(member) <= now]
                await asyncio.gather(*(self._check(member, now) for member in due))
                self._next = min(map(self._due_at, self._checked), default=None)
                await alarm.wait(self._next)
        finally:
            alarm.close()

    def _wake(self) -> None:
        if self._alarm is not None:
            self._alarm.ring()

    def _due_at(self, member: Held) -> datetime:
        return min(self._checked[member] + RECHECK, member.holder.ends_at)

    async def _check(self, member: Held, now: datetime) -> None:
        try:
            await self._tickets.holder(member.holder.token)
        except (Unauthorized, Forbidden):
            self.left(member)
            member.end()
        except Unavailable:
            self._again(member, now)  # nobody loses a connection because the database is away
        else:
            self._again(member, now)

    def _again(self, member: Held, now: datetime) -> None:
        if member in self._checked:
            self._checked[member] = now
