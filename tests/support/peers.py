"""HTTP servers that say exactly what a test wants, byte by byte, right or wrong."""

import asyncio
import re
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

from tests.support.patience import PATIENCE_S

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
_LENGTH = re.compile(rb"content-length: (\d+)")


class Talk:
    """One connection, seen from the server."""

    def __init__(self, peer: "Peer", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.peer = peer
        self.reader = reader
        self.writer = writer

    async def heard(self) -> bytes:
        """The next request, whole. Raises `IncompleteReadError` when the client has gone."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(head)
        body = await self.reader.readexactly(int(length[1])) if length else b""
        async with self.peer.changed:
            self.peer.requests.append(head + body)
            self.peer.changed.notify_all()
        return head + body

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, data: bytes = OK) -> None:
        """Hear a request and answer it."""
        await self.heard()
        await self.say(data)

    async def client_gone(self) -> None:
        """Until the client has closed."""
        await self.reader.read()


Script = Callable[[Talk], Awaitable[None]]


class Peer:
    """A server; each connection follows the script and is then closed."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.url = ""
        self.port = 0
        self.connections = 0
        self.open = self.most_open = 0
        self.requests: list[bytes] = []
        self.changed = asyncio.Condition()
        self._talks: set[asyncio.Task[None]] = set()

    async def until(self, true: Callable[[], bool]) -> None:
        """Until `true`, which looks at this peer's counts."""
        async with asyncio.timeout(PATIENCE_S), self.changed:
            await self.changed.wait_for(true)

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._talks.add(task)
        await self._count(1)
        try:
            await self._script(Talk(self, reader, writer))
        except (asyncio.IncompleteReadError, OSError, asyncio.CancelledError):
            pass  # the client has gone, or the test is over
        finally:
            self._talks.discard(task)
            writer.close()
            await self._count(-1)

    async def close(self) -> None:
        talks = list(self._talks)
        for task in talks:
            task.cancel()
        await asyncio.gather(*talks, return_exceptions=True)

    async def _count(self, by: int) -> None:
        async with self.changed:
            self.connections += by > 0
            self.open += by
            self.most_open = max(self.most_open, self.open)
            self.changed.notify_all()


@asynccontextmanager
async def peer(script: Script, *, tls: ssl.SSLContext | None = None, name: str = "127.0.0.1") -> AsyncGenerator[Peer]:
    """A peer on loopback; its URL names it `name`."""
    one = Peer(script)
    server = await asyncio.start_server(one.talk, "127.0.0.1", 0, ssl=tls, backlog=256)
    one.port = server.sockets[0].getsockname()[1]
    one.url = f"{'https' if tls else 'http'}://{name}:{one.port}/"
    try:
        yield one
    finally:
        server.close()
        await one.close()


def always(answer: bytes = OK) -> Script:
    """Answer every request with `answer`."""

    async def script(talk: Talk) -> None:
        while True:
            await talk.answer(answer)

    return script
