"""The SMS carrier port: whoever takes text messages towards phones, and brings reports and texts back."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Protocol
from uuid import UUID

from msgspec import Struct


class CrashPolicy(Enum):
    """What becomes of a message that was handed over and whose answer never came (docs/design/gateway.md)."""

    RESEND = "resend"
    """At least once: it is handed over once more; after a second silence it ends as unknown (9999)."""
    UNKNOWN = "unknown"
    """At most once, for one-time codes and payments: it ends as unknown."""
    QUERY = "query"
    """As UNKNOWN; and what was taken and not reported in time is asked for (query_sm) before it fails. SMPP 3.4 §4.8.1
    names a message by the id its answer brought, so a message without an answer cannot be asked for."""
    REPEATABLE = "repeatable"
    """The carrier knows a repeated `Submission.key`, so handing over again never doubles."""


class Submission(Struct, frozen=True):
    """One message to hand over. `key` is ours and stays the same when the message is handed over again."""

    key: UUID
    sender: str
    recipient: str
    text: str
    segments: int
    report_wanted: bool
    valid_until: datetime | None = None
    """After this instant nobody should try any more; None leaves that to the carrier."""


class Submitted(Struct, frozen=True):
    """The carrier's answer to one submission: its own id for the message, or the detail code of its refusal."""

    key: UUID
    carrier_message_id: str | None
    """None when refused."""
    code: int = 0
    """ACS detail code of a refusal (acs-wire.md 4.7)."""
    temporary: bool = False
    """Whether the refused message may be handed over again later."""
    reason: str = ""
    unknown: bool = False
    """The carrier may have taken the message all the same: it was handed over and never answered. Handing it over again
    may double it; not doing so may lose it."""


class Receipt(Struct, frozen=True):
    """A delivery receipt: what became of a message the carrier took."""

    carrier_message_id: str
    delivered: bool
    code: int
    """ACS detail code: 2000 delivered, else why not (acs-wire.md 4.7)."""
    at: datetime
    segments_delivered: int | None = None
    """None when the carrier does not say."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A whole text that a phone sent to one of our numbers. `key` is the carrier's, the same when brought again."""

    key: str
    sender: str
    recipient: str
    text: str
    segments: int
    at: datetime


class CarrierEvents(Protocol):
    """What a carrier calls back. Each call returns only after commit; the carrier's peer is acknowledged after it.

    Every call may be repeated with the same content and then changes nothing. A raised `Unavailable` means: bring it
    again later.
    """

    async def submitted(self, carrier: str, answers: Sequence[Submitted]) -> None:
        """What the carrier said to each of these submissions: taken, refused, or nothing in time (`unknown`)."""
        ...

    async def submitted_late(self, carrier: str, answers: Sequence[Submitted]) -> None:
        """The carrier has these messages after all, as it says too late: each was answered as `unknown` before, and
        that answer is stored. Refusals that come late are not told."""
        ...

    async def reported(self, carrier: str, receipts: Sequence[Receipt]) -> None:
        """What became of messages that the carrier took. A receipt whose submission nobody has told of is kept for when
        somebody does."""
        ...

    async def early(self, carrier: str, ids: Sequence[str]) -> Sequence[Receipt]:
        """The receipts with these ids that are kept because nobody has told of their submissions yet."""
        ...

    async def forget_early(self, carrier: str, ids: Sequence[str]) -> None:
        """Those receipts are of no submission by themselves."""
        ...

    async def arrived(self, carrier: str, arrivals: Sequence[Arrival]) -> None:
        """Texts from phones. One to a number that no resource has is dropped."""
        ...


class SmsCarrier(Protocol):
    """A way to the phones. At-least-once: a submission may be repeated after a crash; each submission taken is
    answered by exactly one `CarrierEvents.submitted` while the process lives, in any order. After one that was
    `unknown` a `submitted_late` may follow."""

    @property
    def name(self) -> str:
        """What routes, numbers, logs and stored messages call it."""
        ...

    @property
    def up(self) -> bool:
        """Whether the carrier can be reached at this moment, as far as is known here: while it is False `submit` raises
        `Unavailable`. Between `start` and `close` it may change at any time, and nothing announces it."""
        ...

    @property
    def reachable(self) -> bool:
        """Whether its messages are for this process. While they are not, other processes have it: `up` is as far as is
        known of them, and `submit` raises `Unavailable`."""
        ...

    @property
    def part(self) -> float | None:
        """What part of what was bought from the carrier is this process's, by the binds it has: all parts of all
        processes are 1 together, or less. None when it is not shared by binds."""
        ...

    @property
    def crash_policy(self) -> CrashPolicy:
        """What becomes of a message that was handed over and whose answer is not known."""
        ...

    @property
    def at_once(self) -> int:
        """How many messages `submit` should be given at a time. Where a crash leaves messages in doubt, no more than
        can be on their way at once."""
        ...

    async def start(self, events: CarrierEvents) -> None:
        """Connect; from now on `events` is called."""
        ...

    async def room(self) -> int:
        """How many messages `submit` takes now; waits while the carrier's window is full. What is looked up about
        messages after it is still true when they are submitted. Raises `Unavailable` as `submit` does."""
        ...

    async def submit(self, submissions: Sequence[Submission]) -> None:
        """Take messages for handing over; waits while the carrier's window is full. Raises `Unavailable` when the
        carrier cannot take them now (none of them was taken)."""
        ...

    async def query(self, carrier_message_id: str, sender: str) -> Receipt | None:
        """What became of a message it took, asked for now; None when it is not known, or not ended. Raises
        `Unavailable` when the carrier cannot be asked."""
        ...

    async def close(self) -> None:
        """Stop taking, answer what was taken where possible, disconnect."""
        ...
