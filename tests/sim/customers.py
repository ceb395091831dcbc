"""SMPP customers of a simulation: their programs' side of each connection, in memory, and what they submit, are told,
lose, submit again, take and refuse. What the listener reads and writes are the octets of real sessions."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

from tests.sim.turns import CURRENT, Process
from tests.sim.wires import Wire, later

from landline.engines.smpp.listener import SmppListener
from landline.engines.smpp.pump import Pump
from landline.ports.esme_gateway import ReportWish
from landline.protocols.smpp import pdu, receipts, status, texts
from landline.protocols.smpp.commands import BindKind, Command
from landline.protocols.smpp.events import (
    Answered,
    Bound,
    Event,
    MessageArrived,
    Unanswered,
    Unbound,
)
from landline.protocols.smpp.limits import Limits
from landline.protocols.smpp.pdu import ShortMessage
from landline.protocols.smpp.session import Session
from landline.protocols.smpp.states import Role

_FOR_EVER = Limits(response_s=1e9, control_s=1e9, enquire_link_s=None, window=10_000)


class Front(Protocol):
    """The process a customer binds to."""

    process: Process
    listener: SmppListener


@dataclass(eq=False)
class Text:
    """A text that a customer wants sent: one submit_sm, or one for each part."""

    body: str
    wish: ReportWish
    parts: list[ShortMessage]
    attempts: list[int] = field(default_factory=list[int])
    """Of each part: how often it was submitted."""
    told: list[list[str]] = field(default_factory=list[list[str]])
    """Of each part: the ids under which it was accepted."""
    unsure: list[int] = field(default_factory=list[int])
    """Of each part: how often it may have been accepted: its connection ended before the answer, or the answer was that
    the system failed (a commit of which the database did not tell)."""
    canceled: bool = False
    asked_to_cancel: bool = False

    @property
    def heard_all(self) -> bool:
        """Whether every attempt was answered, and accepted."""
        return all(count == len(told) for count, told in zip(self.attempts, self.told, strict=True))


@dataclass(frozen=True)
class Manners:
    """How often, of 1, a customer does what with a deliver_sm; and whether it asks again for what was not answered."""

    refuses: float = 0.0
    slow: float = 0.0
    silent: float = 0.0
    repeats: float = 1.0


GOOD = Manners()
MANNERS = (GOOD, Manners(slow=0.5), Manners(refuses=0.3, slow=0.2, silent=0.05, repeats=0.6), Manners(silent=0.2))


class Link:
    """One connection of a customer to one process."""

    def __init__(self, customer: "Customer", front: Front, kind: BindKind) -> None:
        self.customer = customer
        self.process = front.process
        self.receives = kind is not BindKind.TRANSMITTER
        self.session = Session(Role.ESME, 0.0, _FOR_EVER)
        self.bound = False
        self.gone = False
        pump = self._inside(front.listener._connected)
        assert isinstance(pump, Pump)
        self._pump = pump
        self._inside(pump.connection_made, Wire(self))
        self.session.bind(kind, pdu.Bind(customer.system_id, "password"), 0.0)
        self.flush()

    @property
    def can_submit(self) -> bool:
        return not self.gone and self.session.can_submit

    def _inside(self, act: Callable[..., Any], *arguments: Any) -> Any:
        token = CURRENT.set(self.process)
        try:
            return act(*arguments)
        finally:
            CURRENT.reset(token)

    def flush(self) -> None:
        octets = self.session.outgoing()
        if octets and not self.gone:
            self._inside(asyncio.get_running_loop().call_soon, self._arrive, octets)

    def _arrive(self, octets: bytes) -> None:
        if not self.process.dead:
            self._pump.data_received(octets)

    def hear(self, data: bytes) -> None:
        if not self.gone:
            for event in self.session.receive(data, 0.0):
                self.customer.happened(self, event)
            self.flush()
            if self.session.ended:
                self.drop()

    def drop(self) -> None:
        """End it, as a customer's machine does that is switched off."""
        if not self.gone:
            self._inside(asyncio.get_running_loop().call_soon, self._hang_up)
            self.lost()

    def _hang_up(self) -> None:
        if not self.process.dead:
            self._pump.connection_lost(None)

    def lost(self) -> None:
        """It is over: what was not answered never will be."""
        if self.gone:
            return
        self.gone = True
        for unanswered in self.session.close():
            self.customer.happened(self, unanswered)
        self.customer.left(self)


class Customer:
    """See the module."""

    def __init__(
        self, system_id: str, manners: Manners, dice: random.Random, fronts: Callable[[], list[Front]]
    ) -> None:
        self.system_id = system_id
        self.manners = manners
        self.dice = dice
        self.fronts = fronts
        self.links: list[Link] = []
        self.wants = dice.choice([1, 1, 2, 3])
        """How many connections it has when it is there."""
        self.away = False
        self.sulks = False
        """It takes nothing now."""
        self.texts: list[Text] = []
        self.pending: list[tuple[Text, int]] = []
        """Parts to submit when it is bound again."""
        self.receipts: dict[str, list[int]] = {}
        """The states in the receipts it has acknowledged, by the id they name."""
        self.received: dict[str, int] = {}
        """How often it has acknowledged each phone's text."""
        self.refused: list[int] = []
        """The status of what was not accepted."""
        self.wrong: list[str] = []

    def come(self) -> None:
        """Have as many connections as it wants."""
        fronts = self.fronts()
        while fronts and not self.away and len(self.links) < self.wants:
            receives_here = any(link.bound and link.receives for link in self.links)
            kind = self.dice.choice([BindKind.TRANSCEIVER, BindKind.TRANSMITTER]) if receives_here else None
            link = Link(self, self.dice.choice(fronts), kind or BindKind.TRANSCEIVER)
            self.links.append(link)
            later(30.0, lambda each=link: None if each.bound else each.drop())
        if not self.away and len(self.links) < self.wants:
            later(2.0, self.come)

    def left(self, link: Link) -> None:
        if link in self.links:
            self.links.remove(link)
            if link.receives:  # the others may be transmitters all
                for other in list(self.links):
                    other.drop()
            later(self.dice.choice([0.0, 1.0, 5.0]), self.come)

    def vanish(self, seconds: float) -> None:
        """It is gone, and comes back after so long."""
        self.away = True
        for link in list(self.links):
            link.drop()
        later(seconds, self.come_back)

    def come_back(self) -> None:
        self.away = False
        self.come()

    def unbind(self) -> None:
        """End one connection in order."""
        bound = [link for link in self.links if link.bound and not link.gone]
        if bound:
            link = self.dice.choice(bound)
            link.bound = False
            link.session.unbind(0.0)
            link.flush()

    def send(self, text: Text) -> None:
        text.attempts, text.unsure = [0] * len(text.parts), [0] * len(text.parts)
        text.told = [[] for _ in text.parts]
        self.texts.append(text)
        left_out = self.dice.randrange(len(text.parts)) if len(text.parts) > 1 and self.dice.random() < 0.15 else None
        order = [number for number in range(len(text.parts)) if number != left_out]
        self.dice.shuffle(order)
        for number in order:
            self.submit(text, number)

    def submit(self, text: Text, number: int) -> None:
        links = [link for link in self.links if link.bound and link.can_submit]
        if not links:
            self.pending.append((text, number))
            return
        link = self.dice.choice(links)
        text.attempts[number] += 1
        link.session.submit(pdu.encode_body(text.parts[number]), (text, number), 0.0)
        link.flush()

    def cancel(self, text: Text) -> None:
        links = [link for link in self.links if link.bound and link.can_submit]
        if links and text.told[0]:
            text.asked_to_cancel = True
            link = self.dice.choice(links)
            link.session.request(Command.CANCEL_SM, pdu.CancelSm(message_id=text.told[0][0]), text, 0.0)
            link.flush()

    def happened(self, link: Link, event: Event) -> None:
        if isinstance(event, Bound):
            link.bound = True
            pending, self.pending = self.pending, []
            for text, number in pending:
                self.submit(text, number)
        elif isinstance(event, MessageArrived):
            self._brought(link, event)
        elif isinstance(event, Unbound):
            link.bound = False
        elif isinstance(event, Answered) and isinstance(event.context, Text):
            event.context.canceled |= event.status == status.ESME_ROK
        elif isinstance(event, (Answered, Unanswered)) and isinstance(event.context, tuple):
            text, number = event.context
            if isinstance(event, Answered) and event.status == status.ESME_ROK:
                text.told[number].append(event.message_id)
                return
            if isinstance(event, Answered):
                self.refused.append(event.status)
            text.unsure[number] += isinstance(event, Unanswered) or event.status == status.ESME_RSYSERR
            if self.dice.random() < self.manners.repeats:
                later(self.dice.choice([0.1, 1.0, 30.0]), lambda: self.submit(text, number))

    def _brought(self, link: Link, event: MessageArrived) -> None:
        manners, roll = self.manners, self.dice.random()
        if roll < manners.silent:
            return
        refuses = self.sulks or roll < manners.silent + manners.refuses
        state = status.ESME_RX_T_APPN if refuses else status.ESME_ROK
        if self.dice.random() < manners.slow:
            later(self.dice.choice([0.2, 3.0, 8.0]), lambda: self._answer(link, event, state))
        else:
            self._answer(link, event, state)

    def _answer(self, link: Link, event: MessageArrived, state: int) -> None:
        if link.gone or link.session.ended:
            return
        link.session.answer(event.sequence, state)
        link.flush()
        if state != status.ESME_ROK:
            return
        report = receipts.read(event.message)
        if report is not None:
            self.receipts.setdefault(report.message_id, []).append(int(report.state))
        else:
            piece = texts.read(event.message)
            body = texts.decode(piece.data_coding, piece.octets)
            self.received[body] = self.received.get(body, 0) + 1


def message_of(told: str) -> UUID:
    return UUID(told.partition("-")[0])
