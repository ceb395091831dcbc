"""A user's connection over long polls, for clients that get no WebSocket through (chat-realtime.md A, 7).

It lives in one process; `polls` brings it what reaches others.
"""

import asyncio
from collections.abc import Callable

from landline.core.errors import Conflict
from landline.edge.websockets import FEW_BYTES
from landline.protocols.trouter import packets
from landline.protocols.trouter.errors import RemoteProtocolError
from landline.protocols.trouter.packets import Kind, Packet
from landline.protocols.trouter.session import Left, Session
from landline.protocols.websocket.frames import payload_of
from landline.services.chat.realtime.metrics import Figures
from landline.services.chat.realtime.sockets import TTL_S, UNREAD_BYTES
from landline.services.chat.realtime.tickets import Holder

POLL_S = 25.0
"""The longest a poll waits."""
ABSENT_S = 60.0
"""Between two polls; then the connection is gone."""
_NOOP = packets.written(Packet(Kind.NOOP))


class PollingMember:
    """Fills `hub.Member`. `gone` is called once, when the connection has ended."""

    def __init__(self, holder: Holder, gone: Callable[[], None], figures: Figures) -> None:
        self.holder = holder
        self._figures = figures
        self._gone: Callable[[], None] | None = gone
        self._loop = asyncio.get_running_loop()
        self._session = Session(self._loop.time(), ttl_s=TTL_S)
        self._waiting: list[str] = []
        self._bytes = 0
        self._news = asyncio.Event()
        self._absent = self._loop.call_later(ABSENT_S, self._over)
        self._polls = 0

    async def poll(self) -> str:
        """What there is to say, once there is something. A newer poll ends an older one."""
        self._absent.cancel()
        self._polls += 1
        mine = self._polls
        self._news.set()  # an older poll has nothing left to wait for
        self._collect()
        if not self._waiting:
            self._news = asyncio.Event()
            try:
                async with asyncio.timeout(POLL_S):
                    await self._news.wait()
            except TimeoutError:
                self._collect()
        if mine != self._polls:
            return _NOOP
        self._absent.cancel()
        self._absent = self._loop.call_later(ABSENT_S, self._over)
        said, self._waiting, self._bytes = self._waiting, [], 0
        return packets.body(said) if said else _NOOP

    def receive(self, body: str) -> None:
        """What the client says. Raises `Conflict` when it is no packet of ours."""
        try:
            for packet in packets.split(body):
                if isinstance(self._session.receive(packet, self._loop.time()), Left):
                    self._over()
        except RemoteProtocolError as error:
            raise Conflict(str(error)) from None
        self._collect()

    def push(self, frame: bytes) -> bool:
        """See `Member.push`."""
        self._waiting.append(payload_of(frame).decode())
        self._bytes += len(frame)
        return True

    def flush(self) -> None:
        """See `Member.flush`."""
        self._news.set()
        self._bound()

    @property
    def unsent(self) -> int:
        """See `Member.unsent`."""
        return 0 if self._gone is None or self._bytes <= FEW_BYTES else self._bytes

    def cut(self) -> None:
        """See `Member.cut`."""
        self._over()

    def end(self) -> None:
        """See `Member.end`."""
        self._session.end("unauthorized")
        self._collect()
        self._over()

    def discard(self) -> None:
        """It never came to be."""
        self._gone = None
        self._over()

    def _collect(self) -> None:
        if self._session.expire(self._loop.time()) is not None:
            self._over()
        said = self._session.outgoing()
        if said:
            self._waiting += said
            self._bytes += sum([len(each) for each in said])
            self._news.set()
            self._bound()

    def _bound(self) -> None:
        """Who asks for more, or is told more, than it fetches is gone."""
        if self._bytes > UNREAD_BYTES and self._gone is not None:
            self._figures.slow_readers += 1
            self._over()

    def _over(self) -> None:
        self._absent.cancel()
        self._news.set()
        if self._gone is not None:
            gone, self._gone = self._gone, None
            gone()
