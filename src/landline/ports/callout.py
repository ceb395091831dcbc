"""The Callout port: HTTP requests to addresses that customers gave us (webhooks, later recordings and prompts)."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: status, headers with lower-case names, and the body cut at the limit asked for."""

    status: int
    headers: dict[str, str]
    body: bytes


class CalloutFailed(Exception):
    """No answer came. `reason` is one of: refused-address, timeout, connection, tls, protocol."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Callout(Protocol):
    """Requests to untrusted addresses: redirects are not followed; in `serve` the address that a name resolves to is
    checked at every connection (loopback, private, link-local and metadata addresses are refused unless allowed)."""

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: dict[str, str],
        body: bytes = b"",
        timeout_s: float = 30.0,
        answer_limit_bytes: int = 65536,
    ) -> Answer:
        """Send one request. Raises `CalloutFailed`."""
        ...

    def check(self, url: str) -> None:
        """Refuse a URL that could never be called: raises `core.errors.Invalid` with the reason (scheme, host)."""
        ...

    async def close(self) -> None: ...
