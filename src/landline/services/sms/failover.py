"""What is done about a message whose carrier refused it, failed it or fell silent: again, by another, or the end.

Decisions only; `news` and `rerouting` write them down (docs/design/gateway.md, "Doubt" and "Failover").
"""

from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import datetime, timedelta

from landline.core.ids import ResourceId
from landline.ports.sms_carrier import CrashPolicy, SmsCarrier, Submitted
from landline.services.sms.handover import Pending
from landline.services.sms.model import details
from landline.services.sms.records_progress import Deferral

RouteOf = Callable[[ResourceId, str, str, str | None], Awaitable[tuple[str, ...]]]
"""The carriers for (resource, sender, recipient, tag), in the order in which they are to be tried."""
WantsFailover = Callable[[ResourceId], Awaitable[bool]]

_RETRY_FIRST_S = 5.0
_RETRY_MOST_S = 600.0
_RETRY_LAST = timedelta(seconds=5)
"""How long before its end a message is tried for the last time, and how long after the try before that at least."""
_MOST_DOUBT = {CrashPolicy.RESEND: 2, CrashPolicy.UNKNOWN: 1, CrashPolicy.QUERY: 1}
"""After how many silences a message ends as unknown; not at all where a repeated key is recognised."""


class Failover:
    """The carriers there are, and what each failure leads to."""

    def __init__(self, carriers: Mapping[str, SmsCarrier], route: RouteOf, wants_failover: WantsFailover) -> None:
        """`wants_failover` says whether a resource's messages go to another carrier after a negative receipt."""
        self._carriers = carriers
        self._route = route
        self.wants_failover = wants_failover
        self.remembered: Mapping[str, CrashPolicy] = {}
        """The crash policies of carriers that other processes have, or had."""

    @property
    def possible(self) -> bool:
        """Whether there is a second carrier at all."""
        return len(self._carriers) > 1

    def another_up(self, carrier: str) -> bool:
        """Whether any carrier but that one is up."""
        return any(name != carrier and self._up(name) for name in self._carriers)

    def policy(self, carrier: str) -> CrashPolicy:
        """What its operator wants done about messages it did not answer."""
        found = self._carriers.get(carrier)
        return self.remembered.get(carrier, CrashPolicy.RESEND) if found is None else found.crash_policy

    def hopeless(self, carrier: str, doubt: int) -> bool:
        """Whether a message that may have been got unanswered `doubt` times is not to be handed over again."""
        most = _MOST_DOUBT.get(self.policy(carrier))
        return most is not None and doubt >= most

    def to_mark(self, message: Pending) -> bool:
        """Whether its hand-over is written down before it is made, and whether it is still to be made asked. The first
        of a fresh message need not be: the lease of its block says as much."""
        if message.alone or message.unsure:
            return True
        policy = self.policy(message.carrier)
        if policy is CrashPolicy.REPEATABLE:
            return False
        return policy is not CrashPolicy.RESEND or message.doubt > 0

    async def elsewhere(
        self, resource: ResourceId, sender: str, recipient: str, tag: str | None, but: Collection[str], doubt: int
    ) -> str | None:
        """The first carrier of the message's route that is up, not in `but`, and may have it after `doubt` silences."""
        if all(name in but for name in self._carriers):
            return None
        route = await self._route(resource, sender, recipient, tag)
        return next(
            (name for name in route if name not in but and self._up(name) and not self.hopeless(name, doubt)), None
        )

    async def instead(self, message: Pending, tried: Mapping[str, bool], doubt: int) -> str | None:
        """Another carrier for a message whose own cannot take it now: one that has not refused it for good."""
        but = {message.carrier, *(name for name, for_good in tried.items() if for_good)}
        submission = message.submission
        return await self.elsewhere(message.resource, submission.sender, submission.recipient, message.tag, but, doubt)

    async def after(
        self, answer: Submitted, message: Pending, tried: Mapping[str, bool], now: datetime
    ) -> Deferral | int:
        """What follows a refusal or silence: another try, or the detail code of the message's end. A carrier that was
        not tried yet is tried at once; one that was, after a pause."""
        doubt = message.doubt - message.marked
        if answer.unknown:
            doubt += 1
            if self.hopeless(message.carrier, doubt):
                return details.UNKNOWN
        submission, code = message.submission, details.known(answer.code)
        fresh = again = None
        if code not in details.OF_THE_MESSAGE:
            place = (message.resource, submission.sender, submission.recipient, message.tag)
            fresh = await self.elsewhere(*place, {*tried, message.carrier}, doubt)
            again = fresh or await self.instead(message, tried, doubt)
        if again is None and not answer.temporary:
            return code
        due = now if fresh is not None else now + _retry_after(message.attempts)
        if due >= message.until:  # once more before its end, unless that is about to come
            due = message.until - _RETRY_LAST
            if fresh is not None or due < now + _RETRY_LAST:
                return code
        return put_off(message, due, again or message.carrier, doubt)

    def _up(self, name: str) -> bool:
        carrier = self._carriers.get(name)
        return carrier is not None and carrier.up


def put_off(message: Pending, due: datetime, carrier: str, doubt: int) -> Deferral:
    """`message` is to be tried again at `due`, by `carrier`."""
    key = message.submission.key
    return Deferral(message.resource, key, due, carrier, doubt, message.carrier, message.attempts)


def _retry_after(attempts: int) -> timedelta:
    return timedelta(seconds=min(_RETRY_FIRST_S * 2 ** min(attempts, 10), _RETRY_MOST_S))
