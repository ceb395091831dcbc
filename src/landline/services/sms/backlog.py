"""What the database holds for this process: claims blocks and timers that are due, lets go of what it need not hold."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import structlog

from landline.core.errors import Unavailable
from landline.ports.clock import Clock
from landline.services.sms import records_deferred
from landline.services.sms import records_progress as records
from landline.services.sms.giving_up import ASKED_AGAIN, GivingUp
from landline.services.sms.handover import HandOver, Pending
from landline.services.sms.model.crowds import Crowds
from landline.services.sms.pauses import UNREACHED_PAUSE
from landline.services.sms.read_again import pending_in
from landline.services.sms.removed import Removed
from landline.services.sms.room import DUE
from landline.services.sms.standing import Standing
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


class Backlog:
    """One process's share of it. Its methods raise `Unavailable`, and `GaveWay` where another transaction went on."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        handover: HandOver,
        blocks: Blocks,
        standing: Standing,
        giving_up: GivingUp,
        removed: Removed,
        timers: Timers,
    ) -> None:
        self._database = database
        self._clock = clock
        self._handover = handover
        self._blocks = blocks
        self._standing = standing
        self._giving_up = giving_up
        self._removed = removed
        self._timers = timers
        self._blocks_at_once, self._block_size = 1, 1
        self._resuming: set[UUID] = set()
        self._suspicious: set[UUID] = set()
        """Blocks claimed from a process that died, of whose messages nobody has said yet which are in doubt."""

    async def claim(self) -> int:
        """Take up some of what is due, and what there is room for; how much."""
        await self._removed.refresh()
        if not self._handover.room.is_there(DUE):
            return 0
        without = self._handover.room.kept_out()
        return await self._claim_blocks(without) + await self._timers.claim(without)

    async def next_due(self) -> datetime | None:
        """When there is something to claim; None: not before this process is told."""
        if not self._handover.room.is_there(DUE):
            return None
        without = self._handover.room.kept_out()
        due = await self._timers.next_due(without)
        keys = self._handover.room.keys(without)
        return soonest(due, await self._blocks.next_due(keys, self._places))

    async def settle(self) -> None:
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

    async def leave_unreached(self) -> None:
        """Give to others what waits for a carrier that this process has lost to them."""
        found = self._handover.unreached()
        if not found:
            return
        await self._standing.unmark([message for block in found.values() for message in block])
        now, claims = self._clock.now(), {block for block, waiting in found.items() if waiting[0].alone}
        left = found.keys() & self._handover.unreached().keys()
        log.info("sms.left_to_others", blocks=len(left))
        self._handover.lose(left)
        await self._blocks.pass_on(left - claims, now, now + UNREACHED_PAUSE)
        await self._give_back(list(left & claims))
        self._handover.on_left()

    async def release_forgotten(self) -> None:
        """Have blocks looked at whose commit we made without learning of it."""
        forgotten = await self._blocks.forgotten(self._handover.known() | self._resuming | self._timers.claiming)
        if forgotten:
            log.warning("sms.blocks_forgotten", blocks=len(forgotten))
            now = self._clock.now()
            await self._blocks.release(dict.fromkeys(self._suspicious.intersection(forgotten), now), held=True)
            await self._blocks.release(dict.fromkeys(set(forgotten) - self._suspicious, now))
            self._suspicious.difference_update(forgotten)

    async def close_ended(self) -> None:
        """Close blocks of which others counted, or nobody did, once all their messages have ended."""
        now = self._clock.now()
        quiet = self._handover.overheard.quiet(now)
        if quiet:
            async with self._database.connection() as connection:
                await records.close_ended(connection, quiet, now)

    def take_back(self) -> None:
        """What was left to others, as no carrier of it was reached, is looked at again."""
        self._blocks.take_back()

    async def end(self) -> None:
        """This process ends, and its carriers have: what none of them may have is anybody's, and in no doubt. Raises
        `Unavailable`."""
        await self._blocks.release(dict.fromkeys(self._handover.untouched(), self._clock.now()))

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
        elif left and self._removed.names:
            free = [message for message in left if message.carrier in self._removed.names]
            left = [message for message in left if message.carrier not in self._removed.names]
        if free:
            await self._leave(free, now)
            self._handover.on_left()
        to_submit, crowd = self._handover.crowded(to_submit, of_crowd=of_crowd)
        await self._leave(crowd, now)
        if left or not (to_submit or self._handover.reaches({row["carrier"] for row in unasked})):
            await self._blocks.pass_on([block], now, now + UNREACHED_PAUSE)
            return
        again = [now + ASKED_AGAIN] if unasked else []
        report_by = min([*again, *(row["report_by"] for row in awaiting)], default=None)
        if to_submit or report_by is None:
            self._handover.take(block, to_submit, awaiting=len(awaiting) + len(unasked), report_by=report_by)
        else:
            await self._blocks.release({block: report_by})

    def _parted(self, messages: Sequence[Pending]) -> tuple[list[Pending], list[Pending]]:
        """Messages of a block that are for this process, those on their way among them, and those for others."""
        ours: list[Pending] = []
        theirs: list[Pending] = []
        reached = {name for name in {message.carrier for message in messages} if self._handover.reaches((name,))}
        for message in messages:
            here = message.carrier in reached or self._handover.on_its_way(message) is not None
            (ours if here else theirs).append(message)
        return ours, theirs

    @property
    def _places(self) -> list[str]:
        """The carriers whose crowds are taken up here."""
        return [*self._handover.reached, *self._removed.names]

    async def _leave(self, messages: Sequence[Pending], now: datetime) -> None:
        if messages:
            keys = [(message.resource, message.submission.key) for message in messages]
            async with self._database.connection() as connection:
                await records.leave(connection, keys, now, self._blocks.owner)

    async def _give_back(self, claims: Sequence[UUID]) -> None:
        """Nothing is in hand under `claims` any more: what is left of them is due for everybody."""
        if claims:
            async with self._database.transaction() as connection:
                await records_deferred.give_back(connection, claims, self._blocks.owner, self._clock.now())
                await self._blocks.close(connection, claims)


def soonest(*instants: datetime | None) -> datetime | None:
    """The first of those that are known."""
    return min((at for at in instants if at is not None), default=None)
