"""The HTTP requests of event delivery: notifications in both schemas, their headers and signature (acs-wire.md 10)."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from urllib.parse import urlsplit

import msgspec

from landline.ports.callout import Headers
from landline.services.events.model import SIGNATURE_HEADER, Delivery, Event, Schema, Settings, signature
from landline.services.events.service import Target
from landline.wire import base
from landline.wire.events import CloudEvent, EventGridEvent

_ENVELOPE_BYTES = 160
"""What an envelope adds, about, to topic, subject, type and data."""


class Form:
    """The requests to one subscription's endpoint: what they have in common, and how the rest is filled in."""

    def __init__(self, target: Target, origin: str) -> None:
        """`origin`: see `origin_of`."""
        self.target = target
        settings = target.subscription.settings
        self.together = settings.batch_events
        """The most events of one request."""
        self.time_to_live = timedelta(minutes=settings.ttl_minutes)
        self._fixed = {
            **dict(settings.headers),
            **dict(target.secrets.headers),
            "aeg-event-type": "Notification",
            "aeg-subscription-name": target.subscription.name.upper(),
            **_schema_headers(settings, origin),
        }
        self._headers: dict[int, Headers] = {}
        self._signatures = target.secrets.signatures
        self._array = settings.schema is Schema.EVENT_GRID or settings.batch_events > 1

    def first_batch(self, waiting: Sequence[Delivery]) -> int:
        """How many of the first of `waiting` go into one request, at least one: equally often tried, in both limits."""
        topic, settings = self.target.topic, self.target.subscription.settings
        if self.together == 1:
            return 1
        room = settings.batch_kilobytes * 1024 - 2
        count = 0
        for delivery in waiting:
            event = delivery.event
            room -= len(event.data) + len(topic) + len(event.subject) + len(event.type) + _ENVELOPE_BYTES
            if count and (count >= self.together or room < 0 or delivery.attempts != waiting[0].attempts):
                break
            count += 1
        return count

    def notification(self, deliveries: Sequence[Delivery], now: datetime) -> tuple[Headers, bytes]:
        """Headers and body that bring these deliveries to the endpoint."""
        body = b",".join([self._envelope(delivery.event) for delivery in deliveries])
        if self._array:
            body = b"[%b]" % body
        headers = self._headers_at(deliveries[0].attempts)
        if self._signatures:
            headers = headers.with_one(SIGNATURE_HEADER, signature(body, self._signatures, now))
        return headers, body

    def _headers_at(self, attempts: int) -> Headers:
        headers = self._headers.get(attempts)
        if headers is None:
            headers = self._headers[attempts] = Headers({**self._fixed, "aeg-delivery-count": str(attempts)})
        return headers

    def _envelope(self, event: Event) -> bytes:
        schema, kept = self.target.subscription.settings.schema, event.envelopes
        if kept is not None and schema in kept:
            return kept[schema]
        make = EventGridEvent if schema is Schema.EVENT_GRID else CloudEvent
        topic, data = self.target.topic, msgspec.Raw(event.data)
        envelope = base.encode(make(str(event.event_id), topic, event.subject, data, event.type, instant(event.at)))
        if kept is not None:
            kept[schema] = envelope
        return envelope


def origin_of(public_base_url: str) -> str:
    """The DNS name by which this server asks endpoints for their consent (CloudEvents webhooks §4.1.1)."""
    return urlsplit(public_base_url).hostname or "localhost"


def instant(at: datetime) -> str:
    """`at` as Event Grid writes instants: UTC, seven fractional digits, `Z`."""
    return base.digits(at) + "0Z"


def _schema_headers(settings: Settings, origin: str) -> dict[str, str]:
    if settings.schema is Schema.EVENT_GRID:
        return {
            "content-type": "application/json; charset=utf-8",
            "aeg-data-version": "1.0",
            "aeg-metadata-version": "1",
        }
    kind = "cloudevents-batch" if settings.batch_events > 1 else "cloudevents"
    return {
        "content-type": f"application/{kind}+json; charset=utf-8",
        "aeg-metadata-version": "1.0",
        "webhook-request-origin": origin,
    }
