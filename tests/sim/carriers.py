"""Faulty carriers: an SMSC that all processes reach, and each process's own engine towards it.

What the SMSC took it keeps over our crashes, and it owes us its receipts until we acknowledge them; the engine answers
each submission once while its process lives, as the port says, or (`LOST`) never.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from uuid import UUID

from tests.sim.database import Arena
from tests.sim.turns import CURRENT, Process

from landline.core.errors import Unavailable
from landline.ports.clock import Clock
from landline.ports.sms_carrier import Arrival, CarrierEvents, CrashPolicy, Receipt, Submission, Submitted

_RESPONSE_S = 10.0
"""The engine's response timer."""
_HEEDED_S = 10.0
"""How soon an opt-out is heeded by messages that wait."""
_SKEW = timedelta(seconds=1)
"""Within which the clocks of all processes are."""
_AT_MOST_ONCE = (CrashPolicy.UNKNOWN, CrashPolicy.QUERY)


class Answer(Enum):
    """What came back for a submission, as far as the service stored it."""

    NONE = "none"
    TAKEN = "taken"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    LATE = "late"
    """Taken, as was said after an UNKNOWN, when the message had ended or was in somebody's hands again."""


@dataclass(eq=False)
class HandOver:
    """One submission on its way. `stored` is what the service knows of it."""

    key: UUID
    carrier: str
    policy: CrashPolicy
    engine: "SimCarrier"
    at: datetime
    carrier_id: str = ""
    answered: bool = False
    told: Answer = Answer.NONE
    """What the service was told, whether or not it stored it."""
    stored: Answer = Answer.NONE
    failed: bool = False
    """A negative receipt was brought."""
    connection: int = 0
    """Which of the engine's connections it went over."""
    telling: "asyncio.Task[None] | None" = None
    told_late: bool = False
    began: float = 0.0
    """By the loop's time."""
    doubt: int = 0
    """The message's, with this hand-over where that was written down."""
    reported: list[tuple[datetime, bool]] = field(default_factory=list[tuple[datetime, bool]])
    """When receipts of it were acknowledged, and whether they were good ones."""

    @property
    def doubtful(self) -> bool:
        return self.stored in (Answer.NONE, Answer.UNKNOWN) and self.policy is not CrashPolicy.REPEATABLE

    @property
    def under_way(self) -> bool:
        """Whether its answer is still to come, to a process that was never held up and so has the message in hand."""
        return not self.answered and not self.held_up

    @property
    def held_up(self) -> bool:
        """Whether its process was, since it began: another one may have the message by now."""
        process = self.engine.process
        return process.ill or process.well_since >= self.began


@dataclass(frozen=True)
class Temper:
    """How often, of 1, a submission meets what."""

    away: float
    """`submit` raises `Unavailable`, and takes nothing."""
    slow: float
    """`submit` waits for its window."""
    refuses: float
    busy: float
    silent: float
    lost: float
    """The engine never answers, against its port."""
    late: float
    early_receipt: float
    no_receipt: float
    fails: float


CALM = Temper(0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
SILENT = Temper(0.0, 0.0, 0.0, 0.05, 0.5, 0.0, 0.3, 0.0, 0.2, 0.1)
TEMPERS = (
    CALM,
    Temper(0.05, 0.05, 0.03, 0.1, 0.05, 0.0, 0.2, 0.1, 0.05, 0.15),
    Temper(0.1, 0.1, 0.1, 0.3, 0.1, 0.02, 0.3, 0.2, 0.1, 0.3),
    SILENT,
    Temper(0.0, 0.2, 0.0, 0.0, 0.0, 0.0, 0.0, 0.6, 0.0, 0.5),
)


class Smsc:
    """The far side of one carrier."""

    def __init__(
        self,
        name: str,
        policy: CrashPolicy,
        temper: Temper,
        at_once: int,
        *,
        dice: random.Random,
        clock: Clock,
        arena: Arena,
        fails_over: Callable[[], bool],
    ) -> None:
        self.name = name
        self.policy = policy
        self.temper = temper
        self.at_once = at_once
        self.dice = dice
        self.clock = clock
        self.arena = arena
        self.fails_over = fails_over
        self.up = True
        self.links: list[SimCarrier] = []
        self.hand_overs: dict[UUID, list[HandOver]] = {}
        """Of all carriers: the runs give them all the same one."""
        self.wrong: list[str] = []
        self.owed = 0
        self._ids = 0
        self._taken: dict[UUID, str] = {}
        self._outcomes: dict[str, Receipt] = {}
        self._doubts: dict[UUID, int] = {}

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        token = CURRENT.set(None)
        try:
            asyncio.get_running_loop().call_later(seconds, act)
        finally:
            CURRENT.reset(token)

    def fall(self) -> None:
        """Every connection breaks: what was not answered is in doubt."""
        self.up = False
        for link in self.links:
            link.broke()

    async def inspect(self, submissions: Sequence[Submission], *, lagging: bool) -> None:
        """What must be true of messages about to be handed over. One that is `lagging` may have asked before another
        process learnt that they ended."""
        rows = await self.arena.look(
            "SELECT m.message_id, m.state, m.code, m.route, m.sender, m.recipient, m.doubt, o.at IS NOT NULL AS out"
            " FROM sms_messages m"
            " LEFT JOIN sms_optouts o"
            "  ON (o.resource_id, o.sender, o.recipient) = (m.resource_id, m.sender, m.recipient)"
            " WHERE m.message_id = ANY($1)",
            [submission.key for submission in submissions],
        )
        await self._catch_up([key for key in (row["message_id"] for row in rows) if key in self.hand_overs])
        for row in rows:
            key = row["message_id"]
            self._doubts[key] = row["doubt"]
            if self.policy is CrashPolicy.REPEATABLE and key in self._taken:
                continue  # it knows the key
            if row["state"] >= 8 and not lagging:
                self.wrong.append(f"{key} was handed over to {self.name} after it ended with {row['code']}")
            if row["out"] and row["route"] != "reply":
                since_s = asyncio.get_running_loop().time() - self.arena.opted_out[row["sender"], row["recipient"]]
                if since_s > _HEEDED_S:
                    self.wrong.append(f"{key} was handed over {since_s} s after its recipient opted out")
            self._inspect_past(key)

    async def _catch_up(self, keys: Sequence[UUID]) -> None:
        """Learn what processes stored that died before they could say so."""
        before = [each for key in keys for each in self.hand_overs[key]]
        for each in before:
            if each.told_late and each.stored is Answer.UNKNOWN:
                each.stored = await self.stored_late(each)
        told = [each for each in before if each.told in (Answer.TAKEN, Answer.REFUSED)]
        for each in [each for each in told if each.stored is Answer.NONE]:
            sql = "SELECT 1 FROM sms_submissions WHERE carrier = $1 AND carrier_message_id = $2"
            about: list[object] = [each.carrier, each.carrier_id]
            if each.told is Answer.REFUSED:
                sql = "SELECT 1 FROM sms_attempts WHERE carrier = $1 AND message_id = $2 AND at >= $3 AND NOT unknown"
                about = [each.carrier, each.key, each.at - _SKEW]
            if await self.arena.look(sql, *about):
                each.stored = each.told

    async def stored_late(self, of: HandOver) -> Answer:
        """What the service knows of a hand-over that was answered late, and so whether it may be repeated."""
        rows = await self.arena.look(
            "SELECT m.claim_id IS NULL AND m.due_at = m.report_by AND m.carrier = s.carrier AS waits"
            " FROM sms_submissions s JOIN sms_messages m USING (resource_id, message_id)"
            " WHERE s.carrier = $1 AND s.carrier_message_id = $2",
            of.carrier,
            of.carrier_id,
        )
        if not rows:
            return Answer.UNKNOWN
        return Answer.TAKEN if rows[0]["waits"] else Answer.LATE

    async def stored(self, of: HandOver, answer: Answer) -> Answer:
        """What the service knows of a hand-over whose answer it stored: too late to prevent the next one, where another
        process had written that down meanwhile."""
        if answer is Answer.TAKEN and of.held_up:
            rows = await self.arena.look("SELECT doubt FROM sms_messages WHERE message_id = $1", of.key)
            if rows and rows[0]["doubt"] > of.doubt:
                return Answer.LATE
        return answer

    def _inspect_past(self, key: UUID) -> None:
        before = self.hand_overs.get(key, [])
        self.wrong += [
            f"{key} goes to {self.name} while it is on its way to {each.carrier}" for each in before if each.under_way
        ]
        doubtful = [each for each in before if each.doubtful]
        for each in doubtful:
            if each.policy in _AT_MOST_ONCE:
                self.wrong.append(f"{key} goes to {self.name} after a silence of {each.carrier} ({each.policy})")
        if len(doubtful) >= 2:
            self.wrong.append(f"{key} goes to {self.name} after {len(doubtful)} silences")
        taken = [each for each in before if each.stored is Answer.TAKEN]
        known = [each for each in before if each.stored in (Answer.TAKEN, Answer.LATE)]
        # Of two copies the last that fails counts; but the late answer to the first may be stored after that.
        if taken and not any(each.failed for each in known if each.carrier == taken[-1].carrier):
            self.wrong.append(f"{key} goes to {self.name} although {taken[-1].carrier} has it")
        elif taken and not self.fails_over():
            self.wrong.append(f"{key} goes to {self.name} after a negative receipt")

    def take(self, engine: "SimCarrier", submission: Submission) -> HandOver:
        hand_over = HandOver(submission.key, self.name, self.policy, engine, self.clock.now())
        hand_over.connection = engine.connections
        hand_over.began = asyncio.get_running_loop().time()
        hand_over.doubt = self._doubts.get(submission.key, 0)
        if self.policy is CrashPolicy.REPEATABLE and submission.key in self._taken:
            hand_over.carrier_id = self._taken[submission.key]
            self._respond(hand_over, Answer.TAKEN)
            return hand_over
        self.hand_overs.setdefault(submission.key, []).append(hand_over)
        temper, roll = self.temper, self.dice.random()
        for share, meet in (
            (
                temper.refuses,
                lambda: self._respond(hand_over, Answer.REFUSED, self.dice.choice([4004, 4005, 5000, 4711])),
            ),
            (temper.busy, lambda: self._respond(hand_over, Answer.REFUSED, 5001, temporary=True)),
            (temper.lost, lambda: self._swallow(hand_over)),
            (temper.silent, lambda: self._be_silent(hand_over)),
        ):
            if roll < share:
                meet()
                return hand_over
            roll -= share
        self._accept(hand_over)
        return hand_over

    def _respond(self, to: HandOver, answer: Answer, code: int = 0, *, temporary: bool = False) -> None:
        told = Submitted(to.key, to.carrier_id if answer is Answer.TAKEN else None, code, temporary, answer.value)
        if self.dice.random() < self.temper.late:
            self.later(self.dice.choice([0.05, 2.0, 9.0]), lambda: to.engine.answered(to, told, answer))
        else:
            to.engine.answered(to, told, answer)

    def _swallow(self, to: HandOver) -> None:
        to.answered = True
        if self.dice.random() < 0.5:
            self._name(to)
            self._owe(to, self.dice.choice([1.0, 30.0]))

    def _be_silent(self, to: HandOver) -> None:
        if self.dice.random() < 0.5:
            self._name(to)
            self._owe(to, self.dice.choice([0.0, 1.0, 30.0]))
            if self.dice.random() < 0.9:
                after_s = _RESPONSE_S + self.dice.choice(
                    [0.001, 0.1, 3.0, 5.001, 6.0, 7.0, 8.0, 9.5, 14.0, 30.0, 120.0]
                )
                self.later(after_s, lambda: to.engine.answered_late(to))
        self.later(_RESPONSE_S, lambda: to.engine.give_up(to))

    def _accept(self, to: HandOver) -> None:
        self._name(to)
        roll = self.dice.random()
        if roll < self.temper.early_receipt:
            self._owe(to, 0.0)
        self._respond(to, Answer.TAKEN)
        if self.temper.early_receipt <= roll < 1 - self.temper.no_receipt:
            self._owe(to, self.dice.choice([0.0, 0.0, 1.0, 20.0, 100.0]))

    def _name(self, to: HandOver) -> None:
        self._ids += 1
        to.carrier_id = f"{self.name}-{self._ids}"
        if self.policy is CrashPolicy.REPEATABLE:
            self._taken[to.key] = to.carrier_id
        if self.dice.random() < 0.3:
            self._outcomes[to.carrier_id] = self._receipt(to.carrier_id, True)

    def _owe(self, to: HandOver, after_s: float) -> None:
        """Bring its receipt after a while: repeated, or taken back by a better one, as the dice say."""
        delivered = self.dice.random() >= self.temper.fails
        first = self._outcomes[to.carrier_id] = self._receipt(to.carrier_id, delivered)
        self._outcomes[to.carrier_id] = first
        copies = [first] * self.dice.choice([1, 1, 1, 2, 3])
        if not delivered and self.dice.random() < 0.2:
            copies.append(self._receipt(to.carrier_id, True))
        for place, receipt in enumerate(copies):
            self.owed += 1
            self.later(after_s + place * self.dice.choice([0.0, 5.0]), lambda each=receipt: self.bring(each, to))

    def _receipt(self, carrier_id: str, delivered: bool) -> Receipt:
        code = 2000 if delivered else self.dice.choice([4006, 5000, 4004])
        ago = timedelta(seconds=self.dice.choice([0, 0, 1, 30]))
        return Receipt(carrier_id, delivered, code, self.clock.now() - ago, self.dice.choice([None, 0, 1]))

    def bring(self, receipt: Receipt, of: HandOver | None) -> None:
        """A receipt, to any process that is there, until one acknowledges it."""
        links = [link for link in self.links if link.up]
        if not links:
            self.later(5.0, lambda: self.bring(receipt, of))
            return
        if of is not None and not receipt.delivered:
            of.failed = True
        link = self.dice.choice(links)
        link.do(
            lambda events: events.reported(self.name, [receipt]),
            lambda: self._reported(receipt, of),
            lambda: self.bring(receipt, of),
        )

    def _reported(self, receipt: Receipt, of: HandOver | None) -> None:
        self.acknowledged()
        if of is not None:
            of.reported.append((self.clock.now(), receipt.delivered))

    def text(self, arrival: Arrival, done: Callable[[], None]) -> None:
        """A text of a phone, likewise."""
        links = [link for link in self.links if link.up]
        if not links:
            self.later(5.0, lambda: self.text(arrival, done))
            return
        link = self.dice.choice(links)
        link.do(lambda events: events.arrived(self.name, [arrival]), done, lambda: self.text(arrival, done))

    def ask(self, carrier_id: str) -> Receipt | None:
        """query_sm."""
        if not self.up or self.dice.random() < self.temper.away:
            raise Unavailable("it does not say")
        return self._outcomes.get(carrier_id) if self.dice.random() < 0.7 else None

    def rise(self) -> None:
        self.up = True

    def heal(self) -> None:
        """Nothing goes wrong any more."""
        self.rise()
        self.temper = CALM
        for link in self.links:
            link.come_back()

    def stray(self) -> None:
        """A receipt of a message that is not ours."""
        self.owed += 1
        self.bring(self._receipt(f"{self.name}-stray-{self.dice.randrange(3)}", True), None)

    def acknowledged(self) -> None:
        self.owed -= 1


class SimCarrier:
    """One process's engine towards an `Smsc`. Fills the port `SmsCarrier`."""

    def __init__(self, smsc: Smsc, process: Process) -> None:
        self.name = smsc.name
        self.crash_policy = smsc.policy
        self.at_once = smsc.at_once
        self.part = None
        self.reachable = True
        self.on_reachable: Callable[[], None] = lambda: None
        self._smsc = smsc
        self.process = process
        self.connections = 0
        self._events: CarrierEvents | None = None
        self._open: dict[HandOver, None] = {}

    @property
    def up(self) -> bool:
        return self.reachable and self._events is not None and self._smsc.up and not self.process.dead

    async def start(self, events: CarrierEvents) -> None:
        self._events = events
        self._smsc.links.append(self)

    async def close(self) -> None:
        self._events = None

    async def query(self, carrier_message_id: str, sender: str) -> Receipt | None:
        return self._smsc.ask(carrier_message_id)

    async def room(self) -> int:
        return self.at_once

    async def submit(self, submissions: Sequence[Submission]) -> None:
        smsc = self._smsc
        if not self.up or smsc.dice.random() < smsc.temper.away:
            raise Unavailable("it does not take any now")
        self.process.at_work += 1
        try:
            await self._hand_over(submissions)
        finally:
            self.process.at_work -= 1

    async def _hand_over(self, submissions: Sequence[Submission]) -> None:
        smsc = self._smsc
        await smsc.inspect(submissions, lagging=self.process.lag_s > 0)
        if smsc.dice.random() < smsc.temper.slow:
            await asyncio.sleep(smsc.dice.choice([0.2, 3.0]))
            if not self.up:
                raise Unavailable("no bind is left")
        for submission in submissions:
            hand_over = smsc.take(self, submission)
            if not hand_over.answered:
                self._open[hand_over] = None

    def answered(self, to: HandOver, told: Submitted, answer: Answer) -> None:
        """The SMSC's response, if the connection it came over is still there."""
        if to.answered or self.process.dead:
            return
        to.answered = True
        to.told = answer
        self._open.pop(to, None)
        self._tell(to, told, answer)

    def answered_late(self, to: HandOver) -> None:
        """The SMSC's response to what was given up, if the connection is still the same."""
        if to.told is Answer.UNKNOWN and to.connection == self.connections and not self.process.dead:
            self._spawn(self._until_stored_late(to))

    def give_up(self, to: HandOver) -> None:
        """No response came in time."""
        told = Submitted(to.key, None, 5001, True, "no answer", unknown=True)
        self.answered(to, told, Answer.UNKNOWN)

    def leave(self, for_s: float) -> None:
        """Other processes have the carrier for a while."""
        self.reachable = False
        self.broke()
        self.on_reachable()
        self._smsc.later(for_s, self.come_back)

    def come_back(self) -> None:
        self.reachable = True
        self.on_reachable()

    def broke(self) -> None:
        """The connection is gone."""
        self.connections += 1
        for hand_over in list(self._open):
            self.give_up(hand_over)

    def do(
        self, call: Callable[[CarrierEvents], Awaitable[None]], done: Callable[[], None], again: Callable[[], None]
    ) -> None:
        """Tell the service something of the peer's: `done` when it has stored it, else `again` a little later."""
        assert self._events is not None

        def ended(task: "asyncio.Task[None]") -> None:
            if task.cancelled() or isinstance(task.exception(), Unavailable):
                self._smsc.later(1.0, again)
            else:
                task.result()
                done()

        self._spawn(call(self._events)).add_done_callback(ended)

    def _tell(self, to: HandOver, told: Submitted, answer: Answer) -> None:
        to.telling = self._spawn(self._until_stored(to, told, answer))

    async def _until_stored(self, to: HandOver, told: Submitted, answer: Answer) -> None:
        assert self._events is not None
        times = 2 if self._smsc.dice.random() < 0.1 else 1
        while times:
            try:
                await self._events.submitted(self.name, [told])
            except Unavailable:
                await asyncio.sleep(1.0)
            else:
                to.stored = await self._smsc.stored(to, answer)
                times -= 1

    async def _until_stored_late(self, to: HandOver) -> None:
        assert self._events is not None
        assert to.telling is not None
        await asyncio.wait([to.telling])
        to.told_late = True
        times = 2 if self._smsc.dice.random() < 0.1 else 1
        while times:
            try:
                await self._events.submitted_late(self.name, [Submitted(to.key, to.carrier_id)])
            except Unavailable:
                await asyncio.sleep(1.0)
            else:
                times -= 1
        if to.stored is Answer.UNKNOWN:
            to.stored = await self._smsc.stored_late(to)

    def _spawn(self, work: Awaitable[None]) -> "asyncio.Task[None]":
        token = CURRENT.set(self.process)
        try:
            return asyncio.ensure_future(work)
        finally:
            CURRENT.reset(token)
