"""Whether messages in hand may still be handed over: the leases hold, nobody opted out, no sender was given up and no
campaign halted meanwhile, and doubt is written down beforehand (docs/design/gateway.md, "Doubt" and "Fences")."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from uuid import UUID

import structlog

from landline.core.errors import Unavailable
from landline.core.ids import ResourceId
from landline.ports.clock import Clock
from landline.ports.sms_carrier import CrashPolicy, Submitted
from landline.services.sms import records
from landline.services.sms import records_progress as progress
from landline.services.sms.failover import Failover
from landline.services.sms.handover import HandOver, Pending
from landline.services.sms.model import details
from landline.services.sms.model.messages import HALTED
from landline.services.sms.news import News
from landline.services.sms.settings import Settings
from landline.store.blocks import LEASE, Blocks
from landline.store.database import Connection, Database

log = structlog.get_logger()
_SURE = LEASE * 2 / 3
"""How long after a lease was renewed it is relied on: other machines' clocks may be ahead of ours by the rest."""
_HEEDED_AT_ACCEPT = timedelta(seconds=2)
"""A message that waited for longer is asked about again: its recipient may have said STOP since."""
_LOOKS = 3
"""How often it is asked about, while each answer comes so late that its recipient may have said STOP since."""
MaySend = Callable[[ResourceId, str], Awaitable[bool]]
"""Whether a resource may send from a sender at this moment. Raises `Unavailable`."""


class Standing:
    """See the module. A process that could not renew its leases in time hands nothing over until it knows which of its
    blocks it still has: another process may have claimed the rest, and be sending them. `line` times that beside
    `clock`, which may be set back; it stands still itself where the whole machine does."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        line: Clock,
        handover: HandOver,
        blocks: Blocks,
        news: News,
        failover: Failover,
        may_send: MaySend,
        settings: Settings,
    ) -> None:
        self._database = database
        self._clock = clock
        self._line = line
        self._handover = handover
        self._blocks = blocks
        self._news = news
        self._failover = failover
        self._may_send = may_send
        self._settings = settings
        self._sure_until, self._sure_on_line_until = clock.now() + _SURE, line.now() + _SURE

    async def renew(self) -> None:
        """Renew the leases of all blocks, and let go of those that were lost. Raises `Unavailable`."""
        now, line_now = self._clock.now(), self._line.now()
        held = self._handover.held()
        ours = await self._blocks.extend(now)
        self._sure_until, self._sure_on_line_until = now + _SURE, line_now + _SURE
        lost = (held - ours) & self._handover.held()
        if lost:
            log.warning("sms.blocks_lost", blocks=len(lost))
            self._handover.lose(lost)

    async def check(self, batch: Sequence[Pending]) -> list[Pending]:
        """Those of `batch` that may be handed over now, and must be, or be unmarked. Raises `Unavailable`."""
        marked = [message for message in batch if self._failover.to_mark(message)]
        gone = await self._mark(marked) if marked else set[int]()
        for _ in range(_LOOKS):
            asked_at = self._clock.now()
            batch = await self._without_opted_out(await self._without_released(await self._without_halted(batch)))
            if self._clock.now() >= self._sure_until or self._line.now() >= self._sure_on_line_until:
                await self.renew()
            if timedelta(0) <= self._clock.now() - asked_at < _HEEDED_AT_ACCEPT:  # less: the clock was set back
                return [message for message in self._handover.still_in_hand(batch) if id(message) not in gone]
        raise Unavailable("the database answers too late to be sure of what it says")

    async def unmark(self, batch: Sequence[Pending]) -> None:
        """The hand-over of `batch` was not made after all. Raises `Unavailable`; the next `check` makes up for it."""
        marked = [message for message in batch if message.marked]
        if not marked:
            return
        async with self._database.connection() as connection:
            await self._write(connection, [(message, message.doubt - 1) for message in marked])
        for message in marked:
            message.doubt -= 1
            message.marked = False

    async def suspect(self, claimed: Sequence[Pending]) -> None:
        """Say of what was in a dead process's hands that a carrier may have got it, where its hand-over was not written
        down beforehand anyway."""
        suspects = [
            message
            for message in claimed
            if message.doubt == 0 and self._failover.policy(message.carrier) is CrashPolicy.RESEND
        ]
        if not suspects:
            return
        async with self._database.connection() as connection:
            await self._write(connection, [(message, 1) for message in suspects])
        for message in suspects:
            message.doubt = 1

    def _waited(self, batch: Sequence[Pending]) -> list[Pending]:
        """Those of which what was looked up as they were accepted may be so no more. What was accepted later than now
        was so before the clock was set back."""
        now = self._clock.now()
        since = now - _HEEDED_AT_ACCEPT
        return [message for message in batch if not since <= message.accepted_at <= now]

    async def _without_opted_out(self, batch: Sequence[Pending]) -> Sequence[Pending]:
        waited = [message for message in self._waited(batch) if message.heeds_opt_outs]
        if not waited:
            return batch
        async with self._database.connection() as connection:
            found = await records.opted_out(connection, [_place(message) for message in waited])
        out = [message for message in waited if _place(message) in found]
        return await self._without(batch, out, details.OPTED_OUT, "the recipient opted out")

    async def _without_halted(self, batch: Sequence[Pending]) -> Sequence[Pending]:
        campaigns = {(message.resource, message.tag) for message in batch if message.tag is not None}
        halted = {(resource, tag) for resource, tag in campaigns if (await self._settings.of(resource)).halts(tag)}
        out = [each for each in batch if (each.resource, each.tag) in halted] if halted else ()
        return await self._without(batch, out, HALTED.code, HALTED.reason)

    async def _without_released(self, batch: Sequence[Pending]) -> Sequence[Pending]:
        """A scheduled message may wait for weeks: its sender may be somebody else's by now."""
        waited = self._waited(batch)
        senders = dict.fromkeys((message.resource, message.submission.sender) for message in waited)
        released = {sender for sender in senders if not await self._may_send(*sender)}
        out = [each for each in waited if (each.resource, each.submission.sender) in released] if released else ()
        return await self._without(batch, out, details.NOT_ENTITLED, "the sender is not the resource's any more")

    async def _without(
        self, batch: Sequence[Pending], out: Sequence[Pending], code: int, reason: str
    ) -> Sequence[Pending]:
        """`batch` without `out`, which ends with `code`."""
        if not out:
            return batch
        why = [(Submitted(each.submission.key, None, code, reason=reason), each.resource) for each in out]
        async with self._database.connection() as connection:
            await progress.attempted(connection, "", why, self._clock.now())
        await self._news.give_up([(message.resource, message.submission.key, code) for message in out])
        self._handover.answered(message.submission.key for message in out)
        return self._handover.still_in_hand(batch)

    async def _mark(self, messages: Sequence[Pending]) -> set[int]:
        """Count the hand-over of `messages` as in doubt; which of them are not to be handed over any more."""
        fresh = [message for message in messages if not message.marked]
        async with self._database.connection() as connection:
            standing = await self._write(
                connection, [(message, message.doubt + (not message.marked)) for message in messages]
            )
            gone = [message for message in messages if message.submission.key not in standing]
            if gone:
                await self._let_go(connection, gone)
        for message in fresh:
            message.doubt += 1
            message.marked = True
        for message in messages:
            message.unsure = False
        return {id(message) for message in gone}

    async def _write(self, connection: Connection, doubts: Sequence[tuple[Pending, int]]) -> set[UUID]:
        marks = [
            ((message.resource, message.submission.key), message.carrier, message.attempts, doubt)
            for message, doubt in doubts
        ]
        return await progress.mark(connection, marks, self._blocks.owner)

    async def _let_go(self, connection: Connection, gone: Sequence[Pending]) -> None:
        """Forget messages that others have ended, claimed or sent elsewhere, or that their carrier has after all."""
        keys = [(message.resource, message.submission.key) for message in gone]
        rows = {row["message_id"]: row for row in await progress.standing(connection, keys, self._blocks.owner)}
        log.warning("sms.not_ours_any_more", messages=len(gone))
        lost: set[UUID] = set()
        left: list[Pending] = []
        for message in gone:
            row = rows.get(message.submission.key)  # none: it has ended, and was erased since
            if not message.alone and (row is None or not row["ours"]):
                lost.add(message.block)  # of a claim only this one may have been taken from us
            if row is None or row["ended"] or (row["carrier"], row["attempts"]) != (message.carrier, message.attempts):
                left.append(message)
        self._handover.lose(lost)
        self._handover.leave(left)
        self._handover.answered([message.submission.key for message in self._handover.still_in_hand(gone)])


def _place(message: Pending) -> tuple[UUID, str, str]:
    return message.resource, message.submission.sender, message.submission.recipient
