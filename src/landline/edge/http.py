"""Requests and responses of the HTTP edge: thin values, because the hot path pays for every layer."""

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import parse_qsl

import msgspec

from landline.core.errors import Unauthorized
from landline.core.ids import RawId, ResourceId
from landline.wire import base


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may cost before anyone is known to have sent it."""

    body_bytes: int = 1 << 20
    body_timeout_s: float = 30.0
    """From the first byte of a request to its last."""
    header_bytes: int = 32_768
    header_count: int = 100
    target_bytes: int = 8_192
    total_bytes: int = 128 << 20
    """What requests that are being read or handled hold together, small ones apart (`edge.room`)."""
    connections: int = 25_000
    """Open at once, sockets included: chat's alone are up to 20,000."""
    strangers: int = 4096
    """Of those, the ones that have sent no whole request yet."""


class Caller(msgspec.Struct, frozen=True):
    """Who sent a request, as the edge proved it."""

    resource: ResourceId
    key: str | None = None
    """The access key it was signed with, as `primary:3` (slot and generation); None for tokens."""
    user: RawId | None = None
    """The communication user of a user token; None for the resource's own keys and service tokens."""
    scopes: frozenset[str] = frozenset()
    """The scopes of a user token (acs-wire.md 5.5)."""


class Request(msgspec.Struct):
    """One HTTP request, its body read. Paths and query stay as they came on the wire, for signatures."""

    method: str
    target: str
    """Raw path and query as sent."""
    headers: dict[str, str]
    """Names in lower case; of a repeated header the last."""
    body: bytes
    request_id: str
    client: str = ""
    """The peer's address."""
    host: str = ""
    """The Host that its client sent, where a proxy before us sent another one. Known once it is authenticated."""
    params: dict[str, str] = {}
    """Decoded path parameters by the names of the route's template."""
    _caller: Caller | None = None
    _query: dict[str, str] | None = None

    @property
    def caller(self) -> Caller:
        """Who sent it; routes without authentication have none and never ask."""
        if self._caller is None:
            raise Unauthorized("The request is not authenticated.")
        return self._caller

    @property
    def query(self) -> dict[str, str]:
        """Decoded query parameters; of a repeated one the first."""
        if self._query is None:
            pairs = parse_qsl(self.target.partition("?")[2], keep_blank_values=True)
            self._query = dict(reversed(pairs))
        return self._query

    @property
    def repeated(self) -> str | None:
        """The first query parameter that is given more than once."""
        seen: set[str] = set()
        for name, _ in parse_qsl(self.target.partition("?")[2], keep_blank_values=True):
            if name in seen:
                return name
            seen.add(name)
        return None

    def authenticated(self, caller: Caller) -> None:
        """The edge has proved who sent this."""
        self._caller = caller

    def decode(self, decoder: "msgspec.json.Decoder[base.T]") -> "base.T":
        """The body as the shape of `decoder`. Raises `Invalid`."""
        return base.decode(self.body, decoder)


class Live(Protocol):
    """A streamed answer that has no end of its own."""

    def begun(self, cut: Callable[[], None]) -> None:
        """It is being written. `cut` ends its connection at once, and drops what its client has not read."""
        ...

    def stopping(self) -> None:
        """The server stops: end the stream soon."""
        ...

    def gone(self) -> None:
        """Nobody reads it any more."""
        ...


class Response(msgspec.Struct):
    """One HTTP response; header names in lower case."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = {}
    stream: AsyncGenerator[bytes] | None = None
    """What follows `body`, for answers that would be too large in one piece: a generator that has begun (so that
    closing it runs its `finally`), and that is always closed. When it raises, the connection is cut, and the client
    sees that the end is missing."""
    live: Live | None = None
    """Told what becomes of the connection while `stream` lasts, so that a stream that waits can end."""


def json_response(status: int, value: Any, headers: dict[str, str] | None = None) -> Response:
    """`value` (a wire shape, or plain JSON data) as a JSON response."""
    return Response(status, base.encode(value), {"content-type": "application/json; charset=utf-8", **(headers or {})})
