"""The two ports between the SMPP server for customers and the SMS service: `Gateway` is what the server asks of the
service, `Customers` what the service asks of the server. An ESME is a customer's program that speaks SMPP.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, IntEnum
from typing import Protocol
from uuid import UUID

from landline.core.errors import Refusal, Unavailable
from landline.core.ids import ResourceId
from landline.protocols.smpp.commands import MessageState
from landline.protocols.smpp.texts import Alphabet


@dataclass(frozen=True, slots=True)
class Account:
    """A customer's right to bind."""

    system_id: str
    resource: ResourceId
    generation: int = 0
    """Grows with whatever makes existing connections invalid."""
    binds: int = 5
    """At most so many connections bound at once."""
    window: int = 100
    """At most so many of its requests unanswered on each connection."""
    rate_per_s: float | None = None
    """At most so many submit_sm a second over all its connections; None for no limit."""
    alphabet: Alphabet = Alphabet.GSM
    """What data_coding 0 means in its texts, and how it is brought texts."""
    number: int = 0
    """Another account that has the system id later has another one."""
    since: datetime | None = None
    """When it was made: what came under its system id before that is another's."""


class ReportWish(IntEnum):
    """Bits 1 and 0 of registered_delivery (SMPP 3.4 §5.2.17; success alone is SMPP 5.0's §4.7.21)."""

    NEVER = 0
    ALWAYS = 1
    ON_FAILURE = 2
    ON_SUCCESS = 3


@dataclass(frozen=True, slots=True)
class CustomerSubmission:
    """One whole text a customer submitted. `message_id` is what it was or will be told, in hexadecimal."""

    message_id: UUID
    sender: str
    """E.164 with its `+`, a short code or a name."""
    recipient: str
    text: str
    wish: ReportWish = ReportWish.NEVER
    parts: tuple[int, ...] = ()
    """Of a text that came in parts: those whose receipts are wanted, each under an id of its own."""
    send_at: datetime | None = None
    """Not before this instant; None for now."""
    valid_until: datetime | None = None
    """When its validity ends; None for what is usual."""


@dataclass(frozen=True, slots=True)
class MessageStatus:
    """What has become of a message."""

    state: MessageState
    done_at: datetime | None = None
    """When it reached a final state."""


@dataclass(frozen=True, slots=True)
class Cancellation:
    """What a cancel_sm names (SMPP 3.4 §4.9.1): a message, or all that wait from `sender` to `recipient`."""

    message_id: UUID | None
    sender: str = ""
    """As `CustomerSubmission` has it; with a `message_id`, its own one, or empty."""
    recipient: str = ""


@dataclass(frozen=True, slots=True)
class ReportOut:
    """A delivery receipt for a customer."""

    message_id: UUID
    sender: str
    recipient: str
    state: MessageState
    submitted_at: datetime
    done_at: datetime
    parts: tuple[int, ...] = ()
    """See `CustomerSubmission.parts`: a receipt for each, or one for the whole."""
    error: int = 0
    """`err` of the receipt's text: at most three digits."""


@dataclass(frozen=True, slots=True)
class TextOut:
    """A text from a phone for a customer. `key` is the same when it is brought again."""

    key: UUID
    sender: str
    recipient: str
    text: str


class Delivered(Enum):
    """What came of bringing a receipt or a text to a customer."""

    TAKEN = "taken"
    """Acknowledged; or refused for good, so that bringing it again would only block what comes behind."""
    LATER = "later"
    """Refused for now, or not answered: to be brought again, but not at once."""
    ENDED = "ended"
    """The customer's connection broke when this was what it was to answer next. Its program may end at it, each time:
    to be brought again after what else waits."""
    GONE = "gone"
    """The customer has no receiver bound here."""


class Gateway(Protocol):
    """The product behind the listener."""

    async def authenticate(self, system_id: str, password: str, address: str) -> Account | None:
        """The account that `password` opens from the IP `address`, or None. Raises `Unavailable`."""
        ...

    def new_ids(self, count: int) -> list[UUID]:
        """Ids for `count` messages: only such may be submitted."""
        ...

    async def submit(
        self, account: Account, submissions: Sequence[CustomerSubmission]
    ) -> Sequence[Refusal | Unavailable | None]:
        """Accept texts. Durable when it returns, for each, None or why it was not accepted. A `message_id` that comes
        again is the same text and changes nothing."""
        ...

    async def unsubmitted(self, system_id: str, reports: Sequence[ReportOut]) -> None:
        """Have these receipts brought to that account, if it still is: of parts that were accepted of long texts
        whose missing parts never came (EXPIRED), or which were refused once they were whole. Durable when it returns.
        Raises `Unavailable`."""
        ...

    async def accepted(self, system_id: str, messages: Sequence[UUID]) -> Collection[UUID]:
        """Those of `messages` that `submit` has accepted, though it may not have said so; none when there is no such
        account any more. Raises `Unavailable`."""
        ...

    async def status(self, account: Account, message_id: UUID) -> MessageStatus | None:
        """What has become of a message (query_sm); None when it is not the account's. Raises `Unavailable`."""
        ...

    async def cancel(self, account: Account, named: Cancellation) -> int:
        """End messages of the account that wait for their time or their next try, as deleted; how many. Durable when
        it returns. Raises `Unavailable`."""
        ...

    def bound(self, account: Account) -> None:
        """The account has just bound a connection: what waits for it may be delivered if it receives."""
        ...


class Customers(Protocol):
    """The customers bound to this process."""

    def bound(self) -> list[Account]:
        """The accounts that are bound, as they were when they bound or were last renewed."""
        ...

    def receivers(self, system_id: str) -> int:
        """How many connections of that account take deliveries."""
        ...

    async def deliver(
        self, account: Account, deliveries: Sequence[ReportOut | TextOut], until: datetime
    ) -> list[Delivered]:
        """Bring receipts and texts to an account, and to no other that has its system id by now; what came of each (all
        its parts). Nothing is handed over after `until`; an answer is waited for until the response timer ends.
        At-least-once: what was handed over and not answered may have been taken all the same."""
        ...

    def renew(self, account: Account) -> None:
        """The account's limits are these from now on."""
        ...

    def cut(self, system_id: str) -> int:
        """Disconnect the account at once; how many connections it had. Answers under way do not leave."""
        ...
