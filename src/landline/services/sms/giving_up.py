"""What is not gone on with of work that was taken up: too late or too doubtful to be handed over, or never reported."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

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
ASKED_AGAIN = timedelta(seconds=15)
"""After which a carrier that could not be asked is asked again, here or by others."""
_ASKED_FOR = timedelta(minutes=1)
"""For so long: a bind is being made, its window is full, or another process has it."""
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
        self._cannot_ask_since: dict[str, datetime] = {}
        """When each carrier could not be asked from here for the first time since it could."""

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

    async def unreported(self, rows: Sequence[Record], now: datetime) -> list[Record]:
        """End what was taken and not reported in time, as its carrier says; what that could not be asked for, and is to
        be `ASKED_AGAIN`."""
        if not rows:
            return []
        await self._news.unpark([(row["carrier"], row["submitted"]) for row in rows])
        limits = {name: asyncio.Semaphore(carrier.at_once) for name, carrier in self._carriers.items()}
        told = await asyncio.gather(*(self._ask(row, limits, now) for row in rows), return_exceptions=True)
        for failure in told:
            if isinstance(failure, BaseException):
                raise failure
        again = [row for row, heard in zip(rows, told, strict=True) if heard is None and self._patient(row, now)]
        later = {row["message_id"] for row in again}
        silent = [row for row, heard in zip(rows, told, strict=True) if not heard and row["message_id"] not in later]
        await self._news.give_up([(row["resource_id"], row["message_id"], details.NO_REPORT) for row in silent])
        return again

    async def _ask(self, row: Record, limits: Mapping[str, asyncio.Semaphore], now: datetime) -> bool | None:
        """Whether the carrier of a message told what became of it; None when it could not be asked. `limits`: how many
        each carrier is asked at once."""
        name = row["carrier"]
        if self._failover.policy(name) is not CrashPolicy.QUERY:
            return False
        carrier = self._carriers.get(name)
        try:
            if carrier is None:
                raise Unavailable("it is another process's")
            async with limits[name]:
                receipt = await carrier.query(row["submitted"], row["sender"])
        except Unavailable as error:
            log.warning("sms.query_failed", carrier=name, reason=error.message)
            self._cannot_ask_since.setdefault(name, now)
            return None
        self._cannot_ask_since.pop(name, None)
        if receipt is None:
            return False
        await self._news.reported(name, [receipt])
        return True

    def _patient(self, row: Record, now: datetime) -> bool:
        since = self._cannot_ask_since.get(row["carrier"], now)
        return timedelta(0) <= now - max(row["report_by"], since) < _ASKED_FOR  # less: the clock was set back
