"""The webhook both gateways report to: Landline's posts of events, Kannel's GET of each report's `dlr-url` and of each
phone's text.

A bare protocol, because it shares the machine with what is measured.
"""

import asyncio
import json
import re
import time
from collections import Counter
from typing import cast

from bench.gateway.party import Answers, Party

_OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
_NUMBER = re.compile(rb'"to":"\+?(\d+)"')
_ENDED = re.compile(rb'"to":"\+?(\d+)","deliveryStatus":"(\w+)"')
_SAID = re.compile(rb'"from":"\+?(\d+)","to":"\+?\d+","message"')
"""A phone's text; its number."""
_KANNEL_SAID = re.compile(rb"/said\?from=(?:%2B|\+)?(\d+)")
_KANNEL = re.compile(rb"[?&]to=(?:%2B|\+)?(\d+)&type=(\d+)")
_KANNEL_DELIVERED = b"1"


class Sink:
    """What was reported, by the number each message went to or came from, over all connections."""

    def __init__(self) -> None:
        self.numbers: list[bytes] = []
        self.failed: list[bytes] = []
        """Those of them reported as not delivered."""
        self.posts = 0
        self.last_s = 0.0
        """When the last report came, on the clock of `time.perf_counter`."""
        self.seconds: Counter[int] = Counter()
        """Reports by the second they came in."""

    def take(self, target: bytes, body: bytes) -> bytes:
        """Note one request; its answer."""
        if b'"validationCode"' in body:
            return _consent(body)
        if found := _SAID.findall(body) or _KANNEL_SAID.findall(target):
            pass
        elif body:
            found = _NUMBER.findall(body)
            if body.count(b'"deliveryStatus":"Delivered"') != len(found):
                self.failed += [number for number, state in _ENDED.findall(body) if state != b"Delivered"]
        else:
            found = [number for number, _ in _KANNEL.findall(target)]
            self.failed += [number for number, state in _KANNEL.findall(target) if state != _KANNEL_DELIVERED]
        self.numbers += found
        self.posts += 1
        self.last_s = now = time.perf_counter()
        self.seconds[int(now)] += len(found)
        return _OK

    def answers(self, port: int) -> Answers:
        """What the rig asks."""
        return {
            "port": lambda: port,
            "forget": self._forget,
            "count": lambda: len(self.numbers),
            "posts": lambda: self.posts,
            "last_s": lambda: self.last_s,
            "reports": lambda: Counter(number.decode() for number in self.numbers),
            "failed": lambda: Counter(number.decode() for number in self.failed),
            "seconds": lambda: dict(self.seconds),
        }

    def _forget(self) -> None:
        self.numbers.clear()
        self.failed.clear()
        self.seconds.clear()
        self.posts = 0


class _Connection(asyncio.Protocol):
    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data if self._buffer else data
        said: list[bytes] = []
        while (head := buffer.find(b"\r\n\r\n") + 4) > 3:
            end = head + _length(buffer[:head])
            if len(buffer) < end:
                break
            said.append(self._sink.take(buffer[: buffer.index(b"\r\n")], buffer[head:end]))
            buffer = buffer[end:]
        self._buffer = buffer
        if said and self._transport is not None:
            self._transport.write(b"".join(said))


def _length(head: bytes) -> int:
    lower = head.lower()
    at = lower.find(b"content-length:")
    return int(lower[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0


def _consent(body: bytes) -> bytes:
    answer = json.dumps({"validationResponse": json.loads(body)[0]["data"]["validationCode"]}).encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return head % len(answer) + answer


async def start() -> Answers:
    """Listen on a free port of loopback."""
    sink = Sink()
    server = await asyncio.get_running_loop().create_server(lambda: _Connection(sink), "127.0.0.1", 0, backlog=1024)
    return sink.answers(server.sockets[0].getsockname()[1])


def party() -> Party:
    """The webhook in a process of its own."""
    return Party(start)
