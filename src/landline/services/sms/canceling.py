"""Takes back messages that no carrier has yet: those in this process's queue, and those in nobody's hands."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from uuid import UUID

from landline.ports.clock import Clock
from landline.services.sms import records_progress as records
from landline.services.sms.handover import HandOver, Pending
from landline.services.sms.model import details
from landline.services.sms.outcomes import Outcome, Outcomes
from landline.store.database import Database

_LOOKED_AT_S = 2.0


class Canceling:
    """One process's, which is `owner`. What is in others' queues is asked for by `TakingBack`."""

    def __init__(self, database: Database, clock: Clock, handover: HandOver, outcomes: Outcomes, owner: UUID) -> None:
        self._database = database
        self._clock = clock
        self._handover = handover
        self._outcomes = outcomes
        self._owner = owner

    async def cancel(self, resource: UUID, messages: Sequence[UUID]) -> set[UUID]:
        """Take back those of `messages` that wait for their time, for their next try, or for their carrier in this
        process's queue or in nobody's, in one commit. Others a carrier may have, or another process has in hand."""
        kept: list[Pending] = []
        canceled: set[UUID] = set()
        try:
            for message in messages:  # one by one: who gives up asking leaves none kept back
                queued = await self._kept_back(message)
                kept += () if queued is None else (queued,)
            canceled = await self._cancel(resource, messages, kept)
        finally:
            for queued in kept:
                if queued.submission.key not in canceled:
                    self._handover.go_on(queued)
        return canceled

    async def _kept_back(self, message: UUID) -> Pending | None:
        """What is being looked at before its hand-over is soon on its way, or in the queue again: a carrier that is
        down is asked each second with what is next."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOOKED_AT_S):
                while (queued := self._handover.keep_back(message)) is None and self._handover.waits(message):
                    await self._handover.change(message)
                return queued
        return None

    async def _cancel(self, resource: UUID, messages: Sequence[UUID], kept: Sequence[Pending]) -> set[UUID]:
        done, keys = Outcome(self._handover.taken), [queued.submission.key for queued in kept]
        async with self._database.transaction() as connection:
            found = await records.cancel(connection, resource, messages, self._clock.now(), self._owner, keys)
            if not found:
                return found
            await self._outcomes.end(connection, done, [(resource, message, details.CANCELED) for message in found])
            emitted = await self._outcomes.write(connection, done)
        self._outcomes.committed(done, emitted)
        return found
