"""Receipts as most are: they say that a message arrived which this process had a carrier take. What is to be told and
counted of it is remembered since then: one statement ends the messages, tells and counts that, and needs no transaction
around it. Whatever is not as it is remembered is the database's to know: `records_receipts` does all that."""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from landline.core.ids import ResourceId
from landline.ports.sms_carrier import Submitted
from landline.services.events.model import Emitted, Event
from landline.services.events.service import Events, NotAtOnce
from landline.services.insights.service import Insights
from landline.services.sms import notices, records_receipts
from landline.services.sms.handover import HandOver, Pending
from landline.services.sms.model import esme
from landline.services.sms.model.messages import State
from landline.services.sms.outcomes import Brought, Outcome, size_of
from landline.services.sms.records_receipts import Ending
from landline.store.blocks import Blocks
from landline.store.database import Database, NotAsSaid

_LIMIT = 50_000
"""Messages remembered, some 400 octets each. The receipts of those beyond it are stored as they were before."""


class Sent(Struct, frozen=True):
    """What of a message that a carrier took does not change any more, and its end is told and counted by."""

    resource: ResourceId
    key: UUID
    block: UUID
    accepted_at: datetime
    sender: str
    recipient: str
    tag: str | None
    segments: int
    report_wanted: bool


Arrived = tuple[str, Ending, Sent]
"""The carrier's id, the end, and the message."""


class Reported:
    """See the module."""

    def __init__(
        self, database: Database, events: Events, insights: Insights, handover: HandOver, blocks: Blocks
    ) -> None:
        self._database = database
        self._events = events
        self._insights = insights
        self._handover = handover
        self._blocks = blocks
        # Ordered, for the oldest to go in no time.
        self._sent: OrderedDict[tuple[str, str], Sent] = OrderedDict()

    def remember(self, carrier: str, answers: Iterable[tuple[Submitted, Pending]]) -> None:
        """The carrier has these, and that is stored. Not replies, which are not counted, nor messages of customers, who
        are brought receipts; nor what was handed over twice or has left its block: more is to be known of these."""
        sent = self._sent
        for answer, pending in answers:
            again = pending.attempts or pending.alone or pending.doubt > pending.marked
            wanted, key = pending.report_wanted, answer.key
            if wanted is None or again or answer.carrier_message_id is None or esme.is_customers(key):
                continue
            submission = pending.submission
            sent[carrier, answer.carrier_message_id] = Sent(
                pending.resource,
                key,
                pending.block,
                pending.accepted_at,
                submission.sender,
                submission.recipient,
                pending.tag,
                submission.segments,
                wanted,
            )
        while len(sent) > _LIMIT:
            sent.popitem(last=False)

    def part(self, news: Sequence[Brought]) -> tuple[dict[str, list[Arrived]], list[Brought]]:
        """What of `news` is to be given to `store`, by carriers; what is left of it. All that it has receipts of is
        forgotten: what is repeated is looked up."""
        arrived: dict[str, list[Arrived]] = {}
        left: list[Brought] = []
        for item in news:
            found, others = self._known(item.carrier, item.endings)
            if found:
                arrived.setdefault(item.carrier, []).extend(found)
            if len(found) < size_of(item):
                left.append(replace(item, endings=others) if found else item)
        return arrived, left

    def _known(
        self, carrier: str, endings: Sequence[tuple[str, Ending]]
    ) -> tuple[list[Arrived], list[tuple[str, Ending]]]:
        known: list[Arrived] = []
        others: list[tuple[str, Ending]] = []
        for each in endings:
            carrier_message_id, ending = each
            sent = self._sent.pop((carrier, carrier_message_id), None)
            if sent is None or ending.state is not State.DELIVERED:
                others.append(each)
            else:
                known.append((carrier_message_id, ending, sent))
        return known, others

    async def store(self, carrier: str, arrived: Sequence[Arrived]) -> tuple[Outcome, Emitted] | None:
        """End the messages that `arrived`, all of them; or none, where one of them is not as it was (it has ended, goes
        by another carrier, or its id is another's by now), or hundreds of webhooks want to be told."""
        done = Outcome(self._handover.taken)
        for _, ending, sent in arrived:
            done.tally.ended(
                sent.resource,
                sent.accepted_at,
                ending.at,
                sent.sender,
                sent.tag,
                sent.recipient,
                carrier,
                True,
                ending.code,
                sent.segments,
            )
            if sent.report_wanted:
                done.reports.append(_report(ending, sent))
            done.ended.append({"message_id": sent.key, "code": ending.code, "block_id": sent.block, "attempts": 0})
        rows = [(carrier_message_id, ending, sent.resource, sent.key) for carrier_message_id, ending, sent in arrived]
        finished = self._handover.finished()
        parts = [records_receipts.ending_known(carrier, rows), *self._insights.counting(done.tally)]
        if finished:
            parts.append(self._blocks.closing(finished))
        last = records_receipts.all_ended(len(rows))
        try:
            async with self._database.connection() as connection:
                emitted = await self._events.emit(connection, done.reports, parts, last=last)
        except (NotAsSaid, NotAtOnce):
            self._handover.unfinished(finished)
            return None
        return done, emitted


def _report(ending: Ending, sent: Sent) -> Event:
    return notices.delivery_report(
        resource=sent.resource,
        message_id=sent.key,
        accepted_at=sent.accepted_at,
        sender=sent.sender,
        recipient=sent.recipient,
        delivered=True,
        code=ending.code,
        ended_at=ending.at,
        segments=sent.segments,
        segments_delivered=sent.segments,
        tag=sent.tag,
    )
