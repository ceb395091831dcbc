"""The SMS worker: hands messages to their carriers, and looks after blocks and timers that are due."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from landline.core.errors import Unavailable
from landline.ports.clock import Clock
from landline.ports.sms_carrier import SmsCarrier, Submission
from landline.services.sms import records
from landline.services.sms.handover import HandOver, Pending
from landline.services.sms.model import details
from landline.services.sms.news import News
from landline.store.blocks import Blocks
from landline.store.database import Database, Record

log = structlog.get_logger()
_BATCH = 200
_BLOCKS_AT_ONCE = 20
_DEFERRED_AT_ONCE = 500
_DEFERRED_LEASE = timedelta(minutes=10)
_BEAT_S = 2.0
"""Real seconds between two heartbeats: leases are renewed, other processes' backlog is noticed."""
_CARRIER_PAUSE = timedelta(seconds=1)
_UNREACHED_PAUSE = timedelta(seconds=15)
"""How long a block whose carrier this process does not reach is left to others."""


class Worker:
    """One process's share of the sending. Any number of them work on one database."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        carriers: Mapping[str, SmsCarrier],
        handover: HandOver,
        blocks: Blocks,
        news: News,
    ) -> None:
        self._database = database
        self._clock = clock
        self._carriers = carriers
        self._handover = handover
        self._blocks = blocks
        self._news = news
        self._due = clock.alarm()
        self._alarms = {name: clock.alarm() for name in carriers}
        self._until: datetime | None = None
        self._resuming: set[UUID] = set()
        news.on_deferred = self._due.ring
        handover.on_awaiting = self._awaits
        for name, alarm in self._alarms.items():
            handover.serve(name, alarm.ring)

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._beat())
                group.create_task(self._look_after_due())
                for name, carrier in self._carriers.items():
                    group.create_task(self._submit(name, carrier))
        finally:
            self.close()

    def close(self) -> None:
        """The worker has ended, or will never run."""
        for alarm in (self._due, *self._alarms.values()):
            alarm.close()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(_BEAT_S)
            try:
                await self._blocks.extend(self._clock.now())
                await self._release_forgotten()
                await self._news.unpark()
                await self._give_up_overdue()
            except Unavailable as error:
                log.warning("sms.beat_missed", reason=error.message)
            self._due.ring()

    async def _release_forgotten(self) -> None:
        """Have blocks looked at whose commit we made without learning of it."""
        forgotten = await self._blocks.forgotten(self._handover.known() | self._resuming)
        if forgotten:
            log.warning("sms.blocks_forgotten", blocks=len(forgotten))
            await self._blocks.release(dict.fromkeys(forgotten, self._clock.now()))

    async def _give_up_overdue(self) -> None:
        """Fail what a carrier took and never answered, although its port promises an answer."""
        overdue = self._handover.overdue(self._clock.now())
        if overdue:
            log.error("sms.never_answered", messages=len(overdue))
            await self._news.give_up(
                [(message.resource, message.submission.key, details.NO_REPORT) for message in overdue]
            )
            self._handover.answered(message.submission.key for message in overdue)

    async def _submit(self, name: str, carrier: SmsCarrier) -> None:
        alarm = self._alarms[name]
        while True:
            batch = self._handover.next(name, _BATCH)
            if not batch:
                await alarm.wait()
                continue
            try:
                await carrier.submit([message.submission for message in batch])
            except Unavailable as error:
                log.warning("sms.carrier_unavailable", carrier=name, reason=error.message, messages=len(batch))
                await self._keep(name, batch)
                again_at = self._clock.now() + _CARRIER_PAUSE
                while self._clock.now() < again_at:
                    await alarm.wait(again_at)

    async def _keep(self, carrier: str, batch: Sequence[Pending]) -> None:
        """Put back what the carrier did not take, and give up what has waited for it too long."""
        now = self._clock.now()
        late = [message for message in batch if message.report_by <= now]
        self._handover.put_back(carrier, [message for message in batch if message.report_by > now])
        if not late:
            return
        try:
            await self._news.give_up(
                [(message.resource, message.submission.key, details.TEMPORARILY_UNAVAILABLE) for message in late]
            )
            self._handover.answered(message.submission.key for message in late)
        except Unavailable:
            self._handover.put_back(carrier, late)

    async def _look_after_due(self) -> None:
        while True:
            try:
                await self._settle()
                more = await self._claim_blocks() + await self._claim_deferred() if self._handover.has_room() else 0
                until = None if more else await self._next_due()
            except Unavailable as error:
                log.warning("sms.database_unavailable", reason=error.message)
                more, until = 0, None
            if not more:
                self._until = until
                await self._due.wait(until)

    def _awaits(self, at: datetime) -> None:
        if self._until is None or at < self._until:
            self._until = at
            self._due.ring()

    async def _settle(self) -> None:
        """Close blocks with nothing left to do, and release those that wait for reports."""
        finished = self._handover.finished()
        if finished:
            async with self._database.connection() as connection:
                await self._blocks.close(connection, finished)
        await self._blocks.release(self._handover.awaiting())

    async def _next_due(self) -> datetime | None:
        if not self._handover.has_room():
            return None
        async with self._database.connection() as connection:
            deferred = await records.next_deferred(connection)
        block = await self._blocks.next_due()
        return min((at for at in (deferred, block) if at is not None), default=None)

    async def _claim_blocks(self) -> int:
        claimed = await self._blocks.claim(self._clock.now(), _BLOCKS_AT_ONCE)
        self._resuming = set(claimed)
        try:
            for block in claimed:
                async with self._database.connection() as connection:
                    rows = await records.unfinished(connection, block)
                await self._resume(block, rows)
        finally:
            self._resuming = set()
        return len(claimed)

    async def _resume(self, block: UUID, rows: Sequence[Record]) -> None:
        """Go on with a claimed block: give up what is too late, hand over what was not, wait for the rest."""
        now = self._clock.now()
        await self._give_up_late([row for row in rows if row["report_by"] <= now])
        rest = [row for row in rows if row["report_by"] > now]
        to_submit = [_pending(row, alone=False) for row in rest if not row["submitted"]]
        awaiting = [row for row in rest if row["submitted"]]
        if to_submit and not self._handover.may_hold({message.carrier for message in to_submit}):
            await self._blocks.release({block: now + _UNREACHED_PAUSE})
        elif to_submit or not awaiting:
            self._handover.take(block, to_submit, awaiting=len(awaiting))
        else:
            await self._blocks.release({block: min(row["report_by"] for row in awaiting)})

    async def _claim_deferred(self) -> int:
        now = self._clock.now()
        async with self._database.connection() as connection:
            rows = await records.claim_deferred(connection, now, now + _DEFERRED_LEASE, _DEFERRED_AT_ONCE)
        late = [row for row in rows if row["report_by"] <= now]
        await self._give_up_late(late)
        again = [_pending(row, alone=True) for row in rows if row["report_by"] > now and not row["submitted"]]
        self._handover.take_alone([message for message in again if self._handover.may_hold({message.carrier})])
        waiting = [row for row in rows if row["report_by"] > now and row["submitted"]]
        if waiting:
            async with self._database.connection() as connection:
                keys = [(row["resource_id"], row["message_id"]) for row in waiting]
                await records.defer(connection, keys, [row["report_by"] for row in waiting])
        return len(rows)

    async def _give_up_late(self, rows: Sequence[Record]) -> None:
        if rows:
            await self._news.give_up(
                [
                    (
                        row["resource_id"],
                        row["message_id"],
                        details.NO_REPORT if row["submitted"] else details.TEMPORARILY_UNAVAILABLE,
                    )
                    for row in rows
                ]
            )


def _pending(row: Record, *, alone: bool) -> Pending:
    return Pending(
        resource=row["resource_id"],
        block=row["block_id"],
        carrier=row["carrier"],
        submission=Submission(
            key=row["message_id"],
            sender=row["sender"],
            recipient=row["recipient"],
            text=row["body"],
            segments=row["segments"],
            report_wanted=row["report_wanted"],
        ),
        accepted_at=row["accepted_at"],
        report_by=row["report_by"],
        attempts=row["attempts"],
        alone=alone,
    )
