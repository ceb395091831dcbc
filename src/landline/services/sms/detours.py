"""What becomes of messages whose carrier takes none: they go by other carriers of their route, or wait.

While it takes none it is asked every second, each time with what is next. That alone goes elsewhere at first, so that a
carrier which is back in a moment finds its messages; when it stays away, all that waits for it does.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from landline.core.errors import Unavailable
from landline.ports.clock import Clock
from landline.ports.sms_carrier import SmsCarrier
from landline.services.sms.failover import Failover
from landline.services.sms.handover import HandOver, Pending
from landline.services.sms.news import News
from landline.services.sms.rerouting import Rerouting
from landline.services.sms.standing import Standing

log = structlog.get_logger()
_SAID_AGAIN = timedelta(minutes=1)
"""How often it is logged that a carrier takes nothing, while that lasts."""
_PATIENCE = timedelta(seconds=5)
_ASKED_AGAIN = timedelta(seconds=30)
"""After how long a message for which no other carrier was found is looked at again, beside those that are next."""
_TOGETHER = 500


@dataclass(slots=True)
class _Refusing:
    since: datetime
    said_at: datetime


class Detours:
    """`line` times how long a carrier has been away."""

    def __init__(
        self,
        clock: Clock,
        line: Clock,
        handover: HandOver,
        news: News,
        standing: Standing,
        failover: Failover,
        rerouting: Rerouting,
    ) -> None:
        self._clock = clock
        self._line = line
        self._handover = handover
        self._news = news
        self._standing = standing
        self._failover = failover
        self._rerouting = rerouting
        self.on_left: Callable[[], None] = _nobody
        """Called when messages are put back that are another process's now."""
        self._refusing: dict[str, _Refusing] = {}

    def taken(self, carrier: SmsCarrier) -> None:
        """It took messages."""
        if self._refusing and self._refusing.pop(carrier.name, None) is not None:
            log.info("sms.carrier_available", carrier=carrier.name)

    async def refused(self, carrier: SmsCarrier, batch: Sequence[Pending], reason: str) -> None:
        """It did not take `batch`, for that `reason`."""
        away = self._away(carrier.name, reason)
        await self._keep(carrier.name, batch, reason)
        if not carrier.up and away >= _PATIENCE and self._failover.another_up(carrier.name):
            await self._go_round(carrier.name, reason)

    def _away(self, carrier: str, reason: str) -> timedelta:
        """For how long it has taken nothing, which is said now and then."""
        now = self._line.now()
        refusing = self._refusing.get(carrier)
        if refusing is None or now - refusing.said_at >= _SAID_AGAIN:
            log.warning("sms.carrier_unavailable", carrier=carrier, reason=reason)
            since = now if refusing is None else refusing.since
            refusing = self._refusing[carrier] = _Refusing(since, now)
        return now - refusing.since

    async def _keep(self, carrier: str, batch: Sequence[Pending], reason: str) -> None:
        """Give what the carrier did not take to others, put back the rest, and give up what has waited too long."""
        now = self._clock.now()
        late = [message for message in batch if message.until <= now]
        rest = [message for message in batch if message.until > now]
        try:
            await self._standing.unmark(batch)
            if not self._handover.reaches({carrier}):
                self._handover.put_back(carrier, list(batch))
                self.on_left()
                return
            rest = await self._rerouting.reroute(rest, reason)
            if late:
                await self._news.expire(late)
        except Unavailable:
            self._handover.put_back(carrier, list(batch), unsure=True)
        else:
            self._handover.put_back(carrier, rest)

    async def _go_round(self, carrier: str, reason: str) -> None:
        """Give all that waits for the carrier to others that may have it."""
        now, line_now = self._clock.now(), self._line.now()
        if all(message.asked_again_at > line_now for message in self._handover.waiting(carrier)):
            return
        waiting = self._handover.take_all(carrier)
        unasked = [message for message in waiting if message.asked_again_at <= line_now and now < message.until]
        unsure = False
        try:
            for first in range(0, len(unasked), _TOGETHER):
                together = self._handover.still_in_hand(unasked[first : first + _TOGETHER])
                for message in await self._rerouting.reroute(together, reason):
                    message.asked_again_at = line_now + _ASKED_AGAIN
        except Unavailable:
            unsure = True
        self._handover.put_back(carrier, waiting, unsure=unsure)


def _nobody() -> None:
    return None
