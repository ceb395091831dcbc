"""A user's connection to the feed: first what was missed, from the store, then what happens, as the tail pushes it.

The two ways out, a WebSocket and server-sent events, differ in how bytes leave and in nothing else.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Protocol

import structlog

from landline.core.errors import Unavailable
from landline.edge.websockets import WebSocket
from landline.services.chat.realtime.metrics import Figures
from landline.services.chat.realtime.tickets import Holder
from landline.services.chat.stream import records
from landline.services.chat.stream.frames import Frame, Logline
from landline.services.chat.stream.tail import Tail
from landline.store.database import Database
from landline.wire import chat_feed as wire

log = structlog.get_logger()

UNREAD_BYTES = 1 << 18
"""Who has more than this to read is cut, and comes back to where it was."""
HELD_FRAMES = 2_000
"""Changes that wait while what was missed is read; beyond that they are read from the store, too."""
PING_S = 25.0
"""Who gives no sign of life from one ping to the next is gone."""
_PAGES = (16, 512)
"""The fewest and the most changes of a page of what was missed."""
_PAGE_BYTES = 1 << 16
"""About how long a page is to be, as thousands may be reading theirs."""
_TAKES_S = 30.0
"""For how long a client may leave a page of what it missed unread."""
UNAUTHORIZED = 4401
_SPEAKS = 1003
TRY_AGAIN = 1013
BUG = 1011


class Way(Protocol):
    """How frames leave."""

    @property
    def unsent(self) -> int:
        """Bytes that wait to be read."""
        ...

    def write(self, frames: list[Frame]) -> bool:
        """Send `frames`, after those before; False when there is too much unread."""
        ...

    async def room(self) -> None:
        """Wait until more may be written, or nobody reads."""
        ...

    def end(self, code: int) -> None:
        """Say no more, for `code` as of a WebSocket (RFC 6455 §7.4)."""
        ...

    def cut(self) -> None:
        """Let go of the client at once, unread frames and all."""
        ...


class FeedReader:
    """Fills `audience.Reader` and `watch.Held`."""

    def __init__(self, holder: Holder, database: Database, tail: Tail, figures: Figures) -> None:
        self.holder = holder
        self.ended = False
        """Whether the token ended; it may before there is a way out."""
        self._database = database
        self._tail = tail
        self._figures = figures
        self._way: Way | None = None
        self._at = 0
        self._reading = False
        """What was missed is being read: what is pushed waits behind it."""
        self._overflowed = False
        self._waiting: list[Frame] = []

    def open(self, way: Way, greeting: Frame, position: int) -> None:
        """Greet the client, which has all up to `position`."""
        self._way, self._at, self._reading = way, position, True
        if self.ended:
            self.end()
        else:
            way.write([greeting])

    def left(self) -> None:
        """The client is gone."""
        self._way = None

    async def follow(self) -> None:
        """Bring what was missed, and from then on what is pushed. Raises `Unavailable`, `TimeoutError` when the client
        does not read."""
        while self._way is not None:
            self._waiting, self._overflowed = [], False
            await self._catch_up(self._tail.position)
            if not self._overflowed:
                break
        self._reading = False
        self.flush()

    @property
    def unsent(self) -> int:
        """See `Reader.unsent`."""
        return 0 if self._way is None else self._way.unsent

    def cut(self) -> None:
        """See `Reader.cut`."""
        if self._way is not None:
            self._figures.slow_readers += 1
            log.info("chat.slow_reader_cut", user=self.holder.user, unsent_bytes=self._way.unsent)
            self._way.cut()

    def push(self, frame: Frame) -> None:
        """See `Reader.push`."""
        if self._way is None or (frame.position is not None and frame.position <= self._at):
            return
        if self._reading and len(self._waiting) >= HELD_FRAMES:
            self._overflowed = True
        elif not self._overflowed:
            self._waiting.append(frame)

    def flush(self) -> None:
        """See `Reader.flush`."""
        if self._reading or self._way is None or not self._waiting:
            return
        frames, self._waiting = self._waiting, []
        self._count(frames)
        self._write(self._way, frames)

    def progress(self, frame: Frame) -> None:
        """See `Reader.progress`."""
        if self._way is not None and not self._reading and frame.position is not None and frame.position >= self._at:
            self._write(self._way, [frame])

    def restart(self, frame: Frame, position: int) -> None:
        """See `Reader.restart`."""
        if self._way is None:
            return
        if self._reading:  # what it reads is of a course that is over
            self._way.end(TRY_AGAIN)
            return
        self._at, self._waiting = position, []
        self._write(self._way, [frame])

    def fail(self) -> None:
        """See `Reader.fail`."""
        if self._way is not None:
            self._way.end(TRY_AGAIN)

    def end(self) -> None:
        """See `Held.end`."""
        self.ended = True
        if self._way is not None:
            self._way.write([Frame(wire.Ended("unauthorized"), "")])
            self._way.end(UNAUTHORIZED)

    def stopping(self) -> None:
        """The server stops: the client is sent elsewhere."""
        if self._way is not None:
            self._figures.reconnects += 1
            self._way.write([Frame(wire.Reconnect(), "")])

    def _count(self, frames: list[Frame]) -> None:
        self._figures.frames += len(frames)
        self._figures.frame_bytes += sum([each.size for each in frames])

    def _write(self, way: Way, frames: list[Frame]) -> None:
        self._at = next((each.position for each in reversed(frames) if each.position is not None), self._at)
        if not way.write(frames):
            self.cut()

    async def _catch_up(self, upto: int) -> None:
        resource, user, limit = self.holder.resource, self.holder.user, _PAGES[0]
        while self._at < upto and (way := self._way) is not None:
            if self._at < self._tail.floor:
                raise Unavailable("What was missed is being removed.")
            rows = await records.missed(self._database, resource, user, self._at, upto, limit)
            frames = [
                line.frame(self._tail.epoch, blank=line.superseded and not row["still"])
                for row in rows
                if (line := Logline.of(row))
            ]
            self._at = rows[-1]["position"] if len(rows) == limit else upto
            if frames:
                self._count(frames)
                way.write(frames)
                limit = _next_limit(limit, sum([each.size for each in frames]))
            async with asyncio.timeout(_TAKES_S):
                await way.room()


def _next_limit(limit: int, page_bytes: int) -> int:
    wanted = limit * 2 if page_bytes < _PAGE_BYTES else limit // 2
    return max(_PAGES[0], min(wanted, _PAGES[1]))


class SocketWay:
    """Out by a WebSocket. Fills `Way`, and `Receiver` of the socket."""

    def __init__(self, socket: WebSocket, reader: FeedReader, gone: Callable[[], None]) -> None:
        self._socket = socket
        self._reader = reader
        self._gone = gone
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def unsent(self) -> int:
        """See `Way.unsent`."""
        return self._socket.unsent

    def opened(self) -> None:
        """The socket is: ask for signs of life."""
        self._timer = self._loop.call_later(PING_S, self._ping, True)

    def write(self, frames: list[Frame]) -> bool:
        """See `Way.write`."""
        if self.unsent > UNREAD_BYTES:
            return False
        self._socket.write(frames[0].framed if len(frames) == 1 else b"".join([each.framed for each in frames]))
        return True

    async def room(self) -> None:
        """See `Way.room`."""
        await self._socket.drained()

    def end(self, code: int) -> None:
        """See `Way.end`."""
        self._socket.close(code)

    def cut(self) -> None:
        """See `Way.cut`."""
        self._socket.abort()

    def received(self, text: str) -> None:
        """See `Receiver.received`: there is nothing to say."""
        self._socket.close(_SPEAKS)

    def stopping(self) -> None:
        """See `Receiver.stopping`."""
        self._reader.stopping()

    def lost(self) -> None:
        """See `Receiver.lost`."""
        if self._timer is not None:
            self._timer.cancel()
        self._gone()

    def _ping(self, first: bool) -> None:
        if not self._socket.ping() and not first:
            self._socket.abort()
            return
        self._timer = self._loop.call_later(PING_S, self._ping, False)


class StreamWay:
    """Out by server-sent events. Fills `Way`, and `Live` of the response; `gone` may be called again."""

    def __init__(self, reader: FeedReader, gone: Callable[[], None]) -> None:
        self._reader = reader
        self._gone = gone
        self._waiting: list[bytes] = []
        self._bytes = 0
        self._news = asyncio.Event()
        self._taken = asyncio.Event()
        self._over = False
        self._cut: Callable[[], None] | None = None

    @property
    def unsent(self) -> int:
        """See `Way.unsent`."""
        return self._bytes

    async def pieces(self) -> AsyncGenerator[bytes]:
        """What to send, as it comes: several frames in one piece when they waited. The first piece is empty."""
        try:
            yield b""
            while True:
                await self._news.wait()
                self._news.clear()
                piece, self._waiting, self._bytes = b"".join(self._waiting), [], 0
                self._taken.set()
                if piece:
                    yield piece
                if self._over and not self._waiting:
                    return
        finally:
            self._over = True
            self._taken.set()
            self._gone()

    def write(self, frames: list[Frame]) -> bool:
        """See `Way.write`."""
        if self._bytes > UNREAD_BYTES:
            return False
        if not self._over:
            told = [each.told for each in frames]
            self._waiting += told
            self._bytes += sum(map(len, told))
            self._taken.clear()
            self._news.set()
        return True

    async def room(self) -> None:
        """See `Way.room`."""
        if not self._over and self._waiting:
            await self._taken.wait()

    def end(self, code: int) -> None:
        """See `Way.end`: what waits is sent first."""
        self._over = True
        self._news.set()

    def cut(self) -> None:
        """See `Way.cut`. What was given to the connection goes with it: it counts as nobody's from now on."""
        self._waiting, self._bytes = [], 0
        self.end(TRY_AGAIN)
        self._gone()
        cut, self._cut = self._cut, None
        if cut is not None:
            cut()

    def begun(self, cut: Callable[[], None]) -> None:
        """See `Live.begun`."""
        self._cut = cut

    def stopping(self) -> None:
        """See `Live.stopping`: the client comes back by itself."""
        self._reader.stopping()
        self.end(TRY_AGAIN)

    def gone(self) -> None:
        """See `Live.gone`."""
        self.cut()
