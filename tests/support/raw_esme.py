"""A customer that has no SMPP library: it says octets, and reads PDU by PDU what comes."""

import asyncio
from typing import NamedTuple

from tests.support.patience import PATIENCE_S

from landline.protocols.smpp import pdu
from landline.protocols.smpp.commands import BindKind, Command
from landline.protocols.smpp.framing import HEADER, HEADER_BYTES


class Pdu(NamedTuple):
    """One that came."""

    command: int
    status: int
    sequence: int
    body: bytes


class RawEsme:
    """See the module."""

    def __init__(self) -> None:
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def connect(self, port: int) -> None:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", port)

    async def bind(
        self,
        kind: BindKind = BindKind.TRANSCEIVER,
        *,
        system_id: str = "customer",
        password: str = "secret",
        version: int = 0x34,
    ) -> Pdu:
        """The answer to a bind."""
        return await self.asked(pdu.encode(kind.value, pdu.Bind(system_id, password, interface_version=version), 1))

    async def say(self, octets: bytes) -> None:
        self._writer.write(octets)
        await self._writer.drain()

    async def next(self) -> Pdu:
        """The next PDU. Raises `IncompleteReadError` when the connection ends first."""
        async with asyncio.timeout(PATIENCE_S):
            head = await self._reader.readexactly(HEADER_BYTES)
            size, command, status, sequence = HEADER.unpack(head)
            return Pdu(command, status, sequence, await self._reader.readexactly(size - HEADER_BYTES))

    async def asked(self, octets: bytes) -> Pdu:
        """What is answered to `octets`."""
        await self.say(octets)
        return await self.next()

    async def lives(self) -> bool:
        """Whether the session goes on."""
        try:
            answer = await self.asked(pdu.encode(Command.ENQUIRE_LINK, None, 77))
        except (asyncio.IncompleteReadError, ConnectionError):
            return False
        return answer[1:3] == (0, 77)

    def close(self) -> None:
        self._writer.transport.abort()
