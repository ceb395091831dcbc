"""What one commit stores of what becomes of messages, and what it changed: gathered while it is written, told to this
process's memory after it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from landline.ports.clock import Clock
from landline.ports.sms_carrier import Submitted
from landline.services.events.model import Emitted, Event
from landline.services.insights.model import Tally
from landline.services.sms import notices
from landline.services.sms import records_progress as records
from landline.services.sms.esme_out import Woken
from landline.services.sms.handover import HandOver, Pending
from landline.services.sms.model.messages import REPLY, State
from landline.services.sms.observers import Observers
from landline.services.sms.records_progress import Deferral
from landline.services.sms.records_receipts import Ending
from landline.store.blocks import Blocks
from landline.store.database import Connection, Record
from landline.store.parts import Part


@dataclass(slots=True)
class Brought:
    """What is to be stored together; all that a carrier brought is of the one `carrier`."""

    carrier: str = ""
    answers: Sequence[Submitted] = ()
    late: Sequence[Submitted] = ()
    endings: Sequence[tuple[str, Ending]] = ()
    given_up: Sequence[tuple[UUID, UUID, int]] = ()
    expired: Sequence[Pending] = ()


def size_of(news: Brought) -> int:
    """Of how many messages it is."""
    return len(news.answers) + len(news.late) + len(news.endings) + len(news.given_up) + len(news.expired)


@dataclass(slots=True)
class Outcome:
    """What one commit changed, to be told to this process's memory after it."""

    taken: int
    """See `HandOver.ended`."""
    answered: list[UUID] = field(default_factory=list[UUID])
    left: list[UUID] = field(default_factory=list[UUID])
    """Blocks, once for each of their messages that left them and was in nobody's hands."""
    put_off: list[Pending] = field(default_factory=list[Pending])
    """Messages in hand that left their blocks, or their claims."""
    lost: set[UUID] = field(default_factory=set[UUID])
    """Blocks that were found to be another process's."""
    ended: list[Record] = field(default_factory=list[Record])
    deferred: bool = False
    tally: Tally = field(default_factory=Tally)
    failed_over: int = 0
    reports: list[Event] = field(default_factory=list[Event])
    late: int = 0
    withdrawn: list[UUID] = field(default_factory=list[UUID])
    """Messages that are not handed over again after all."""
    woken: Woken = frozenset()
    """Customers for whom receipts were written."""

    def moved(self, changed: Sequence[Record]) -> int:
        """Tally the messages that go by other carriers than they `was`; how many they are."""
        moved = [record for record in changed if record["was"] != record["carrier"]]
        for record in moved:
            if record["route"] != REPLY:
                self.tally.moved(
                    record["resource_id"],
                    record["accepted_at"],
                    record["sender"],
                    record["tag"],
                    record["recipient"],
                    record["was"],
                    record["carrier"],
                    record["segments"],
                    record["cost"],
                )
        return len(moved)


class Outcomes:
    """Ends messages, puts them off and tells of it: for `News`, `Rerouting`, `Canceling`, each in its transaction."""

    def __init__(self, clock: Clock, handover: HandOver, blocks: Blocks, observers: Observers) -> None:
        self._clock = clock
        self._handover = handover
        self._blocks = blocks
        self._events = observers.events
        self._insights = observers.insights
        self._customers = observers.customers
        self._counts = observers.counts
        self.on_deferred: Callable[[], None] = _nobody
        """Called when messages were deferred: the worker's wait may be too long now."""

    async def write(self, connection: Connection, done: Outcome, beside: Sequence[Part] = ()) -> Emitted:
        """Write what is to be told and to be counted, and `beside`, in one statement."""
        return await self._events.emit(connection, done.reports, [*self._insights.counting(done.tally), *beside])

    def committed(self, done: Outcome, emitted: Emitted) -> None:
        """What `write` wrote is committed: tell this process's memory, and those who wait for it."""
        self._events.committed(emitted)
        self._handover.lose(done.lost)
        self._customers.committed(done.woken)
        # Of what has ended, too: it may be in hand for its next try.
        self._handover.withdraw([*done.withdrawn, *(record["message_id"] for record in done.ended)])
        self._counts.failed_over += done.failed_over
        self._counts.answered_late += done.late
        self._counts.ended.update([record["code"] for record in done.ended])
        self._handover.leave(done.put_off)
        self._handover.answered(done.answered)
        # A message that was deferred has left its block already.
        ended = [record["block_id"] for record in done.ended if not record["attempts"]]
        self._handover.ended([*done.left, *ended], since=done.taken)
        if done.deferred:
            self.on_deferred()

    async def defer(self, connection: Connection, done: Outcome, deferred: Sequence[tuple[Pending, Deferral]]) -> None:
        """Have messages in hand tried again at another time, or by another carrier."""
        if not deferred:
            return
        changed = await records.defer(connection, [deferral for _, deferral in deferred], self._blocks.owner)
        done.failed_over += done.moved(changed)
        done.deferred = True
        done.put_off.extend(message for message, _ in deferred)
        await self.notice_lost(connection, done, [message for message, _ in deferred], changed)

    async def notice_lost(
        self, connection: Connection, done: Outcome, messages: Sequence[Pending], changed: Sequence[Record]
    ) -> None:
        """Find the blocks that another process has claimed, when not all `messages` were `changed`."""
        if len(changed) < len(messages):
            keys = {record["message_id"] for record in changed}
            others = [each for each in messages if each.submission.key not in keys and not each.alone]
            about = [(each.resource, each.submission.key) for each in others]
            rows = await records.standing(connection, about, self._blocks.owner)
            ours = {row["message_id"] for row in rows if row["ours"]}
            done.lost.update(each.block for each in others if each.submission.key not in ours)

    async def end(
        self,
        connection: Connection,
        done: Outcome,
        messages: Sequence[tuple[UUID, UUID, int]],
        *,
        owner: UUID | None = None,
    ) -> Sequence[Record]:
        """Fail (resource, message, detail code); those that had not ended. With `owner` only what it has."""
        if not messages:
            return ()
        keys, codes = [(resource, message) for resource, message, _ in messages], [code for _, _, code in messages]
        ended = await records.end(connection, keys, codes, self._clock.now(), owner=owner)
        await self.tell(connection, done, ended)
        return ended

    async def tell(self, connection: Connection, done: Outcome, ended: Sequence[Record]) -> None:
        """Have all observers told that these have ended: customers at once, the others by `write`."""
        done.ended.extend(ended)
        done.woken |= await self._customers.ended(connection, ended)
        for record in ended:
            if record["route"] != REPLY:
                done.tally.ended(
                    record["resource_id"],
                    record["accepted_at"],
                    record["ended_at"],
                    record["sender"],
                    record["tag"],
                    record["recipient"],
                    record["carrier"],
                    record["state"] == State.DELIVERED,
                    record["code"],
                    record["segments_delivered"],
                )
        done.reports.extend([notices.ended(record) for record in ended if record["report_wanted"]])


def _nobody() -> None:
    return None
