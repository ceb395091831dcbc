"""The HTTP requests of event delivery: notifications in both schemas, their headers and signature (acs-wire.md 10)."""

from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import urlsplit

import msgspec

from landline.services.events.model import SIGNATURE_HEADER, Delivery, Schema, signature
from landline.services.events.service import Target
from landline.wire import base
from landline.wire.events import CloudEvent, EventGridEvent

_ENVELOPE_BYTES = 160
"""What an envelope adds, about, to topic, subject, type and data."""


def notification(
    target: Target, deliveries: Sequence[Delivery], now: datetime, origin: str
) -> tuple[dict[str, str], bytes]:
    """Headers and body that bring these deliveries to their subscription's endpoint."""
    subscription, settings = target.subscription, target.subscription.settings
    headers = {
        **dict(settings.headers),
        **dict(target.secrets.headers),
        "aeg-event-type": "Notification",
        "aeg-subscription-name": subscription.name.upper(),
        "aeg-delivery-count": str(deliveries[0].attempts),
    }
    if settings.schema is Schema.EVENT_GRID:
        body = base.encode([_event_grid(target, delivery) for delivery in deliveries])
        headers |= {
            "content-type": "application/json; charset=utf-8",
            "aeg-data-version": "1.0",
            "aeg-metadata-version": "1",
        }
    else:
        events = [_cloud_event(target, delivery) for delivery in deliveries]
        batch = settings.batch_events > 1
        body = base.encode(events if batch else events[0])
        kind = "cloudevents-batch" if batch else "cloudevents"
        headers |= {
            "content-type": f"application/{kind}+json; charset=utf-8",
            "aeg-metadata-version": "1.0",
            "webhook-request-origin": origin,
        }
    if target.secrets.signatures:
        headers[SIGNATURE_HEADER] = signature(body, target.secrets.signatures, now)
    return headers, body


def origin_of(public_base_url: str) -> str:
    """The DNS name by which this server asks endpoints for their consent (CloudEvents webhooks §4.1.1)."""
    return urlsplit(public_base_url).hostname or "localhost"


def first_batch(target: Target, waiting: Sequence[Delivery]) -> int:
    """How many of the first of `waiting` (at least one) go into one request: tried equally often, in both limits."""
    settings = target.subscription.settings
    room = settings.batch_kilobytes * 1024 - 2
    count = 0
    for delivery in waiting:
        event = delivery.event
        room -= len(event.data) + len(target.topic) + len(event.subject) + len(event.type) + _ENVELOPE_BYTES
        if count and (count >= settings.batch_events or room < 0 or delivery.attempts != waiting[0].attempts):
            break
        count += 1
    return count


def instant(at: datetime) -> str:
    """`at` as Event Grid writes instants: UTC, seven fractional digits, `Z`."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f0Z")


def _event_grid(target: Target, delivery: Delivery) -> EventGridEvent:
    event = delivery.event
    return EventGridEvent(
        str(event.event_id), target.topic, event.subject, msgspec.Raw(event.data), event.type, instant(event.at)
    )


def _cloud_event(target: Target, delivery: Delivery) -> CloudEvent:
    event = delivery.event
    return CloudEvent(
        str(event.event_id), target.topic, event.subject, msgspec.Raw(event.data), event.type, instant(event.at)
    )
