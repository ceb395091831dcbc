"""Takes up messages with timers of their own (to be sent at a time, tried again, given up) when these are due."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import structlog

from landline.ports.clock import Clock
from landline.services.sms import records_deferred
from landline.services.sms import records_progress as records
from landline.services.sms.giving_up import ASKED_AGAIN, GivingUp
from landline.services.sms.handover import HandOver, Pending
from landline.services.sms.model.crowds import NO_CROWDS, Crowds, Fairly
from landline.services.sms.pauses import UNREACHED_PAUSE
from landline.services.sms.read_again import pending_in
from landline.services.sms.records_deferred import Claim
from landline.services.sms.removed import Removed
from landline.services.sms.rerouting import Rerouting
from landline.services.sms.rota import Rota
from landline.store.database import Connection, Database, Record

log = structlog.get_logger()
_AT_ONCE = 500
_OTHERS_EVERY = timedelta(minutes=1)
"""How often what is due at others' carriers is looked through for what has to end: there may be a million of it."""
_Claiming = Callable[[Connection, Claim, int], Awaitable[list[Record]]]


class Timers:
    """One process's share, which is `owner`. What is for carriers that are not reached from it is left to others; it is
    ended here once it has to be and they did not for a while: they may be gone, or there are none. What is for
    carriers that nobody has any more is given to others of its route."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        handover: HandOver,
        giving_up: GivingUp,
        rerouting: Rerouting,
        removed: Removed,
        owner: UUID,
    ) -> None:
        self._database = database
        self._clock = clock
        self._handover = handover
        self._giving_up = giving_up
        self._rerouting = rerouting
        self._removed = removed
        self._owner = owner
        self._elsewhere = True
        """Whether there were, when this was idle last, timers at others' carriers."""
        self._others_looked_at: datetime | None = None
        self._rota, self._orphans = Rota(), Rota()
        self._many = False
        """Whether more was due than is claimed at once."""
        self.claiming: set[UUID] = set()
        """The claim that is being made, of which nobody else knows yet."""

    async def next_due(self, without: Crowds) -> datetime | None:
        """When there is something to claim, but of the crowds `without`."""
        reached = self._handover.reached
        async with self._database.connection() as connection:
            self._elsewhere = await records_deferred.elsewhere(connection, reached)
            if self._fairly(without) is None:
                due = await records_deferred.next_deferred(connection)
            else:
                due = await self._rota.next_due(connection, self._clock.now(), reached, without)
        if not self._elsewhere:
            return due
        others = (self._others_looked_at or self._clock.now()) + _OTHERS_EVERY
        return others if due is None else min(due, others)

    async def claim(self, without: Crowds) -> int:
        """Take up some of what is due, but of the crowds `without`; how much."""
        self._rota.forget()
        claimed, _ = await self._claim(self._due(without))
        self._many = claimed >= _AT_ONCE or self._rota.goes_on
        if self._elsewhere and self._others_are_due():
            ended, _ = await self._claim(self._ending)
            found, moved = await self._claim(self._orphaned) if self._removed.names else (0, 0)
            more = moved and (found >= _AT_ONCE or self._orphans.goes_on)
            if ended < _AT_ONCE and not more:
                self._others_looked_at = self._clock.now()
            claimed += ended + found
        return claimed

    def _fairly(self, without: Crowds) -> Fairly | None:
        """Sender by sender also where one's campaign would be claimed before another's text, which was due after it, or
        where what is due at others' carriers would be read."""
        fairly = self._handover.room.fairly(without)
        return Fairly(without, _AT_ONCE) if fairly is None and (self._many or self._elsewhere) else fairly

    def _others_are_due(self) -> bool:
        at = self._others_looked_at
        return at is None or not at <= self._clock.now() < at + _OTHERS_EVERY  # earlier: the clock was set back

    def _due(self, without: Crowds) -> _Claiming:
        fairly = self._fairly(without)

        async def due(connection: Connection, claim: Claim, limit: int) -> list[Record]:
            reached = self._handover.reached
            if fairly is None:
                return await records_deferred.claim_deferred(connection, claim, limit, carriers=reached)
            return await self._rota.claim(connection, claim, limit, carriers=reached, fairly=fairly)

        return due

    async def _ending(self, connection: Connection, claim: Claim, limit: int) -> list[Record]:
        since = claim.at - UNREACHED_PAUSE
        reached = self._handover.reached
        return await records_deferred.claim_ending(connection, claim, limit, carriers=reached, since=since)

    async def _orphaned(self, connection: Connection, claim: Claim, limit: int) -> list[Record]:
        names, fairly = self._removed.names, Fairly(NO_CROWDS, _AT_ONCE)
        return await self._orphans.claim(connection, claim, limit, carriers=names, fairly=fairly)

    async def _claim(self, claiming: _Claiming) -> tuple[int, int]:
        """Take up what `claiming` finds; how much, and how much of it went to another carrier. Whatever this does not
        come to, its claim is found forgotten, and it is due again."""
        claim = Claim(uuid4(), self._owner, self._clock.now())
        self.claiming = {claim.block}
        try:
            async with self._database.connection() as connection:
                rows = await claiming(connection, claim, _AT_ONCE)
            return len(rows), await self._take_up(claim.block, rows, claim.at) if rows else 0
        finally:
            self.claiming = set()

    async def _take_up(self, claim: UUID, rows: Sequence[Record], now: datetime) -> int:
        taken = [row for row in rows if row["submitted"] is not None]
        unasked = await self._giving_up.unreported([row for row in taken if row["report_by"] <= now], now)
        again = await self._giving_up.without_hopeless(
            [pending_in(row, claim=claim) for row in rows if row["submitted"] is None], now
        )
        reachable = [message for message in again if self._handover.reaches({message.carrier})]
        waiting = [(row["resource_id"], row["message_id"], row["report_by"]) for row in taken if row["report_by"] > now]
        waiting += [(row["resource_id"], row["message_id"], now + ASKED_AGAIN) for row in unasked]
        await self._wait_alone(claim, waiting)
        in_hand = {message.submission.key for message in reachable}
        left = [message for message in again if message.submission.key not in in_hand]
        moved = await self._leave(claim, left, now)
        self._handover.take_alone(claim, reachable)
        return moved

    async def _leave(self, claim: UUID, left: Sequence[Pending], now: datetime) -> int:
        """Have what is not for carriers reached from here wait, or go to another one if nobody has its own any more;
        how much has gone."""
        names = self._removed.names
        orphans = [message for message in left if message.carrier in names]
        # Due at once for who reaches their carrier; for others, as we are, a while after that.
        until = [(message.resource, message.submission.key, now) for message in left if message.carrier not in names]
        rest = await self._rerouting.reroute(orphans, "no process has this carrier any more") if orphans else orphans
        again = now + _OTHERS_EVERY
        until += [(message.resource, message.submission.key, min(again, message.until)) for message in rest]
        await self._wait_alone(claim, until)
        moved = len(orphans) - len(rest)
        if moved:
            log.info("sms.moved_from_removed_carriers", messages=moved)
        return moved

    async def _wait_alone(self, claim: UUID, messages: Sequence[tuple[UUID, UUID, datetime]]) -> None:
        if messages:
            async with self._database.connection() as connection:
                keys = [(resource, message) for resource, message, _ in messages]
                await records.wait_alone(connection, keys, [until for _, _, until in messages], claim=claim)
