"""Texts from phones: stored, told as events, and their keywords obeyed and answered, in one transaction."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from landline.core import phone
from landline.core.ids import ResourceId, time_ordered
from landline.core.log_limit import LogLimit
from landline.ports.clock import Clock
from landline.ports.sms_carrier import Arrival
from landline.protocols.smstext import segments
from landline.services.events.model import Event
from landline.services.insights.model import Tally
from landline.services.numbers.model import OwnedNumber
from landline.services.numbers.service import Numbers
from landline.services.sms import notices, records, records_inbound, records_opt_outs
from landline.services.sms.accept import pending_of
from landline.services.sms.esme_out import Woken
from landline.services.sms.handover import HandOver
from landline.services.sms.keywords import Keywords
from landline.services.sms.model.keywords import Action, Language, find
from landline.services.sms.model.messages import FURTHEST, REPLY, Plan, Recipient
from landline.services.sms.observers import Observers
from landline.services.sms.records import Opening, Openings, Row
from landline.services.sms.records_inbound import Campaign, Text
from landline.store.database import Connection, Database, settle

log = structlog.get_logger()
REPLY_VALIDITY = timedelta(hours=12)
ANSWERS_WITHIN = timedelta(days=7)
"""A text answers the last message of a campaign that its phone got from the same number within so long. What was
blocked or failed, or is to be sent later, it did not get."""
ON_ITS_WAY = timedelta(seconds=10)
"""How long what was just accepted counts as sent though its carrier's answer is not stored: a phone may be faster."""


@dataclass(slots=True)
class _Received:
    """What one transaction took in."""

    events: list[Event] = field(default_factory=list[Event])
    replies: list[Row] = field(default_factory=list[Row])
    tally: Tally = field(default_factory=Tally)
    woken: Woken = frozenset()


class Inbound:
    """Receives texts. A text the carrier brings again changes nothing."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        numbers: Numbers,
        keywords: Keywords,
        handover: HandOver,
        observers: Observers,
        owner: UUID,
    ) -> None:
        self._database = database
        self._clock = clock
        self._numbers = numbers
        self._events = observers.events
        self._keywords = keywords
        self._handover = handover
        self._insights = observers.insights
        self._customers = observers.customers
        self._owner = owner
        self._told = LogLimit()

    async def receive(self, carrier: str, arrivals: Sequence[Arrival]) -> int:
        """Take `arrivals` in; returns, after commit, how many were new. Texts to numbers that nobody owns are dropped
        and logged."""
        owned = await self._owned(carrier, arrivals)
        if not owned:
            return 0
        languages = {
            number.number: await self._keywords.languages(number.resource, number.number) for _, number in owned
        }
        now = self._clock.now()
        taken = _Received()
        block = time_ordered(now, os.urandom(10))
        async with self._database.transaction() as connection:
            campaigns = await records_inbound.campaigns(
                connection,
                [(number.resource, number.number, arrival.sender) for arrival, number in owned],
                now,
                since=now - ANSWERS_WITHIN,
                accepted_since=now - ANSWERS_WITHIN - FURTHEST,
                on_its_way_since=now - ON_ITS_WAY,
            )
            texts = [_text(arrival, number, languages[number.number], campaigns) for arrival, number in owned]
            fresh = await records_inbound.receive(connection, carrier, texts)
            for text in texts:
                if text.message_id in fresh:
                    await self._take(connection, carrier, text, languages[text.number.number], now, taken)
            emitted = await self._events.emit(connection, taken.events)
            await self._insights.count(connection, taken.tally)
            held = self._owner if self._may_hold(taken.replies) else None
            if taken.replies:
                await records.insert(connection, Openings.one(Opening(block, held)), now, taken.replies)
            if not fresh:
                await settle(connection)
        self._events.committed(emitted)
        self._customers.committed(taken.woken)
        if taken.replies and held is not None:
            self._handover.take(block, pending_of(block, taken.replies, {}))
        elif taken.replies:
            self._handover.on_left()
        return len(fresh)

    def _may_hold(self, replies: Sequence[Row]) -> bool:
        carriers = {reply.recipient.carrier for reply in replies}
        counts = Counter((reply.recipient.carrier, reply.plan.resource, reply.plan.sender) for reply in replies)
        crowded = self._handover.room.pressed and any(
            self._handover.room.crowd(carrier, (resource, sender), count)
            for (carrier, resource, sender), count in counts.items()
        )
        return not crowded and self._handover.may_hold(carriers)

    async def _owned(self, carrier: str, arrivals: Sequence[Arrival]) -> list[tuple[Arrival, OwnedNumber]]:
        owned: list[tuple[Arrival, OwnedNumber]] = []
        for arrival in arrivals:
            number = await self._numbers.owner(arrival.recipient)
            if number is None or not number.sms_inbound:
                self._tell_of_nobody(carrier, phone.redacted(arrival.recipient))
            else:
                owned.append((arrival, number))
        return owned

    def _tell_of_nobody(self, carrier: str, number: str) -> None:
        count = self._told.due((carrier, number), self._clock.now().timestamp())
        if count:
            log.warning("sms.arrived_for_nobody", number=number, carrier=carrier, count=count)

    async def _take(
        self,
        connection: Connection,
        carrier: str,
        text: Text,
        languages: tuple[Language, ...],
        now: datetime,
        taken: _Received,
    ) -> None:
        arrival, number = text.arrival, text.number
        taken.events.append(
            notices.received(
                resource=number.resource,
                message_id=text.message_id,
                sender=arrival.sender,
                recipient=number.number,
                text=arrival.text,
                segments=arrival.segments,
                at=arrival.at,
            )
        )
        taken.woken |= await self._customers.arrived(
            connection,
            resource=number.resource,
            message_id=text.message_id,
            sender=arrival.sender,
            recipient=number.number,
            text=arrival.text,
        )
        # A carrier's response rate is that of the texts it brought, whichever brings the answers.
        by = carrier if text.answers is None else text.answers.carrier
        place = (number.resource, arrival.at, number.number, text.tag, arrival.sender, by)
        taken.tally.replied(*place)
        found = find(arrival.text, languages)
        if found is None:
            return
        action, language = found
        if action is Action.STOP:
            if await records_opt_outs.add(connection, number.resource, number.number, [arrival.sender], now, "keyword"):
                taken.tally.opted_out(*place)
        elif action is Action.START:
            await records_opt_outs.remove(connection, number.resource, number.number, [arrival.sender])
        reply = _reply(number, arrival, language.reply(action), carrier, now)
        if reply is not None:
            taken.replies.append(reply)


def _text(
    arrival: Arrival,
    number: OwnedNumber,
    languages: tuple[Language, ...],
    campaigns: Mapping[tuple[ResourceId, str, str], Campaign],
) -> Text:
    found = find(arrival.text, languages)
    return Text(
        message_id=time_ordered(arrival.at, os.urandom(10)),
        number=number,
        arrival=arrival,
        keyword=found[0].value if found else None,
        answers=campaigns.get((number.resource, number.number, arrival.sender)),
    )


def _reply(number: OwnedNumber, arrival: Arrival, text: str, carrier: str, now: datetime) -> Row | None:
    """The answer to a keyword; it alone may pass the opt-out it confirms."""
    recipient = phone.parse(arrival.sender)
    if not text or recipient is None or not number.sms_outbound:
        return None
    planned = Recipient(0, recipient, time_ordered(now, os.urandom(10)), None, number.carrier or carrier, REPLY)
    plan = Plan(
        resource=number.resource,
        sender=number.number,
        body=text,
        tag=None,
        segments=segments(text).count,
        report_wanted=False,
        accepted_at=now,
        report_by=now + REPLY_VALIDITY,
        recipients=[planned],
        heeds_opt_outs=False,
    )
    return Row(plan, planned)
