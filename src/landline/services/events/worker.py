"""The sender of events: runs the lanes, fetches what lies due in the database, takes over from processes that died, and
prunes what is old."""

import asyncio
import os
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from landline.core.errors import Unavailable
from landline.core.ids import time_ordered
from landline.ports.clock import Alarm
from landline.services.events import records, records_ladder
from landline.services.events.lanes import Lanes
from landline.services.events.model import Delivery
from landline.services.events.results import Results
from landline.services.events.service import Events
from landline.store.blocks import LEASE, Blocks
from landline.store.floor import Floor

log = structlog.get_logger()
POLL_S = 5.0
"""How often to renew leases and to look for work that other processes left. By the machine's time: it is other
processes that are waited for, not deadlines, and a driven day has 17,280 such looks."""
_ROWS_PER_LANE = 256
_BLOCKS_AT_ONCE = 8
_PRUNE_EVERY = timedelta(hours=1)
_PRUNE_ROWS = 5000
_AWAY = timedelta(seconds=1)
_SHORTEST_WAIT = timedelta(milliseconds=20)
_DRAIN_S = 3.0
_ADOPTED_LIMIT = 1000


class EventsWorker:
    """Delivers events in this process; fills `service.Sender`. One `run` in a TaskGroup, ended by `close`.

    `alone`: no other process works on this database, so blocks of earlier ones are taken over at once.
    """

    def __init__(
        self,
        events: Events,
        *,
        alone: bool = False,
        keep_delivered: timedelta = timedelta(hours=72),
        keep_dead: timedelta = timedelta(days=30),
    ) -> None:
        self._events = events
        self._alone = alone
        self._keep_delivered = keep_delivered
        self._keep_dead = keep_dead
        self._results = Results(events, self._scheduled)
        self._lanes = Lanes(events, self._results, self.wake)
        self._alarm: Alarm | None = None
        self._poll = True
        self._rows_due: datetime | None = None
        self._floors = Floor(lambda upto: records_ladder.floors(events.database, upto))
        self._prune_at: datetime | None = None
        self._unpruned: Sequence[Callable[[datetime], Awaitable[int]]] = ()
        self._closing = False
        self._ended = asyncio.Event()
        self._adopted: OrderedDict[UUID, None] = OrderedDict()
        """The last blocks that were read from the database."""
        self.poll_s = POLL_S

    def room(self, subscription: UUID) -> int:
        return self._lanes.room(subscription)

    def total_room(self) -> int:
        return self._lanes.total_room()

    def take(self, deliveries: Sequence[Delivery]) -> None:
        # The answer to a commit may come so late that its block was adopted meanwhile.
        self._lanes.take([delivery for delivery in deliveries if delivery.block not in self._adopted])

    def wake(self) -> None:
        self._scheduled(self._events.clock.now())

    async def run(self) -> None:
        """Deliver until `close` or cancelled."""
        self._alarm = self._events.clock.alarm()
        try:
            async with asyncio.TaskGroup() as tasks:
                self._lanes.open(tasks)
                writer = tasks.create_task(self._results.run())
                poller = tasks.create_task(self._ring_often())
                self._events.sender = self
                try:
                    await self._loop(self._alarm)
                finally:
                    self._events.sender = None
                    self._lanes.stop()
                poller.cancel()
                await self._drain(writer)
        finally:
            self._alarm.close()
            self._ended.set()

    async def close(self) -> None:
        """Take nothing new, let requests under way end (at most 3 s), and leave the rest to whoever comes next."""
        self._closing = True
        if self._alarm is not None:
            self._alarm.ring()
            await self._ended.wait()

    async def _loop(self, alarm: Alarm) -> None:
        while not self._closing:
            try:
                until = await self._turn()
            except Unavailable as error:
                log.warning("events.worker_wait", error=error.message)
                until = self._events.clock.now() + _AWAY
            except Exception:
                log.exception("events.worker_failed")
                until = self._events.clock.now() + _AWAY
            await alarm.wait(until)

    async def _turn(self) -> datetime | None:
        """Do what is due; when to look again."""
        now = self._events.clock.now()
        polled, self._poll = self._poll, False
        if polled:
            await self._look_after_blocks(now)
        if polled or (self._rows_due is not None and self._rows_due <= now):
            await self._claim_rows(now)
        if self._prune_at is None or self._prune_at <= now:
            await self._prune(now)
        times = [self._rows_due, self._prune_at, self._lanes.resume(now)]
        until = min((time for time in times if time is not None), default=None)
        return None if until is None else max(until, now + _SHORTEST_WAIT)

    async def _look_after_blocks(self, now: datetime) -> None:
        """Renew the leases of our blocks; take over those whose owner died, and our own that nobody remembers (the
        commit was made, but its caller was cancelled or never learned of it)."""
        events = self._events
        if self._alone:
            for held in events.held:
                await held.inherit(now)
            self._alone = False
        for held in events.held:
            await held.extend(now)
            await self._adopt(held, await held.forgotten(self._results.blocks))
            while not self._lanes.full:
                claimed = await held.claim(now, _BLOCKS_AT_ONCE)
                await self._adopt(held, list(claimed))
                if len(claimed) < _BLOCKS_AT_ONCE:
                    break

    async def _adopt(self, held: Blocks, found: Sequence[UUID]) -> None:
        """Deliver what is left in these blocks of ours; of those we know by now, everything is on its way."""
        known = self._results.blocks
        blocks = [block for block in found if block not in known]
        if not blocks:
            return
        self._adopted |= dict.fromkeys(blocks)
        while len(self._adopted) > _ADOPTED_LIMIT:
            self._adopted.popitem(last=False)
        left_in = records.of_batches if held is self._events.batches else records.of_blocks
        deliveries = await left_in(self._events.database, blocks)
        log.info("events.taken_over", blocks=len(blocks), deliveries=len(deliveries))
        self._lanes.take(deliveries)
        done = set(blocks) - {delivery.block for delivery in deliveries}
        if done:
            async with self._events.database.connection() as connection:
                await held.close(connection, done)

    async def _claim_rows(self, now: datetime) -> None:
        database = self._events.database
        if self._lanes.full:
            self._rows_due = now + _AWAY
            return
        self._rows_due = None
        block = time_ordered(now, os.urandom(10))
        try:
            floors = await self._floors.at(now)
            due_at, due = await records_ladder.look(database, self._lanes.skipped(), now, floors)
            if due:
                rows = await records_ladder.claim(
                    database,
                    now,
                    self._lanes.portion(_ROWS_PER_LANE, due),
                    self._lanes.skipped(),
                    block=block,
                    owner=self._events.blocks.owner,
                    lease_until=now + LEASE,
                    floors=floors,
                )
                self._lanes.take(rows)
                due_at, _ = await records_ladder.look(database, self._lanes.skipped(), now, floors)
        except Unavailable:
            self._rows_due = now  # at the next look, which is not to be at once
            raise
        if due_at is not None and (self._rows_due is None or due_at < self._rows_due):
            self._rows_due = due_at  # this very turn heeds it: nobody is to be rung

    async def _prune(self, now: datetime) -> None:
        """A portion of each kind; whatever had more comes again at once, and only that."""
        prunes = self._unpruned or (self._prune_delivered, self._prune_dead, self._prune_gone)
        self._unpruned = [prune for prune in prunes if await prune(now) >= _PRUNE_ROWS]
        self._prune_at = now if self._unpruned else now + _PRUNE_EVERY

    async def _prune_delivered(self, now: datetime) -> int:
        oldest = time_ordered(now - self._keep_delivered, bytes(10))
        return await records.prune_delivered(self._events.database, oldest, _PRUNE_ROWS)

    async def _prune_dead(self, now: datetime) -> int:
        return await records.prune_dead(self._events.database, now - self._keep_dead, _PRUNE_ROWS)

    async def _prune_gone(self, _now: datetime) -> int:
        return await records.prune_gone(self._events.database, _PRUNE_ROWS)

    async def _ring_often(self) -> None:
        while True:
            await asyncio.sleep(self.poll_s)
            self._poll = True
            if self._alarm is not None:
                self._alarm.ring()

    def _scheduled(self, at: datetime) -> None:
        self._floors.lower(at)  # the database could not take for long what a try came to
        if self._rows_due is None or at < self._rows_due:
            self._rows_due = at
            if self._alarm is not None:
                self._alarm.ring()

    async def _drain(self, writer: "asyncio.Task[None]") -> None:
        await self._lanes.close(_DRAIN_S)
        self._results.finish()
        await asyncio.wait([writer], timeout=_DRAIN_S)
        writer.cancel()
        try:
            now = self._events.clock.now()
            for held in self._events.held:
                await held.release(dict.fromkeys(self._results.blocks, now))
        except Unavailable as error:
            log.warning("events.drain_unfinished", error=error.message)  # the leases end by themselves
