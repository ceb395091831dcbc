"""What carriers bring most often, and what sending more waits for: answers that they took messages. One statement
stores them, which needs no transaction around it, and so two round trips less."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from landline.ports.sms_carrier import Submitted
from landline.services.sms import records_progress as records
from landline.services.sms.handover import HandOver, Pending
from landline.store.database import Database, Duplicate

_REUSES_FOR = timedelta(hours=1)


class Taken:
    """Stores them. What a carrier gives an id to twice is found by `submitted`, whose statement expects that and costs
    PostgreSQL half as much again: a carrier that did so has all its answers stored by that one for a while."""

    def __init__(
        self,
        database: Database,
        handover: HandOver,
        remember: Callable[[str, Sequence[tuple[Submitted, Pending]]], None],
    ) -> None:
        """`remember` is told of what was stored."""
        self._database = database
        self._handover = handover
        self._remember = remember
        self._reused: dict[str, datetime] = {}
        """Until when each carrier that gave an id again is taken to do so."""

    async def store(self, carrier: str, answers: Sequence[Submitted], now: datetime) -> bool:
        """Store `answers`, and tell the hand-over; whether that was all there is to them. When it was not (a refusal, a
        message that waits alone, a receipt that had come before, an id given again), they are to be stored once more by
        who does all that."""
        if carrier in self._reused and now < self._reused[carrier]:
            return False
        found = [(answer, self._handover.in_hand(answer.key)) for answer in answers]
        known = [(answer, pending) for answer, pending in found if pending and is_for(answer, carrier, pending)]
        if any(answer.carrier_message_id is None or pending.alone for answer, pending in known):
            return False
        rows = [(answer, pending.resource, pending.block) for answer, pending in known]
        try:
            if rows and await records.taken(self._database, carrier, rows, now):
                return False
        except Duplicate:
            self._reused[carrier] = now + _REUSES_FOR
            return False
        self._remember(carrier, known)
        self._handover.answered([answer.key for answer, _ in known])
        return True


def is_for(answer: Submitted, carrier: str, pending: Pending) -> bool:
    """Whether it answers the present hand-over, or says that the carrier has the message from one before. A refusal
    that is told again may come when the message is on its way to another carrier already, or about to be."""
    return pending.carrier == carrier and (pending.handed or answer.carrier_message_id is not None)
