"""WebSockets (RFC 6455) at the edge: routes, and the connection that a handler is given and answers through.

No task and no queue belongs to an open socket: texts that come are calls, and complete frames go straight to the
transport, so that one frame made once goes to thousands of sockets as the same bytes.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus
from typing import Any, Protocol

import structlog

from landline.core.errors import Refusal
from landline.edge import answers, errors, request_ids
from landline.edge.http import Request
from landline.edge.routes import Access, ErrorStyle
from landline.protocols.websocket.frames import PING_FRAME, close_frame, pong_frame
from landline.protocols.websocket.handshake import VERSION, NotOpened, accepted
from landline.protocols.websocket.reader import Ended, Pinged, Reader

log = structlog.get_logger()

LARGEST_MESSAGE = 65_536
"""Bytes of a message that is read."""
FEW_BYTES = 1 << 14
"""What may wait for a client to read before it counts as slow, beside what the kernel holds."""
_AT_ONCE = 1 << 13
"""Bytes of one client that are read before all others have their turn: they may be more than a thousand frames, and a
client that says the next ones as fast as they are read would be the only one that is heard."""
DRAIN_S = 1.0
"""How long clients have to open another connection before theirs is closed at shutdown, and to answer a close."""
_BUG, _RESTART = 1011, 1012
_NOTHING = Reader(0)
"""In place of the reader of a connection that is over, which may hold most of a message for as long as its receiver is
remembered."""


class Gone(Exception):
    """The client is no longer there."""


class _NoHandshake(Refusal):
    """The request opens no socket."""

    def __init__(self, error: NotOpened) -> None:
        super().__init__(str(error), code="UpgradeRequired" if error.status == 426 else "BadRequest")
        self.status = error.status


class SocketApp(Protocol):
    """Who answers requests for sockets."""

    async def connect(self, request: Request, socket: "WebSocket") -> None:
        """Accept or refuse `socket`. Never raises."""
        ...


class Receiver(Protocol):
    """Who an open socket belongs to. It is called in the event loop, and returns at once."""

    def received(self, text: str) -> None:
        """The client sent `text`. What this raises is logged as a bug, and closes the socket."""
        ...

    def stopping(self) -> None:
        """The server stops: in `DRAIN_S` it closes the socket."""
        ...

    def lost(self) -> None:
        """Nothing comes or goes any more, whoever ended it. Called once, also for `close` and `abort`."""
        ...


class _State(Enum):
    ASKED = "asked"
    OPEN = "open"
    CLOSING = "closing"
    """We have sent our close frame, and wait for the client's."""
    CLOSED = "closed"


class WebSocket(asyncio.Protocol):
    """One client's connection from when it has asked for a socket, which `ask` has `app` answer. `connections` and
    `tasks` are the server's, which at its end calls `shutdown` of each connection and cancels tasks that stay."""

    __slots__ = (
        "_app",
        "_congested",
        "_connections",
        "_draining",
        "_early",
        "_heard",
        "_looking",
        "_opening",
        "_reader",
        "_receiver",
        "_rest",
        "_state",
        "_tasks",
        "_timer",
        "_transport",
    )

    def __init__(
        self,
        transport: asyncio.Transport,
        app: SocketApp,
        connections: set[Any],
        tasks: "set[asyncio.Task[None]]",
    ) -> None:
        self._transport = transport
        self._app = app
        self._connections = connections
        self._tasks = tasks
        self._state = _State.ASKED
        self._reader: Reader | None = None
        self._receiver: Receiver | None = None
        self._opening: bytes | None = None
        """The answer that opens the socket, once it has been asked for."""
        self._early = b""
        """What the client says before it is answered."""
        self._rest = b""
        """What came and is read in the next turns of the loop, before more comes."""
        self._looking = False
        self._heard = False
        self._draining: asyncio.Future[None] | None = None
        """There while the client reads too slowly; done when it has read."""
        self._timer: asyncio.TimerHandle | None = None
        self._congested = False
        transport.set_write_buffer_limits(FEW_BYTES)
        connections.add(self)

    def ask(self, request: Request) -> None:
        """Have the application answer `request`, or refuse it when it is no good handshake (RFC 6455 §4.2.1)."""
        try:
            self._opening = accepted(request.method, request.headers)
        except NotOpened as error:
            refusal = _NoHandshake(error)
            response = errors.answer(refusal, ErrorStyle.ACS, Access.NONE, request.request_id)
            # RFC 9110 §15.5.22: what else is spoken here.
            told = {"sec-websocket-version": VERSION, "upgrade": "websocket", "connection": "upgrade, close"}
            headers = {**response.headers, **request_ids.headers(request), **told}
            self.refuse(response.status, headers, response.body)
            return
        task = asyncio.get_running_loop().create_task(self._serve(request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @property
    def accepted(self) -> bool:
        """Whether it was ever open."""
        return self._reader is not None

    def accept(self, receiver: Receiver, *, subprotocol: str | None = None) -> None:
        """Open it for `receiver`, who hears nothing before the loop's next turn; `subprotocol` is one of those that the
        client offered. Raises `Gone`, and never calls it."""
        if self._state is not _State.ASKED or self._opening is None:
            raise Gone
        if subprotocol is not None:
            self._opening = self._opening[:-2] + f"Sec-WebSocket-Protocol: {subprotocol}\r\n\r\n".encode()
        self._transport.write(self._opening)
        self._reader, self._receiver, self._state = Reader(LARGEST_MESSAGE), receiver, _State.OPEN
        early, self._early, self._opening = self._early, b"", None
        if early:
            asyncio.get_running_loop().call_soon(self.data_received, early)

    def refuse(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Answer the request for a socket with an HTTP response instead."""
        if self._state is not _State.ASKED:
            return
        headers = {"date": answers.date(), "connection": "close", **headers, "content-length": str(len(body))}
        lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{k}: {v}" for k, v in headers.items())]
        self._transport.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        self._end()

    def write(self, frames: bytes) -> None:
        """Send complete frames, after those before. Nothing happens when the socket is closed or being closed."""
        if self._state is _State.OPEN:
            self._transport.write(frames)

    @property
    def unsent(self) -> int:
        """Bytes that wait in this process for the client to read; 0 as long as they are `FEW_BYTES` at most."""
        return self._transport.get_write_buffer_size() if self._congested else 0

    def ping(self) -> bool:
        """Ask the client for a sign of life; whether it gave any since it was asked last."""
        heard, self._heard = self._heard, False
        self.write(PING_FRAME)
        return heard

    async def drained(self) -> None:
        """Wait until the client has read so much that more may be written, or is gone."""
        if self._draining is not None:
            await asyncio.shield(self._draining)

    def close(self, code: int = 1000) -> None:
        """End it in good order, for `code` (RFC 6455 §7.4): a client that does not answer in `DRAIN_S` is cut."""
        if self._state is not _State.OPEN:
            return
        self._transport.write(close_frame(code))
        self._state = _State.CLOSING
        self._after_drain(self._transport.abort)
        self._lose()

    def abort(self) -> None:
        """Cut it, unsent bytes and all."""
        self._state = _State.CLOSED
        self._transport.abort()
        self._lose()

    def shutdown(self) -> None:
        """The server stops."""
        if self._state is _State.ASKED:
            self.refuse(503, {}, b"")
        elif self._state is _State.OPEN and self._receiver is not None:
            self._after_drain(lambda: self.close(_RESTART))
            self._receiver.stopping()

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self._reader is not None:
            if self._rest or len(data) > _AT_ONCE:
                self._rest += data
                self._look_soon()
            else:
                self._read(self._reader, data)
        elif self._opening is not None:
            self._early += data
            if len(self._early) > LARGEST_MESSAGE:
                self.abort()

    def pause_writing(self) -> None:
        """Who does not read what we say is not heard either: pongs would only add to what waits."""
        self._congested = True
        if self._draining is None:
            self._draining = asyncio.get_running_loop().create_future()
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The client has read."""
        self._congested = False
        self._drain()
        self._read_on()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._connections.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        self._drain()
        self._state = _State.CLOSED
        if self._reader is not None:
            self._reader = _NOTHING
        self._rest = b""
        self._lose()

    async def _serve(self, request: Request) -> None:
        try:
            await self._app.connect(request, self)
        finally:
            if self._state is _State.ASKED:
                self.abort()

    def _drain(self) -> None:
        draining, self._draining = self._draining, None
        if draining is not None:
            draining.set_result(None)

    def _look_soon(self) -> None:
        """Read what waits in the next turns of the loop."""
        if not self._transport.is_closing():
            self._transport.pause_reading()
        if not self._looking:
            self._looking = True
            asyncio.get_running_loop().call_soon(self._look)

    def _look(self) -> None:
        self._looking = False
        if self._reader is not None and not self._congested:
            piece, self._rest = self._rest[:_AT_ONCE], self._rest[_AT_ONCE:]
            self._read(self._reader, piece)
            self._read_on()

    def _read_on(self) -> None:
        """Go on with the rest, or with what comes."""
        if self._rest:
            self._look_soon()
        elif not self._congested and not self._transport.is_closing():
            self._transport.resume_reading()

    def _read(self, reader: Reader, data: bytes) -> None:
        self._heard = True
        for event in reader.receive(data):
            if isinstance(event, Ended):
                self._ended(event.code)
            elif self._state is not _State.OPEN:
                continue  # a client may go on until it hears that we have closed
            elif isinstance(event, Pinged):
                self._transport.write(pong_frame(event.payload))
            else:
                self._received(event)

    def _received(self, text: str) -> None:
        assert self._receiver is not None
        try:
            self._receiver.received(text)
        except Exception:  # a bug: the edge is where it ends
            log.exception("edge.bug", operation=type(self._receiver).__name__)
            self.close(_BUG)

    def _ended(self, code: int) -> None:
        if self._state is _State.OPEN:
            self._transport.write(close_frame(code))
        self._end()
        self._lose()

    def _end(self) -> None:
        self._state = _State.CLOSED
        self._transport.close()
        self._after_drain(self._transport.abort)  # closing waits for the client to read

    def _after_drain(self, call: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(DRAIN_S, call)

    def _lose(self) -> None:
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.lost()


SocketHandler = Callable[[Request, WebSocket], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class SocketRoute:
    """A path at which sockets are opened. The handler proves who asks, and accepts: the socket outlives it. What it
    raises before it accepts is answered as for any request, afterwards only `Gone` is no bug."""

    template: str
    handler: SocketHandler
    name: str
