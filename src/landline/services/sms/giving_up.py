"""What is not gone on with of work that was taken up: too late or too doubtful to be handed over, or never reported."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime

import structlog

from landline.core.errors import Unavailable
from landline.ports.sms_carrier import CrashPolicy, SmsCarrier, Submitted
from landline.services.sms import records_progress as progress
from landline.services.sms.failover import Failover
from landline.services.sms.handover import HandOver, Pending
from landline.services.sms.model import details
from landline.services.sms.news import News
from landline.store.database import Database, Record

log = structlog.get_logger()

_CRASHED = "it was handed over before a crash, and no answer to that is known"


class GivingUp:
    """Ends messages. Its methods raise `Unavailable`."""

    def __init__(
        self,
        database: Database,
        carriers: Mapping[str, SmsCarrier],
        handover: HandOver,
        news: News,
        failover: Failover,
    ) -> None:
        self._database = database
        self._carriers = carriers
        self._handover = handover
        self._news = news
        self._failover = failover

    async def without_hopeless(self, pending: Sequence[Pending], now: datetime) -> list[Pending]:
        """`pending` without what is not handed over any more, which is ended."""
        ours = {message.submission.key for message in pending if self._handover.on_its_way(message)}
        others = [message for message in pending if message.submission.key not in ours]
        doubtful = [message for message in others if self._failover.hopeless(message.carrier, message.doubt)]
        gone = {message.submission.key for message in doubtful}
        late = [message for message in others if message.until <= now and message.submission.key not in gone]
        ends = [(message.resource, message.submission.key, details.UNKNOWN) for message in doubtful]
        ends += [(message.resource, message.submission.key, details.TEMPORARILY_UNAVAILABLE) for message in late]
        if not ends:
            return list(pending)
        await self._note(doubtful, now)
        await self._news.give_up(ends)
        gone |= {message.submission.key for message in late}
        return [message for message in pending if message.submission.key not in gone]

    async def _note(self, doubtful: Sequence[Pending], now: datetime) -> None:
        """Have timelines say why `doubtful` messages end: whose process could not say it of its silence is gone."""
        for carrier in dict.fromkeys(message.carrier for message in doubtful):
            why = [
                (
                    Submitted(message.submission.key, None, details.UNKNOWN, reason=_CRASHED, unknown=True),
                    message.resource,
                )
                for message in doubtful
                if message.carrier == carrier
            ]
            async with self._database.connection() as connection:
                await progress.attempted(connection, carrier, why, now)

    async def unreported(self, rows: Sequence[Record]) -> None:
        """End what was taken and not reported in time, as its carrier says when it can be asked."""
        if not rows:
            return
        await self._news.unpark([(row["carrier"], row["submitted"]) for row in rows])
        limits = {name: asyncio.Semaphore(carrier.at_once) for name, carrier in self._carriers.items()}
        told = await asyncio.gather(*(self._ask(row, limits) for row in rows), return_exceptions=True)
        for failure in told:
            if isinstance(failure, BaseException):
                raise failure
        silent = [row for row, heard in zip(rows, told, strict=True) if not heard]
        await self._news.give_up([(row["resource_id"], row["message_id"], details.NO_REPORT) for row in silent])

    async def _ask(self, row: Record, limits: Mapping[str, asyncio.Semaphore]) -> bool:
        """Whether the carrier of a message told what became of it. `limits`: how many each carrier is asked at once."""
        carrier = self._carriers.get(row["carrier"])
        if carrier is None or carrier.crash_policy is not CrashPolicy.QUERY:
            return False
        try:
            async with limits[carrier.name]:
                receipt = await carrier.query(row["submitted"], row["sender"])
        except Unavailable as error:
            log.warning("sms.query_failed", carrier=row["carrier"], reason=error.message)
            return False
        if receipt is None:
            return False
        await self._news.reported(row["carrier"], [receipt])
        return True
