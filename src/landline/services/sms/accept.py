"""Accepting messages: group commit of planned requests, and their hand-over to the carriers' queues after it."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Sequence, Set
from datetime import datetime
from uuid import UUID

from msgspec.structs import replace

from landline.core.countries import country
from landline.core.errors import NotWritten, Unavailable
from landline.ports.clock import Clock
from landline.ports.sms_carrier import Submission
from landline.services.events.model import Emitted
from landline.services.insights.model import Tally
from landline.services.sms import notices, records
from landline.services.sms.esme_out import Woken
from landline.services.sms.handover import HandOver, Pending
from landline.services.sms.model import details, messages
from landline.services.sms.model.crowds import Crowd
from landline.services.sms.model.messages import REPLY, Blocked, Plan, Recipient, Refused
from landline.services.sms.observers import Observers
from landline.services.sms.parting import Item, openings
from landline.services.sms.records import Openings, Row
from landline.store.database import Connection, Database, Duplicate
from landline.store.group_commit import GroupCommit

Exceptions = dict[int, tuple[Refused, str]]
"""By index of the recipient: why it got no new message, and the id of the one it got before."""


class WrittenInPart(Unavailable):
    """The same request is to be made again, and what of it was written will be found. `unwritten`: the indices of the
    recipients who certainly got no new message by this one."""

    def __init__(self, message: str, unwritten: Set[int]) -> None:
        super().__init__(message)
        self.unwritten = unwritten


_LANES = 2
_TOGETHER = 2_000
"""Messages that are committed together at most, and so a block's: one lane's are prepared while PostgreSQL works on the
other's, and nothing else waits long for either."""


class Accepts:
    """Writes plans. What `submit` returns is committed, and on its way to a carrier."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        handover: HandOver,
        observers: Observers,
        owner: UUID,
    ) -> None:
        self._database = database
        self._clock = clock
        self._events = observers.events
        self._insights = observers.insights
        self._customers = observers.customers
        self._counts = observers.counts
        self._handover = handover
        self._owner = owner
        self._group = self._grouped()
        self._crowded = self._grouped()
        """What is left in the database, that of each crowd in blocks of its own. It has commits of its own, so that
        what is of no crowd does not wait for them."""

    async def submit_several(self, plans: Sequence[Plan]) -> list[Exceptions]:
        """`submit` each of the `plans` of one request. Raises `Unavailable` likewise."""
        return _told(plans, await asyncio.gather(*map(self.submit, plans), return_exceptions=True))

    async def submit(self, plan: Plan) -> Exceptions:
        """Commit `plan` and return which of its recipients got no new message. What goes to several carriers may be
        committed in parts; raises `Unavailable` when none was, and when `plan` is to be submitted again as it is."""
        if not self._handover.room.pressed:
            return await self._group.submit(Item(plan))
        sender, counts = (plan.resource, plan.sender), Counter(recipient.carrier for recipient in plan.recipients)
        crowds = {carrier: self._handover.room.crowd(carrier, sender, count) for carrier, count in counts.items()}
        parts: dict[Crowd | None, list[Recipient]] = {}
        for recipient in plan.recipients:
            parts.setdefault(crowds[recipient.carrier], []).append(recipient)
        if len(parts) == 1:
            (crowd,) = parts
            return await self._submit(plan, crowd)
        plans = [replace(plan, recipients=part) for part in parts.values()]
        commits = [self._submit(part, crowd) for crowd, part in zip(parts, plans, strict=True)]
        answers = _told(plans, await asyncio.gather(*commits, return_exceptions=True))
        return {place: why for answer in answers for place, why in answer.items()}

    def _submit(self, plan: Plan, crowd: Crowd | None) -> Awaitable[Exceptions]:
        return (self._group if crowd is None else self._crowded).submit(Item(plan, crowd))

    def _grouped(self) -> GroupCommit[Item, Exceptions]:
        return GroupCommit(
            self._commit, lanes=_LANES, batch_limit=_TOGETHER, size=lambda item: len(item.plan.recipients)
        )

    async def _commit(self, items: list[Item]) -> list[Exceptions]:
        now, plans = self._clock.now(), [item.plan for item in items]
        blocks = openings(items, self._handover, self._owner, now)
        emitted: Emitted | None = None
        woken: Woken = frozenset()
        exceptions: dict[int, Exceptions] = {}
        async with self._database.connection() as connection:
            rows = [Row(plan, recipient, recipient.blocked) for plan in plans for recipient in plan.recipients]
            if not await _write_at_once(connection, blocks, now, rows):
                rows = await _rows(connection, plans)
                async with connection.transaction():
                    exceptions = await _write(connection, blocks, now, rows)
                    if any(row.blocked for row in rows):
                        emitted, woken = await self._end_blocked(connection, rows, exceptions)
                    await self._insights.count(connection, _tally(rows, exceptions))
        self._count(plans, rows, exceptions)
        if emitted is not None:
            self._events.committed(emitted)
            self._customers.committed(woken)
        for send_at in {plan.send_at for plan in plans if plan.send_at is not None}:
            self._handover.on_awaiting(send_at)
        self._look_after(blocks, rows, exceptions)
        return [exceptions.get(id(plan), {}) for plan in plans]

    def _look_after(self, blocks: Openings, rows: Sequence[Row], exceptions: dict[int, Exceptions]) -> None:
        for opened in blocks.opened:
            if opened.owner is not None:
                several = len(blocks.opened) > 1
                ours = [row for row in rows if not several or blocks.of(row.plan, row.recipient.carrier) is opened]
                self._handover.take(opened.block, pending_of(opened.block, ours, exceptions))
            elif opened.crowd is not None and self._handover.reaches((opened.crowd.carrier,)):
                if opened.ends_at is not None:  # it may not be taken up before that
                    self._handover.on_awaiting(opened.ends_at)
                self._handover.room.left(opened.crowd)
        if any(opened.owner is None for opened in blocks.opened):
            self._handover.on_left()

    def _count(self, plans: Sequence[Plan], rows: Sequence[Row], exceptions: dict[int, Exceptions]) -> None:
        written = [row for row in rows if not _left_out(row, exceptions)]
        self._counts.accepted += len(written)
        self._counts.segments += sum([row.plan.segments for row in written])
        self._counts.ended.update([row.blocked.code for row in written if row.blocked is not None])
        if any(plan.rated for plan in plans):
            costs = [row.recipient.cost for row in written if row.plan.rated and row.blocked is None]
            self._counts.cost += sum([cost for cost in costs if cost is not None])
            self._counts.unpriced += costs.count(None)

    async def _end_blocked(
        self, connection: Connection, rows: Sequence[Row], exceptions: dict[int, Exceptions]
    ) -> tuple[Emitted, Woken]:
        ended = [(row, row.blocked) for row in rows if row.blocked is not None and not _left_out(row, exceptions)]
        await records.blocked(connection, [row for row, _ in ended])
        reports = [
            notices.delivery_report(
                resource=row.plan.resource,
                message_id=row.recipient.message_id,
                accepted_at=row.plan.accepted_at,
                sender=row.plan.sender,
                recipient=row.recipient.to,
                delivered=False,
                code=blocked.code,
                ended_at=row.plan.accepted_at,
                segments=row.plan.segments,
                segments_delivered=0,
                tag=row.plan.tag,
            )
            for row, blocked in ended
            if row.plan.report_wanted
        ]
        woken = await self._customers.blocked(connection, [row for row, _ in ended])
        return await self._events.emit(connection, reports), woken


def _told(plans: Sequence[Plan], answers: Sequence[Exceptions | BaseException]) -> list[Exceptions]:
    """The answers to parts of one request. Where the database was away for some, each of their recipients is told so;
    raises what was raised when that was all, when it is something else, and `WrittenInPart` when all of the request can
    be repeated without doing so to what was accepted, as the SDKs repeat it by themselves."""
    failures = [answer for answer in answers if isinstance(answer, BaseException)]
    for failure in failures:
        if not isinstance(failure, Unavailable):
            raise failure
    if failures and all(isinstance(answer, NotWritten) for answer in answers):
        raise failures[0]  # of all: whoever counted them need not be told which
    repeatable = all(recipient.repeatability_id is not None for plan in plans for recipient in plan.recipients)
    if failures and repeatable:
        unwritten = {index for plan, answer in zip(plans, answers, strict=True) for index in _unwritten(plan, answer)}
        raise WrittenInPart(str(failures[0]), unwritten) from failures[0]
    if len(failures) == len(answers) and failures:
        raise next(failure for failure in failures if not isinstance(failure, NotWritten))
    return [
        {recipient.index: (Refused.UNAVAILABLE, "") for recipient in plan.recipients}
        if isinstance(answer, BaseException)
        else answer
        for plan, answer in zip(plans, answers, strict=True)
    ]


def _unwritten(plan: Plan, answer: Exceptions | BaseException) -> Set[int]:
    if isinstance(answer, dict):
        return answer.keys()
    if isinstance(answer, WrittenInPart):
        return answer.unwritten
    return {recipient.index for recipient in plan.recipients} if isinstance(answer, NotWritten) else frozenset()


_OPTED_OUT = Blocked(details.OPTED_OUT, "the recipient opted out")


async def _rows(connection: Connection, plans: Sequence[Plan]) -> list[Row]:
    heeding = [(plan, recipient) for plan in plans if plan.heeds_opt_outs for recipient in plan.recipients]
    opted_out = await records.opted_out(connection, [(plan.resource, plan.sender, to.to) for plan, to in heeding])
    if not opted_out:
        return [Row(plan, recipient, recipient.blocked) for plan in plans for recipient in plan.recipients]
    return [
        Row(
            plan,
            recipient,
            _OPTED_OUT
            if plan.heeds_opt_outs and (plan.resource, plan.sender, recipient.to) in opted_out
            else recipient.blocked,
        )
        for plan in plans
        for recipient in plan.recipients
    ]


async def _write_at_once(connection: Connection, blocks: Openings, now: datetime, rows: Sequence[Row]) -> bool:
    """Write the rows of a batch in which nothing is blocked or repeated, as of most: one round trip in place of five.
    Whether it was such a batch; otherwise nothing is written."""
    if any(row.blocked for row in rows):
        return False
    try:
        return await records.insert_and_count(connection, blocks, now, rows, _tally(rows, {}))
    except Duplicate:
        return False


async def _write(connection: Connection, blocks: Openings, now: datetime, rows: Sequence[Row]) -> dict[int, Exceptions]:
    count = await records.insert(connection, blocks, now, rows)
    if count == len(rows):
        return {}
    found = await records.by_repeatability(connection, rows)
    stored = {(record["resource_id"], record["repeatability_id"]): record for record in found}
    exceptions: dict[int, Exceptions] = {}
    written: set[UUID] = set()
    for row in rows:
        record = stored.get((row.plan.resource, row.recipient.repeatability_id))
        if record is None:
            continue
        # Customers' long texts may be submitted twice under one id: by two processes, or by one in one batch.
        message_id, block = row.recipient.message_id, blocks.of(row.plan, row.recipient.carrier).block
        if (record["message_id"], record["block_id"]) == (message_id, block) and message_id not in written:
            written.add(message_id)
            continue
        same = (record["sender"], record["recipient"], record["body"]) == (
            row.plan.sender,
            row.recipient.to,
            row.plan.body,
        )
        public_id = messages.outgoing_id(record["message_id"], record["accepted_at"])
        refused = Refused.REPLAYED if same else Refused.REUSED
        exceptions.setdefault(id(row.plan), {})[row.recipient.index] = (refused, public_id)
    return exceptions


def _tally(rows: Sequence[Row], exceptions: dict[int, Exceptions]) -> Tally:
    tally = Tally()
    alike: dict[tuple[int, str, str], int] = {}
    costs: dict[tuple[int, str, str], tuple[int, int]] = {}
    plans: dict[int, Plan] = {}
    for row in rows:
        if _left_out(row, exceptions):
            continue
        plan, to = row.plan, row.recipient
        plans[id(plan)] = plan
        group = (id(plan), country(to.to), to.carrier)
        alike[group] = alike.get(group, 0) + 1
        if row.blocked is not None:
            at, code = plan.accepted_at, row.blocked.code
            tally.ended(
                plan.resource, at, at, plan.sender, plan.tag, to.to, to.carrier, False, code, segments_delivered=0
            )
        elif to.cost is not None:
            priced, cost = costs.get(group, (0, 0))
            costs[group] = (priced + 1, cost + to.cost)
    for group, n in alike.items():
        key, nation, carrier = group
        plan, at, priced = plans[key], plans[key].accepted_at, costs.get(group) if costs else None
        tally.accepted_in(plan.resource, at, plan.sender, plan.tag, nation, carrier, plan.segments, n, priced)
    return tally


def _left_out(row: Row, exceptions: dict[int, Exceptions]) -> bool:
    return bool(exceptions) and row.recipient.index in exceptions.get(id(row.plan), ())


def pending_of(block: UUID, rows: Sequence[Row], exceptions: dict[int, Exceptions]) -> list[Pending]:
    """The written `rows` as messages to hand over now: without those that got no new message, end at once, or are sent
    at a later time."""
    return [
        Pending(
            resource=row.plan.resource,
            block=block,
            carrier=row.recipient.carrier,
            submission=Submission(
                key=row.recipient.message_id,
                sender=row.plan.sender,
                recipient=row.recipient.to,
                text=row.plan.body,
                segments=row.plan.segments,
                report_wanted=True,  # for insights and failover, whether or not the sender wants to be told
                valid_until=row.plan.valid_until,
            ),
            accepted_at=row.plan.accepted_at,
            report_by=row.plan.report_by,
            tag=row.plan.tag,
            heeds_opt_outs=row.plan.heeds_opt_outs,
            report_wanted=None if row.recipient.route == REPLY else row.plan.report_wanted,
        )
        for row in rows
        if row.blocked is None and row.plan.send_at is None and not _left_out(row, exceptions)
    ]
