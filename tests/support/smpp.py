"""What several tests of SMPP need: an engine that dies, and a network that fails."""

import asyncio

from landline.engines.smpp.carrier import SmppCarrier


async def crash(carrier: SmppCarrier) -> None:
    """The carrier's process is gone, in the middle of whatever it did."""
    tasks = [*carrier._binds.tasks, *([carrier._telling] if carrier._telling is not None else [])]
    for link in carrier._links:
        link.abort()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class Network:
    """A TCP proxy that can cut its connections, swallow what they carry, and refuse new ones."""

    def __init__(self) -> None:
        self.port = 0
        self.swallows = False
        self.refuses = False
        self.connections = 0
        self._target = 0
        self._server: asyncio.Server | None = None
        self._halves: set[_Half] = set()

    async def start(self, target_port: int) -> None:
        self._target = target_port
        self._server = await asyncio.get_running_loop().create_server(lambda: _Half(self, None), "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        for half in list(self._halves):
            half.abort()

    async def close(self) -> None:
        self.cut()
        if self._server is not None:
            self._server.close()


class _Half(asyncio.Protocol):
    """One direction's receiving end."""

    def __init__(self, network: Network, other: "_Half | None") -> None:
        self._network = network
        self._other = other
        self._transport: asyncio.Transport | None = None
        self._early = b""
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._network._halves.add(self)
        if self._other is not None:
            return
        if self._network.refuses:
            transport.abort()
            return
        self._network.connections += 1
        self._task = asyncio.create_task(self._connect())

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, other = await loop.create_connection(
                lambda: _Half(self._network, self), "127.0.0.1", self._network._target
            )
        except OSError:
            self.abort()
            return
        if self._transport is None:  # lost meanwhile, as the other half is to be
            other.abort()
            return
        self._other = other
        other.write(self._early)

    def data_received(self, data: bytes) -> None:
        if self._network.swallows:
            return
        if self._other is None:
            self._early += data
        else:
            self._other.write(data)

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._network._halves.discard(self)
        self._transport = None
        if self._other is not None:
            self._other.abort()
