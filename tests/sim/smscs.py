"""SMSCs of a simulation as an SMPP engine meets them: octets over connections in memory that are cut, fall silent or
end in order; answers that come late or never, receipts that come early, twice or never, texts in parts over any bind.

What an SMSC took it keeps, and it brings its receipts and texts until they are acknowledged, over whichever bind is
there, whichever process it is of.
"""

import asyncio
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.sim.turns import CURRENT, Process
from tests.sim.wires import Wire, later

from landline.engines.smpp.config import MessageIds, SmppConfig
from landline.engines.smpp.pump import Pump
from landline.ports.clock import Clock
from landline.ports.sms_carrier import Arrival, CrashPolicy
from landline.protocols.smpp import pdu, receipts, status, texts
from landline.protocols.smpp.commands import MessageState
from landline.protocols.smpp.events import Answered, BindArrived, MessageArrived, RequestArrived, Unanswered
from landline.protocols.smpp.limits import Limits
from landline.protocols.smpp.pdu import QueryAnswer, QuerySm, ShortMessage
from landline.protocols.smpp.session import Session
from landline.protocols.smpp.states import Role
from landline.protocols.smpp.texts import Alphabet, LongStyle

_PATIENT = Limits(response_s=1e9, control_s=1e9, enquire_link_s=None, init_s=None, window=20)
_RECEIPT, _TEXT = 0x04, 0x00
"""esm_class (SMPP 3.4 §5.2.12)."""
_REFUSALS = (status.ESME_RINVDSTADR, status.ESME_RSUBMITFAIL)
_BUSY = status.ESME_RSYSERR
_SLOW_DOWN = (status.ESME_RTHROTTLED, status.ESME_RMSGQFUL)
_STYLES = (LongStyle.UDH8, LongStyle.UDH16, LongStyle.SAR)
WHICH = re.compile(r"<(\d{4})>")
"""How a text says which it is; a long one says so in each part."""


@dataclass(frozen=True)
class Habits:
    """How often, of 1, an SMSC does what with a submit_sm or its receipt, and with a bind."""

    refuses: float = 0.0
    busy: float = 0.0
    slows: float = 0.0
    silent: float = 0.0
    late: float = 0.0
    """It answers after a while, or after the response timer."""
    early_receipt: float = 0.0
    no_receipt: float = 0.0
    fails: float = 0.0
    repeats: float = 0.0
    """A receipt comes twice, or after one that is not final."""
    shuts_out: float = 0.0
    """It refuses a bind."""


GOOD = Habits()
HABITS = (
    GOOD,
    Habits(late=0.3, early_receipt=0.3, fails=0.2, repeats=0.2),
    Habits(0.05, 0.1, 0.2, 0.0, 0.2, 0.2, 0.05, 0.2, 0.2, 0.1),
    Habits(0.1, 0.2, 0.1, 0.15, 0.4, 0.3, 0.1, 0.3, 0.3, 0.2),
    Habits(silent=0.4, late=0.4, fails=0.2),
)


@dataclass(eq=False)
class Copy:
    """One submit_sm: a whole text, or a part of one."""

    process: Process
    number: int
    of: int
    at: float
    had: bool = False
    """Whether the SMSC has it."""
    carrier_id: str = ""
    status: int | None = None
    """Its answer, once that has been read; None as long as nobody can know."""
    answered_at: float = 0.0
    receipts: list[tuple[MessageState, float]] = field(default_factory=list[tuple[MessageState, float]])
    """Final ones that were acknowledged, and when."""

    @property
    def slowed(self) -> bool:
        return self.status in _SLOW_DOWN


@dataclass(eq=False)
class Attempt:
    """One hand-over of a text to a carrier: all of its parts."""

    carrier: str
    policy: CrashPolicy
    process: Process
    began: float
    copies: list[Copy] = field(default_factory=list[Copy])

    @property
    def settled(self) -> list[Copy]:
        """Its parts' last submissions: one that was to come more slowly came again."""
        return [copy for copy in self.copies if not copy.slowed]

    @property
    def refused(self) -> bool:
        """Whether the carrier was heard to refuse a part of it."""
        return any(copy.status not in (None, status.ESME_ROK) for copy in self.copies)

    @property
    def taken(self) -> bool:
        """Whether the carrier was heard to take all of it."""
        parts = {copy.number for copy in self.copies if copy.status == status.ESME_ROK}
        return len(parts) == self.copies[0].of

    def in_time(self, within_s: float) -> bool:
        """Whether each of its answers came so soon."""
        return all(copy.answered_at - copy.at < within_s for copy in self.copies)

    @property
    def failed(self) -> bool:
        return any(state is not MessageState.DELIVERED for copy in self.copies for state, _ in copy.receipts)


@dataclass(eq=False)
class Delivery:
    """A deliver_sm that is brought until it is acknowledged."""

    message: ShortMessage
    done: Callable[[], None]
    times: list[float] = field(default_factory=list[float])
    """When it was brought."""
    of: Copy | None = None


class Link:
    """One connection of a process to an SMSC, from the SMSC's side."""

    def __init__(self, smsc: "Smsc", process: Process, pump: Pump) -> None:
        self.smsc = smsc
        self.process = process
        self.session = Session(Role.SMSC, 0.0, _PATIENT)
        self.wire = Wire(self)
        self.black = False
        """Nothing of what is sent arrives, either way."""
        self.gone = False
        self._pump = pump
        self._answers: list[tuple[Copy, int]] = []
        """Written into the session, and not sent yet."""

    @property
    def can_deliver(self) -> bool:
        return not self.gone and not self.black and self.session.can_deliver and self.session.free > 0

    def hear(self, data: bytes) -> None:
        if self.gone or self.black:
            return
        for event in self.session.receive(data, 0.0):
            self.smsc.happened(self, event)
        self.flush()
        if self.session.ended:
            self.lost()

    def answer(self, sequence: int, copy: Copy, state: int) -> None:
        """Answer a submit_sm, if its connection is still there."""
        if self.gone or self.session.ended:
            return
        self.session.answer(sequence, state, copy.carrier_id if state == status.ESME_ROK else "")
        self._answers.append((copy, state))
        self.flush()

    def flush(self) -> None:
        octets = self.session.outgoing()
        answers, self._answers = self._answers, []
        if octets and not self.gone and not self.black:
            self._inside(asyncio.get_running_loop().call_soon, self._arrive, octets, answers)

    def _arrive(self, octets: bytes, answers: list[tuple[Copy, int]]) -> None:
        if not self.process.dead and not self.gone:
            for copy, state in answers:
                copy.status, copy.answered_at = state, asyncio.get_running_loop().time()
            self._pump.data_received(octets)

    def unbind(self) -> None:
        if not self.gone and self.session.can_deliver:
            self.session.unbind(0.0)
            self.flush()

    def lost(self) -> None:
        """It is over, whoever ended it: what was brought and not acknowledged is to be brought again."""
        if self.gone:
            return
        self.gone = True
        self.smsc.links.remove(self)
        for unanswered in self.session.close():
            self.smsc.happened(self, unanswered)
        self._inside(asyncio.get_running_loop().call_soon, self._hang_up)

    def _hang_up(self) -> None:
        if not self.process.dead:
            self._pump.connection_lost(None)

    def leave(self, for_s: float) -> None:
        """Its process does not reach the SMSC for a while."""
        self.smsc.unreached.add(self.process)
        later(for_s, lambda: self.smsc.unreached.discard(self.process))
        for link in [link for link in self.smsc.links if link.process is self.process]:
            link.lost()

    def _inside(self, act: Callable[..., Any], *arguments: Any) -> None:
        token = CURRENT.set(self.process)
        try:
            act(*arguments)
        finally:
            CURRENT.reset(token)


class Smsc:
    """See the module. `attempts`: by (which text, recipient), of all carriers."""

    def __init__(self, config: SmppConfig, habits: Habits, *, dice: random.Random, clock: Clock) -> None:
        self.config = config
        self.name = config.name
        self.habits = habits
        self.dice = dice
        self.clock = clock
        self.up = True
        self.unreached: set[Process] = set()
        self.links: list[Link] = []
        self.owed = 0
        self.wrong: list[str] = []
        self.attempts: dict[tuple[str, str], list[Attempt]] = {}
        self.deliveries: list[Delivery] = []
        """Those of texts."""
        self._current: dict[object, Attempt] = {}
        self._outcomes: dict[str, MessageState] = {}
        self._ids = 0

    # Connections

    async def connect(self, factory: Callable[[], Any]) -> tuple[Wire, Any]:
        """A connection, for the process in whose context this is called."""
        process = CURRENT.get()
        assert process is not None
        if not self.up or process in self.unreached:
            raise ConnectionRefusedError("nobody listens")
        pump = factory()
        link = Link(self, process, pump)
        self.links.append(link)
        pump.connection_made(link.wire)
        return link.wire, pump

    def fall(self) -> None:
        """Every connection breaks."""
        self.up = False
        for link in list(self.links):
            link.lost()

    def rise(self) -> None:
        self.up = True

    def heal(self) -> None:
        """Nothing goes wrong any more, but that connections which swallow all do so until somebody ends them."""
        self.rise()
        self.unreached.clear()
        self.habits = GOOD

    def later(self, seconds: float, act: Callable[[], object]) -> None:
        later(seconds, act)

    # What it is told

    def happened(self, link: Link, event: object) -> None:
        if isinstance(event, BindArrived):
            if self.dice.random() < self.habits.shuts_out:
                link.session.refuse_bind(status.ESME_RBINDFAIL)
            else:
                link.session.accept_bind("smsc")
        elif isinstance(event, MessageArrived):
            self._take(link, event)
        elif isinstance(event, RequestArrived) and isinstance(event.body, QuerySm):
            self._tell(link, event.sequence, event.body)
        elif isinstance(event, Answered) and isinstance(event.context, Delivery):
            delivery = event.context
            if event.status == status.ESME_ROK:
                delivery.done()
            else:
                later(self.dice.choice([1.0, 5.0]), lambda: self.bring(delivery))
        elif isinstance(event, Unanswered) and isinstance(event.context, Delivery):
            delivery = event.context
            later(self.dice.choice([0.0, 1.0, 5.0]), lambda: self.bring(delivery))

    def _tell(self, link: Link, sequence: int, query: QuerySm) -> None:
        state = self._outcomes.get(query.message_id.lower())
        if state is None or self.dice.random() < 0.3:
            link.session.answer(sequence, status.ESME_RQUERYFAIL)
        else:
            link.session.answer(sequence, body=QueryAnswer(query.message_id, "", state.value, 0))

    def _take(self, link: Link, event: MessageArrived) -> None:
        message, now = event.message, asyncio.get_running_loop().time()
        piece = texts.read(message)
        found = WHICH.search(texts.decode(piece.data_coding, piece.octets))
        if found is None:
            self.wrong.append(f"{self.name} was given what nobody sent, or parts of it")
            link.session.answer(event.sequence, status.ESME_RSUBMITFAIL)
            return
        key, part = (found[1], f"+{message.destination_addr}"), piece.concatenation
        copy = Copy(link.process, part.sequence if part else 1, part.total if part else 1, now)
        self._attempt(link, key, None if part is None else part.reference, now).copies.append(copy)
        habits, roll = self.habits, self.dice.random()
        for share, state in ((habits.refuses, self.dice.choice(_REFUSALS)), (habits.busy, _BUSY)):
            if roll < share:
                self._answer(link, event.sequence, copy, state)
                return
            roll -= share
        if roll < habits.slows:
            self._answer(link, event.sequence, copy, self.dice.choice(_SLOW_DOWN))
            return
        silent = roll - habits.slows < habits.silent
        if silent and self.dice.random() < 0.5:
            return
        self._keep(copy, message)
        if not silent:
            self._answer(link, event.sequence, copy, status.ESME_ROK)

    def _attempt(self, link: Link, key: tuple[str, str], reference: int | None, now: float) -> Attempt:
        """Of a part the attempt that others with its reference are of; of a whole text a new one, but for one that was
        to come more slowly."""
        of = self.attempts.setdefault(key, [])
        if reference is not None:
            current = self._current.get((key, link.process.name, reference))
        else:
            last = of[-1] if of else None
            again = last is not None and last.process is link.process and last.copies[-1].slowed
            current = last if again and last is not None and last.carrier == self.name else None
        if current is None:
            current = Attempt(self.name, self.config.crash_policy, link.process, now)
            of.append(current)
            if reference is not None:
                self._current[key, link.process.name, reference] = current
        return current

    def _answer(self, link: Link, sequence: int, copy: Copy, state: int) -> None:
        if self.dice.random() < self.habits.late:
            after_s = self.dice.choice([0.05, 2.0, 9.0, 10.5, 14.0, 16.0, 30.0, 120.0])
            later(after_s, lambda: link.answer(sequence, copy, state))
        else:
            link.answer(sequence, copy, state)

    # What it brings

    def _keep(self, copy: Copy, message: ShortMessage) -> None:
        self._ids += 1
        copy.had = True
        hexadecimal = self.config.message_ids is MessageIds.DEC_HEX
        copy.carrier_id = f"{self._ids + 4_000:x}" if hexadecimal else f"{self.name}{self._ids}"
        told = str(self._ids + 4_000) if hexadecimal else copy.carrier_id
        roll = self.dice.random()
        if not message.registered_delivery or roll < self.habits.no_receipt:
            return
        delivered = self.dice.random() >= self.habits.fails
        final = MessageState.DELIVERED if delivered else MessageState.UNDELIVERABLE
        states = [final]
        if self.dice.random() < self.habits.repeats:
            states = self.dice.choice([[MessageState.ENROUTE, final], [final, final]])
        at_once = roll > 1 - self.habits.early_receipt
        after_s = 0.0 if at_once else self.dice.choice([0.0, 0.0, 1.0, 20.0, 50.0])
        for place, state in enumerate(states):
            self.owed += 1
            delivery = self._receipt(copy, message, told, state)
            wait_s = after_s + place * self.dice.choice([0.0, 5.0])
            if wait_s or not at_once:
                later(wait_s, lambda each=delivery: self.bring(each))
            else:  # before its answer
                self.bring(delivery)

    def _receipt(self, copy: Copy, message: ShortMessage, told: str, state: MessageState) -> Delivery:
        now = self.clock.now()
        if state.final:
            self._outcomes[copy.carrier_id.lower()] = state
        text = receipts.write(told, state, submitted_at=now, done_at=now)
        roll = self.dice.random()
        report = ShortMessage(
            source_addr_ton=message.dest_addr_ton,
            source_addr_npi=message.dest_addr_npi,
            source_addr=message.destination_addr,
            dest_addr_ton=message.source_addr_ton,
            dest_addr_npi=message.source_addr_npi,
            destination_addr=message.source_addr,
            esm_class=_RECEIPT,
            short_message=text,
            tlvs=receipts.tlvs(told if roll < 0.25 else copy.carrier_id, state) if roll < 0.5 else (),
        )
        return Delivery(report, lambda: self._acknowledged(copy, state), of=copy)

    def _acknowledged(self, copy: Copy, state: MessageState) -> None:
        self.owed -= 1
        if state.final:
            copy.receipts.append((state, asyncio.get_running_loop().time()))

    def bring(self, delivery: Delivery) -> None:
        """A receipt or a text, over any bind that takes it, until it is acknowledged."""
        links = [link for link in self.links if link.can_deliver]
        if not links:
            later(5.0, lambda: self.bring(delivery))
            return
        link = self.dice.choice(links)
        delivery.times.append(asyncio.get_running_loop().time())
        link.session.deliver(pdu.encode_body(delivery.message), delivery, 0.0)
        link.flush()

    def stray(self) -> None:
        """A receipt of a message that is not ours."""
        self.owed += 1
        at: datetime = self.clock.now()
        text = receipts.write("999999", MessageState.DELIVERED, submitted_at=at, done_at=at)
        message = ShortMessage(source_addr="14255550000", esm_class=_RECEIPT, short_message=text)
        self.bring(Delivery(message, self.acknowledged))

    def text(self, arrival: Arrival) -> None:
        """A text of a phone: its parts over any binds, in any order."""
        self._ids += 1
        parts = texts.write(arrival.text, self.dice.choice(_STYLES), Alphabet.GSM, self._ids % 256)
        self.dice.shuffle(parts)
        for part in parts:
            self.owed += 1
            message = ShortMessage(
                source_addr_ton=1,
                source_addr=arrival.sender.removeprefix("+"),
                dest_addr_ton=1,
                destination_addr=arrival.recipient.removeprefix("+"),
                esm_class=part.esm_class,
                data_coding=part.data_coding,
                short_message=part.short_message,
                tlvs=part.tlvs,
            )
            delivery = Delivery(message, self.acknowledged)
            self.deliveries.append(delivery)
            later(self.dice.choice([0.0, 0.0, 1.0, 20.0]), lambda each=delivery: self.bring(each))

    def acknowledged(self) -> None:
        self.owed -= 1
