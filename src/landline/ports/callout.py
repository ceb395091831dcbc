"""The Callout port: HTTP requests to addresses that customers gave us (webhooks, later recordings and prompts)."""

import re
from collections.abc import Callable, Mapping
from typing import Protocol

from msgspec import Struct

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_FRAMING = frozenset(
    {"host", "connection", "content-length", "transfer-encoding", "expect", "upgrade", "te", "trailer"}
)
"""Headers that say where a message goes and where it ends: the engine's own."""


class Headers:
    """Headers as they go on the wire, checked once, for any number of requests."""

    __slots__ = ("lines",)

    def __init__(self, headers: Mapping[str, str]) -> None:
        """Raises `ValueError` for what HTTP does not allow (RFC 9110 §5.5, §5.6.2) or the engine sets itself."""
        self.lines = b"".join([_line(name, value) for name, value in headers.items()])

    def with_one(self, name: str, value: str) -> "Headers":
        """These and one more. Raises `ValueError`."""
        more = Headers.__new__(Headers)
        more.lines = self.lines + _line(name, value)
        return more


def _line(name: str, value: str) -> bytes:
    if not _TOKEN.fullmatch(name) or name.lower() in _FRAMING or not _VALUE.fullmatch(value):
        raise ValueError(f"the header {name!r} cannot be sent as it is")
    return f"{name}: {value}\r\n".encode("latin-1")


class Answer(Struct, frozen=True):
    """What came back: status, headers with lower-case names, and the body cut at the limit asked for."""

    status: int
    headers: dict[str, str]
    body: bytes


class CalloutFailed(Exception):
    """No answer came. `reason` is one of: refused-address, timeout, connection, tls, protocol."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


Answered = Callable[[Answer | Exception], None]
"""Told what came of a request: the answer, `CalloutFailed`, or what a bug raised. It raises nothing itself."""


class Callout(Protocol):
    """Requests to untrusted addresses: redirects are not followed; in `serve` the address that a name resolves to is
    checked at every connection (loopback, private, link-local and metadata addresses are refused unless allowed).

    A request is sent once, with one exception: a kept connection that is lost before a byte of the answer came is
    replaced by a new one, once, because the endpoint most likely closed it before the request reached it.
    """

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | Headers,
        body: bytes = b"",
        timeout_s: float = 30.0,
        answer_limit_bytes: int = 65536,
    ) -> Answer:
        """Send one request. Raises `CalloutFailed`. Make `Headers` of what many requests have in common."""
        ...

    def post(
        self,
        url: str,
        *,
        headers: Headers,
        body: bytes,
        timeout_s: float,
        answer_limit_bytes: int,
        answered: Answered,
    ) -> None:
        """`request` of a POST for who makes very many: nobody waits for the answer, which is told to `answered`, once
        and after this has returned."""
        ...

    def check(self, url: str) -> None:
        """Refuse a URL that could never be called: raises `core.errors.Invalid` with the reason (scheme, host)."""
        ...

    async def close(self) -> None:
        """End what is under way, and all connections."""
        ...
