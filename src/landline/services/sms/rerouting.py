"""Gives messages whose carrier takes none, or is gone from the configuration, to other carriers of their route."""

from collections.abc import Sequence

from landline.ports.clock import Clock
from landline.ports.sms_carrier import Submitted
from landline.services.sms import records_progress as records
from landline.services.sms.failover import Failover, put_off
from landline.services.sms.handover import HandOver, Pending
from landline.services.sms.model import details
from landline.services.sms.outcomes import Outcome, Outcomes
from landline.services.sms.records_progress import Deferral
from landline.store.database import Database


class Rerouting:
    """Which carrier it is to be says `Failover`."""

    def __init__(
        self, database: Database, clock: Clock, handover: HandOver, failover: Failover, outcomes: Outcomes
    ) -> None:
        self._database = database
        self._clock = clock
        self._handover = handover
        self._failover = failover
        self._outcomes = outcomes

    async def reroute(self, messages: Sequence[Pending], reason: str) -> list[Pending]:
        """Give `messages`, which their carrier could not take, to other carriers; those for which there is none."""
        if not any(self._failover.another_up(carrier) for carrier in {message.carrier for message in messages}):
            return list(messages)
        now = self._clock.now()
        async with self._database.transaction() as connection:
            keys = [(message.resource, message.submission.key) for message in messages]
            tried = await records.tried(connection, keys)
            moved: list[tuple[Pending, Deferral]] = []
            for message in messages:
                key = message.submission.key
                doubt = message.doubt - message.marked
                elsewhere = await self._failover.instead(message, tried.get(key, {}), doubt)
                if elsewhere is not None:
                    moved.append((message, put_off(message, now, elsewhere, doubt)))
            for carrier in {message.carrier for message, _ in moved}:
                refusals = [
                    (
                        Submitted(
                            message.submission.key, None, details.TEMPORARILY_UNAVAILABLE, temporary=True, reason=reason
                        ),
                        message.resource,
                    )
                    for message, _ in moved
                    if message.carrier == carrier
                ]
                await records.attempted(connection, carrier, refusals, now)
            done = Outcome(self._handover.taken, answered=[message.submission.key for message, _ in moved])
            await self._outcomes.defer(connection, done, moved)
            emitted = await self._outcomes.write(connection, done)
        self._outcomes.committed(done, emitted)
        gone = set(done.answered)
        return [message for message in messages if message.submission.key not in gone]
