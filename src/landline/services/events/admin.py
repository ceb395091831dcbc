"""Event subscriptions and dead letters on the admin API."""

import base64
import binascii
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from urllib.parse import quote, urlencode
from uuid import UUID

import msgspec
from msgspec import UNSET

from landline.core.errors import Invalid
from landline.edge import queries
from landline.edge.http import Request, Response, json_response
from landline.edge.routes import Route, admin_route
from landline.ports.clock import Clock
from landline.services.events import delivery_headers
from landline.services.events.model import Schema, Secrets, Settings, Subscription, state_at
from landline.services.events.records_subscriptions import DeadKey, Position, Row
from landline.services.events.subscriptions import Edit, Subscriptions
from landline.wire import base, events
from landline.wire.events import DeadLettersToReplay, DeliveryHeader, Replayed, SubscriptionToAdd, SubscriptionToChange

_TO_ADD = msgspec.json.Decoder(SubscriptionToAdd)
_TO_CHANGE = msgspec.json.Decoder(SubscriptionToChange)
_TO_REPLAY = msgspec.json.Decoder(DeadLettersToReplay)
_PAGE = 100
_LARGEST_PAGE = 1000
_NAMESPACE = "Microsoft.Communication."
_TYPES = "includedEventTypes"


def routes(subscriptions: Subscriptions, clock: Clock, types: Collection[str]) -> list[Route]:
    """Paths below `/resources/{name}`. `types`: all that events may have."""
    admin = _Admin(subscriptions, clock, types)
    one = "/resources/{name}/subscriptions/{subscription}"
    return [
        admin_route("GET", "/resources/{name}/subscriptions", admin.list, "Subscriptions_List"),
        admin_route("POST", "/resources/{name}/subscriptions", admin.add, "Subscriptions_Add"),
        admin_route("GET", one, admin.get, "Subscriptions_Get"),
        admin_route("PATCH", one, admin.change, "Subscriptions_Change"),
        admin_route("DELETE", one, admin.remove, "Subscriptions_Remove"),
        admin_route("POST", f"{one}:validate", admin.validate, "Subscriptions_Validate"),
        admin_route("POST", f"{one}:replay", admin.replay_all, "Subscriptions_Replay"),
        admin_route("GET", "/resources/{name}/deadletters", admin.dead_letters, "DeadLetters_List"),
        admin_route("POST", "/resources/{name}/deadletters:replay", admin.replay, "DeadLetters_Replay"),
    ]


class _Admin:
    def __init__(self, subscriptions: Subscriptions, clock: Clock, types: Collection[str]) -> None:
        self._subscriptions = subscriptions
        self._clock = clock
        self._types = types

    async def list(self, request: Request) -> Response:
        """The event subscriptions of a resource."""
        found = await self._subscriptions.list(request.params["name"])
        return json_response(200, events.SubscriptionList([self._shown(one) for one in found]))

    async def get(self, request: Request) -> Response:
        """One event subscription, without its secrets."""
        found = await self._subscriptions.get(request.params["name"], request.params["subscription"])
        return json_response(200, self._shown(found))

    async def add(self, request: Request) -> Response:
        """Add an event subscription; its endpoint is asked for its consent."""
        body = request.decode(_TO_ADD)
        if body.name is UNSET or body.endpoint is UNSET:
            raise Invalid(
                "A subscription needs a name and an endpoint.", target="name" if body.name is UNSET else "endpoint"
            )
        if body.enabled is not UNSET:
            raise Invalid("A new one is enabled once its endpoint consents. Change this later.", target="enabled")
        added = await self._subscriptions.add(
            request.params["name"], body.name, edit(body, self._types), validation=body.validation
        )
        return json_response(201, self._shown(added))

    async def change(self, request: Request) -> Response:
        """Change an event subscription; what the body leaves out stays as it is."""
        body = request.decode(_TO_CHANGE)
        changed = await self._subscriptions.change(
            request.params["name"],
            request.params["subscription"],
            edit(body, self._types),
            enabled=None if body.enabled is UNSET else body.enabled,
            validation=body.validation,
        )
        return json_response(200, self._shown(changed))

    async def remove(self, request: Request) -> Response:
        """Remove an event subscription, what waits for it and its dead letters."""
        await self._subscriptions.remove(request.params["name"], request.params["subscription"])
        return Response(204)

    async def validate(self, request: Request) -> Response:
        """Ask the endpoint of an event subscription for its consent again."""
        found = await self._subscriptions.validate(request.params["name"], request.params["subscription"])
        return json_response(200, self._shown(found))

    async def replay_all(self, request: Request) -> Response:
        """Deliver all dead letters of an event subscription again."""
        count = await self._subscriptions.replay_all(request.params["name"], request.params["subscription"])
        return json_response(200, Replayed(count))

    async def replay(self, request: Request) -> Response:
        """Deliver the named dead letters again."""
        keys = [_dead_key(text) for text in request.decode(_TO_REPLAY).ids]
        return json_response(200, Replayed(await self._subscriptions.replay(request.params["name"], keys)))

    async def dead_letters(self, request: Request) -> Response:
        """The events that were given up, the oldest first, of one subscription or of all."""
        queries.refuse_unknown(request.query, ("subscription", "limit", "after"))
        resource, name = request.params["name"], request.query.get("subscription")
        limit = _limit(request.query.get("limit"))
        after = _position(request.query["after"]) if "after" in request.query else None
        found = await self._subscriptions.dead_letters(resource, name, after, limit + 1)
        rows, link = found[:limit], None
        if len(found) > limit:
            query = {"limit": str(limit), "after": _after(rows[-1])} | ({"subscription": name} if name else {})
            link = f"/resources/{quote(resource, safe='')}/deadletters?{urlencode(query)}"
        return json_response(200, events.DeadLetterList([_dead_letter(row) for row in rows], link))

    def _shown(self, subscription: Subscription) -> events.Subscription:
        state, reason = state_at(subscription, self._clock.now())
        settings = subscription.settings
        return events.Subscription(
            name=subscription.name,
            endpoint=settings.endpoint,
            schema=settings.schema.value,
            state=state.value,
            reason=reason,
            included_event_types=None if settings.types is None else [*settings.types],
            subject_begins_with=settings.subject_begins,
            subject_ends_with=settings.subject_ends,
            is_subject_case_sensitive=settings.case_sensitive,
            max_delivery_attempts=settings.max_attempts,
            event_time_to_live_in_minutes=settings.ttl_minutes,
            max_events_per_batch=settings.batch_events,
            preferred_batch_size_in_kilobytes=settings.batch_kilobytes,
            delivery_headers=[DeliveryHeader(name, value) for name, value in settings.headers]
            + [DeliveryHeader(name, is_secret=True) for name in settings.secret_headers],
            signed=settings.signed,
            allowed_rate_per_minute=settings.rate_per_minute,
            created_at=base.timestamp(subscription.created_at),
            pending_endpoint=None if subscription.pending is None else subscription.pending.endpoint,
        )


def edit(body: SubscriptionToChange, known: Collection[str]) -> Edit:
    """The change that `body` asks for; it raises `Invalid` when a schema, a header or a type, which is to be among the
    `known`, cannot be."""
    wanted: dict[str, object] = {
        "endpoint": body.endpoint,
        "schema": UNSET if body.schema is UNSET else _schema(body.schema),
        "types": _types(body.included_event_types, known)
        if isinstance(body.included_event_types, Sequence)
        else body.included_event_types,
        "subject_begins": body.subject_begins_with,
        "subject_ends": body.subject_ends_with,
        "case_sensitive": body.is_subject_case_sensitive,
        "max_attempts": body.max_delivery_attempts,
        "ttl_minutes": body.event_time_to_live_in_minutes,
        "batch_events": body.max_events_per_batch,
        "batch_kilobytes": body.preferred_batch_size_in_kilobytes,
    }
    given = {name: value for name, value in wanted.items() if value is not UNSET}

    def change(settings: Settings, secrets: Secrets) -> tuple[Settings, Secrets]:
        settings = msgspec.structs.replace(settings, **given)
        if body.signature_secrets is not UNSET:
            secrets = msgspec.structs.replace(secrets, signatures=tuple(body.signature_secrets))
            settings = msgspec.structs.replace(settings, signed=bool(body.signature_secrets))
        if body.delivery_headers is not UNSET:
            settings, secrets = delivery_headers.applied(body.delivery_headers, settings, secrets)
        return settings, secrets

    return change


def _types(names: Sequence[str], known: Collection[str]) -> tuple[str, ...]:
    """Event types to be told of. One that can never come is a slip that nobody would notice but by silence."""
    if not names:
        raise Invalid("Name at least one type; leave this out, or give null, for every type.", target=_TYPES)
    wrong = next((name for name in names if name not in known), None)
    if wrong is None:
        return tuple(names)
    spelled = {name.rpartition(".")[2].lower(): name for name in known}
    named = wrong[-100:].rpartition(".")[2].lower()  # to compare a megabyte with them takes a second
    near = get_close_matches(named, spelled, n=1, cutoff=0.7)
    meant = f"did you mean {spelled[near[0]]}?" if near else f"they are like {_NAMESPACE}SMSReceived."
    raise Invalid(f"There are no events of the type {wrong[:100]}: {meant}", target=_TYPES)


def _schema(text: str) -> Schema:
    try:
        return Schema(text)
    except ValueError:
        known = " or ".join(schema.value for schema in Schema)
        raise Invalid(f"The schema must be {known}.", target="schema") from None


def _limit(text: str | None) -> int:
    if text is None:
        return _PAGE
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and 1 <= int(text) <= _LARGEST_PAGE):
        raise Invalid(f"The limit must be from 1 to {_LARGEST_PAGE}.", target="limit")
    return int(text)


def _dead_letter(row: Row) -> events.DeadLetter:
    key = row["about"].bytes + row["event_id"].bytes + row["subscription_id"].bytes
    return events.DeadLetter(
        id=base64.urlsafe_b64encode(key).decode(),
        subscription=row["name"] or "(deleted)",
        event_id=str(row["event_id"]),
        event_type=row["type"],
        subject=row["subject"],
        event_time=base.timestamp(row["at"]),
        dead_at=base.timestamp(row["dead_at"]),
        reason=row["reason"],
        attempts=row["attempts"],
        last_status=row["status"],
        last_error=row["error"],
        data=msgspec.Raw(row["data"]),
    )


def _dead_key(text: str) -> DeadKey:
    raw = _decoded(text)
    if len(raw) != 48:
        raise Invalid("There is no dead letter with this id.", target="ids")
    return DeadKey(UUID(bytes=raw[:16]), UUID(bytes=raw[16:32]), UUID(bytes=raw[32:]))


def _after(row: Row) -> str:
    key = row["event_id"].bytes + row["subscription_id"].bytes + row["dead_at"].isoformat().encode()
    return base64.urlsafe_b64encode(key).decode()


def _position(text: str) -> Position:
    raw = _decoded(text)
    try:
        dead_at = datetime.fromisoformat(raw[32:].decode()).astimezone(UTC)
        return dead_at, UUID(bytes=raw[:16]), UUID(bytes=raw[16:32])
    except (ValueError, OverflowError):
        raise Invalid("This is not where a page begins.", target="after") from None


def _decoded(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text)
    except (binascii.Error, ValueError):
        return b""
