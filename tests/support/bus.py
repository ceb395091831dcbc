"""Ears for tests of the bus, and NATS servers to have between processes."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from landline.engines.nats.bus import NatsBus
from landline.engines.nats.server import NatsServer
from landline.engines.nats.settings import Settings, server


class Ear:
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self._changed = asyncio.Event()

    def __call__(self, data: bytes) -> None:
        self.heard.append(data)
        self._changed.set()

    async def until(self, last: bytes, *, timeout_s: float = 10) -> list[bytes]:
        """All that was heard, once `last` was."""
        async with asyncio.timeout(timeout_s):
            while last not in self.heard:
                self._changed.clear()
                await self._changed.wait()
        return self.heard


@asynccontextmanager
async def nats_server() -> AsyncGenerator[NatsServer]:
    """One that runs."""
    made = NatsServer()
    await made.start()
    try:
        yield made
    finally:
        await made.close()


def settings(*urls: str, prefix: str = "landline", credentials: Path | None = None) -> Settings:
    """Those of a process."""
    return Settings(tuple(server(url) for url in urls), prefix, credentials)


@asynccontextmanager
async def processes(*urls: str, count: int = 2, **limits: int) -> AsyncGenerator[list[NatsBus]]:
    """The buses of so many."""
    made = [NatsBus(settings(*urls), **limits) for _ in range(count)]
    await asyncio.gather(*(each.start() for each in made))
    try:
        yield made
    finally:
        await asyncio.gather(*(each.close() for each in made))
