"""Outgoing messages as values: their states as one table, their public ids, and what becomes of each recipient."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import IntEnum
from functools import lru_cache
from uuid import UUID

from msgspec import Struct

from landline.core import ids
from landline.core.errors import Invalid
from landline.core.ids import ResourceId
from landline.core.phone import Phone
from landline.services.sms.model import details


class State(IntEnum):
    """Where a message is. The final states are the two that a delivery report can tell (acs-wire.md 4.7)."""

    QUEUED = 0
    SUBMITTED = 1
    """Taken by a carrier; derived from its row in `sms_submissions`, so that taking it costs no update."""
    DELIVERED = 8
    FAILED = 9


FINAL = frozenset({State.DELIVERED, State.FAILED})

NEXT = {
    (State.QUEUED, "block"): State.FAILED,
    (State.QUEUED, "submit"): State.SUBMITTED,
    (State.QUEUED, "defer"): State.QUEUED,
    (State.SUBMITTED, "fail over"): State.QUEUED,
    (State.QUEUED, "refuse"): State.FAILED,
    (State.QUEUED, "expire"): State.FAILED,
    (State.SUBMITTED, "deliver"): State.DELIVERED,
    (State.SUBMITTED, "fail"): State.FAILED,
    (State.SUBMITTED, "expire"): State.FAILED,
}
"""Every change a message may make; an absent key is a change that does not happen (a repeated or late receipt).

`block`: the recipient opted out (4007), or the guard refused it. `defer`: a carrier asked for a later try, or another
is tried at once. `fail over`: another carrier is tried after a negative receipt. `expire`: no report came in
time (5002), or no carrier took it in time (5001). A receipt that precedes the carrier's answer waits for that answer.
"""


FURTHEST = timedelta(days=35)
"""How far ahead a message may be scheduled."""


@dataclass(frozen=True, slots=True)
class Blocked:
    """Why a message ends before it comes to any carrier: the ACS detail code (acs-wire.md 4.7), and a line for the
    timeline."""

    code: int
    reason: str


HALTED = Blocked(details.CANCELED, "its campaign is halted")
REPLY = "reply"
"""The route of the answers to keywords: back where the keyword came from. They are not counted with the resource's own
messages."""


class Recipient(Struct):
    """One planned message of a request. `index` is its place in the request."""

    index: int
    to: Phone
    message_id: UUID
    repeatability_id: UUID | None
    carrier: str
    route: str
    """The rule that chose the carrier."""
    blocked: Blocked | None = None
    cost: int | None = None
    """Of all its segments by that carrier, in millionths of the currency; None: it has no price."""


class Plan(Struct):
    """A checked request, ready to commit. All recipients share what stands here."""

    resource: ResourceId
    sender: str
    body: str
    tag: str | None
    segments: int
    report_wanted: bool
    accepted_at: datetime
    report_by: datetime
    recipients: list[Recipient]
    heeds_opt_outs: bool = True
    """False for the replies to keywords themselves, and for senders that cannot be answered (acs-wire.md 4.5)."""
    valid_until: datetime | None = None
    """After this instant no carrier is tried any more."""
    send_at: datetime | None = None
    """Not before this instant."""
    rated: bool = False
    """Whether there are prices, or a cap on what is spent: then messages without a price are counted."""


class Refused(IntEnum):
    """Why a recipient of an accepted request got no new message."""

    REPLAYED = 0
    """Not refused at all: the same message was accepted before, and keeps its id."""
    REUSED = 1
    """Its repeatability id was used for another message."""
    UNAVAILABLE = 2
    """The database did not take its part of the request, or did not say so."""


class Outcome(Struct):
    """What a recipient is answered. Values, not exceptions, because the others' messages go on."""

    to: str
    status: int
    message_id: str | None = None
    repeatable: bool | None = None
    """Whether its repeatability id was honoured; None when it had none."""
    error: str | None = None


_PUBLIC_ID = re.compile(r"(?:Outgoing|Incoming)_[0-9]{12}([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})", re.ASCII)


def outgoing_id(message_id: UUID, at: datetime) -> str:
    """The public id of an outgoing message: `Outgoing_`, its minute (UTC), its guid (acs-wire.md 4.1)."""
    return f"{outgoing_prefix(at)}{message_id}"


def outgoing_prefix(at: datetime) -> str:
    """What the public ids of the messages of a minute begin with."""
    return f"Outgoing_{_minute(int(at.timestamp()) // 60)}"


def incoming_id(message_id: UUID, at: datetime) -> str:
    """The public id of a received message."""
    return f"Incoming_{_minute(int(at.timestamp()) // 60)}{message_id}"


@lru_cache(maxsize=4096)
def _minute(minute: int) -> str:
    """A minute, counted since 1970 (UTC), as ids have it."""
    return f"{datetime.fromtimestamp(minute * 60, UTC):%Y%m%d%H%M}"


def parse_public_id(text: str) -> UUID | None:
    """The guid of a public message id, or None when `text` is not one."""
    found = _PUBLIC_ID.fullmatch(text)
    return UUID(found.group(1)) if found else None


def repeatability(request_id: str | None, first_sent: str | None, now: datetime, window: timedelta) -> UUID | None:
    """The repeatability id of a recipient, None when it has none (acs-wire.md 4.1; OASIS Repeatable Requests 1.0).

    `first_sent` is an RFC 1123 date, or as azure-communication-sms 1.0.0 writes it: ISO 8601 in UTC, without an offset.
    Raises `Invalid` when the id is no guid, comes without the date (ACS: example of its API specification), the date is
    none, or the first sending lies further back than `window`: then a repeat could not be recognised any more.
    """
    if request_id is None:
        return None
    try:
        found = ids.parse(request_id)
    except ValueError:
        raise Invalid("repeatabilityRequestId is not a guid.", target="repeatabilityRequestId") from None
    if first_sent is None:
        raise Invalid("A repeatabilityRequestId needs its repeatabilityFirstSent.", target="repeatabilityFirstSent")
    if now - _instant(first_sent) > window:
        raise Invalid("repeatabilityFirstSent lies too far back.", target="repeatabilityFirstSent")
    return found


@lru_cache(maxsize=256)
def _instant(date: str) -> datetime:
    """The instant of `date`; the recipients of a request all carry the same one."""
    try:
        at = datetime.fromisoformat(date) if date[:4].isdigit() else parsedate_to_datetime(date)
    except (ValueError, OverflowError):  # the one for what is no date, the other for numbers too large for one
        raise Invalid("repeatabilityFirstSent is not an RFC 1123 date.", target="repeatabilityFirstSent") from None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)
