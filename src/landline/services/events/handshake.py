"""Asking an endpoint for its consent before events are sent to it (acs-wire.md 10): Event Grid's validation event, and
the OPTIONS request of CloudEvents webhooks (CloudEvents HTTP 1.1 Web Hooks §4)."""

import hmac
import os
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import msgspec

from landline.core.ids import time_ordered
from landline.ports.callout import Answer, Callout, CalloutFailed
from landline.services.events.model import Schema, State
from landline.services.events.requests import instant, origin_of
from landline.services.events.service import Target
from landline.wire import base
from landline.wire.events import (
    VALIDATION_EVENT,
    EventGridEvent,
    SubscriptionValidationEventData,
    SubscriptionValidationResponse,
)

TIMEOUT_S = 30.0
_RESPONSE = msgspec.json.Decoder(SubscriptionValidationResponse)
_WAITING = "The endpoint has not consented yet; a GET of the validation URL does."


@dataclass(frozen=True, slots=True)
class Answered:
    """What the handshake came to; VALIDATING means that consent may still come by the validation URL."""

    state: State
    reason: str | None = None
    rate_per_minute: int | None = None


async def ask(callout: Callout, target: Target, validation_url: str, public_base_url: str, now: datetime) -> Answered:
    """Ask the endpoint of `target` in the way of its schema."""
    try:
        if target.subscription.settings.schema is Schema.EVENT_GRID:
            return await _ask_event_grid(callout, target, validation_url, now)
        return await _ask_cloud_events(callout, target, validation_url, origin_of(public_base_url))
    except CalloutFailed as failure:
        return Answered(State.FAILED, f"The endpoint could not be asked ({failure.reason}): {failure}"[:500])


def allowed_rate(value: str | None) -> int | None:
    """The requests per minute of a `WebHook-Allowed-Rate`; None when it sets no limit."""
    text = (value or "").strip()
    return max(int(text), 1) if text.isascii() and text.isdigit() and len(text) < 9 else None


async def _ask_event_grid(callout: Callout, target: Target, validation_url: str, now: datetime) -> Answered:
    entropy = os.urandom(26)
    code = str(UUID(bytes=entropy[:16], version=4))
    data = SubscriptionValidationEventData(code, validation_url)
    event = EventGridEvent(
        str(time_ordered(now, entropy[16:])),
        target.topic,
        "",
        msgspec.Raw(base.encode(data)),
        VALIDATION_EVENT,
        instant(now),
        data_version="2",
    )
    headers = {
        **_own_headers(target),
        "content-type": "application/json; charset=utf-8",
        "aeg-event-type": "SubscriptionValidation",
        "aeg-subscription-name": target.subscription.name.upper(),
        "aeg-delivery-count": "0",
        "aeg-data-version": "2",
        "aeg-metadata-version": "1",
    }
    answer = await _request(callout, "POST", target, headers, base.encode([event]))
    if answer.status != 200:  # a 202 is no consent
        return Answered(State.FAILED, f"The endpoint answered the validation event with {answer.status}.")
    try:
        given = _RESPONSE.decode(answer.body).validation_response
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Answered(State.VALIDATING, _WAITING)
    if hmac.compare_digest(given.encode(), code.encode()):
        return Answered(State.ENABLED)
    return Answered(State.FAILED, "The endpoint answered with another validation code.")


async def _ask_cloud_events(callout: Callout, target: Target, validation_url: str, origin: str) -> Answered:
    headers = {
        **_own_headers(target),
        "webhook-request-origin": origin,
        "webhook-request-callback": validation_url,
    }
    answer = await _request(callout, "OPTIONS", target, headers, b"")
    allowed = answer.headers.get("webhook-allowed-origin", "").strip()
    if allowed == "*" or allowed.lower() == origin.lower():
        return Answered(State.ENABLED, None, allowed_rate(answer.headers.get("webhook-allowed-rate")))
    if allowed:
        return Answered(State.FAILED, f"The endpoint allows another origin than {origin}.")
    if not 200 <= answer.status < 300:
        return Answered(State.FAILED, f"The endpoint answered OPTIONS with {answer.status}.")
    return Answered(State.VALIDATING, _WAITING)


async def _request(callout: Callout, method: str, target: Target, headers: dict[str, str], body: bytes) -> Answer:
    endpoint = target.subscription.settings.endpoint
    return await callout.request(
        method, endpoint, headers=headers, body=body, timeout_s=TIMEOUT_S, answer_limit_bytes=8192
    )


def _own_headers(target: Target) -> dict[str, str]:
    return {**dict(target.subscription.settings.headers), **dict(target.secrets.headers)}
