"""What the listener asks of the product behind it, and what it is given to bring to customers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from landline.core.ids import ResourceId
from landline.protocols.smpp.commands import MessageState


@dataclass(frozen=True, slots=True)
class Account:
    """A customer's right to bind."""

    system_id: str
    resource: ResourceId
    binds: int = 5
    """At most so many connections bound at once."""
    window: int = 100
    """At most so many of its requests unanswered on each connection."""
    rate_per_s: float | None = None
    """At most so many submit_sm a second over all its connections; None for no limit."""


@dataclass(frozen=True, slots=True)
class CustomerSubmission:
    """One whole text a customer submitted. `message_id` is what it was or will be told, in hexadecimal."""

    message_id: UUID
    sender: str
    """E.164 with its `+`, a short code or a name."""
    recipient: str
    text: str
    report_wanted: bool
    parts: int
    """In how many submit_sm it came: each is reported (`ReportOut.parts`)."""


@dataclass(frozen=True, slots=True)
class ReportOut:
    """A delivery receipt for a customer."""

    message_id: UUID
    sender: str
    recipient: str
    state: MessageState
    submitted_at: datetime
    done_at: datetime
    parts: int = 1
    error: int = 0


@dataclass(frozen=True, slots=True)
class TextOut:
    """A text from a phone for a customer."""

    sender: str
    recipient: str
    text: str


class Gateway(Protocol):
    """The product behind the listener."""

    async def authenticate(self, system_id: str, password: str, address: str) -> Account | None:
        """The account that `password` opens, or None. `address` is the peer's IP address."""
        ...

    async def submit(self, account: Account, submissions: Sequence[CustomerSubmission]) -> Sequence[int]:
        """Accept texts; durable when it returns the command_status of each (0: accepted). A `message_id` that comes
        again is the same text and changes nothing. Raises `Unavailable` or `Refusal` when none of them was accepted."""
        ...

    async def state(self, account: Account, message_id: UUID) -> MessageState | None:
        """What has become of a message (query_sm); None when it is not the account's."""
        ...

    def receiving(self, account: Account) -> None:
        """The account has just bound a receiver: what waits for it may be delivered."""
        ...
