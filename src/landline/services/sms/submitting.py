"""Hands messages to their carriers: one loop a carrier, which gives it as much as it takes and the senders may send."""

from collections.abc import Callable, Mapping, Sequence

import structlog

from landline.core.errors import Unavailable
from landline.ports.clock import Clock
from landline.ports.sms_carrier import SmsCarrier
from landline.services.sms.detours import Detours
from landline.services.sms.expiry import Expiry
from landline.services.sms.handover import HandOver, Pending, Queue
from landline.services.sms.pauses import UNREACHED_PAUSE, pause
from landline.services.sms.rates import Rates
from landline.services.sms.standing import Standing

log = structlog.get_logger()


class Submitting:
    """The carriers of one process, each with its queue. `line` times the pauses before a carrier that takes nothing is
    asked again, for that is not driven."""

    def __init__(
        self,
        clock: Clock,
        line: Clock,
        carriers: Mapping[str, SmsCarrier],
        handover: HandOver,
        rates: Rates,
        standing: Standing,
        expiry: Expiry,
        detours: Detours,
    ) -> None:
        self.carriers = carriers
        self._clock = clock
        self._line = line
        self._handover = handover
        self._rates = rates
        self._standing = standing
        self._expiry = expiry
        self._detours = detours
        self._alarms = {name: clock.alarm() for name in carriers}
        self._queues = {
            name: Queue(bucket=rates.carrier_bucket(name), limit=rates.bucket, cost=_segments) for name in carriers
        }
        rates.on_changed = self._retuned
        rates.on_stale = self.ring
        for name, alarm in self._alarms.items():
            handover.serve(name, alarm.ring, self._queues[name], _reachable(carriers[name]))

    def close(self) -> None:
        """No loop runs any more, or ever will."""
        for alarm in self._alarms.values():
            alarm.close()

    def ring(self) -> None:
        """Have every loop look whether there is something for its carrier now."""
        for alarm in self._alarms.values():
            alarm.ring()

    async def run(self, name: str) -> None:
        """Serve the carrier of that name until cancelled."""
        carrier, alarm = self.carriers[name], self._alarms[name]
        while True:
            await self._rates.refresh()
            now = self._clock.now()
            if not carrier.reachable:  # what waits for it is given to others
                await alarm.wait(now + UNREACHED_PAUSE)
                continue
            count = await self._room(carrier) if self._queues[name] else 0
            now = self._clock.now()
            batch = self._handover.next(name, count, now) if count else []
            if not batch:
                await alarm.wait(self._handover.next_at(name, now))
                continue
            try:
                taken = batch
                batch = await self._expiry.without_late(batch)
                batch = await self._standing.check(batch)
                batch = await self._expiry.without_late(batch)  # that may have taken seconds
                if len(batch) < len(taken):
                    going = set(map(id, batch))
                    self._handover.not_sent(name, [each for each in taken if id(each) not in going], now)
            except Unavailable as error:
                log.warning("sms.not_handed_over", carrier=name, reason=error.message, messages=len(batch))
                self._handover.put_back(name, batch, unsure=True)
                await pause(self._clock, self._line, alarm)
                continue
            if batch and not await self._hand_over(carrier, batch):
                await pause(self._clock, self._line, alarm)

    async def _room(self, carrier: SmsCarrier) -> int:
        """How many messages may be handed over, waited for before they are looked at: an opt-out that comes while the
        carrier is slow counts."""
        try:
            return await carrier.room()
        except Unavailable:  # as `_hand_over` is told, which sees to the messages
            return carrier.at_once

    async def _hand_over(self, carrier: SmsCarrier, batch: Sequence[Pending]) -> bool:
        """Whether the carrier took `batch`; if not, something else has been seen to."""
        self._handover.hand(batch)
        try:
            await carrier.submit([message.submission for message in batch])
        except Unavailable as error:
            for message in batch:
                message.handed = False
            await self._detours.refused(carrier, self._handover.still_in_hand(batch), error.message)
            return False
        self._detours.taken(carrier)
        return True

    def _retuned(self) -> None:
        for queue in self._queues.values():
            queue.retuned()
        self.ring()


def _reachable(carrier: SmsCarrier) -> Callable[[], bool]:
    return lambda: carrier.reachable


def _segments(message: Pending) -> int:
    return message.submission.segments
