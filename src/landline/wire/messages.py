"""JSON shapes of the admin API's messages (sending with what ACS's own wire has no words for, taking back, telling
again) and of sender pools."""

from datetime import datetime
from typing import Annotated

from msgspec import Meta, field

from landline.wire.base import Wire


class MessageToSend(Wire, forbid_unknown_fields=True):
    """Body of `POST /resources/{name}/messages`. `from` is a sender, or `pool:` and a pool's name."""

    from_: Annotated[str, Meta(min_length=1)] = field(name="from")
    to: Annotated[list[str], Meta(min_length=1, max_length=100)]
    message: Annotated[str, Meta(max_length=2048)]
    tag: Annotated[str, Meta(max_length=2048)] | None = None
    enable_delivery_report: bool = True
    send_at: Annotated[datetime, Meta(tz=True)] | None = None
    validity_seconds: int | None = None
    smart_encoding: bool | None = None


class SentMessage(Wire):
    to: str
    http_status_code: int
    successful: bool
    message_id: str | None = None
    error_message: str | None = None


class SentMessages(Wire):
    value: list[SentMessage]


class ReportsToPush(Wire, forbid_unknown_fields=True):
    """Body of `POST /resources/{name}/reports:push`: of messages accepted from `since` on and before `until`."""

    since: Annotated[datetime, Meta(tz=True)]
    until: Annotated[datetime, Meta(tz=True)]
    after: str | None = None
    """Where the answer before this one left off."""


class PushedReports(Wire):
    pushed: int
    after: str | None = None
    """Set when there are more: ask again with it."""


class SenderPool(Wire, forbid_unknown_fields=True):
    """Body of `PUT /resources/{name}/sms/pools/{pool}`, and what is shown of a pool."""

    senders: list[str]
    sticky: bool | None = None
    """True when absent."""
    name: str | None = None


class SenderPools(Wire):
    value: list[SenderPool]


class FoundMessage(Wire):
    """A message as `GET /resources/{name}/messages` lists it; its timeline tells the rest. Bodies are not shown."""

    message_id: str
    direction: str
    """outgoing or incoming."""
    state: str
    from_: str = field(name="from")
    to: str
    segments: int
    carrier: str
    tag: str | None = None
    code: int | None = None
    accepted_at: str | None = None
    received_at: str | None = None
    ended_at: str | None = None
    keyword: str | None = None


class FoundMessages(Wire):
    value: list[FoundMessage]
    continuation_token: str | None = None


class NumberToErase(Wire, forbid_unknown_fields=True):
    """Body of `POST /resources/{name}/messages:erase`."""

    number: str
    after: str | None = None
    """Where the answer before this one left off."""


class MessageLeft(Wire):
    """A message that was not erased: it has not ended, or did so less than two minutes ago."""

    message_id: str
    state: str


class ErasedNumber(Wire):
    """How many texts to and from a number were erased by this call, events about them, and what waited for SMPP
    accounts."""

    outgoing: int
    incoming: int
    events: int
    waiting: int
    left: list[MessageLeft]
    after: str | None = None
    """Set when there is more to look at: ask again with it."""
