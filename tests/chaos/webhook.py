"""A webhook of a run: takes events, and fails as it is told."""

import asyncio
import json
import re
import time
from random import Random

from tests.chaos.ledger import Ledger, Posted

_OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
_ERROR = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n"
_VALIDATION = "Microsoft.EventGrid.SubscriptionValidationEvent"


class Webhook:
    """`mood`: well, errors (500), hangs (no answer), cuts (the connection, unanswered), amnesia (takes it, then cuts),
    or slow."""

    def __init__(self, name: str, ledger: Ledger, random: Random) -> None:
        self.name = name
        self.ledger = ledger
        self.mood = "well"
        self.port = 0
        self.failed = 0
        """How often it did as its mood is."""
        self._random = random
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._talk, "127.0.0.1", 0, backlog=512)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = re.search(rb"content-length: *(\d+)", head)
                body = await reader.readexactly(int(length[1])) if length else b""
                if not await self._answer(body, writer):
                    return
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _answer(self, body: bytes, writer: asyncio.StreamWriter) -> bool:
        events = json.loads(body)
        if events[0]["eventType"] == _VALIDATION:
            answer = json.dumps({"validationResponse": events[0]["data"]["validationCode"]}).encode()
            head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
            writer.write(head % len(answer) + answer)
            return True
        mood = self.mood if self._random.random() < 0.8 else "well"
        self.failed += mood != "well"
        if mood == "errors":
            writer.write(_ERROR)
            return True
        if mood == "cuts":
            return False
        if mood == "hangs":
            while self.mood == "hangs":
                await asyncio.sleep(0.2)
            return False
        now = time.time()
        for each in events:
            self.ledger.posted[self.name].append(
                Posted(now, each["id"], each["eventType"].rsplit(".", 1)[1], each["data"])
            )
        if mood == "amnesia":
            return False
        if mood == "slow":
            await asyncio.sleep(self._random.random() * 3)
        writer.write(_OK)
        return True
