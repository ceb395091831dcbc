"""What carriers bring most often, and what sending more waits for: answers that they took messages. One statement
stores them, which needs no transaction around it, and so two round trips less."""

from collections.abc import Sequence
from datetime import datetime

from landline.ports.sms_carrier import Submitted
from landline.services.sms import records_progress as records
from landline.services.sms.handover import HandOver, Pending
from landline.store.database import Database


async def store(
    database: Database, handover: HandOver, carrier: str, answers: Sequence[Submitted], now: datetime
) -> bool:
    """Store `answers`, and tell `handover`; whether that was all there is to them. When it was not (a refusal, a
    message that waits alone, a receipt that had come before), they are to be stored once more by who does all that."""
    found = [(answer, handover.in_hand(answer.key)) for answer in answers]
    known = [(answer, pending) for answer, pending in found if pending and is_for(answer, carrier, pending)]
    if any(answer.carrier_message_id is None or pending.alone for answer, pending in known):
        return False
    rows = [(answer, pending.resource, pending.block) for answer, pending in known]
    if rows and await records.taken(database, carrier, rows, now):
        return False
    handover.answered([answer.key for answer, _ in known])
    return True


def is_for(answer: Submitted, carrier: str, pending: Pending) -> bool:
    """Whether it answers the present hand-over, or says that the carrier has the message from one before. A refusal
    that is told again may come when the message is on its way to another carrier already, or about to be."""
    return pending.carrier == carrier and (pending.handed or answer.carrier_message_id is not None)
