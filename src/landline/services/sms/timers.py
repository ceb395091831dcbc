"""Takes up messages with timers of their own (to be sent at a time, tried again, given up) when these are due."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from landline.ports.clock import Clock
from landline.services.sms import records_deferred
from landline.services.sms import records_progress as records
from landline.services.sms.giving_up import GivingUp
from landline.services.sms.handover import HandOver, pending_in
from landline.services.sms.model.crowds import Crowds
from landline.store.blocks import LEASE
from landline.store.database import Database

_AT_ONCE = 500


class Timers:
    """One process's share, which is `owner`. What is for carriers that are not reached from it is left to others for a
    `pause`."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        handover: HandOver,
        giving_up: GivingUp,
        owner: UUID,
        *,
        pause: timedelta,
    ) -> None:
        self._database = database
        self._clock = clock
        self._handover = handover
        self._giving_up = giving_up
        self._owner = owner
        self._pause = pause
        self.claiming: set[UUID] = set()
        """The claim that is being made, of which nobody else knows yet."""

    async def next_due(self, without: Crowds) -> datetime | None:
        """When there is something to claim, but of the crowds `without`."""
        now, reached, fairly = self._clock.now(), self._handover.reached, self._handover.room.fairly(without)
        async with self._database.connection() as connection:
            return await records_deferred.next_deferred(connection, now, reached, self._pause, fairly)

    async def claim(self, without: Crowds) -> int:
        """Take up some of what is due, but of the crowds `without`; how much."""
        claim = uuid4()
        self.claiming = {claim}
        try:
            return await self._claim_under(claim, self._clock.now(), without)
        finally:
            self.claiming = set()

    async def _claim_under(self, claim: UUID, now: datetime, without: Crowds) -> int:
        """Take up what is due. Whatever this does not come to, its claim is found forgotten, and it is due again."""
        async with self._database.connection() as connection:
            rows = await records_deferred.claim_deferred(
                connection,
                claim,
                self._owner,
                now,
                now + LEASE,
                _AT_ONCE,
                carriers=self._handover.reached,
                others_since=now - self._pause,
                fairly=self._handover.room.fairly(without),
            )
        if not rows:
            return 0
        taken = [row for row in rows if row["submitted"] is not None]
        await self._giving_up.unreported([row for row in taken if row["report_by"] <= now])
        again = await self._giving_up.without_hopeless(
            [pending_in(row, claim=claim) for row in rows if row["submitted"] is None], now
        )
        reached = [message for message in again if self._handover.reaches({message.carrier})]
        await self._wait_alone(
            [(row["resource_id"], row["message_id"], row["report_by"]) for row in taken if row["report_by"] > now]
        )
        in_hand = {message.submission.key for message in reached}
        left = [message for message in again if message.submission.key not in in_hand]
        # Due at once for who reaches their carrier; for others, as we are, a while after that.
        await self._wait_alone([(message.resource, message.submission.key, now) for message in left])
        self._handover.take_alone(claim, reached)
        return len(rows)

    async def _wait_alone(self, messages: Sequence[tuple[UUID, UUID, datetime]]) -> None:
        if messages:
            async with self._database.connection() as connection:
                keys = [(resource, message) for resource, message, _ in messages]
                await records.wait_alone(connection, keys, [until for _, _, until in messages])
