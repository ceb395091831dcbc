"""A lean load generator: requests are built and signed ahead, connections are kept alive, answers barely parsed.

It shares the machine with the server it measures, so what it costs is taken from what it measures.
"""

import asyncio
import base64
import hashlib
import hmac
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import cast
from urllib.parse import urlsplit

import uvloop
from tests.support.signed import SMS_VERSION, http_date

PACED_CONNECTIONS = 8
_GRACE_S = 10.0


@dataclass(frozen=True, slots=True)
class Target:
    """Where to, and whose key proves it. `tls` None: plain http."""

    host: str
    port: int
    key: str
    tls: ssl.SSLContext | None

    @classmethod
    def of(cls, url: str, key: str, ca_bundle: str | None) -> "Target":
        parts = urlsplit(url)
        assert parts.hostname
        assert parts.port
        tls = ssl.create_default_context(cafile=ca_bundle) if parts.scheme == "https" else None
        return cls(parts.hostname, parts.port, key, tls)


@dataclass(slots=True)
class Outcome:
    """What came of a run. `accepted` counts what the answers say was taken, `failures` other statuses."""

    began: float = 0.0
    """When the first request was due, on the clock of `time.perf_counter`."""
    seconds: float = 0.0
    requests: int = 0
    accepted: int = 0
    taken: list[int] = field(default_factory=list[int])
    """Which requests were answered as they should, by their place in the load."""
    latencies_s: list[float] = field(default_factory=list[float])
    failures: Counter[str] = field(default_factory=Counter[str])

    def percentile_ms(self, percent: float) -> float:
        """A percentile of the latencies, in milliseconds."""
        ordered = sorted(self.latencies_s)
        return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] * 1000 if ordered else float("nan")


class Signing:
    """Builds whole signed requests to one operation, all of one date (within the server's clock window)."""

    def __init__(self, target: Target, method: str, path: str) -> None:
        self._secret = base64.b64decode(target.key)
        self._host = f"{target.host}:{target.port}"
        self._date = http_date()
        self._signed = f"{method}\n{path}\n{self._date};{self._host};"
        self._head = f"{method} {path} HTTP/1.1\r\nhost: {self._host}\r\nx-ms-date: {self._date}\r\n"

    def request(self, body: bytes) -> bytes:
        """The bytes of one request."""
        digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
        tag = hmac.digest(self._secret, (self._signed + digest).encode(), "sha256")
        proof = (
            f"HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature={base64.b64encode(tag).decode()}"
        )
        head = (
            f"{self._head}x-ms-content-sha256: {digest}\r\nauthorization: {proof}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


def sms_requests(target: Target, sender: str, count: int, recipients: int, *, seed: int = 1) -> list[bytes]:
    """`count` different send requests to `recipients` numbers each, every recipient with repeatability ids."""
    random, date = Random(seed), http_date()
    signing = Signing(target, "POST", f"/sms?api-version={SMS_VERSION}")

    def recipient() -> str:
        bits = f"{random.getrandbits(128):032x}"
        identifier = f"{bits[:8]}-{bits[8:12]}-4{bits[13:16]}-8{bits[17:20]}-{bits[20:]}"
        number = f"+1425{random.randrange(2_000_000, 10_000_000)}"
        return f'{{"to":"{number}","repeatabilityRequestId":"{identifier}","repeatabilityFirstSent":"{date}"}}'

    def body() -> bytes:
        to = ",".join(recipient() for _ in range(recipients))
        text = "Your parcel is out for delivery and comes between 2 and 4 pm."
        options = '{"enableDeliveryReport":true,"tag":"bench"}'
        return f'{{"from":"{sender}","smsRecipients":[{to}],"message":"{text}","smsSendOptions":{options}}}'.encode()

    return [signing.request(body()) for _ in range(count)]


class _Connection(asyncio.Protocol):
    """One kept-alive connection with at most one request under way."""

    def __init__(self, answered: "Callable[[_Connection, int, bytes], None]", lost: Callable[[str], None]) -> None:
        self._answered = answered
        self._lost = lost
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        self.busy = False
        self.began = 0.0
        self.number = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's TLS transport does not inherit from it

    def send(self, number: int, request: bytes, began: float) -> None:
        """Send request `number`; `began` is when its wait is counted from."""
        assert self._transport is not None
        self.busy, self.number, self.began = True, number, began
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data if self._buffer else data
        head = buffer.find(b"\r\n\r\n")
        if head < 0:
            self._buffer = buffer
            return
        length = _content_length(buffer[:head])
        if len(buffer) < head + 4 + length:
            self._buffer = buffer
            return
        self._buffer = b""
        self.busy = False
        self._answered(self, int(buffer[9:12]), buffer[head + 4 :])

    def connection_lost(self, exc: Exception | None) -> None:
        if self.busy:
            self.busy = False
            self._lost(f"connection lost: {exc!r}")

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def _content_length(head: bytes) -> int:
    lower = head.lower()
    at = lower.find(b"content-length:")
    return int(lower[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0


class _Run:
    """Requests over connections, and what came of them."""

    def __init__(self, load: "Load") -> None:
        self._requests: Iterator[tuple[int, bytes]] = iter(enumerate(load.requests))
        self._load = load
        self.outcome = Outcome()
        self.done = asyncio.Event()
        self._under_way = 0
        self._until = float("inf")
        self._waiting: list[tuple[int, bytes, float]] = []
        self._idle: list[_Connection] = []
        self._closed_loop = True

    async def connect(self, target: Target, count: int) -> list[_Connection]:
        loop = asyncio.get_running_loop()
        made: list[_Connection] = []
        for _ in range(count):
            _, connection = await loop.create_connection(
                lambda: _Connection(self._answered, self._failed), target.host, target.port, ssl=target.tls
            )
            made.append(connection)
        return made

    def saturate(self, connections: list[_Connection], seconds: float) -> None:
        """Keep one request under way on each connection until time or requests end."""
        self.outcome.began = time.perf_counter()
        self._until = self.outcome.began + seconds
        for connection in connections:
            self._next(connection)

    async def pace(self, connections: list[_Connection], rate_per_s: float) -> None:
        """Send at even intervals, whether or not the earlier ones are answered; a wait for a connection counts."""
        self._closed_loop = False
        self._idle = connections
        loop = asyncio.get_running_loop()
        began = self.outcome.began = time.perf_counter()
        for number, request in self._requests:
            due = began + number / rate_per_s
            wakeup = loop.create_future()
            loop.call_later(max(0.0, due - time.perf_counter()), wakeup.set_result, None)
            await wakeup
            self._under_way += 1
            if self._idle:
                self._idle.pop().send(number, request, due)
            else:
                self._waiting.append((number, request, due))
        self._until = 0.0
        self._maybe_done()

    def _next(self, connection: _Connection) -> None:
        now = time.perf_counter()
        request = next(self._requests, None) if now < self._until else None
        if request is None:
            self._until = 0.0
            self._maybe_done()
            return
        self._under_way += 1
        connection.send(*request, now)

    def _answered(self, connection: _Connection, status: int, body: bytes) -> None:
        outcome = self.outcome
        outcome.latencies_s.append(time.perf_counter() - connection.began)
        outcome.requests += 1
        self._under_way -= 1
        if status == self._load.good:
            outcome.accepted += body.count(self._load.counted) * self._load.worth
            outcome.taken.append(connection.number)
        else:
            outcome.failures[f"{status} {body[:200]!r}"] += 1
        if self._closed_loop:
            self._next(connection)
        elif self._waiting:
            connection.send(*self._waiting.pop(0))
        else:
            self._idle.append(connection)
            self._maybe_done()

    def _failed(self, reason: str) -> None:
        self.outcome.failures[reason] += 1
        self._under_way -= 1
        if self._closed_loop:
            self._until = 0.0  # what is under way on the other connections is still awaited
        self._maybe_done()

    def _maybe_done(self) -> None:
        if self._until == 0.0 and self._under_way == 0:
            self.done.set()


@dataclass(frozen=True, slots=True)
class Load:
    """Requests to send and what their answers must be: `good` the status, `counted` what marks each thing taken, which
    stands for `worth` of them."""

    requests: Iterable[bytes]
    good: int
    counted: bytes
    worth: int = 1


def saturate(target: Target, load: Load, *, connections: int, seconds: float) -> Outcome:
    """As many requests as the server takes over `connections`, for `seconds` or until they run out."""

    async def run() -> Outcome:
        made = _Run(load)
        opened = await made.connect(target, connections)
        began = time.perf_counter()
        made.saturate(opened, seconds)
        await asyncio.wait_for(made.done.wait(), seconds + _GRACE_S)
        made.outcome.seconds = time.perf_counter() - began
        _close(opened)
        return made.outcome

    return uvloop.run(run())


def pace(target: Target, load: Load, *, rate_per_s: float) -> Outcome:
    """All requests at `rate_per_s`."""

    async def run() -> Outcome:
        made = _Run(load)
        opened = await made.connect(target, PACED_CONNECTIONS)
        began = time.perf_counter()
        await made.pace(list(opened), rate_per_s)
        await asyncio.wait_for(made.done.wait(), _GRACE_S)
        made.outcome.seconds = time.perf_counter() - began
        _close(opened)
        return made.outcome

    return uvloop.run(run())


def _close(connections: list[_Connection]) -> None:
    for connection in connections:
        connection.close()
