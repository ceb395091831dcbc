"""A user's connection over a WebSocket: the pump around the protocol core, and the way out for notifications."""

import asyncio

import structlog

from landline.edge.websockets import WebSocket, text_frame
from landline.protocols.trouter.errors import RemoteProtocolError
from landline.protocols.trouter.session import Left, Session
from landline.services.chat.realtime.frames import Outgoing
from landline.services.chat.realtime.tickets import Holder

log = structlog.get_logger()

TTL_S = 21_600
"""For how long a client keeps its address before it asks for another."""
UNREAD_BYTES = 1 << 18
"""A client with more than this to read is too slow: it is cut, comes back and reads the threads again."""
_NOT_ALLOWED = 1008
_UNREADABLE = 1002


class SocketMember:
    """Fills `hub.Member`. Nothing is sent before `serve` has greeted the client."""

    def __init__(self, holder: Holder, socket: WebSocket) -> None:
        self.holder = holder
        self._socket = socket
        self._session: Session | None = None
        self._waiting: list[bytes] = []

    async def serve(self) -> None:
        """Greet the client, and hear it until one side ends the connection. Raises `Gone`."""
        loop = asyncio.get_running_loop()
        session = self._session = Session(loop.time(), ttl_s=TTL_S)
        self._write()
        self.flush()
        while True:
            try:
                async with asyncio.timeout_at(session.deadline()):
                    text = await self._socket.receive()
            except TimeoutError:
                if session.expire(loop.time()) is not None:
                    self._socket.abort()
                    return
            else:
                try:
                    heard = session.receive(text, loop.time())
                except RemoteProtocolError:
                    await self._socket.close(_UNREADABLE)
                    return
                if isinstance(heard, Left):
                    await self._socket.close()
                    return
            self._write()

    def push(self, outgoing: Outgoing) -> bool:
        """See `Member.push`."""
        self._waiting.append(outgoing.framed)
        return len(self._waiting) == 1

    def flush(self) -> None:
        """See `Member.flush`."""
        if self._session is None:
            return
        waiting, self._waiting = self._waiting, []
        if self._socket.unsent > UNREAD_BYTES:
            log.info("chat.slow_reader_cut", user=self.holder.user, unsent_bytes=self._socket.unsent)
            self._socket.abort()
        elif waiting:
            self._socket.write(waiting[0] if len(waiting) == 1 else b"".join(waiting))

    async def end(self) -> None:
        """See `Member.end`."""
        if self._session is not None:
            self._session.end("unauthorized")
            self._write()
        await self._socket.close(_NOT_ALLOWED)

    def stopping(self) -> None:
        """The server stops: the client opens another connection before this one goes."""
        if self._session is not None:
            self._session.reconnect()
            self._write()

    def _write(self) -> None:
        assert self._session is not None
        packets = self._session.outgoing()
        if packets:
            self._socket.write(b"".join([text_frame(packet.encode()) for packet in packets]))
