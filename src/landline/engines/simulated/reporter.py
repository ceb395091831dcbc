"""The simulated carrier's reporter: brings receipts and handsets' replies when they are due, until they are taken."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import structlog

from landline.core.errors import Unavailable
from landline.engines.simulated import records
from landline.engines.simulated.intake import RETRY_LIMIT_S, RETRY_S
from landline.engines.simulated.model import DELIVERED
from landline.engines.simulated.plan import Reply
from landline.engines.simulated.records import DueReceipts
from landline.ports.clock import Clock
from landline.ports.sms_carrier import Arrival, CarrierEvents, Receipt
from landline.protocols import smstext
from landline.store.database import Database

log = structlog.get_logger()

_ROWS = 8
"""Rows of receipts reported in one go; a row holds those of one batch that are due together."""
_REPLIES = 500


class Reporter:
    """One worker over the tables of what is due. What was reported is deleted after it was taken, so that a crash in
    between brings it again. Receipts wait until their messages' submissions are answered (`answered`)."""

    def __init__(self, name: str, database: Database, clock: Clock, events: CarrierEvents, answered: int) -> None:
        self._name = name
        self._database = database
        self._clock = clock
        self._events = events
        self._answered = answered
        self._alarm = clock.alarm()

    def answered(self, last: int) -> None:
        """The submissions up to place `last` are answered."""
        self._answered = last
        self._alarm.ring()

    def ring(self) -> None:
        """Something may have become due."""
        self._alarm.ring()

    async def run(self) -> None:
        """Report what is due, for ever."""
        pause_s = RETRY_S
        try:
            while True:
                try:
                    reported = await self._report_receipts()
                    reported |= await self._report_replies()
                    pause_s = RETRY_S
                    if not reported:
                        async with self._database.connection() as connection:
                            due_at = await records.next_due(connection, self._answered)
                        await self._alarm.wait(due_at)
                    continue
                except Unavailable as error:
                    log.warning("carrier.retry", error=error.message)
                except Exception:
                    log.exception("carrier.report_failed")
                    pause_s = RETRY_LIMIT_S
                await self._alarm.wait(self._clock.now() + timedelta(seconds=pause_s))
                pause_s = min(pause_s * 2, RETRY_LIMIT_S)
        finally:
            self._alarm.close()

    async def _report_receipts(self) -> bool:
        async with self._database.connection() as connection:
            due = await records.due_receipts(connection, self._clock.now(), self._answered, _ROWS)
        if not due:
            return False
        await self._events.reported(self._name, [receipt for row in due for receipt in _receipts(row)])
        async with self._database.connection() as connection:
            await records.delete_receipts(connection, [row.receipt_id for row in due])
        return True

    async def _report_replies(self) -> bool:
        async with self._database.connection() as connection:
            due = await records.due_replies(connection, self._clock.now(), _REPLIES)
        if not due:
            return False
        await self._events.arrived(self._name, [_arrival(reply) for reply in due])
        async with self._database.connection() as connection:
            await records.delete_replies(connection, [reply.key for reply in due])
        return True


def _receipts(row: DueReceipts) -> list[Receipt]:
    due: Sequence[tuple[UUID, int, int]] = list(
        zip(row.receipts.keys, row.receipts.codes, row.receipts.segments, strict=True)
    )
    return [
        Receipt(str(key), code == DELIVERED, code, row.due_at, segments if code == DELIVERED else 0)
        for key, code, segments in due
    ]


def _arrival(reply: Reply) -> Arrival:
    segments = smstext.segments(reply.text).count
    return Arrival(reply.key, reply.handset, reply.recipient, reply.text, segments, reply.due_at)
