"""Ears for tests of the bus, and NATS servers to have between processes."""

import asyncio
import base64
import binascii
import json
import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.support.patience import PATIENCE_S
from tests.support.ports import free_port

from landline.engines.nats.bus import NatsBus
from landline.engines.nats.server import NatsServer, answers, found
from landline.engines.nats.settings import Settings, server


class Ear:
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self._changed = asyncio.Event()

    def __call__(self, data: bytes) -> None:
        self.heard.append(data)
        self._changed.set()

    async def until(self, last: bytes, *, timeout_s: float = PATIENCE_S) -> list[bytes]:
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


@asynccontextmanager
async def configured(directory: Path, text: str) -> AsyncGenerator[int]:
    """The port of a NATS server with this configuration, as an operator has one."""
    port = free_port()
    file = directory / "nats.conf"
    file.write_text(f'listen: "127.0.0.1:{port}"\n{text}')
    process = subprocess.Popen([found(), "-c", file], stderr=subprocess.DEVNULL)
    try:
        async with asyncio.timeout(PATIENCE_S):
            await answers(port)
        yield port
    finally:
        process.kill()
        process.wait()


class Nkey:
    """An Ed25519 key as NATS spells it; `kind` is `O`, `A` or `U`."""

    def __init__(self, kind: str) -> None:
        self._key = Ed25519PrivateKey.generate()
        self._number = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".index(kind)
        public = self._key.public_key().public_bytes_raw()
        self.public = _spelled(bytes([self._number << 3]) + public)
        first = bytes([18 << 3 | self._number >> 2, (self._number << 3 & 0x1F) << 3])
        self.seed = _spelled(first + self._key.private_bytes_raw())

    def signed(self, subject: str, name: str, nats: dict[str, object]) -> str:
        """A JWT of ours about `subject`."""
        claims = {"jti": name, "iat": 1, "iss": self.public, "name": name, "sub": subject, "nats": nats}
        parts = [json.dumps(part).encode() for part in ({"typ": "JWT", "alg": "ed25519-nkey"}, claims)]
        text = b".".join(map(_url64, parts))
        return b".".join([text, _url64(self._key.sign(text))]).decode()


def _spelled(raw: bytes) -> str:
    return base64.b32encode(raw + binascii.crc_hqx(raw, 0).to_bytes(2, "little")).decode().rstrip("=")


def _url64(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")
