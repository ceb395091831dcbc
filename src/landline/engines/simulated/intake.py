"""The simulated carrier's intake: submissions wait here for the next batch, and their answers go back from here."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from heapq import heappop, heappush
from typing import TypeVar

import structlog

from landline.core.errors import Unavailable
from landline.engines.simulated.desk import Desk
from landline.ports.clock import Alarm, Clock
from landline.ports.sms_carrier import CarrierEvents, Submission, Submitted

log = structlog.get_logger()

WINDOW = 5_000
"""Submissions taken and not answered; beyond them `submit` waits."""
BATCH_LIMIT = 1_000
RETRY_S = 0.1
RETRY_LIMIT_S = 5.0

_INTERNAL_FAILURE = 5000  # acs-wire.md 4.7
T = TypeVar("T")


class Intake:
    """One worker that takes batch after batch. `answered` is called with a batch's last place after its answers."""

    def __init__(
        self, name: str, desk: Desk, clock: Clock, events: CarrierEvents, answered: Callable[[int], None]
    ) -> None:
        self._name = name
        self._desk = desk
        self._clock = clock
        self._events = events
        self._answered = answered
        self._alarm = clock.alarm()
        self._waiting: list[Submission] = []
        self._refusals: list[tuple[datetime, int, Submitted]] = []
        self._refused = 0
        self._unanswered = 0
        self._room = asyncio.Event()
        self._room.set()
        self._closing = False

    @property
    def open(self) -> bool:
        """Whether `submit` takes messages."""
        return not self._closing

    async def room(self) -> None:
        """Wait while the window is full. Raises `Unavailable` once nothing is taken any more."""
        while not self._closing and self._unanswered >= WINDOW:
            self._room.clear()
            await self._room.wait()
        if self._closing:
            raise Unavailable("the carrier is closing")

    async def submit(self, submissions: Sequence[Submission]) -> None:
        """See `ports.sms_carrier`."""
        await self.room()
        self._waiting.extend(submissions)
        self._unanswered += len(submissions)
        self._alarm.ring()

    def close(self) -> None:
        """Take no more; `run` ends when all that was taken is answered, late refusals early."""
        self._closing = True
        self._room.set()
        self._alarm.ring()

    async def run(self) -> None:
        """Answer what is submitted until closed."""
        try:
            while True:
                await self._give_due_refusals()
                if self._waiting:
                    batch = self._waiting[:BATCH_LIMIT]
                    del self._waiting[:BATCH_LIMIT]
                    await self._take(batch)
                elif self._closing:
                    return
                else:
                    await self._alarm.wait(self._refusals[0][0] if self._refusals else None)
        finally:
            self._closing = True
            self._room.set()
            self._alarm.close()

    async def _take(self, batch: list[Submission]) -> None:
        try:
            planned, last = await insist(self._clock, self._alarm, partial(self._desk.take, batch))
        except Exception:
            if len(batch) > 1:  # one that cannot be written must not take the others with it
                for submission in batch:
                    await self._take([submission])
                return
            log.exception("carrier.take_failed", key=str(batch[0].key))
            answer = Submitted(batch[0].key, None, _INTERNAL_FAILURE, reason="the simulated carrier failed")
            await self._answer([answer])
            return
        for due_at, answer in planned.refusals:
            self._refused += 1
            heappush(self._refusals, (due_at, self._refused, answer))
        await self._answer(planned.answers)
        self._answered(last)

    async def _give_due_refusals(self) -> None:
        now = self._clock.now()
        due: list[Submitted] = []
        while self._refusals and (self._closing or self._refusals[0][0] <= now):
            due.append(heappop(self._refusals)[2])
        await self._answer(due)

    async def _answer(self, answers: Sequence[Submitted]) -> None:
        if not answers:
            return
        try:
            await insist(self._clock, self._alarm, partial(self._events.submitted, self._name, answers))
        except Exception:
            log.exception("carrier.answers_failed", answers=len(answers))
        self._unanswered -= len(answers)
        self._room.set()


async def insist(clock: Clock, alarm: Alarm, call: Callable[[], Awaitable[T]]) -> T:
    """What `call` returns, called again with growing pauses for as long as it is `Unavailable`."""
    pause_s = RETRY_S
    while True:
        try:
            return await call()
        except Unavailable as error:
            log.warning("carrier.retry", error=error.message)
            await alarm.wait(clock.now() + timedelta(seconds=pause_s))
            pause_s = min(pause_s * 2, RETRY_LIMIT_S)
