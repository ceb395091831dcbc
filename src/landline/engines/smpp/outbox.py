"""Messages a carrier has taken: queued by part, sent as windows and paces allow, each answered once."""

import asyncio
import math
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

import structlog
from msgspec import Struct

from landline.core.errors import Unavailable
from landline.core.log_limit import LogLimit
from landline.engines.smpp.config import MessageIds, SmppConfig
from landline.engines.smpp.encoding import Encoder
from landline.engines.smpp.link import Link
from landline.ports.sms_carrier import CrashPolicy, Submission, Submitted
from landline.protocols.smpp import receipts, status
from landline.protocols.smpp.errors import LocalProtocolError
from landline.protocols.smpp.events import Answered, AnsweredLate

log = structlog.get_logger()

_UNAVAILABLE = 5001
_NOT_TO_BE_SENT = 5000
_LEAST_AHEAD = 10


class Outgoing(Struct, eq=False):
    """One message on its way. Once `done` it is answered; if a silence was the reason, and all its parts turn out to
    have been taken, it is so again, late."""

    key: UUID
    report_wanted: bool
    bodies: list[bytes]
    ids: list[str]
    waiting: int
    since: float
    until: float = math.inf
    """The end of its validity, by the clock of messages."""
    done: bool = False


class Part(Struct, frozen=True):
    """The context of a submit_sm: which part of which message."""

    outgoing: Outgoing
    index: int


@dataclass(slots=True)
class OutboxCounters:
    """Since the start."""

    taken: int = 0
    submitted: int = 0
    """submit_sm sent, repeats after throttling included."""
    accepted: int = 0
    refused: int = 0
    throttled: int = 0
    unanswered: int = 0
    late: int = 0
    """Responses that came when they were waited for no more."""


class Answer(Struct):
    """What is to be told about one message; `ids` has all its parts' ids when it has several and a report is wanted."""

    submitted: Submitted
    ids: list[str] | None = None
    late: bool = False


@dataclass(slots=True)
class _Rate:
    """How many there were in the second before this one, or in this one when that is more."""

    second: int = 0
    before: int = 0
    present: int = 0

    def count(self, now: float) -> None:
        second = int(now)
        if second != self.second:
            self.before = self.present if second == self.second + 1 else 0
            self.second, self.present = second, 0
        self.present += 1

    @property
    def per_s(self) -> int:
        return max(self.before, self.present)


class Outbox:
    """See the module. Not told answers count as taken, so that a slow service holds `room` back. `held` says whether
    something else does; when that has changed, call `pass_on`. `time` is by the clock of messages, all other instants
    by that of the connections."""

    def __init__(self, config: SmppConfig, held: Callable[[], bool], time: Callable[[], float]) -> None:
        self._config = config
        self._held = held
        self._time = time
        self._encoder = Encoder(config)
        self._queue: deque[Part] = deque()
        self._windows = config.window * config.binds
        self._rate = _Rate()
        self._not_stored = 0
        """Messages answered whose answer the service has not stored."""
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._first = 0
        self.open = 0
        """Messages taken whose answer the service has not stored."""
        self.answers: list[Answer] = []
        self.late = 0
        """How many of `answers` are late ones. Each comes after the answer it follows."""
        self.late_at = math.inf
        """When `end_late` has something to do, by the clock of messages, or sooner."""
        self.untold: set[str] = set()
        """Ids the carrier has given that the service has not stored: their receipts have to wait."""
        self.counters = OutboxCounters()
        self._said = LogLimit()
        self._said_once: set[str] = set()

    @property
    def queued(self) -> int:
        """Parts waiting for a place in a window."""
        return len(self._queue)

    def source(self, sender: str) -> tuple[int, int, str]:
        """TON, NPI and address of a sender, as they are sent."""
        return self._encoder.source(sender)

    @property
    def _limit(self) -> int:
        """How many messages may be open. Besides what is in the windows some wait here, so that these are never empty:
        what the carrier takes in half a second, for what waits cannot be taken back, as by an opt-out. None do where
        what waits here is in doubt after a crash."""
        if self._config.crash_policy is not CrashPolicy.RESEND:
            return self._windows
        ahead = min(self._rate.per_s // 2, max(3 * self._windows, 450))
        return self._windows + max(ahead, _LEAST_AHEAD)

    async def room(self) -> int:
        """Wait until messages may be taken; how many, some more on a quick carrier, for it is asked the less often.
        Raises `Unavailable` when no bind is left meanwhile."""
        while self.open >= self._limit or self._held():
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter
        return max(self._limit - self.open, self._rate.per_s // 20)

    def take(self, submissions: Sequence[Submission], now: float) -> None:
        """Queue `submissions`; one that SMPP cannot carry is answered as refused."""
        self.open += len(submissions)
        self.counters.taken += len(submissions)
        for submission in submissions:
            try:
                bodies = self._encoder.bodies(submission)
            except LocalProtocolError as error:
                reason = f"cannot be sent over SMPP: {error}"
                self._tell(Answer(Submitted(submission.key, None, _NOT_TO_BE_SENT, reason=reason)))
                continue
            parts = len(bodies)
            outgoing = Outgoing(submission.key, submission.report_wanted, bodies, [""] * parts, parts, now)
            if submission.valid_until is not None:
                outgoing.until = submission.valid_until.timestamp()
                self.late_at = min(self.late_at, outgoing.until)
            for index in range(parts):
                self._queue.append(Part(outgoing, index))

    def fill(self, links: Sequence[Link], now: float) -> None:
        """Send what windows and paces allow, the queue's share for each link, in one write a link."""
        if self.late_at < math.inf:
            self.end_late()
        if not self._queue:
            return
        usable = [link for link in links if link.usable]
        self._first += 1
        # What the carrier may have and we have not stored is sent twice after a crash: as much as the windows hold.
        room = self._windows - self._not_stored - sum(link.session.in_flight for link in links if link.session)
        for number in range(len(usable)):
            left = min(len(self._queue), room)
            if left <= 0:
                return
            link = usable[(number + self._first) % len(usable)]
            share = -(-left // (len(usable) - number))
            room -= self._fill(link, share, now)

    def _fill(self, link: Link, share: int, now: float) -> int:
        session, pump = link.session, link.pump
        if session is None or pump is None or not pump.writable:
            return 0
        count = min(session.free, share)
        allowed = link.pace.allowance(now) if count > 0 else 0
        if allowed is not None and allowed < count:
            count = allowed
            link.held_back(now)
        queue = self._queue
        sent = 0
        while sent < count and queue:
            part = queue.popleft()
            outgoing = part.outgoing
            if not outgoing.done:
                session.submit(outgoing.bodies[part.index], part, now)
                sent += 1
        if sent:
            self.counters.submitted += sent
            link.pace.sent(sent, now)
            link.wanted(now)
            pump.flush()
        return sent

    def end_late(self) -> None:
        """Answer what has waited here for as long as it is valid, unless the carrier may have a part of it."""
        now = self._time()
        if now < self.late_at:
            return
        queue, self._queue = self._queue, deque()
        here = Counter(part.outgoing for part in queue)
        self.late_at = math.inf
        for part in queue:
            outgoing = part.outgoing
            if outgoing.done:
                continue
            if outgoing.until > now:
                self.late_at = min(self.late_at, outgoing.until)
            elif here[outgoing] == len(outgoing.bodies):
                self._refuse(outgoing, _UNAVAILABLE, "its validity ended before it could be sent", temporary=True)
                continue
            self._queue.append(part)

    def answered(self, link: Link, event: Answered, now: float) -> None:
        """The carrier's response to a part."""
        part = event.context
        assert isinstance(part, Part)
        outgoing, index = part.outgoing, part.index
        self._rate.count(now)
        if outgoing.done:
            self._taken_after_all(part, event.status, event.message_id)
            return
        if event.status == status.ESME_ROK:
            outgoing.ids[index] = message_id = self._id_of(part, event.message_id)
            self.untold.add(message_id)
            outgoing.waiting -= 1
            if not outgoing.waiting:
                self._accept(outgoing)
        else:
            self._refused(link, part, event.status, now)

    def _refused(self, link: Link, part: Part, state: int, now: float) -> None:
        outgoing, meaning = part.outgoing, status.meaning(state)
        slower = state in status.SLOW_DOWN
        if slower and (count := self._said.due(state, now)):
            log.info("smpp.slowed_down", carrier=self._config.name, status=meaning.name, count=count)
        if slower and now - outgoing.since < self._config.throttle_patience_s:
            self.counters.throttled += 1
            link.counters.throttled += 1
            link.pace.throttled(now)
            link.held_back(now)
            self._queue.appendleft(part)
            self.late_at = min(self.late_at, outgoing.until)
        else:
            self._refuse(outgoing, meaning.code, meaning.name, temporary=meaning.temporary)

    def answered_late(self, event: AnsweredLate) -> None:
        """The carrier's response to a part that was told as `unanswered`. Only that it took the part counts."""
        assert isinstance(event.context, Part)
        self.counters.late += 1
        self._taken_after_all(event.context, event.status, event.message_id)

    def unanswered(self, context: object, now: float | None) -> None:
        """A part's response did not come: whether the carrier has it is unknown. `now`: None where its connection has
        ended, which is said as such."""
        assert isinstance(context, Part)
        outgoing = context.outgoing
        if now is not None and (count := self._said.due("unanswered", now)):
            log.warning("smpp.not_answered", carrier=self._config.name, after_s=self._config.response_s, count=count)
        if not outgoing.done:
            self.counters.unanswered += 1
            self._refuse(outgoing, _UNAVAILABLE, "no answer from the carrier", temporary=True, unknown=True)

    def give_back(self, reason: str) -> None:
        """Nothing can be sent now: the queue goes back to the service, and whoever waits for room is refused."""
        queue, self._queue = self._queue, deque()
        here = Counter(part.outgoing for part in queue)
        for part in queue:
            outgoing = part.outgoing
            if not outgoing.done:
                begun = here[outgoing] < len(outgoing.bodies)  # the carrier has its other parts, or may have them
                self._refuse(outgoing, _UNAVAILABLE, reason, temporary=True, unknown=begun)
        waiters, self._waiters = self._waiters, deque()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_exception(Unavailable(reason))

    def told(self, count: int) -> None:
        """The service has stored `count` answers: `fill` may go on."""
        self.open -= count
        self._not_stored -= count
        while self._waiters and self.open < self._limit and not self._held():
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return  # it takes its own before the next is let in

    def pass_on(self) -> None:
        """Let the next waiter look, after one has taken its messages."""
        self.told(0)

    def _accept(self, outgoing: Outgoing) -> None:
        outgoing.done = True
        self.counters.accepted += 1
        first, several = outgoing.ids[0], None
        if len(outgoing.ids) > 1 and (others := set(outgoing.ids) - {first}):
            if outgoing.report_wanted:
                several = list(dict.fromkeys(outgoing.ids))
            else:  # the service is told the first only
                self.untold.difference_update(others)
        self._tell(Answer(Submitted(outgoing.key, first), several))

    def _id_of(self, part: Part, given: str) -> str:
        """The id of a part that the carrier has taken. Some SMSCs give no id, or all messages the same one: what is
        stored by an id needs one of its own. Others give all parts of a text the same, and report it as one message."""
        message_id = _canonical(given, self._config.message_ids)
        if message_id and (message_id not in self.untold or message_id in part.outgoing.ids):
            return message_id
        event = "smpp.message_id_again" if message_id else "smpp.no_message_id"
        if part.outgoing.report_wanted and event not in self._said_once:
            self._said_once.add(event)
            log.warning(event, carrier=self._config.name)  # no receipt can ever be of that message
        return f"{message_id}?{part.outgoing.key.hex}.{part.index}"

    def _taken_after_all(self, part: Part, state: int, given_id: str) -> None:
        """A part of a message that was given up is answered. The carrier has the message once it has taken each part:
        not when one was refused, or was still to be sent and never is now."""
        outgoing = part.outgoing
        if state != status.ESME_ROK:
            return
        outgoing.ids[part.index] = self._id_of(part, given_id)
        outgoing.waiting -= 1
        if not outgoing.waiting:
            self.untold.update(outgoing.ids)
            self._accept(outgoing)
            self.answers[-1].late = True
            self.late += 1
            self.open += 1

    def _refuse(self, outgoing: Outgoing, code: int, reason: str, *, temporary: bool, unknown: bool = False) -> None:
        outgoing.done = True
        outgoing.bodies = []  # the rest may be remembered for a late answer
        self.untold.difference_update(outgoing.ids)
        self.counters.refused += 1
        answer = Submitted(outgoing.key, None, code, temporary=temporary, reason=reason, unknown=unknown)
        self._tell(Answer(answer))

    def _tell(self, answer: Answer) -> None:
        self._not_stored += 1
        self.answers.append(answer)


def _canonical(message_id: str, style: MessageIds) -> str:
    if style is MessageIds.AS_IS:
        return message_id.strip()  # as ids of receipts are
    return receipts.matching_id(message_id, hexadecimal=style.response_hexadecimal)
