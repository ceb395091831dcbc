"""A bare ESME that does as it is told, whatever a decent one would do."""

import asyncio
import ssl
from typing import Any

from tests.support.smpp_world import OURS, PHONE, until

from landline.engines.smpp.pump import Pump
from landline.protocols.smpp import pdu, receipts
from landline.protocols.smpp.commands import BindKind
from landline.protocols.smpp.events import Answered, Event, MessageArrived
from landline.protocols.smpp.limits import Limits
from landline.protocols.smpp.pdu import ShortMessage
from landline.protocols.smpp.receipts import DeliveryReceipt
from landline.protocols.smpp.session import Session
from landline.protocols.smpp.states import Role


class Client:
    """See the module."""

    def __init__(self, *, window: int = 100) -> None:
        self.session = Session(Role.ESME, 0.0, Limits(window=window))
        self.events: list[Event] = []
        self.closed = False
        self.pump = Pump(self.session, lambda: 0.0, self.events.extend, self._lost)

    async def connect(self, port: int, tls: ssl.SSLContext | None = None) -> None:
        name = "localhost" if tls is not None else None
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self.pump, "127.0.0.1", port, ssl=tls, server_hostname=name)

    async def bind(
        self, password: str = "secret", kind: BindKind = BindKind.TRANSCEIVER, *, system_id: str = "customer"
    ) -> Event:
        self.begin_bind(password, kind, system_id=system_id)
        return await self.next()

    def begin_bind(
        self, password: str = "secret", kind: BindKind = BindKind.TRANSCEIVER, *, system_id: str = "customer"
    ) -> None:
        self.session.bind(kind, pdu.Bind(system_id, password), 0.0)
        self.pump.flush()

    def submit(self, text: bytes = b"hello", **fields: Any) -> None:
        given = {"source_addr_ton": 1, "source_addr": OURS[1:], "dest_addr_ton": 1, "destination_addr": PHONE[1:]}
        message = ShortMessage(**{**given, "short_message": text, **fields})
        self.session.submit(pdu.encode_body(message), None, 0.0)
        self.pump.flush()

    async def next(self) -> Event:
        await until(lambda: bool(self.events))
        return self.events.pop(0)

    async def status(self) -> int:
        answer = await self.next()
        assert isinstance(answer, Answered)
        return answer.status

    async def accepted(self) -> str:
        """The message id of the next answer, which accepts."""
        answer = await self.next()
        assert isinstance(answer, Answered)
        assert answer.status == 0
        return answer.message_id

    async def arrival(self, state: int = 0) -> ShortMessage:
        """The next deliver_sm, answered with `state`."""
        arrived = await self.next()
        assert isinstance(arrived, MessageArrived)
        self.session.answer(arrived.sequence, state)
        self.pump.flush()
        return arrived.message

    async def receipt(self) -> DeliveryReceipt:
        """The next deliver_sm, acknowledged, which is a receipt."""
        read = receipts.read(await self.arrival())
        assert read is not None
        return read

    async def unanswered(self) -> bytes:
        """The text of the next deliver_sm, which is left unanswered."""
        arrived = await self.next()
        assert isinstance(arrived, MessageArrived)
        return arrived.message.short_message

    def unbind(self) -> None:
        self.session.unbind(0.0)
        self.pump.flush()

    def _lost(self) -> None:
        self.closed = True
