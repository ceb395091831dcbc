"""What lies between a client and a server: bytes pass, until it is cut."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager


class Cable:
    """Forwards connections to a port of this machine, or to a socket with a name. `cuts` counts what was cut."""

    def __init__(self, to: int | str) -> None:
        self.to = to
        self.port = 0
        self.open = True
        """Whether new connections go through; else they are cut at once."""
        self.swallow = False
        """Whether bytes are lost, and connections stay."""
        self.cuts = 0
        self._writers: set[asyncio.StreamWriter] = set()

    def cut(self) -> None:
        """Cut all connections that there are, as when a machine goes away."""
        for writer in list(self._writers):
            self.cuts += 1
            writer.transport.abort()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """See `asyncio.start_server`."""
        if not self.open:
            writer.transport.abort()
            return
        self._writers.add(writer)
        try:
            if isinstance(self.to, str):
                far_reader, far_writer = await asyncio.open_unix_connection(self.to)
            else:
                far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.to)
        except OSError:
            self._writers.discard(writer)
            writer.transport.abort()
            return
        self._writers.add(far_writer)
        await self.begin(reader, far_writer)
        pairs = ((reader, far_writer), (far_reader, writer))
        await asyncio.gather(*[self._pass(source, sink) for source, sink in pairs], return_exceptions=True)
        self._writers -= {writer, far_writer}
        writer.transport.abort()
        far_writer.transport.abort()

    async def begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """What is done with a connection's first bytes, where it is not what is done with all."""

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            if not self.swallow:
                writer.write(data)
                await writer.drain()
        writer.close()


@asynccontextmanager
async def cable(to: int | str, kind: type[Cable] = Cable) -> AsyncGenerator[Cable]:
    """A cable to a port or the path of a socket, laid for as long as the block."""
    made = kind(to)
    server = await asyncio.start_server(made.connected, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        made.cut()
