"""Messages in this process's hands between their commit and the carrier's answer, in memory and bounded.

A block is looked after here from the commit that wrote it until all its messages are answered; then it waits in the
database for its reports (docs/design/blocks.md). Losing this memory loses nothing: the blocks' leases end.
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from msgspec import Struct

from landline.core.ids import ResourceId
from landline.ports.sms_carrier import Submission
from landline.services.sms.model.crowds import Sender
from landline.services.sms.model.pacing import Lanes
from landline.services.sms.overheard import Overheard
from landline.services.sms.room import NEW, Room

_BEFORE = datetime.min.replace(tzinfo=UTC)


@dataclass(slots=True, eq=False)
class _Block:
    """What is left to do in a block, as of when it was taken and what was told since."""

    unanswered: int
    open: int
    number: int
    report_by: datetime
    """The earliest among its messages."""


class Pending(Struct):
    """One message to hand over."""

    resource: ResourceId
    block: UUID
    carrier: str
    submission: Submission
    accepted_at: datetime
    report_by: datetime
    tag: str | None = None
    attempts: int = 0
    claim: UUID | None = None
    """The block under which it is in hand since it left its own, for it has a timer of its own then
    (`sms_messages.due_at`)."""
    doubt: int = 0
    """How often a carrier may have got it without our knowing (docs/design/gateway.md)."""
    marked: bool = False
    """Whether `doubt` counts the present hand-over already, in the database too."""
    handed: bool = False
    """Whether a carrier may have it from this process."""
    unsure: bool = False
    """Whether something may have been decided about it in a commit of whose answer we did not learn."""
    heeds_opt_outs: bool = True
    report_wanted: bool | None = None
    """Whether its sender wants to be told of its end; None of a reply, which nobody is told of."""
    asked_again_at: datetime = _BEFORE
    """When it is to be looked at again whether another carrier may have it while its own is away."""
    counted: _Block | None = None
    """Where it is one of the `unanswered`: not in the block that was read again without it."""

    @property
    def alone(self) -> bool:
        """Whether it has left its block."""
        return self.claim is not None

    @property
    def held_by(self) -> UUID:
        """The block whose lease says that it is ours."""
        return self.claim or self.block

    @property
    def until(self) -> datetime:
        """When it is tried no more."""
        valid_until = self.submission.valid_until
        return self.report_by if valid_until is None else min(valid_until, self.report_by)


Queue = Lanes[Sender, Pending]
_LOOKS_APART = timedelta(seconds=1)
"""How often the queues are looked through for what waited too long."""


class HandOver:
    """Queues of pending messages by carrier, and what is left to do in each block this process holds."""

    def __init__(
        self, *, limit: int = 10_000, share: Callable[[], int] = lambda: 1, remembered_blocks: int = 100_000
    ) -> None:
        """`limit` and `share` as in `room`."""
        self._share = share
        self._remembered_blocks = remembered_blocks
        self._queues: dict[str, Queue] = {}
        self._rings: dict[str, Callable[[], None]] = {}
        self._reachable: dict[str, Callable[[], bool]] = {}
        self._in_hand: dict[UUID, Pending] = {}
        self.room = Room(limit, share, self._in_hand, self._queues)
        self._watched: dict[UUID, asyncio.Event] = {}
        """Messages whose next change somebody waits for."""
        self._blocks: OrderedDict[UUID, _Block] = OrderedDict()
        self.taken = 0
        """How many blocks were taken so far."""
        self.overheard = Overheard()
        self._answered: dict[UUID, datetime] = {}
        self._finished: list[UUID] = []
        self._finished_claims: list[UUID] = []
        self.late_at: datetime | None = None
        """When `late` is to be asked; None while nothing waits."""
        self.on_late: Callable[[], None] = _no_room
        """Called when that is sooner than it was."""
        self.on_awaiting: Callable[[datetime], None] = _nobody
        """Called with an instant at which a block that is all answered, or a message, wants to be looked at."""
        self.on_left: Callable[[], None] = _no_room
        """Called when messages were committed that this process leaves to others, or to itself for later."""
        self.on_claim_done: Callable[[], None] = _no_room
        """Called when nothing is left to do under a claim: `finished_claims` has it."""

    def serve(
        self,
        carrier: str,
        ring: Callable[[], None],
        queue: Queue | None = None,
        reachable: Callable[[], bool] = lambda: True,
    ) -> None:
        """`carrier` exists in this process; `ring` wakes whoever submits to it; `queue` says how fast. While it is not
        `reachable` from here its messages are left to other processes."""
        self._queues[carrier] = Lanes() if queue is None else queue
        self._reachable[carrier] = reachable
        self._rings[carrier] = ring

    def reaches(self, carriers: Iterable[str]) -> bool:
        """Whether all of `carriers` are reached from this process."""
        for carrier in carriers:
            reachable = self._reachable.get(carrier)
            if reachable is None or not reachable():
                return False
        return True

    @property
    def reached(self) -> list[str]:
        """The carriers that are reached from this process."""
        return [name for name, reachable in self._reachable.items() if reachable()]

    def may_hold(self, carriers: Iterable[str]) -> bool:
        """Whether this process has room for new messages that are of no crowd, and reaches all of `carriers`."""
        return self.room.is_there(NEW) and self.reaches(carriers)

    def take(
        self, block: UUID, pending: list[Pending], *, awaiting: int = 0, report_by: datetime | None = None
    ) -> None:
        """Look after `block`: hand over `pending`; `awaiting` more of its messages have only their reports to come, the
        first of them until `report_by`."""
        if not pending:
            self._finished.append(block)
            return
        self._count(block, pending, awaiting, report_by)

    def take_alone(self, claim: UUID, pending: list[Pending]) -> None:
        """Hand over messages that have left their blocks and are in hand under `claim`."""
        if pending:
            self._count(claim, pending, 0, None)
        else:
            self._claim_done(claim)

    def on_its_way(self, message: Pending) -> Pending | None:
        """The same message as this process handed it over before it lost it; the carrier's answer is still to come."""
        ours = self._in_hand.get(message.submission.key)
        return ours if ours is not None and ours.handed and ours.carrier == message.carrier else None

    def crowded(self, messages: Sequence[Pending], *, of_crowd: bool) -> tuple[list[Pending], list[Pending]]:
        """Of a claimed block's messages: those for which there is room, and those of crowds that have as much of it as
        they may. What is on its way is not among these."""
        if not self.room.pressed:
            return list(messages), []
        counts = Counter((message.carrier, message.resource, message.submission.sender) for message in messages)
        allowed = {key: self.room.allowed(key[0], key[1:], n, of_crowd=of_crowd) for key, n in counts.items()}
        kept: list[Pending] = []
        crowd: list[Pending] = []
        for message in messages:
            key = (message.carrier, message.resource, message.submission.sender)
            (kept if allowed[key] > 0 or self.on_its_way(message) is not None else crowd).append(message)
            allowed[key] -= 1
        return kept, crowd

    def _count(self, held_by: UUID, pending: list[Pending], awaiting: int, report_by: datetime | None) -> None:
        self.taken += 1
        soonest = min(message.report_by for message in pending)
        if report_by is not None and report_by < soonest:
            soonest = report_by
        self._blocks[held_by] = block = _Block(len(pending), len(pending) + awaiting, self.taken, soonest)
        self._queue(block, pending)

    def _queue(self, block: _Block, pending: list[Pending]) -> None:
        self.room.moved(len(pending))
        for message in pending:
            ours = self.on_its_way(message)
            self._let_go_of(message)
            message.counted = block
            if ours is not None:  # of two hand-overs one would be taken for the other's answer
                ours.claim, ours.attempts, ours.counted = message.claim, message.attempts, block
                self._in_hand[message.submission.key] = ours
                continue
            self._in_hand[message.submission.key] = message
            self._queues[message.carrier].push((message.resource, message.submission.sender), message)
        self._wait(pending)
        for carrier in {message.carrier for message in pending}:
            self._rings[carrier]()

    def _wait(self, pending: Iterable[Pending]) -> None:
        at = min((message.until for message in pending), default=None)
        if at is not None and (self.late_at is None or at < self.late_at):
            self.late_at = at
            self.on_late()

    def _let_go_of(self, message: Pending) -> None:
        """It is in hand under another block than it was, which it has left without our learning of it."""
        before = self._in_hand.get(message.submission.key)
        if before is not None and before.held_by != message.held_by:
            self.leave([before])
            self.answered([message.submission.key])

    def next(self, carrier: str, count: int, now: datetime) -> list[Pending]:
        """Take up to `count` messages off the carrier's queue, as many as its pace and its senders' allow; they stay in
        hand until answered."""
        taken = self._queues[carrier].take(count, now.timestamp())
        self.room.moved(len(taken))
        return taken

    def not_sent(self, carrier: str, messages: Iterable[Pending], now: datetime) -> None:
        """`messages` were taken off the carrier's queue, and are for nobody to send: others go in their place."""
        by_sender: dict[Sender, list[Pending]] = {}
        for message in messages:
            by_sender.setdefault((message.resource, message.submission.sender), []).append(message)
        for sender, its in by_sender.items():
            self._queues[carrier].give_back(sender, its, now.timestamp())

    def next_at(self, carrier: str, now: datetime) -> datetime | None:
        """When `next` may give something, after it gave nothing; None when the queue is empty."""
        at = self._queues[carrier].next_at(now.timestamp())
        return None if at is None else datetime.fromtimestamp(at, UTC)

    def waiting(self, carrier: str) -> Iterator[Pending]:
        """What waits for `carrier`, without taking it."""
        return iter(self._queues[carrier])

    def take_all(self, carrier: str) -> list[Pending]:
        """Everything that waits for `carrier`, whatever its pace; each sender's in its order, to be put back so."""
        return self._queues[carrier].remove_all()

    def late(self, now: datetime) -> list[Pending]:
        """Messages that are not to be handed over any more, taken off the queues; they stay in hand. Ask at `late_at`:
        before, it gives none, and what is late meanwhile is late within a second of that."""
        if self.late_at is None or now < self.late_at:
            return []
        late: list[Pending] = []
        for queue in self._queues.values():
            found = [message for message in queue if message.until <= now]
            if found:
                self._leave_out(queue, lambda message: message.until <= now)
                late += found
        soonest = min((message.until for queue in self._queues.values() for message in queue), default=None)
        self.late_at = None if soonest is None else max(soonest, now + _LOOKS_APART)
        return late

    @staticmethod
    def _leave_out(queue: Queue, unwanted: Callable[[Pending], bool]) -> None:
        for message in queue.remove_all():
            if not unwanted(message):
                queue.push((message.resource, message.submission.sender), message)

    def hand(self, pending: Iterable[Pending]) -> None:
        """A carrier may have them from now on."""
        for message in pending:
            message.handed = True
            if self._watched:
                self._stir(message.submission.key)

    def put_back(self, carrier: str, pending: list[Pending], *, unsure: bool = False) -> None:
        """The carrier did not take them: they are next again. `unsure`: see `Pending`."""
        queue = self._queues[carrier]
        for message in reversed(self.still_in_hand(pending)):
            message.handed = False
            message.unsure |= unsure
            queue.push_front((message.resource, message.submission.sender), message)
            if self._watched:
                self._stir(message.submission.key)
        self._wait(pending)

    def waits(self, key: UUID) -> bool:
        """Whether the message of `key` is in hand here and no carrier can have it."""
        message = self._in_hand.get(key)
        return message is not None and not message.handed and message.doubt <= message.marked

    def keep_back(self, key: UUID) -> Pending | None:
        """Take off its queue the message of `key` when it `waits`; it stays in hand, until it is withdrawn or goes on.
        None also while it is looked at before it is handed over."""
        if not self.waits(key):
            return None
        message = self._in_hand[key]
        queued = self._queues[message.carrier].remove((message.resource, message.submission.sender), message)
        return message if queued else None

    async def change(self, key: UUID) -> None:
        """Wait until the message of `key`, which is in hand, is in its queue again, may be with a carrier, or is not in
        hand any more."""
        await self._watched.setdefault(key, asyncio.Event()).wait()

    def _stir(self, key: UUID) -> None:
        watched = self._watched.pop(key, None)
        if watched is not None:
            watched.set()

    def go_on(self, message: Pending) -> None:
        """What was kept back is to be handed over after all, unless something was decided about it meanwhile."""
        self.put_back(message.carrier, [message], unsure=True)
        self._rings[message.carrier]()

    def in_hand(self, key: UUID) -> Pending | None:
        """The message of `key` when its answer is awaited here."""
        return self._in_hand.get(key)

    def answered(self, keys: Iterable[UUID]) -> None:
        """The carrier's answers to `keys` are stored."""
        for key in keys:
            message = self._in_hand.pop(key, None)
            if self._watched:
                self._stir(key)
            if message is None or (block := self._blocks.get(message.held_by)) is None or block is not message.counted:
                continue
            block.unanswered -= 1
            if not message.alone:
                self._settle(message.block, block, block.report_by)
            elif not block.unanswered:
                del self._blocks[message.held_by]
                self._claim_done(message.held_by)
        self.room.freed()

    def leave(self, messages: Iterable[Pending]) -> None:
        """`messages` have left the blocks under which they were in hand, if they are so still."""
        for message in self.still_in_hand(messages):
            if not message.alone and self._blocks.get(message.block) is message.counted:
                self.ended([message.block])

    def withdraw(self, keys: Iterable[UUID]) -> None:
        """The messages of `keys` are not to be handed over any more; what a carrier may have by now stays in hand."""
        in_hand = self._in_hand
        self.answered([key for key in keys if (message := in_hand.get(key)) is not None and not message.handed])

    def ended(self, blocks: Iterable[UUID], *, since: int | None = None) -> None:
        """One message of each of `blocks` (repeated as often as it applies) has ended or left its block, in a commit
        that began when so many blocks had been `taken`. A block that was taken since then may have been read without
        that message already; like one that is not counted here, or whose other messages other processes may hear of, it
        is looked at again when it has rested."""
        several = self._share() > 1
        for block_id in blocks:
            block = self._blocks.get(block_id)
            counts = block is not None and (since is None or block.number <= since)
            if block is not None and counts:
                block.open -= 1
                self._settle(block_id, block, None)
            if block is None or not counts or (several and block.open > 0):
                self.overheard.add(block_id)

    def _settle(self, block_id: UUID, block: _Block, report_by: datetime | None) -> None:
        if block.unanswered > 0:
            return
        if block.open <= 0:
            self._answered.pop(block_id, None)
            del self._blocks[block_id]
            self._finished.append(block_id)
        elif report_by is not None:
            self._answered[block_id] = report_by
            self.on_awaiting(report_by)

    def _claim_done(self, claim: UUID) -> None:
        self._finished_claims.append(claim)
        self.on_claim_done()

    def held(self) -> set[UUID]:
        """The blocks with messages in hand: this process's leases are on them."""
        return {block_id for block_id, block in self._blocks.items() if block.unanswered > 0}

    def untouched(self) -> set[UUID]:
        """Blocks that are `held`, of which no carrier may have any message whose answer is not stored."""
        touched = {message.held_by for message in self._in_hand.values() if message.handed}
        return self.held() - touched

    def unreached(self) -> dict[UUID, list[Pending]]:
        """Blocks (and claims) in which messages wait for carriers that are not reached from here, with all that is in
        hand of them; without those of which something is on its way."""
        waiting = {
            message.held_by
            for name, reachable in self._reachable.items()
            if not reachable()
            for message in self._queues[name]
        }
        if not waiting:
            return {}
        queued = {id(message) for queue in self._queues.values() for message in queue}
        found: dict[UUID, list[Pending]] = {block: [] for block in waiting if block in self._blocks}
        for message in self._in_hand.values():
            if message.held_by not in found:
                continue
            if id(message) in queued:
                found[message.held_by].append(message)
            else:
                del found[message.held_by]
        return found

    def lose(self, blocks: Set[UUID]) -> None:
        """Nothing of `blocks` is handed over any more as it is remembered here: other processes hold them now, or they
        are about to be read again. What a carrier has already stays in hand, so that its answer is stored."""
        remembered = [self._blocks.pop(block) for block in blocks if block in self._blocks]
        for block in blocks:
            self._answered.pop(block, None)
        if not any(block.unanswered for block in remembered):
            return
        lost = [message for message in self._in_hand.values() if message.held_by in blocks]
        for message in lost:
            if not message.handed:
                del self._in_hand[message.submission.key]
                self._stir(message.submission.key)
        for queue in self._queues.values():
            self._leave_out(queue, lambda message: message.held_by in blocks)

    def still_in_hand(self, pending: Iterable[Pending]) -> list[Pending]:
        """Those of `pending` that were not lost meanwhile, or let go of."""
        return [message for message in pending if self._in_hand.get(message.submission.key) is message]

    def decides(self, message: Pending) -> bool:
        """Whether it is this process that says what follows for a message in hand: its block was not lost."""
        return message.held_by in self._blocks

    def known(self) -> set[UUID]:
        """The blocks this process has something to do about. One that is remembered for its reports alone is not among
        them: where the database says that we hold it, we claimed it without learning of it."""
        return {*self.held(), *self._answered, *self._finished, *self._finished_claims}

    def finished(self) -> list[UUID]:
        """Blocks with nothing left to do since the last call: to be closed."""
        finished, self._finished = self._finished, []
        return finished

    def unfinished(self, blocks: Iterable[UUID]) -> None:
        """They are told again by `finished`: they were not closed."""
        self._finished.extend(blocks)

    def finished_claims(self) -> list[UUID]:
        """Likewise the blocks under which messages were in hand that had left theirs."""
        finished, self._finished_claims = self._finished_claims, []
        return finished

    def awaiting(self) -> dict[UUID, datetime]:
        """Blocks all of whose messages are answered since the last call, by when they want to be looked at: to be
        released. They are remembered, so that they can be closed early when their reports come here."""
        answered, self._answered = self._answered, {}
        self._forget_oldest()
        return answered

    def _forget_oldest(self) -> None:
        for _ in range(len(self._blocks)):
            if len(self._blocks) <= self._remembered_blocks:
                return
            oldest, block = next(iter(self._blocks.items()))
            if block.unanswered > 0:  # it may wait for days, for a carrier that is down
                self._blocks.move_to_end(oldest)
            else:
                del self._blocks[oldest]

    def await_again(self, answered: Mapping[UUID, datetime]) -> None:
        """What `awaiting` gave could not be released."""
        self._answered = {block: at for block, at in answered.items() if block in self._blocks} | self._answered

    def overdue(self, now: datetime) -> list[Pending]:
        """Messages taken off the queues whose reports should have come by now; they stay in hand."""
        late = [message for message in self._in_hand.values() if message.report_by <= now]
        if not late:
            return []
        queued = {message.submission.key for queue in self._queues.values() for message in queue}
        return [message for message in late if message.submission.key not in queued]

    @property
    def count(self) -> int:
        """Messages in hand."""
        return len(self._in_hand)


def _no_room() -> None:
    return None


def _nobody(_at: datetime) -> None:
    return None
