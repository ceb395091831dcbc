"""Whether messages in hand may still be handed over: the leases hold, they are still wanted, and doubt is written down
beforehand (docs/design/gateway.md, "Doubt" and "Fences")."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import structlog

from landline.core.errors import Unavailable
from landline.ports.clock import Clock
from landline.ports.sms_carrier import CrashPolicy
from landline.services.sms import records_progress as progress
from landline.services.sms.failover import Failover
from landline.services.sms.handover import HandOver, Pending
from landline.services.sms.still_wanted import HEEDED_AT_ACCEPT, StillWanted
from landline.store.blocks import LEASE, Blocks
from landline.store.database import Connection, Database

log = structlog.get_logger()
_SURE = LEASE * 2 / 3
"""How long after a lease was renewed it is relied on: other machines' clocks may be ahead of ours by the rest."""
_LOOKS = 3
"""How often it is asked about, while each answer comes so late that its recipient may have said STOP since."""


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
        failover: Failover,
        wanted: StillWanted,
    ) -> None:
        self._database = database
        self._clock = clock
        self._line = line
        self._handover = handover
        self._blocks = blocks
        self._failover = failover
        self._wanted = wanted
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
        wanted = self._wanted
        for _ in range(_LOOKS):
            asked_at = self._clock.now()
            batch = await wanted.without_opted_out(await wanted.without_released(await wanted.without_halted(batch)))
            if self._clock.now() >= self._sure_until or self._line.now() >= self._sure_on_line_until:
                await self.renew()
            if timedelta(0) <= self._clock.now() - asked_at < HEEDED_AT_ACCEPT:  # less: the clock was set back
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
