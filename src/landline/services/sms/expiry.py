"""Messages that wait for their carrier longer than they are valid: ended at that time, and never handed over after it,
whether the carrier is down, slow, or paced."""

from landline.core.errors import Unavailable
from landline.ports.clock import Clock
from landline.services.sms.handover import HandOver, Pending
from landline.services.sms.news import News


class Expiry:
    """Ends what this process has in hand. Both methods raise `Unavailable`; whatever they were about is then in the
    queues as before."""

    def __init__(self, clock: Clock, handover: HandOver, news: News) -> None:
        self._clock = clock
        self._handover = handover
        self._news = news

    async def end_late(self) -> None:
        """End what is late of all that waits; to be called at the hand-over's `late_at`."""
        late = self._handover.late(self._clock.now())
        if not late:
            return
        try:
            await self._news.expire(late)
        except Unavailable:
            for carrier in {message.carrier for message in late}:
                of_it = [message for message in late if message.carrier == carrier]
                self._handover.put_back(carrier, of_it, unsure=True)
            raise

    async def without_late(self, batch: list[Pending]) -> list[Pending]:
        """`batch`, taken off a queue, without what is late, which is ended."""
        now = self._clock.now()
        late = [message for message in batch if message.until <= now]
        if not late:
            return batch
        await self._news.expire(late)
        return [message for message in batch if message.until > now]
