"""Whether what waited for its carrier is still to be sent: nobody opted out, no sender was given up and no campaign was
halted meanwhile. What is not wanted ends here."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from uuid import UUID

from landline.core.ids import ResourceId
from landline.ports.clock import Clock
from landline.ports.sms_carrier import Submitted
from landline.services.sms import records
from landline.services.sms import records_progress as progress
from landline.services.sms.handover import HandOver, Pending
from landline.services.sms.model import details
from landline.services.sms.model.messages import HALTED
from landline.services.sms.news import News
from landline.services.sms.settings import Settings
from landline.store.database import Database

HEEDED_AT_ACCEPT = timedelta(seconds=2)
"""A message that waited for longer is asked about again: its recipient may have said STOP since."""
MaySend = Callable[[ResourceId, str], Awaitable[bool]]
"""Whether a resource may send from a sender at this moment. Raises `Unavailable`."""


class StillWanted:
    """Each method returns a batch in hand without what is not wanted, which it has ended. All raise `Unavailable`."""

    def __init__(
        self, database: Database, clock: Clock, handover: HandOver, news: News, may_send: MaySend, settings: Settings
    ) -> None:
        self._database = database
        self._clock = clock
        self._handover = handover
        self._news = news
        self._may_send = may_send
        self._settings = settings

    async def without_opted_out(self, batch: Sequence[Pending]) -> Sequence[Pending]:
        waited = [message for message in self._waited(batch) if message.heeds_opt_outs]
        if not waited:
            return batch
        async with self._database.connection() as connection:
            found = await records.opted_out(connection, [_place(message) for message in waited])
        out = [message for message in waited if _place(message) in found]
        return await self._without(batch, out, details.OPTED_OUT, "the recipient opted out")

    async def without_halted(self, batch: Sequence[Pending]) -> Sequence[Pending]:
        campaigns = {(message.resource, message.tag) for message in batch if message.tag is not None}
        halted = {(resource, tag) for resource, tag in campaigns if (await self._settings.of(resource)).halts(tag)}
        out = [each for each in batch if (each.resource, each.tag) in halted] if halted else ()
        return await self._without(batch, out, HALTED.code, HALTED.reason)

    async def without_released(self, batch: Sequence[Pending]) -> Sequence[Pending]:
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

    def _waited(self, batch: Sequence[Pending]) -> list[Pending]:
        """Those of which what was looked up as they were accepted may be so no more. What was accepted later than now
        was so before the clock was set back."""
        now = self._clock.now()
        since = now - HEEDED_AT_ACCEPT
        return [message for message in batch if not since <= message.accepted_at <= now]


def _place(message: Pending) -> tuple[UUID, str, str]:
    return message.resource, message.submission.sender, message.submission.recipient
