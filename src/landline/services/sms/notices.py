"""The events SMS tells the world of: delivery reports and received texts (acs-wire.md 10)."""

from datetime import datetime
from uuid import UUID

from landline.core.ids import ResourceId, made
from landline.services.events.model import Event
from landline.services.sms.model import details, messages
from landline.services.sms.model.messages import State
from landline.store.database import Record
from landline.wire import base, events

REPORT = "Microsoft.Communication.SMSDeliveryReportReceived"
RECEIVED = "Microsoft.Communication.SMSReceived"
TYPES = frozenset({REPORT, RECEIVED})
"""All types that are sent."""


def ended(record: Record) -> Event:
    """The delivery report of a message as `records.report` and `records.end` return it."""
    return delivery_report(
        resource=record["resource_id"],
        message_id=record["message_id"],
        accepted_at=record["accepted_at"],
        sender=record["sender"],
        recipient=record["recipient"],
        delivered=record["state"] == State.DELIVERED,
        code=record["code"],
        ended_at=record["ended_at"],
        segments=record["segments"],
        segments_delivered=record["segments_delivered"],
        tag=record["tag"],
    )


def delivery_report(
    *,
    resource: ResourceId,
    message_id: UUID,
    accepted_at: datetime,
    sender: str,
    recipient: str,
    delivered: bool,
    code: int,
    ended_at: datetime,
    segments: int,
    segments_delivered: int,
    tag: str | None,
) -> Event:
    """`SMSDeliveryReportReceived` for a message that ended. Its event id is made of the message's, so that the same
    end can only ever be told under one id."""
    at = base.timestamp(ended_at)
    data = events.AcsSmsDeliveryReportReceivedEventData(
        message_id=messages.outgoing_id(message_id, accepted_at),
        from_=sender,
        to=recipient,
        delivery_status="Delivered" if delivered else "Failed",
        delivery_status_details=details.words(code),
        delivery_attempts=[
            events.AcsSmsDeliveryAttempt(
                timestamp=at, segments_succeeded=segments_delivered, segments_failed=segments - segments_delivered
            )
        ],
        received_timestamp=at,
        tag=tag,
    )
    return Event(
        event_id=_derived(message_id),
        resource=resource,
        type=REPORT,
        subject=f"/phonenumber/{sender.removeprefix('+')}",
        data=base.encode(data),
        at=ended_at,
        about=message_id,
    )


def received(
    *, resource: ResourceId, message_id: UUID, sender: str, recipient: str, text: str, segments: int, at: datetime
) -> Event:
    """`SMSReceived` for a text a phone sent to `recipient`, one of the resource's numbers."""
    data = events.AcsSmsReceivedEventData(
        message_id=messages.incoming_id(message_id, at),
        from_=sender,
        to=recipient,
        message=text,
        received_timestamp=base.timestamp(at),
        segment_count=segments,
    )
    return Event(
        event_id=_derived(message_id),
        resource=resource,
        type=RECEIVED,
        subject=f"/phonenumber/{recipient.removeprefix('+')}",
        data=base.encode(data),
        at=at,
        about=message_id,
    )


def _derived(message_id: UUID) -> UUID:
    return made(message_id.int ^ 0x1)
