"""What is dropped of SMPP customers' affairs: what nobody came for in time, and whose messages long ago were.

It runs beside `esme_worker`, and in portions, so that receipts and texts never wait for it, however much there is.
"""

from datetime import datetime, timedelta
from uuid import UUID

import structlog

from landline.core.errors import Unavailable
from landline.core.ids import ResourceId, time_ordered
from landline.ports.clock import Clock
from landline.services.sms import records_accounts, records_esme_out
from landline.services.sms import records_esme as records
from landline.store.database import Database

log = structlog.get_logger()
_EVERY = timedelta(minutes=10)
_AWAY = timedelta(seconds=10)
_MESSAGES_KEPT = timedelta(days=8)
"""How long query_sm knows a message, and a receipt may come."""
_AT_ONCE = 5000


class EsmeSweep:
    """`validity` is how long a receipt or text is kept for a customer who is away, `kept` how many of one account; the
    oldest go first. Any number of processes may sweep at once."""

    def __init__(
        self, database: Database, clock: Clock, *, validity: timedelta, kept: int, at_once: int = _AT_ONCE
    ) -> None:
        self._database = database
        self._clock = clock
        self._validity = validity
        self._kept = kept
        self._at_once = at_once

    async def run(self) -> None:
        """Until cancelled."""
        alarm = self._clock.alarm()
        try:
            while True:
                wait = _EVERY
                try:
                    await self.sweep(self._clock.now())
                except Unavailable as error:
                    log.warning("sms.esme_not_swept", reason=error.message)
                    wait = _AWAY
                await alarm.wait(self._clock.now() + wait)
        finally:
            alarm.close()

    async def sweep(self, now: datetime) -> None:
        """Drop what is too old, or too much, at `now`."""
        async with self._database.connection() as connection:
            accounts = [stored.account for stored in await records_accounts.accounts(connection)]
            resources = await records.resources(connection)
        for account in accounts:
            given_up = await self._give_up(account.resource, account.system_id, _first_id(now - self._validity))
            if given_up:
                log.warning("sms.esme_given_up", system_id=account.system_id, count=given_up)
        for resource in resources:
            await self._forget(resource, _first_id(now - _MESSAGES_KEPT))

    async def _give_up(self, resource: ResourceId, system_id: str, before: UUID) -> int:
        async with self._database.connection() as connection:
            kept = await records_esme_out.latest(connection, resource, system_id, self._kept)
        before = before if kept is None else max(before, kept)
        given_up = 0
        while True:
            async with self._database.connection() as connection:
                count = await records_esme_out.give_up(connection, resource, system_id, before, limit=self._at_once)
            given_up += count
            if count < self._at_once:
                return given_up

    async def _forget(self, resource: ResourceId, before: UUID) -> None:
        after: UUID | None = UUID(int=0)
        while after is not None:
            async with self._database.connection() as connection:
                after = await records.forget_messages(connection, resource, after, before, limit=self._at_once)


def _first_id(at: datetime) -> UUID:
    """The least id of that instant."""
    return time_ordered(at, bytes(10))
