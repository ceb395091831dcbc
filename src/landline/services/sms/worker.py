"""The SMS worker, a process's loops: they hand messages to carriers and look after what is due and what it holds."""

import asyncio
from datetime import datetime

import structlog

from landline.core.errors import GaveWay, Unavailable
from landline.ports.clock import Clock
from landline.services.sms.backlog import Backlog, soonest
from landline.services.sms.expiry import Expiry
from landline.services.sms.handover import HandOver
from landline.services.sms.model import details
from landline.services.sms.news import News
from landline.services.sms.pauses import pause
from landline.services.sms.standing import Standing
from landline.services.sms.submitting import Submitting

log = structlog.get_logger()


class Worker:
    """One process's share of the sending. Any number of them work on one database."""

    def __init__(
        self,
        clock: Clock,
        line: Clock,
        handover: HandOver,
        news: News,
        standing: Standing,
        expiry: Expiry,
        submitting: Submitting,
        backlog: Backlog,
    ) -> None:
        """`line` times the pause before a database that is away is asked again, for that is not driven."""
        self.beat_s = 2.0
        """Real seconds between two heartbeats, which renew leases and notice other processes' backlog."""
        self._clock = clock
        self._line = line
        self._handover = handover
        self._news = news
        self._standing = standing
        self._expiry = expiry
        self._submitting = submitting
        self._backlog = backlog
        self._due = clock.alarm()
        self._until: datetime | None = None
        self._told: datetime | None = None
        """The first instant that was told of since what is due was looked for last, which may not have found it."""
        handover.on_awaiting = self._awaits
        handover.on_late = self._due.ring
        handover.room.on_more = self._due.ring
        handover.on_claim_done = self._due.ring

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._beat())
                group.create_task(self._look_after_due())
                for name in self._submitting.carriers:
                    group.create_task(self._submitting.run(name))
        finally:
            self.close()

    def look(self) -> None:
        """There may be something to do for this process: it looks now."""
        self._due.ring()

    def reached(self) -> None:
        """A carrier is reached from this process from now on, or is no more."""
        self._backlog.take_back()
        self._submitting.ring()
        self.look()

    async def give_back(self) -> None:
        """This process ends, and its carriers have: what none of them may have is anybody's, and in no doubt. Raises
        `Unavailable`."""
        await self._backlog.end()

    def close(self) -> None:
        """The worker has ended, or will never run."""
        self._due.close()
        self._submitting.close()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self.beat_s)
            try:
                await self._standing.renew()
                await self._backlog.release_forgotten()
                await self._news.unpark()
                await self._give_up_overdue()
                await self._backlog.close_ended()
            except Unavailable as error:
                log.warning("sms.beat_missed", reason=error.message)
            self._due.ring()

    async def _give_up_overdue(self) -> None:
        """Fail what a carrier has not answered when its report should have been there: it paces its sending, perhaps,
        and reports of that resource are waited for a minute."""
        overdue = self._handover.overdue(self._clock.now())
        if overdue:
            log.warning("sms.not_answered_in_time", messages=len(overdue))
            await self._news.give_up(
                [(message.resource, message.submission.key, details.NO_REPORT) for message in overdue]
            )
            self._handover.answered(message.submission.key for message in overdue)

    async def _look_after_due(self) -> None:
        while True:
            self._told = None
            try:
                await self._backlog.settle()
                await self._expiry.end_late()
                await self._backlog.leave_unreached()
                more = await self._backlog.claim()
                until = None if more else await self._backlog.next_due()
            except GaveWay:  # the other transaction has gone on since
                continue
            except Unavailable as error:
                log.warning("sms.database_unavailable", reason=error.message)
                self._until = None
                await pause(self._clock, self._line, self._due)
                continue
            if not more:
                self._until = until = soonest(until, self._told)
                await self._due.wait(soonest(until, self._handover.late_at))

    def _awaits(self, at: datetime) -> None:
        self._told = soonest(self._told, at)
        if self._until is None or at < self._until:
            self._until = at
            self._due.ring()
