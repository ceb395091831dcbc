"""The SMPP carrier: fills the port `SmsCarrier` over one or more binds to an SMSC."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from uuid import uuid4

import structlog

from landline.core.errors import Unavailable
from landline.engines.smpp.binds import Binds
from landline.engines.smpp.config import LongReceipts, MessageIds, SmppConfig
from landline.engines.smpp.early import fold_early
from landline.engines.smpp.inbox import LANES, Inbox, Known, Sleep
from landline.engines.smpp.link import Link
from landline.engines.smpp.outbox import Answer, Outbox
from landline.engines.smpp.pump import Pump
from landline.engines.smpp.records import Records
from landline.engines.smpp.slots import AllMine, Slots
from landline.engines.smpp.standstill import Standstill
from landline.ports.clock import Alarm, Clock
from landline.ports.sms_carrier import CarrierEvents, CrashPolicy, Receipt, Submission, Submitted
from landline.protocols.smpp import receipts, status
from landline.protocols.smpp.commands import Command, MessageState
from landline.protocols.smpp.events import Answered, AnsweredLate, Event, MessageArrived, RequestArrived, Unanswered
from landline.protocols.smpp.pdu import DataSm, QueryAnswer, QuerySm
from landline.protocols.smpp.session import Session
from landline.store.database import Database
from landline.store.watched import watched

log = structlog.get_logger()

_BATCH = 1000
"""Answers told to the service at once."""
_AT_ONCE = 200
_ID_CHARACTERS = 64
"""SMPP 3.4 §5.2.23, without the NUL."""
Tell = Callable[[str, Sequence[Submitted]], Awaitable[None]]
"""How the service is told answers of the carrier with that name."""


@dataclass(slots=True, eq=False)
class _Asked:
    """The context of a query_sm."""

    answer: asyncio.Future[Answered]


class SmppCarrier:
    """Fills the port `SmsCarrier`. A message sent and never answered, because its response timer ran out or the
    connection broke, is answered as refused for now and `unknown`; `crash_policy` says what the operator wants done.

    `slots` says which of the configured binds are this process's; None: all, no other process has this carrier.
    `known` tells of submissions by their ids, whichever process made them, for receipts come over any bind; `several`
    says whether others have the carrier now. None: as `slots` says. `line` times what happens on
    the connections (responses, enquire_link, paces, pauses between attempts), for an SMSC cannot be driven as `clock`
    can; messages have `clock`'s time. None: `clock` times both.
    """

    def __init__(
        self,
        config: SmppConfig,
        database: Database,
        clock: Clock,
        random: Random | None = None,
        slots: Slots | None = None,
        known: Known | None = None,
        several: Callable[[], bool] | None = None,
        line: Clock | None = None,
    ) -> None:
        self._config = config
        self._clock = clock
        self._line = line or clock
        one_receipt = config.long_receipts is LongReceipts.ONE
        self._records = Records(database, config.name, uuid4(), config.default_alphabet, one_receipt=one_receipt)
        self._outbox = Outbox(config, lambda: self._inbox.behind, self._now)
        self._standstill = Standstill()
        self._inbox = Inbox(
            config,
            self._records,
            self._outbox.untold,
            self._awaiting,
            self._ring_lanes,
            self._outbox.pass_on,
            self._line_now,
            several or (lambda: slots is not None),
            self._standstill,
            known,
        )
        jitter = random or Random()  # noqa: S311 - not a secret
        self._binds = Binds(config, self._line, jitter, self, slots or AllMine(config.binds))
        self._binds.on_reachable = self._reached
        self._links = self._binds.links
        self._events: CarrierEvents | None = None
        self._telling: asyncio.Task[None] | None = None
        self._answering: Alarm
        self._hearing: Alarm
        self._reporting: list[Alarm] = []
        self._told_all = False
        self._heard_all = False
        self._closing = False
        self.on_reachable: Callable[[], None] = _nobody
        """Called when `reachable` has changed."""

    @property
    def name(self) -> str:
        return self._config.name

    @property
    def crash_policy(self) -> CrashPolicy:
        """What is to become of messages answered as `unknown`, and of those a crash left unanswered."""
        return self._config.crash_policy

    @property
    def up(self) -> bool:
        """See the port: one bind at least can submit, here or, where none is to be here, in another process."""
        return self._binds.usable or self._binds.usable_elsewhere

    @property
    def reachable(self) -> bool:
        """Whether handing over to the carrier is for this process: it has a slot, be its bind up or being made. While
        it has none other processes have it, and `up` is theirs."""
        return self._binds.reachable

    @property
    def part(self) -> float | None:
        """See the port."""
        return self._binds.held / self._config.binds

    @property
    def at_once(self) -> int:
        """See the port. What waits in the outbox is in doubt after a crash, though it was never sent."""
        config = self._config
        window = config.window * config.binds
        return _AT_ONCE if config.crash_policy is CrashPolicy.RESEND else max(1, min(_AT_ONCE, window // 4))

    @property
    def config(self) -> SmppConfig:
        return self._config

    @property
    def links(self) -> Sequence[Link]:
        """The connections of this process's binds, up or not."""
        return self._links

    @property
    def bound(self) -> int:
        """How many binds are up."""
        return sum(1 for link in self._links if link.session is not None)

    async def start(self, events: CarrierEvents) -> None:
        """See the port. Returns when each bind was tried once; one that failed goes on trying."""
        self._events = events
        self._answering, self._hearing = self._clock.alarm(), self._clock.alarm()
        self._reporting = [self._clock.alarm() for _ in range(LANES)]
        self._telling = watched(self._tell(), f"smpp {self._config.name}")
        self._standstill.begin()
        await self._binds.start()

    async def room(self) -> int:
        """See the port."""
        self._check()
        try:
            return min(self.at_once, await self._outbox.room())
        finally:
            self._outbox.pass_on()

    async def submit(self, submissions: Sequence[Submission]) -> None:
        """See the port. Messages that wait for a window when the last bind is lost are answered as refused for now."""
        self._check()
        await self._outbox.room()
        try:
            self._check()
            now, late_at = self._line_now(), self._outbox.late_at
            self._outbox.take(submissions, now)
            self._inbox.sent(len(submissions))
            self._outbox.fill(self._links, now)
        finally:
            self._outbox.pass_on()
        if self._outbox.answers or self._outbox.late_at < late_at:
            self._ring()

    async def query(self, carrier_message_id: str, sender: str) -> Receipt | None:
        """See the port (query_sm, SMPP 3.4 §4.8). Of a long message its first part is asked for."""
        for spelling in _spellings(carrier_message_id, self._config.message_ids):
            state = await self._query(spelling, sender)
            if state is not None:
                if not state.final:
                    return None
                delivered, code = state is MessageState.DELIVERED, status.state_code(state)
                return Receipt(carrier_message_id, delivered, code, self._clock.now())
        return None

    async def _query(self, message_id: str, sender: str) -> MessageState | None:
        """The state of a message; None when the carrier does not know it by this id. Raises `Unavailable`."""
        usable = [link for link in self._links if link.session is not None and link.usable]
        link = max(usable, key=lambda link: link.session.free if link.session is not None else 0, default=None)
        session = link.session if link is not None else None
        if link is None or session is None or link.pump is None or not session.free:
            raise Unavailable("the carrier cannot be asked now")
        ton, npi, address = self._outbox.source(sender)
        asked = _Asked(asyncio.get_running_loop().create_future())
        now = self._line_now()
        session.request(Command.QUERY_SM, QuerySm(message_id, ton, npi, address), asked, now)
        link.asked(now)
        link.pump.flush()
        answered = await asked.answer
        if answered.status != status.ESME_ROK or not isinstance(answered.body, QueryAnswer):
            return None
        return receipts.state_of(answered.body.message_state)

    async def close(self) -> None:
        """See the port: what is in flight is awaited for a while, then every bind is ended."""
        if self._closing:
            return
        self._closing = True
        self._outbox.give_back("the carrier is being closed")
        self._ring()
        self._binds.drain()
        try:
            if self._telling is not None:
                await asyncio.wait([self._telling], timeout=self._config.control_s)
            await self._binds.end()
        finally:  # whoever has no time left to wait cancels us
            if self._telling is not None:
                self._telling.cancel()
                await asyncio.gather(self._telling, return_exceptions=True)
            await self._binds.close()
            self._standstill.end()

    def counters(self) -> dict[str, int]:
        """Figures for the metrics, since the start; `bound`, `queued` and `open` are of this moment."""
        figures: dict[str, int] = {"bound": self.bound, "queued": self._outbox.queued, "open": self._outbox.open}
        figures |= {f"outbox_{name}": value for name, value in asdict(self._outbox.counters).items()}
        figures |= {f"inbox_{name}": value for name, value in asdict(self._inbox.counters).items()}
        figures |= {f"link_{name}": value for name, value in self._binds.counters().items()}
        return figures

    def happened(self, link: Link, events: list[Event]) -> None:
        """See `LinkOwner`."""
        pump = link.pump
        if pump is None:
            return
        now, line_now = self._now(), self._line_now()
        for event in events:
            try:
                self._take(link, pump, event, now, line_now)
            except Exception as error:  # a bug, by which the others, which are told once, must not be lost
                self._not_taken(link, pump, event, error)
        self._go_on(link, line_now)

    def changed(self, link: Link) -> None:
        """See `LinkOwner`."""
        self._go_on(link, self._line_now())

    def lost(self, link: Link, session: Session) -> None:
        """See `LinkOwner`."""
        self._binds.changed()
        for unanswered in session.close():
            try:
                self._unanswered(unanswered)
            except Exception as error:  # likewise
                link.failed(error)
        self._inbox.drop(session)
        if not self._binds.usable:
            self._outbox.give_back("no bind to the carrier is up")
        else:
            self._outbox.fill(self._links, self._line_now())
        self._ring()

    def _go_on(self, link: Link, now: float) -> None:
        self._binds.changed()
        if not self._closing:
            self._outbox.fill(self._links, now)
        self._binds.settle(link)
        if self._outbox.answers or self._inbox.waits:
            self._ring()

    def _reached(self) -> None:
        if not self._binds.reachable:
            self._outbox.give_back("its binds are other processes' now")
            self._ring()
        self.on_reachable()

    def _take(self, link: Link, pump: Pump, event: Event, now: float, line_now: float) -> None:
        if isinstance(event, Answered):
            self._answered(link, event, line_now)
        elif isinstance(event, MessageArrived):
            self._inbox.add(pump, event, now, line_now)
        elif isinstance(event, Unanswered):
            self._unanswered(event, line_now)
        elif isinstance(event, AnsweredLate):
            self._outbox.answered_late(event)
        elif isinstance(event, RequestArrived) and isinstance(event.body, DataSm):
            # A deliver_sm in other clothes (§4.7).
            self._inbox.add(pump, MessageArrived(event.sequence, event.body.as_short_message()), now, line_now)
        elif isinstance(event, RequestArrived):
            pump.session.answer(event.sequence, status.ESME_RINVCMDID)

    def _not_taken(self, link: Link, pump: Pump, event: Event, error: Exception) -> None:
        if isinstance(event, MessageArrived | RequestArrived):
            self._inbox.not_taken(pump, event.sequence, error)
            return
        link.failed(error)
        if isinstance(event, Answered):  # whether the carrier has the message is unknown
            self._unanswered(event)

    def _answered(self, link: Link, event: Answered, now: float) -> None:
        if event.command == Command.SUBMIT_SM:
            self._outbox.answered(link, event, now)
        elif isinstance(event.context, _Asked) and not event.context.answer.done():
            event.context.answer.set_result(event)

    def _unanswered(self, event: Unanswered | Answered, now: float | None = None) -> None:
        if event.command == Command.SUBMIT_SM:
            self._outbox.unanswered(event.context, now)
        elif isinstance(event.context, _Asked) and not event.context.answer.done():
            event.context.answer.set_exception(Unavailable("the carrier did not answer"))

    def _awaiting(self) -> float | None:
        """Since when a response to a submit_sm is awaited on any bind, by the clock of the connections."""
        since = [link.session.awaiting_since for link in self._links if link.session is not None]
        return min((each for each in since if each is not None), default=None)

    async def _tell(self) -> None:
        """What calls the service: one worker with answers, one with texts, some with receipts, so that none waits for
        another's commits. A receipt whose answer is not stored yet waits in the inbox."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._hear())
            tasks.create_task(self._answer())
            for alarm in self._reporting:
                tasks.create_task(self._report(alarm))

    async def _answer(self) -> None:
        assert self._events is not None
        try:
            while not (self._closing and not self._outbox.open):
                answers = self._outbox.answers[:_BATCH]
                del self._outbox.answers[:_BATCH]
                if answers:
                    await self._tell_answers(self._events, answers)
                    self._hearing.ring()
                else:
                    await self._answering.wait(self._late_at())
                    self._outbox.end_late()
            self._told_all = True
            self._hearing.ring()
        finally:
            self._answering.close()

    def _late_at(self) -> datetime | None:
        late_at = self._outbox.late_at
        return None if late_at == math.inf else _instant(late_at)

    async def _hear(self) -> None:
        assert self._events is not None
        try:
            while True:
                bringing = self._inbox.bring(self.name, self._events, self._now(), self._sleeper(self._hearing))
                if await self._survive(bringing):
                    continue
                if self._told_all:
                    break
                await self._hearing.wait(_instant(self._inbox.deadline()))
            self._heard_all = True
            self._ring_lanes()
        finally:
            self._hearing.close()

    async def _report(self, alarm: Alarm) -> None:
        assert self._events is not None
        sleep = self._sleeper(alarm)
        try:
            while True:
                if await self._survive(self._inbox.report(self.name, self._events, sleep)):
                    continue
                if self._heard_all:
                    return
                await alarm.wait()
        finally:
            alarm.close()

    async def _survive(self, work: Awaitable[bool]) -> bool:
        """`work`, which has taken from the inbox what it could fail with: the worker goes on with the rest, and the
        SMSC brings again what was not acknowledged."""
        try:
            return await work
        except Exception:
            log.exception("smpp.inbox_failed", carrier=self.name)
            return True

    async def _tell_answers(self, events: CarrierEvents, answers: list[Answer]) -> None:
        long = [answer.ids for answer in answers if answer.ids is not None]
        now = self._clock.now()
        while long:
            try:
                await self._records.remember_sent(long, now)
                parts = [part for ids in long for part in ids]
                await fold_early(self.name, events, self._records, parts, now)
                break
            except Unavailable as error:
                await self._sleep(self._answering, error.retry_after_s)
            except Exception:
                log.exception("smpp.parts_not_remembered", carrier=self.name, count=len(long))
                break  # their receipts are not understood; the messages are submitted all the same
        if self._outbox.late:
            await self._tell_with_late(events, answers)
        else:
            await self._submitted(events.submitted, [answer.submitted for answer in answers])
        for answer in answers:
            if answer.ids is not None:
                self._inbox.submitted(answer.ids, several=True)
        single = [answer.submitted.carrier_message_id for answer in answers if answer.ids is None]
        told = [message_id for message_id in single if message_id]
        self._inbox.submitted(told)
        self._outbox.untold.difference_update(told, *long)
        self._outbox.told(len(answers))
        if not self._closing:
            self._outbox.fill(self._links, self._line_now())

    async def _tell_with_late(self, events: CarrierEvents, answers: list[Answer]) -> None:
        """A late answer may stand beside the one that it follows: it is told when that is stored."""
        late = [answer.submitted for answer in answers if answer.late]
        self._outbox.late -= len(late)
        if len(late) < len(answers):
            await self._submitted(events.submitted, [answer.submitted for answer in answers if not answer.late])
        if late:
            await self._submitted(events.submitted_late, late)

    async def _submitted(self, tell: Tell, answers: list[Submitted]) -> None:
        while True:
            try:
                await tell(self.name, answers)
                return
            except Unavailable as error:
                log.warning("smpp.answers_put_off", carrier=self.name, count=len(answers), reason=error.message)
                await self._sleep(self._answering, error.retry_after_s)
            except Exception:
                log.exception("smpp.answers_refused", carrier=self.name, count=len(answers))
                if len(answers) > 1:  # one bad answer must not keep its neighbours
                    for answer in answers:
                        await self._submitted(tell, [answer])
                return

    async def _sleep(self, alarm: Alarm, seconds: float) -> None:
        began = self._now()
        until = began + seconds
        while began <= self._now() < until:  # not until it is so late again after the clock was set back
            await alarm.wait(_instant(until))

    def _sleeper(self, alarm: Alarm) -> Sleep:
        return lambda seconds: self._sleep(alarm, seconds)

    def _check(self) -> None:
        if self._closing or self._events is None:
            raise Unavailable("the carrier is closed")
        if not self._binds.usable:
            raise Unavailable("no bind to the carrier is up")

    def _ring(self) -> None:
        if self._telling is not None:
            self._answering.ring()
            self._hearing.ring()

    def _ring_lanes(self) -> None:
        for alarm in self._reporting:
            alarm.ring()

    def _now(self) -> float:
        return self._clock.now().timestamp()

    def _line_now(self) -> float:
        return self._line.now().timestamp()


def _spellings(message_id: str, style: MessageIds) -> list[str]:
    """How the carrier may write an id that is stored as `style` has it: numbers are stored in decimal. None of an id
    that is ours, for a carrier that gave none."""
    if len(message_id) > _ID_CHARACTERS:
        return []
    if not style.response_hexadecimal or not (message_id.isascii() and message_id.isdigit()):
        return [message_id]
    number = int(message_id)
    return list(dict.fromkeys(f"{number:{form}}" for form in ("x", "X", "08x", "08X")))


def _instant(seconds: float | None) -> datetime | None:
    """When an alarm is to ring for what is due at `seconds`."""
    # Rounded up: a datetime has microseconds only, and who woke before would wake again at once, for ever where the
    # clock stands still.
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=1)


def _nobody() -> None:
    return None
