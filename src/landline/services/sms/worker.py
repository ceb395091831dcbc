"""The SMS worker: hands messages to their carriers, and looks after blocks and timers that are due."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from landline.core.errors import GaveWay, Unavailable
from landline.ports.clock import Alarm, Clock
from landline.ports.sms_carrier import SmsCarrier
from landline.services.sms import records_deferred
from landline.services.sms import records_progress as records
from landline.services.sms.detours import Detours
from landline.services.sms.expiry import Expiry
from landline.services.sms.failover import Failover
from landline.services.sms.giving_up import ASKED_AGAIN, GivingUp
from landline.services.sms.handover import HandOver, Pending, Queue
from landline.services.sms.model import details
from landline.services.sms.model.crowds import Crowds
from landline.services.sms.news import News
from landline.services.sms.rates import Rates
from landline.services.sms.read_again import pending_in
from landline.services.sms.removed import Removed
from landline.services.sms.room import DUE
from landline.services.sms.settings import Settings
from landline.services.sms.standing import MaySend, Standing
from landline.services.sms.timers import Timers
from landline.store.blocks import Blocks
from landline.store.database import Database, Record

log = structlog.get_logger()
_BLOCKS_AT_ONCE = 64
_READ_AT_ONCE = 8
"""How many blocks are read together: nothing is known of them, and one has a message, another some 2,000."""
_ROWS_AT_ONCE = 4_000
"""About how many messages of claimed blocks are read at once: meanwhile the event loop does nothing else. What was read
is taken into memory, also beyond its limit."""
_PAUSE = timedelta(seconds=1)
_UNREACHED_PAUSE = timedelta(seconds=15)
"""How long work whose carrier this process does not reach is left to others."""


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
        failover: Failover,
        rates: Rates,
        may_send: MaySend,
        settings: Settings,
        *,
        beat_s: float = 2.0,
        line: Clock | None = None,
        configured: Collection[str] = (),
    ) -> None:
        """`configured`: see `Removed`. `beat_s`: real seconds between two heartbeats, which renew leases and notice
        other processes' backlog. `line` times the pauses before a carrier that takes nothing is asked again, for that
        is not driven; None: `clock`."""
        self.beat_s = beat_s
        self._line = line or clock
        self._database = database
        self._clock = clock
        self._carriers = carriers
        self._handover = handover
        self._blocks = blocks
        self._news = news
        self._failover = failover
        self._rates = rates
        self._standing = Standing(database, clock, self._line, handover, blocks, news, failover, may_send, settings)
        self._expiry = Expiry(clock, handover, news)
        self._giving_up = GivingUp(database, carriers, handover, news, failover)
        self.removed = Removed(database, clock, carriers, failover, configured)
        self.timers = Timers(
            database, clock, handover, self._giving_up, news, self.removed, blocks.owner, pause=_UNREACHED_PAUSE
        )
        self._detours = Detours(clock, self._line, handover, news, self._standing, failover, self.look)
        self._blocks_at_once, self._block_size = 1, 1
        self._due = clock.alarm()
        self._alarms = {name: clock.alarm() for name in carriers}
        self._until: datetime | None = None
        self._told: datetime | None = None
        """The first instant that was told of since what is due was looked for last, which may not have found it."""
        self._resuming: set[UUID] = set()
        self._suspicious: set[UUID] = set()
        """Blocks claimed from a process that died, of whose messages nobody has said yet which are in doubt."""
        news.on_deferred = self._due.ring
        handover.on_awaiting = self._awaits
        handover.on_late = self._due.ring
        handover.room.on_more = self._due.ring
        handover.on_claim_done = self._due.ring
        self._queues = {
            name: Queue(bucket=rates.carrier_bucket(name), limit=rates.bucket, cost=_segments) for name in carriers
        }
        rates.on_changed = self._retuned
        rates.on_stale = self._ring
        for name, alarm in self._alarms.items():
            handover.serve(name, alarm.ring, self._queues[name], _reachable(carriers[name]))

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

    def look(self) -> None:
        """There may be something to do for this process: it looks now."""
        self._due.ring()

    def reached(self) -> None:
        """A carrier is reached from this process from now on, or is no more."""
        self._blocks.take_back()
        self._ring()
        self.look()

    async def give_back(self) -> None:
        """This process ends, and its carriers have: what none of them may have is anybody's, and in no doubt. Raises
        `Unavailable`."""
        await self._blocks.release(dict.fromkeys(self._handover.untouched(), self._clock.now()))

    def close(self) -> None:
        """The worker has ended, or will never run."""
        for alarm in (self._due, *self._alarms.values()):
            alarm.close()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self.beat_s)
            try:
                await self._standing.renew()
                await self._release_forgotten()
                await self._news.unpark()
                await self._give_up_overdue()
                await self._close_ended()
            except Unavailable as error:
                log.warning("sms.beat_missed", reason=error.message)
            self._due.ring()

    async def _release_forgotten(self) -> None:
        """Have blocks looked at whose commit we made without learning of it."""
        forgotten = await self._blocks.forgotten(self._handover.known() | self._resuming | self.timers.claiming)
        if forgotten:
            log.warning("sms.blocks_forgotten", blocks=len(forgotten))
            now = self._clock.now()
            await self._blocks.release(dict.fromkeys(self._suspicious.intersection(forgotten), now), held=True)
            await self._blocks.release(dict.fromkeys(set(forgotten) - self._suspicious, now))
            self._suspicious.difference_update(forgotten)

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

    async def _close_ended(self) -> None:
        """Close blocks of which others counted, or nobody did, once all their messages have ended."""
        now = self._clock.now()
        quiet = self._handover.overheard.quiet(now)
        if quiet:
            async with self._database.connection() as connection:
                await records.close_ended(connection, quiet, now)

    def _retuned(self) -> None:
        for queue in self._queues.values():
            queue.retuned()
        self._ring()

    def _ring(self) -> None:
        for alarm in self._alarms.values():
            alarm.ring()

    async def _submit(self, name: str, carrier: SmsCarrier) -> None:
        alarm = self._alarms[name]
        while True:
            await self._rates.refresh()
            now = self._clock.now()
            if not carrier.reachable:  # what waits for it is given to others
                await alarm.wait(now + _UNREACHED_PAUSE)
                continue
            count = await self._room(carrier) if self._queues[name] else 0
            now = self._clock.now()
            batch = self._handover.next(name, count, now) if count else []
            if not batch:
                await alarm.wait(self._handover.next_at(name, now))
                continue
            try:
                taken = batch
                batch = await self._expiry.without_late(batch)
                batch = await self._standing.check(batch)
                batch = await self._expiry.without_late(batch)  # that may have taken seconds
                if len(batch) < len(taken):
                    going = set(map(id, batch))
                    self._handover.not_sent(name, [each for each in taken if id(each) not in going], now)
            except Unavailable as error:
                log.warning("sms.not_handed_over", carrier=name, reason=error.message, messages=len(batch))
                self._handover.put_back(name, batch, unsure=True)
                await self._pause(alarm)
                continue
            if batch and not await self._hand_over(carrier, batch):
                await self._pause(alarm)

    async def _room(self, carrier: SmsCarrier) -> int:
        """How many messages may be handed over, waited for before they are looked at: an opt-out that comes while the
        carrier is slow counts."""
        try:
            return await carrier.room()
        except Unavailable:  # as `_hand_over` is told, which sees to the messages
            return carrier.at_once

    async def _hand_over(self, carrier: SmsCarrier, batch: Sequence[Pending]) -> bool:
        """Whether the carrier took `batch`; if not, something else has been seen to."""
        self._handover.hand(batch)
        try:
            await carrier.submit([message.submission for message in batch])
        except Unavailable as error:
            for message in batch:
                message.handed = False
            await self._detours.refused(carrier, self._handover.still_in_hand(batch), error.message)
            return False
        self._detours.taken(carrier)
        return True

    async def _pause(self, alarm: Alarm) -> None:
        """Until a carrier, or the database, is to be asked again; however often `alarm` rings meanwhile."""
        again_at = self._line.now() + _PAUSE
        if self._line is self._clock:
            while self._clock.now() < again_at:
                await alarm.wait(again_at)
            return
        line_alarm = self._line.alarm()
        ringing = asyncio.create_task(_ring_at(self._line, line_alarm, again_at, alarm))
        try:
            while self._line.now() < again_at:
                await alarm.wait(None)
        finally:
            ringing.cancel()
            await asyncio.gather(ringing, return_exceptions=True)
            line_alarm.close()

    async def _look_after_due(self) -> None:
        while True:
            self._told = None
            try:
                await self._settle()
                await self._expiry.end_late()
                await self._leave_unreached()
                await self.removed.refresh()
                more = await self._claim()
                until = None if more else await self._next_due()
            except GaveWay:  # the other transaction has gone on since
                continue
            except Unavailable as error:
                log.warning("sms.database_unavailable", reason=error.message)
                self._until = None
                await self._pause(self._due)
                continue
            if not more:
                self._until = until = _soonest(until, self._told)
                await self._due.wait(_soonest(until, self._handover.late_at))

    def _awaits(self, at: datetime) -> None:
        self._told = _soonest(self._told, at)
        if self._until is None or at < self._until:
            self._until = at
            self._due.ring()

    async def _settle(self) -> None:
        """Close blocks with nothing left to do, and release those that wait for reports."""
        finished = self._handover.finished()
        if finished:
            async with self._database.connection() as connection:
                await self._blocks.close(connection, finished)
        await self._give_back(self._handover.finished_claims())
        awaiting = self._handover.awaiting()
        try:
            await self._blocks.release(awaiting)
        except Unavailable:
            self._handover.await_again(awaiting)
            raise

    async def _leave_unreached(self) -> None:
        """Give to others what waits for a carrier that this process has lost to them."""
        found = self._handover.unreached()
        if not found:
            return
        await self._standing.unmark([message for block in found.values() for message in block])
        now, claims = self._clock.now(), {block for block, waiting in found.items() if waiting[0].alone}
        left = found.keys() & self._handover.unreached().keys()
        log.info("sms.left_to_others", blocks=len(left))
        self._handover.lose(left)
        await self._blocks.pass_on(left - claims, now, now + _UNREACHED_PAUSE)
        await self._give_back(list(left & claims))
        self._handover.on_left()

    async def _give_back(self, claims: Sequence[UUID]) -> None:
        """Nothing is in hand under `claims` any more: what is left of them is due for everybody."""
        if claims:
            async with self._database.transaction() as connection:
                await records_deferred.give_back(connection, claims, self._blocks.owner, self._clock.now())
                await self._blocks.close(connection, claims)

    async def _next_due(self) -> datetime | None:
        if not self._handover.room.is_there(DUE):
            return None
        without = self._handover.room.kept_out()
        due = await self.timers.next_due(without)
        keys = self._handover.room.keys(without)
        return _soonest(due, await self._blocks.next_due(keys, self._places))

    async def _claim(self) -> int:
        if not self._handover.room.is_there(DUE):
            return 0
        without = self._handover.room.kept_out()
        return await self._claim_blocks(without) + await self.timers.claim(without)

    async def _claim_blocks(self, without: Crowds) -> int:
        now, limit = self._clock.now(), self._blocks_at_once
        fairly, keys = self._handover.room.fairly(without), self._handover.room.keys(without)
        if fairly is None:  # what there is no room for would wait by timers
            of_each = limit = min(limit, max(self._handover.room.free // self._block_size, 1))
        else:
            of_each = max(fairly.of_each // self._block_size, 1)
            limit = min(limit, max(self._handover.room.free // self._block_size, _READ_AT_ONCE))
        full = self._handover.room.full_of_waiting
        claimed, of_crowds = await self._blocks.claim_fairly(now, limit, of_each, keys, self._places)
        self._resuming = set(claimed)
        self._handover.lose(self._resuming)
        self._suspicious.update(block for block, held in claimed.items() if held)
        try:
            if claimed:
                order = sorted(claimed, key=lambda block: block in of_crowds)
                unfinished = await self._read(order)
                self._learn_size(len(claimed), len(unfinished), sum(map(len, unfinished.values())))
                beyond: dict[UUID, bool] = {}
                for block in order:
                    held = claimed[block]
                    crowded = block in of_crowds and not full and self._handover.room.full_of_waiting
                    if crowded or block not in unfinished:
                        beyond[block] = held
                        continue
                    await self._resume(block, unfinished[block], held=held, of_crowd=block in of_crowds)
                    self._suspicious.discard(block)
                for held in set(beyond.values()):  # some were larger than those before
                    await self._blocks.release({block: now for block in beyond if beyond[block] is held}, held=held)
                self._suspicious.difference_update(beyond)
        finally:
            self._resuming = set()
        return len(claimed)

    async def _read(self, blocks: Sequence[UUID]) -> dict[UUID, list[Record]]:
        """What is unfinished of `blocks`, or of the first of them where that is much."""
        found: dict[UUID, list[Record]] = {}
        rows = 0
        async with self._database.connection() as connection:
            await records_deferred.give_back(connection, blocks, self._blocks.owner, self._clock.now())
            while len(found) < len(blocks) and rows < _ROWS_AT_ONCE:
                some = blocks[len(found) : len(found) + _READ_AT_ONCE]
                found |= await records.unfinished(connection, some)
                rows = sum(map(len, found.values()))
        return found

    def _learn_size(self, blocks: int, read: int, rows: int) -> None:
        """Blocks hold one message or thousands, as they were accepted: claim so many that they are some thousand."""
        self._block_size = max(rows // read, 1)
        if rows > _ROWS_AT_ONCE or read < blocks:
            self._blocks_at_once = max(1, min(read, self._blocks_at_once // 2))
        elif blocks == self._blocks_at_once:
            self._blocks_at_once = min(_BLOCKS_AT_ONCE, self._blocks_at_once * 2)

    async def _resume(self, block: UUID, rows: Sequence[Record], *, held: bool, of_crowd: bool) -> None:
        """Go on with a claimed block: end what is too late or too doubtful, hand over what was not, wait for the rest.
        Of a block that was `held`, anything may have been handed over just before its holder died. What there is no
        room for leaves its block and waits for its turn by a timer: the rest of a crowd's block, and in one that is
        not `of_crowd` what was accepted by who does not reach its carrier and could not know."""
        now = self._clock.now()
        pending = [pending_in(row) for row in rows if row["submitted"] is None]
        awaiting = [row for row in rows if row["submitted"] is not None]
        if held:
            await self._standing.suspect(pending)
        to_submit = await self._giving_up.without_hopeless(pending, now)
        late = [row for row in awaiting if row["report_by"] <= now]
        unasked = await self._giving_up.unreported(late, now)
        awaiting = [row for row in awaiting if row["report_by"] > now]
        to_submit, left = self._parted(to_submit)
        # No process may reach all carriers of a block: who reaches some takes their messages, and frees the others.
        # What is for a carrier that nobody has any more is freed to go elsewhere (`Timers`).
        free: list[Pending] = []
        if to_submit:
            free, left = left, free
        elif left and self.removed.names:
            free = [message for message in left if message.carrier in self.removed.names]
            left = [message for message in left if message.carrier not in self.removed.names]
        if free:
            await self._leave(free, now)
            self._handover.on_left()
        to_submit, crowd = self._handover.crowded(to_submit, of_crowd=of_crowd)
        await self._leave(crowd, now)
        if left or not (to_submit or self._handover.reaches({row["carrier"] for row in unasked})):
            await self._blocks.pass_on([block], now, now + _UNREACHED_PAUSE)
            return
        again = [now + ASKED_AGAIN] if unasked else []
        report_by = min([*again, *(row["report_by"] for row in awaiting)], default=None)
        if to_submit or report_by is None:
            self._handover.take(block, to_submit, awaiting=len(awaiting) + len(unasked), report_by=report_by)
        else:
            await self._blocks.release({block: report_by})

    @property
    def _places(self) -> list[str]:
        """The carriers whose crowds are taken up here."""
        return [*self._handover.reached, *self.removed.names]

    async def _leave(self, messages: Sequence[Pending], now: datetime) -> None:
        if messages:
            keys = [(message.resource, message.submission.key) for message in messages]
            async with self._database.connection() as connection:
                await records.leave(connection, keys, now, self._blocks.owner)

    def _parted(self, messages: Sequence[Pending]) -> tuple[list[Pending], list[Pending]]:
        """Messages of a block that are for this process, those on their way among them, and those for others."""
        ours: list[Pending] = []
        theirs: list[Pending] = []
        reached = {name for name in {message.carrier for message in messages} if self._handover.reaches((name,))}
        for message in messages:
            here = message.carrier in reached or self._handover.on_its_way(message) is not None
            (ours if here else theirs).append(message)
        return ours, theirs


async def _ring_at(clock: Clock, alarm: Alarm, at: datetime, other: Alarm) -> None:
    """Ring `other`, which follows another clock, once `clock` reads `at`: its `alarm` may go off a little earlier."""
    while clock.now() < at:
        await alarm.wait(at)
    other.ring()


def _soonest(*instants: datetime | None) -> datetime | None:
    return min((at for at in instants if at is not None), default=None)


def _reachable(carrier: SmsCarrier) -> Callable[[], bool]:
    return lambda: carrier.reachable


def _segments(message: Pending) -> int:
    return message.submission.segments
