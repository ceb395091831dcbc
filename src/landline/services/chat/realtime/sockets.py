"""A user's connection over a WebSocket: the pump around the protocol core, and the way out for notifications. It has
no task of its own: an idle one costs a timer."""

import asyncio
from collections.abc import Callable

import structlog

from landline.edge.websockets import WebSocket
from landline.protocols.trouter.errors import RemoteProtocolError
from landline.protocols.trouter.session import Left, Session
from landline.protocols.websocket.frames import text_frame
from landline.services.chat.realtime.metrics import Figures
from landline.services.chat.realtime.tickets import Holder

log = structlog.get_logger()

TTL_S = 21_600
"""For how long a client keeps its address before it asks for another."""
UNREAD_BYTES = 1 << 18
"""A client with more than this to read is too slow: it is cut, comes back and reads the threads again."""
_NOT_ALLOWED = 1008
_UNREADABLE = 1002


class SocketMember:
    """Fills `hub.Member`, and `Receiver` of its socket. Nothing is sent before `greet`. `gone` is called once, when the
    connection has ended."""

    __slots__ = ("_figures", "_gone", "_loop", "_session", "_socket", "_timer", "_waiting", "holder")

    def __init__(
        self, holder: Holder, socket: WebSocket, gone: "Callable[[SocketMember], None]", figures: Figures
    ) -> None:
        self.holder = holder
        self._figures = figures
        self._socket = socket
        self._gone = gone
        self._loop = asyncio.get_running_loop()
        self._session: Session | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: list[bytes] = []

    def greet(self) -> None:
        """The socket is open: the connection begins."""
        self._session = Session(self._loop.time(), ttl_s=TTL_S)
        self._write(self._session)
        self.flush()
        self._expire()

    def received(self, text: str) -> None:
        """See `Receiver.received`."""
        session = self._session
        if session is None:
            return
        try:
            heard = session.receive(text, self._loop.time())
        except RemoteProtocolError:
            self._socket.close(_UNREADABLE)
            return
        if isinstance(heard, Left):
            self._socket.close()
            return
        self._write(session)

    def stopping(self) -> None:
        """See `Receiver.stopping`: the client opens another connection before this one goes."""
        if self._session is not None:
            self._session.reconnect()
            self._figures.reconnects += 1
            self._write(self._session)

    def lost(self) -> None:
        """See `Receiver.lost`."""
        if self._timer is not None:
            self._timer.cancel()
        self._session = None
        self._gone(self)

    def push(self, frame: bytes) -> bool:
        """See `Member.push`."""
        self._waiting.append(frame)
        return len(self._waiting) == 1

    def flush(self) -> None:
        """See `Member.flush`."""
        if self._session is None:
            return
        waiting, socket = self._waiting, self._socket
        if socket.unsent > UNREAD_BYTES:
            self._figures.slow_readers += 1
            log.info("chat.slow_reader_cut", user=self.holder.user, unsent_bytes=socket.unsent)
            socket.abort()
        elif waiting:
            socket.write(waiting[0] if len(waiting) == 1 else b"".join(waiting))
        waiting.clear()

    @property
    def unsent(self) -> int:
        """See `Member.unsent`."""
        return 0 if self._session is None else self._socket.unsent

    def cut(self) -> None:
        """See `Member.cut`."""
        self._socket.abort()

    def end(self) -> None:
        """See `Member.end`."""
        if self._session is not None:
            self._session.end("unauthorized")
            self._write(self._session)
        self._socket.close(_NOT_ALLOWED)

    def _expire(self) -> None:
        session = self._session
        if session is None:
            return
        if session.expire(self._loop.time()) is not None:
            self._socket.abort()
            return
        self._write(session)
        self._timer = self._loop.call_at(session.deadline(), self._expire)

    def _write(self, session: Session) -> None:
        packets = session.outgoing()
        if packets:
            self._socket.write(b"".join([text_frame(packet.encode()) for packet in packets]))
