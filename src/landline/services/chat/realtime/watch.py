"""Ends connections whose token ends, is revoked, or was made with a key that has been replaced."""

import asyncio
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from itertools import count
from typing import Protocol

from landline.core.errors import Forbidden, Unauthorized, Unavailable
from landline.core.ids import RawId
from landline.ports.clock import Alarm, Clock
from landline.services.chat.realtime.hub import Hub
from landline.services.chat.realtime.tickets import Holder, Tickets

RECHECK = timedelta(seconds=30)
"""How long a replaced key may go unnoticed; users' tokens that are revoked are heard of at once."""
_SHORTLY = timedelta(seconds=1)


_AT_ONCE = 50
"""Checks under way together: with thousands due, what else there is to do comes in between."""
_PAST, _UNDER_WAY = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


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
        self._due: dict[Held, datetime] = {}
        self._order: list[tuple[datetime, int, Held]] = []
        """A heap by what is due when; it also holds what `_due` no longer says, which counts for nothing."""
        self._numbers = count()

    def joined(self, member: Held) -> None:
        """`member` was checked just now."""
        self._plan(member, _next(member, self._clock.now()))

    def left(self, member: Held) -> None:
        """`member` is no more."""
        self._due.pop(member, None)

    @property
    def held(self) -> int:
        """How many connections are watched."""
        return len(self._due)

    def suspect(self, key: str | None) -> None:
        """Something may have happened to the tokens of the user `key`; None: to anyone's."""
        for member in self._due:
            if key is None or member.holder.user == RawId(key):
                self._plan(member, _PAST)

    async def run(self) -> None:
        """Until cancelled."""
        alarm = self._alarm = self._clock.alarm()
        try:
            while True:
                now = self._clock.now()
                due = self._taken(now)
                for first in range(0, len(due), _AT_ONCE):
                    await asyncio.gather(*(self._check(member, now) for member in due[first : first + _AT_ONCE]))
                if not due:
                    await alarm.wait(self._order[0][0] if self._order else None)
        finally:
            alarm.close()

    def _plan(self, member: Held, at: datetime) -> None:
        self._due[member] = at
        heappush(self._order, (at, next(self._numbers), member))
        if self._order[0][2] is member and self._alarm is not None:
            self._alarm.ring()

    def _taken(self, now: datetime) -> list[Held]:
        """Whose check is due; each is checked, and then planned again."""
        found: list[Held] = []
        while self._order and (self._order[0][0] <= now or self._due.get(self._order[0][2]) != self._order[0][0]):
            at, _, member = heappop(self._order)
            if self._due.get(member) == at:
                found.append(member)
                self._due[member] = _UNDER_WAY
        return found

    async def _check(self, member: Held, now: datetime) -> None:
        try:
            await self._tickets.holder(member.holder.token)
        except (Unauthorized, Forbidden):
            self.left(member)
            member.end()
            return
        except Unavailable:
            pass  # nobody loses a connection because the database is away
        if self._due.get(member) == _UNDER_WAY:  # else it has left, or became suspect meanwhile
            self._plan(member, _next(member, now))


def _next(member: Held, now: datetime) -> datetime:
    ends_at = member.holder.ends_at
    # In whole seconds: connections that came one by one are checked together.
    return min(now.replace(microsecond=0) + RECHECK, ends_at if ends_at > now else now + _SHORTLY)
