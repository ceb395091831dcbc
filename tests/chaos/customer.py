"""A customer who speaks SMPP: binds to each server, submits, gets receipts and texts, and is not always a good one."""

import asyncio
import ssl
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from tests.chaos.ledger import Asked, Ledger
from tests.chaos.senders import NUMBERS
from tests.chaos.smsc import TOKEN
from tests.chaos.stage import Machine

from landline.engines.smpp.pump import Pump
from landline.protocols.smpp import pdu, receipts, status, texts
from landline.protocols.smpp.commands import ESM_RECEIPT, BindKind, Command
from landline.protocols.smpp.events import Answered, Bound, Event, MessageArrived, PeerLost, Unanswered, Unbound
from landline.protocols.smpp.limits import Limits
from landline.protocols.smpp.pdu import ShortMessage
from landline.protocols.smpp.session import Session
from landline.protocols.smpp.states import Role

_LIMITS = Limits(response_s=20.0, control_s=10.0, enquire_link_s=5.0, window=40)
ACCOUNTS: dict[str, dict[str, Any]] = {"shop": {"binds": 10, "texts": ["*"]}, "kiosk": {"binds": 10}}
"""The customers' accounts; that of the kiosk is deleted and made again."""
_LATE_S = 12.0
"""Answers are waited for 10 s."""
_CUT_S = 5.0
"""In what time the binds of an account that is deleted have ended."""


class Bind:
    """One transceiver, opened anew whenever it ends."""

    def __init__(self, customer: "Customer", machine: Machine, tls: ssl.SSLContext | None) -> None:
        self.customer = customer
        self.machine = machine
        self._tls = tls
        self.bound = False
        self.account = 0
        """Which of the customer's accounts it is bound to."""
        self.mood = "well"
        """well, deaf (answers nothing), busy (ESME_RX_T_APPN), late (answers when nobody waits any more), paused (does
        not read)."""
        self.session: Session | None = None
        self.pump: Pump | None = None
        self._lost = asyncio.Event()

    async def run(self) -> None:
        while not self.customer.ended:
            with suppress(OSError):
                await self._connection()
            await asyncio.sleep(0.5)

    async def _connection(self) -> None:
        self.session = session = Session(Role.ESME, time.time(), _LIMITS)
        self._lost = asyncio.Event()
        self.pump = pump = Pump(session, time.time, self._happened, self._lost.set)
        loop = asyncio.get_running_loop()
        port = self.machine.smpp_port if self._tls is None else self.machine.smpp_tls_port
        await asyncio.wait_for(loop.create_connection(lambda: pump, "localhost", port, ssl=self._tls), 5.0)
        self.account = self.customer.account
        bind = pdu.Bind(self.customer.system_id, self.customer.password)
        session.bind(BindKind.TRANSCEIVER, bind, time.time())
        pump.flush()
        try:
            while not self._lost.is_set():
                try:
                    await asyncio.wait_for(self._lost.wait(), 0.5)
                except TimeoutError:
                    pump.expire()
                    pump.flush()
                    if session.ended:
                        break
        finally:
            self.bound = False
            pump.abort()
            self._happened(list(session.close()))

    def turn(self, mood: str) -> None:
        """Be in that mood from now on."""
        self.mood = mood
        if self.pump is not None and mood == "paused":
            self.pump.pause_reading()
        elif self.pump is not None:
            self.pump.resume_reading()

    def cut(self) -> None:
        if self.pump is not None:
            self.pump.abort()

    @property
    def free(self) -> int:
        return self.session.free if self.session is not None and self.bound and self.session.can_submit else 0

    def submit(self, body: bytes, key: Any) -> None:
        assert self.session is not None
        assert self.pump is not None
        self.session.submit(body, key, time.time())
        self.pump.flush()

    def _happened(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, Bound):
                self.bound = True
            elif isinstance(event, Answered) and event.context is not None:
                self.customer.answered(event, self.account)
            elif isinstance(event, Unanswered):
                self.customer.ledger.refusals["customer: no answer"] += 1
            elif isinstance(event, MessageArrived):
                self._arrived(event)
            elif isinstance(event, Unbound | PeerLost):
                self.bound = False
        if self.pump is not None:
            self.pump.flush_soon()

    def _arrived(self, event: MessageArrived) -> None:
        assert self.session is not None
        if self.mood == "deaf":
            return
        if self.mood == "busy" and self.customer.random.random() < 0.7:
            self.session.answer(event.sequence, status.ESME_RX_T_APPN)
            return
        self.customer.arrived(event.message, self.account)
        if self.mood == "late":
            asyncio.get_running_loop().call_later(_LATE_S, self._answer, self.session, event.sequence)
        else:
            self.session.answer(event.sequence)

    def _answer(self, session: Session, sequence: int) -> None:
        session.answer(sequence)
        if session is self.session and self.pump is not None:
            self.pump.flush()


@dataclass
class Receipt:
    """One that a customer was brought."""

    message_id: str
    state: str
    account: int


class Customer:
    """See the module. His account may be deleted and made again: `account` counts them."""

    def __init__(
        self,
        system_id: str,
        ledger: Ledger,
        random: Random,
        machines: list[Machine],
        senders: list[str],
        certificate: Path,
    ) -> None:
        self.system_id = system_id
        self.account = 0
        self.deleted: list[float] = []
        """When it was told that each account but the present one is deleted."""
        self.ledger = ledger
        self.random = random
        self.senders = senders
        self.password = ""
        self.stopping = self.ended = False
        tls = ssl.create_default_context(cafile=certificate)
        self.binds = [Bind(self, machine, each) for machine in machines for each in (None, tls)]
        self.by_id: dict[str, tuple[Asked, int]] = {}
        """What was accepted, and from which account."""
        self._waiting: list[Asked] = []
        self.receipts: list[Receipt] = []

    async def send(self) -> None:
        """Submit for as long as it may."""
        reference = 0
        while not self.stopping:
            await asyncio.sleep(min(self.random.expovariate(5), 1.0))
            ready = [bind for bind in self.binds if bind.free >= 3]
            if not ready:
                continue
            long = self.random.random() < 0.1
            token, to = self.ledger.token("c"), self.random.choice(NUMBERS)
            sender = self.random.choice(self.senders)
            words = " ".join([token] * 40) if long else f"{token} customer"
            due_s = 0 if long or self.random.random() < 0.85 else self.random.randrange(5, 25)
            reference = (reference + 1) % 256
            parts = texts.write(words, texts.LongStyle.UDH8, texts.Alphabet.GSM, reference)
            asked = Asked(token, to, "customer", time.time(), sender, parts=len(parts))
            if due_s:
                asked.not_before = asked.began + due_s - 1.0  # by the second
            self.ledger.asked[token, to] = asked
            bind = self.random.choice(ready)
            for number, part in enumerate(parts):
                message = ShortMessage(
                    source_addr_ton=1,
                    source_addr=sender[1:],
                    dest_addr_ton=1,
                    destination_addr=to[1:],
                    registered_delivery=1,
                    schedule_delivery_time=f"0000000000{due_s:02d}000R" if due_s else "",
                    esm_class=part.esm_class,
                    data_coding=part.data_coding,
                    short_message=part.short_message,
                    tlvs=part.tlvs,
                )
                if bind.free:
                    bind.submit(pdu.encode_body(message), (asked, number))
            if due_s and self.random.random() < 0.5:
                self._waiting.append(asked)
            if self._waiting and self.random.random() < 0.1:
                self._take_back(self._waiting.pop(0))

    def _take_back(self, asked: Asked) -> None:
        """Cancel what is to be sent later, over any bind."""
        ready = [bind for bind in self.binds if bind.free]
        if asked.message_id and ready:
            bind = self.random.choice(ready)
            assert bind.session is not None
            assert bind.pump is not None
            address = {"source_addr_ton": 1, "source_addr": asked.sender[1:], "dest_addr_ton": 1}
            body = pdu.CancelSm(message_id=asked.message_id, destination_addr=asked.to[1:], **address)
            bind.session.request(Command.CANCEL_SM, body, asked, time.time())
            bind.pump.flush()

    def remade(self, password: str, deleted_at: float) -> None:
        """His account was deleted then, and there is another one."""
        self.deleted.append(deleted_at)
        self.account += 1
        self.password = password

    def answered(self, event: Answered, account: int) -> None:
        if isinstance(event.context, Asked):
            if not event.status:
                event.context.canceled = time.time()
            else:
                self.ledger.refusals[f"cancel_sm {event.status:#x}"] += 1
            return
        if not isinstance(event.context, tuple):
            return
        asked: Asked = event.context[0]
        if event.status:
            self.ledger.refusals[f"customer {event.status:#x}"] += 1
            return
        self.by_id[event.message_id] = asked, account
        late = account < self.account and self.deleted[account] < asked.began - _CUT_S
        if late and not self.ledger.stalled(self.deleted[account], time.time()):
            self.ledger.troubles.append(f"{event.message_id} accepted from a deleted account")
        asked.acked = asked.acked or time.time()
        asked.message_id = asked.message_id or event.message_id

    def arrived(self, message: ShortMessage, account: int) -> None:
        if message.esm_class & ESM_RECEIPT:
            read = receipts.read(message)
            if read is None:
                self.ledger.troubles.append(f"a receipt that cannot be read: {message.short_message!r}")
                return
            self.receipts.append(Receipt(read.message_id, read.state.name, account))
            return
        piece = texts.read(message)
        found = TOKEN.search(texts.decode(piece.data_coding, piece.octets))
        if found:
            self.ledger.heard[found[1]].append(time.time())
