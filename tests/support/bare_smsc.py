"""A bare SMSC that takes any bind, and otherwise only says what it is told to, octet by octet."""

import asyncio

from msgspec.structs import replace
from tests.support.smpp_world import OURS, PHONE, until

from landline.protocols.smpp import pdu
from landline.protocols.smpp.commands import RESPONSE, BindKind, Command, Tag
from landline.protocols.smpp.framing import HEADER, Framer
from landline.protocols.smpp.pdu import ShortMessage

_BINDS = frozenset(kind.value for kind in BindKind)


def deliver_sm(sequence: int, message: ShortMessage) -> bytes:
    return pdu.encode(Command.DELIVER_SM, message, sequence)


def text(words: bytes, **fields: object) -> ShortMessage:
    """`words` from a phone to us, where `fields` do not say otherwise."""
    message = ShortMessage(
        source_addr_ton=1,
        source_addr=PHONE[1:],
        dest_addr_ton=1,
        destination_addr=OURS[1:],
        short_message=words,
    )
    return replace(message, **fields)


class BareSmsc:
    """See the module."""

    def __init__(self, version: int | None = None) -> None:
        """`version` is what it says it speaks, if anything."""
        self._version: pdu.Tlvs = () if version is None else ((Tag.SC_INTERFACE_VERSION, bytes((version,))),)
        self.frames: list[bytes] = []
        """What came after the bind, oldest first."""
        self.binds: list[tuple[BindKind, pdu.Bind]] = []
        self._server: asyncio.Server
        self._writer: asyncio.StreamWriter | None = None
        self._bound: dict[int, asyncio.StreamWriter] = {}
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self) -> int:
        """Its port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self._server.sockets[0].getsockname()[1]

    async def say(self, octets: bytes) -> None:
        assert self._writer is not None
        self._writer.write(octets)
        await self._writer.drain()

    async def say_to(self, kind: BindKind, octets: bytes) -> None:
        """To who has bound so last."""
        writer = self._bound[kind.value]
        writer.write(octets)
        await writer.drain()

    def cut(self) -> None:
        """The connection, as a crash would."""
        assert self._writer is not None
        self._writer.transport.abort()

    async def request(self) -> tuple[int, int]:
        """(command, sequence number) of the next request."""
        await until(lambda: bool(self.frames))
        _, command, _, sequence = HEADER.unpack_from(self.frames.pop(0))
        return command, sequence

    async def answers(self, count: int) -> list[tuple[int, int]]:
        """(status, sequence number) of the next `count` responses."""
        await until(lambda: len(self._responses()) >= count)
        found = self._responses()[:count]
        self.frames.clear()
        return found

    def _responses(self) -> list[tuple[int, int]]:
        heads = [HEADER.unpack_from(frame) for frame in self.frames]
        return [(state, sequence) for _, command, state, sequence in heads if command & RESPONSE]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        framer = Framer()
        self._writers.append(writer)
        while data := await reader.read(65536):
            for frame in framer.receive(data):
                _, command, _, sequence = HEADER.unpack_from(frame)
                if command in _BINDS:
                    body = pdu.decode(frame)
                    assert isinstance(body, pdu.Bind)
                    self.binds.append((BindKind(command), body))
                    self._writer = self._bound[command] = writer
                    writer.write(pdu.encode(command | RESPONSE, pdu.BindAnswer("bare", self._version), sequence))
                elif command == Command.UNBIND:
                    writer.write(pdu.encode(command | RESPONSE, None, sequence))
                else:
                    self.frames.append(frame)
        writer.close()

    async def close(self) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await self._server.wait_closed()
