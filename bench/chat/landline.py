"""`landline dev` as a venue: threads, and sockets opened as the official browser client opens them."""

import json
import socket
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from bench import machine
from bench.chat.calls import Calls, connect
from bench.chat.ears import Ears, Wire
from bench.chat.loop import Loop
from bench.chat.venues import Sent
from bench.load import Signing, Target
from tests.support import processes

from landline.testing import Server

CONNECTIONS = 64
BATCH = 200
"""Participants that one request may bring."""
_VERSION = "api-version=2024-03-07"
_MASKED = 0x80
# The client answers each notification, and pings right after (chat-realtime.md A, 5).
_ANSWER = (
    r'3:::{"id":7,"status":200,"headers":{"MS-CV":"0.0.0","trouter-request":"{}",'
    r'"trouter-client":"{\"cd\":17}"},"body":""}'
)
_PING = '5:2+::{"name":"ping"}'


def _frame(text: str) -> bytes:
    """`text` in a client's frame, with the mask that changes nothing."""
    length = len(text)
    size = bytes((_MASKED | length,)) if length < 126 else bytes((_MASKED | 126,)) + length.to_bytes(2, "big")
    return b"\x81" + size + bytes(4) + text.encode()


class Landline:
    """Fills `Venue`. `answering`: clients answer every notification, as browsers do. `workers`: processes that share
    the sockets and tell each other over NATS."""

    def __init__(self, transport: str, *, answering: bool = False, workers: int = 1) -> None:
        self.name = "Landline" if transport == machine.PLAIN else f"Landline over {transport}"
        if workers > 1:
            self.name += f", {workers} processes over NATS"
        port = machine.free_port()
        self._own = tempfile.TemporaryDirectory(prefix="bench-")
        file = Path(self._own.name) / "landline.toml"
        file.write_text(f"driven_clock = false\nworkers = {workers}\n")
        self._server = Server(arguments=["--config", str(file), "--plain-http-port", str(port)])
        self._server.start()
        plain = Target.of(f"http://localhost:{port}", self._server.access_key, None)
        tls = Target.of(self._server.endpoint, self._server.access_key, self._server.ca_bundle)
        self._target = tls if transport == machine.TLS else plain
        self.loop = Loop()
        answer = _frame(_ANSWER) + _frame(_PING) if answering else None
        self.ears = Ears(self.loop, Wire(b"chatMessageReceived", b'"}', answer))
        self._calls = Calls(self.loop, self._target, CONNECTIONS)
        self._senders: list[list[bytes]] = []
        self._turn = 0
        self._doors: list[tuple[int, bytes]] = []

    def open(self, rooms: int, members: int) -> None:
        """See `Venue`."""
        host = f"{self._target.host}:{self._target.port}"
        signing = Signing(self._target, "POST", f"/identities?{_VERSION}")
        made = self._calls.all([signing.request(b'{"createTokenWithScopes":["chat"]}')] * (rooms * members))
        users = [json.loads(body) for body in made]
        towns = [users[first : first + members] for first in range(0, len(users), members)]
        threads = self._calls.all([_made(host, town) for town in towns])
        ids = [json.loads(body)["chatThread"]["id"] for body in threads]
        self._calls.all([_added(host, name, town) for name, town in zip(ids, towns, strict=True) if len(town) > BATCH])
        self._senders = [
            [_said(host, name, _token(user)) for user in town[:20]] for name, town in zip(ids, towns, strict=True)
        ]
        allocations = self._calls.all([_allocation(host, _token(user)) for user in users])
        self._doors = [
            (number // members, _door(host, json.loads(body)["connectparams"]))
            for number, body in enumerate(allocations)
        ]

    def listen(self) -> None:
        """See `Venue`."""
        for room, request in self._doors:
            self.ears.add(_opened(self._target, request), room)

    def send(self, room: int, text: str, sent: Sent) -> None:
        """See `Venue`."""
        senders = self._senders[room]
        self._turn += 1
        head = senders[self._turn % len(senders)]
        body = b'{"content":"%s","senderDisplayName":"Ann"}' % text.encode()
        self._calls.send(head % len(body) + body, lambda status, _: sent(status == 201))

    def pids(self) -> tuple[list[int], list[int]]:
        """See `Venue`."""
        every = processes.tree(self._server.pid)
        database = [process.pid for process in every if process.name.startswith("postgres")]  # NATS counts as ours
        return [process.pid for process in every if process.pid not in database], database

    def close(self) -> None:
        """See `Venue`."""
        self.ears.close()
        self._calls.close()
        self._server.close()
        self._own.cleanup()


def _token(user: Any) -> str:
    return user["accessToken"]["token"]


def _post(host: str, path: str, headers: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nhost: {host}\r\n{headers}\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _people(users: list[Any]) -> list[Any]:
    return [{"communicationIdentifier": {"rawId": user["identity"]["id"]}} for user in users]


def _bearer(token: str) -> str:
    return f"authorization: Bearer {token}\r\ncontent-type: application/json"


def _made(host: str, town: list[Any]) -> bytes:
    body = json.dumps({"topic": "Bench", "participants": _people(town[:BATCH])}).encode()
    return _post(host, f"/chat/threads?{_VERSION}", _bearer(_token(town[0])), body)


def _added(host: str, thread: str, town: list[Any]) -> bytes:
    body = json.dumps({"participants": _people(town[BATCH:])}).encode()
    path = f"/chat/threads/{quote(thread, safe='')}/participants/:add?{_VERSION}"
    return _post(host, path, _bearer(_token(town[0])), body)


def _said(host: str, thread: str, token: str) -> bytes:
    """The head of a request to send, its length left open."""
    path = f"/chat/threads/{quote(thread, safe='')}/messages?{_VERSION}".replace("%", "%%")
    return f"POST {path} HTTP/1.1\r\nhost: {host}\r\n{_bearer(token)}\r\ncontent-length: %d\r\n\r\n".encode()


def _allocation(host: str, token: str) -> bytes:
    return _post(host, "/v4/a?epid=1", f"x-skypetoken: {token}", b"")


def _door(host: str, params: dict[str, str]) -> bytes:
    query = urlencode({**params, "v": "v4", "tc": "{}", "timeout": "40", "auth": "true", "epid": "1", "con_num": "1_1"})
    lines = (
        f"GET /socket.io/1/websocket/x?{query} HTTP/1.1",
        f"Host: {host}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    )
    return "\r\n".join([*lines, "", ""]).encode()


def _opened(target: Target, request: bytes) -> socket.socket:
    made = connect(target)
    made.sendall(request)
    had = b""
    while b"trouter.connected" not in had or not had.endswith(b"}"):
        data = made.recv(4096)
        if not data:
            raise ConnectionError(f"no socket was opened: {had[:300]!r}")
        had += data
    return made
