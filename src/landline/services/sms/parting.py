"""Which of the messages that are committed together share a block (docs/design/gateway.md, "Crowds")."""

import os
from collections import Counter
from collections.abc import Sequence, Set
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from landline.core.ids import time_ordered
from landline.services.sms.handover import HandOver
from landline.services.sms.model.crowds import Crowd, Sender
from landline.services.sms.model.messages import Plan
from landline.services.sms.records import Opening, Openings
from landline.services.sms.room import NEW


class Item(Struct):
    """A plan to be committed, or the part of one that is of `crowd`."""

    plan: Plan
    crowd: Crowd | None = None


def openings(items: Sequence[Item], handover: HandOver, owner: UUID, now: datetime) -> Openings:
    """The blocks of `items`: one for what `owner` hands over itself; one for each crowd; and of what only others reach
    one for each carrier, without those senders of which there is so much that it is to be taken up apart."""
    carriers = {recipient.carrier for item in items for recipient in item.plan.recipients}
    reached = {carrier for carrier in carriers if handover.reaches((carrier,))}
    holder = owner if handover.room.is_there(NEW) else None
    if reached == carriers and all(item.crowd is None for item in items):  # as of most
        return Openings.one(Opening(_fresh(now), holder))
    counts = _counts(items, carriers - reached)
    opened: dict[Crowd | str | None, Opening] = {}
    places: dict[tuple[int, str], Opening] = {}
    for item in items:
        plan, sender = item.plan, (item.plan.resource, item.plan.sender)
        for carrier in {recipient.carrier for recipient in plan.recipients}:
            crowd, elsewhere = item.crowd, None if carrier in reached else carrier
            if crowd is None and elsewhere is not None:
                crowd = handover.room.crowd_elsewhere(carrier, sender, counts[carrier, sender])
            opening = opened.get(crowd or elsewhere)
            if opening is None:
                opening = Opening(_fresh(now), None if crowd or elsewhere else holder, crowd)
                opened[crowd or elsewhere] = opening
            if crowd is not None:
                until = min(plan.valid_until or plan.report_by, plan.report_by)
                opening.ends_at = until if opening.ends_at is None else min(opening.ends_at, until)
            places[id(plan), carrier] = opening
    return Openings(list(opened.values()), lambda plan, carrier: places[id(plan), carrier])


def _fresh(now: datetime) -> UUID:
    return time_ordered(now, os.urandom(10))


def _counts(items: Sequence[Item], carriers: Set[str]) -> Counter[tuple[str, Sender]]:
    """How many messages for `carriers` there are of each sender."""
    return Counter(
        (recipient.carrier, (item.plan.resource, item.plan.sender))
        for item in items
        for recipient in item.plan.recipients
        if recipient.carrier in carriers
    )
