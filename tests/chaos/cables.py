"""The lines between the machines of a run: bytes pass, until a line is cut, closed, or falls silent.

Silent is as a network that drops everything for a while: both ends keep their connections and hear nothing, and what
they wrote arrives when it is over, as TCP sends it again.
"""

import asyncio
from contextlib import suppress


class Line:
    """Forwards connections to a port of this machine."""

    def __init__(self, name: str, to: int) -> None:
        self.name = name
        self.to = to
        self.port = 0
        self.tried = 0
        """How often somebody connected."""
        self._passing = asyncio.Event()
        self._passing.set()
        self._open = True
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def lay(self) -> "Line":
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def cut(self) -> None:
        """Every connection ends at once, at both ends."""
        for writer in list(self._writers):
            writer.transport.abort()

    def close(self) -> None:
        """Cut, and refuse new connections."""
        self._open = False
        self.cut()

    def silence(self) -> None:
        """Nothing passes, in any connection, old or new; not even that one ends."""
        self._passing.clear()

    def heal(self, *, cut: bool = False) -> None:
        """As at first. `cut`: what was on its way is lost with its connections."""
        if cut:
            self.cut()
        self._open = True
        self._passing.set()

    async def end(self) -> None:
        self.heal(cut=True)
        if self._server is not None:
            self._server.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.tried += 1
        self._writers.add(writer)
        far: asyncio.StreamWriter | None = None
        try:
            await self._passing.wait()
            if self._open:
                far_reader, far = await asyncio.open_connection("127.0.0.1", self.to)
                self._writers.add(far)
                await asyncio.gather(self._pass(reader, far), self._pass(far_reader, writer))
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            for each in (writer, far):
                if each is not None:
                    self._writers.discard(each)
                    each.transport.abort()

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65_536):
            await self._passing.wait()
            sink.write(data)
            await sink.drain()
        await self._passing.wait()
        with suppress(OSError, RuntimeError):
            if sink.can_write_eof():
                sink.write_eof()
