"""WebSockets (RFC 6455) at the edge: routes, the socket a handler is given, and uvicorn's protocol below it.

A handler reads texts through ASGI and writes complete frames straight to the transport: one frame made once goes to
thousands of sockets as the same bytes.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from landline.edge.http import Request

Message: TypeAlias = MutableMapping[str, Any]

LARGEST_MESSAGE = 65_536
"""Bytes of a message that is read."""
DRAIN_S = 1.0
"""How long clients have to open another connection before theirs is closed at shutdown."""
_EXTENSION = "landline.connection"


class Gone(Exception):
    """The client is no longer there."""


def text_frame(payload: bytes) -> bytes:
    """The unmasked text frame of `payload` (UTF-8), as every client may be sent it (RFC 6455 §5.2)."""
    length = len(payload)
    if length < 126:
        return bytes((0x81, length)) + payload
    if length < 65_536:
        return b"\x81\x7e" + length.to_bytes(2, "big") + payload
    return b"\x81\x7f" + length.to_bytes(8, "big") + payload


class Connection(WebSocketsSansIOProtocol):
    """uvicorn's protocol, whose transport the application may write to, and which says when the server stops."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.stopping: Callable[[], None] | None = None
        """Called when the server stops; the connection is closed `DRAIN_S` later. Without it, at once."""

    async def run_asgi(self) -> None:
        """Call the application."""
        scope: Any = self.scope
        scope["extensions"][_EXTENSION] = self
        await super().run_asgi()

    def shutdown(self) -> None:
        """The server stops."""
        if self.stopping is None or self.close_sent or not self.handshake_complete:
            super().shutdown()
            return
        self.stopping()
        self.stopping = None
        self.loop.call_later(DRAIN_S, self._end)

    def _end(self) -> None:
        if not self.transport.is_closing():
            super().shutdown()


class WebSocket:
    """One client's socket, for the handler of its route."""

    def __init__(
        self,
        connection: Connection,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        self._connection = connection
        self._receive = receive
        self._send = send
        self.accepted = False

    @classmethod
    def of(
        cls, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> "WebSocket":
        """The socket of an ASGI scope on one of our listeners."""
        return cls(scope["extensions"][_EXTENSION], receive, send)

    async def accept(self, stopping: Callable[[], None] | None = None) -> None:
        """Open it. `stopping` is called when the server stops, `DRAIN_S` before it closes the socket. Raises `Gone`."""
        try:
            await self._send({"type": "websocket.accept"})
        except OSError as error:
            raise Gone from error
        self.accepted = True
        self._connection.stopping = stopping

    async def receive(self) -> str:
        """The next text. Raises `Gone`, also for bytes, which nobody here speaks."""
        message = await self._receive()
        text = message.get("text")
        if message["type"] != "websocket.receive" or text is None:
            raise Gone
        return text

    def write(self, frames: bytes) -> None:
        """Send complete frames, after those before. Nothing happens when the socket is closed or being closed."""
        connection = self._connection
        if not (connection.close_sent or connection.transport.is_closing()):
            connection.transport.write(frames)

    @property
    def unsent(self) -> int:
        """Bytes that wait in this process for the client to read."""
        return self._connection.transport.get_write_buffer_size()

    def abort(self) -> None:
        """Cut it, unsent bytes and all; the handler's `receive` raises `Gone`."""
        self._connection.transport.abort()

    async def close(self, code: int = 1000) -> None:
        """End it in good order, for `code` (RFC 6455 §7.4)."""
        self._connection.stopping = None
        try:
            async with asyncio.timeout(DRAIN_S):
                await self._send({"type": "websocket.close", "code": code})
        except (TimeoutError, OSError, RuntimeError):
            self.abort()


SocketHandler = Callable[[Request, WebSocket], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class SocketRoute:
    """A path at which sockets are opened. The handler proves who asks, accepts, and stays as long as the socket: what
    it raises before it accepts is answered as for any request, afterwards only `Gone` is no bug."""

    template: str
    handler: SocketHandler
    name: str
