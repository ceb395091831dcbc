"""REST calls in the generator's loop: prepared requests over kept-alive connections, one under way on each."""

import socket
from collections import deque
from collections.abc import Callable, Iterable

from bench.chat.loop import NOTHING_YET, Loop
from bench.load import Target

Answered = Callable[[int, bytes], None]
_TIMEOUT_S = 30.0


class Calls:
    """`count` connections to `target`. Requests that find none free wait in line."""

    def __init__(self, loop: Loop, target: Target, count: int) -> None:
        self._loop = loop
        self._waiting: deque[tuple[bytes, Answered]] = deque()
        self._idle = [_Call(self, loop, target) for _ in range(count)]
        self._all = list(self._idle)
        self.refused = 0

    def send(self, request: bytes, answered: Answered) -> None:
        """Send `request`; `answered` is called with its status and body."""
        if self._idle:
            self._idle.pop().send(request, answered)
        else:
            self._waiting.append((request, answered))

    def all(self, requests: Iterable[bytes]) -> list[bytes]:
        """The bodies of the answers to `requests`, in their order; each must be a success."""
        found: dict[int, bytes] = {}
        count = 0

        def take(number: int, status: int, body: bytes) -> None:
            if status >= 300:
                raise RuntimeError(f"{status} {body[:500]!r}")
            found[number] = body

        for number, request in enumerate(requests):
            self.send(request, lambda status, body, number=number: take(number, status, body))
            count += 1
        if not self._loop.until(lambda: len(found) == count, _TIMEOUT_S + count / 100):
            raise TimeoutError(f"{count - len(found)} of {count} calls were not answered")
        return [found[number] for number in range(count)]

    def free(self, call: "_Call") -> None:
        """`call` has its answer."""
        if self._waiting:
            call.send(*self._waiting.popleft())
        else:
            self._idle.append(call)

    def close(self) -> None:
        """Close the connections."""
        for call in self._all:
            call.close()


class _Call:
    """One connection. Fills `Readable`."""

    def __init__(self, calls: Calls, loop: Loop, target: Target) -> None:
        self._calls = calls
        self._loop = loop
        self._target = target
        self._answered: Answered | None = None
        self._had = b""
        self._connect()

    def _connect(self) -> None:
        self._connection = connect(self._target)
        self._connection.setblocking(False)
        self._loop.add(self._connection.fileno(), self)

    def send(self, request: bytes, answered: Answered) -> None:
        self._answered = answered
        self._connection.sendall(request)

    def readable(self) -> None:
        """See `Readable`."""
        try:
            data = self._connection.recv(1 << 16)
        except NOTHING_YET:
            return
        if not data:
            if self._answered is not None:
                raise ConnectionError("the server closed a connection with a call under way")
            self.close()  # it was kept for too long
            self._connect()
            return
        had = self._had = self._had + data
        head = had.find(b"\r\n\r\n")
        if head < 0:
            return
        length = _length(had[:head].lower())
        if len(had) < head + 4 + length:
            return
        self._had = b""
        answered, self._answered = self._answered, None
        assert answered
        answered(int(had[9:12]), had[head + 4 :])
        self._calls.free(self)

    def close(self) -> None:
        self._loop.remove(self._connection.fileno())
        self._connection.close()


def connect(target: Target) -> socket.socket:
    """A blocking connection to `target`, over TLS if it asks for that."""
    made = socket.create_connection((target.host, target.port), timeout=_TIMEOUT_S)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return target.tls.wrap_socket(made, server_hostname=target.host) if target.tls else made


def _length(head: bytes) -> int:
    at = head.find(b"content-length:")
    return int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
