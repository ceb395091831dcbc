"""SQL of subscriptions and of the dead letters they left."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from landline.core.ids import ResourceId
from landline.services.events.model import Settings, State, Subscription
from landline.store.database import Connection, Database

Row = Mapping[str, Any]

_COLUMNS = "resource_id, name, subscription_id, settings, state, reason, created_at, validating_until, pending_settings"
_SETTINGS = msgspec.json.Decoder(Settings)


@dataclass(frozen=True, slots=True)
class DeadKey:
    """Which dead letter of a resource."""

    about: UUID
    event_id: UUID
    subscription: UUID


async def insert(connection: Connection, subscription: Subscription, secrets: bytes, token: bytes | None) -> bool:
    """Whether the subscription is new; False when the resource has one of this name."""
    row = await connection.fetchrow(
        f"INSERT INTO events_subscriptions ({_COLUMNS}, secrets, validation_token)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, NULL, $9, $10) ON CONFLICT DO NOTHING RETURNING name",
        subscription.resource,
        subscription.name,
        subscription.subscription_id,
        _settings(subscription.settings),
        subscription.state.value,
        subscription.reason,
        subscription.created_at,
        subscription.validating_until,
        secrets,
        token,
    )
    return row is not None


async def update(
    connection: Connection,
    subscription: Subscription,
    secrets: bytes,
    token: bytes | None,
    pending_secrets: bytes | None = None,
) -> bool:
    """Write settings, state, secrets, what is pending and (unless None) token; False when the subscription is gone, or
    was written since it was read."""
    row = await connection.fetchrow(
        "UPDATE events_subscriptions SET settings = $3, state = $4, reason = $5, validating_until = $6,"
        " validation_token = coalesce($7, validation_token), secrets = $8, pending_settings = $9, pending_secrets = $10"
        " WHERE resource_id = $1 AND subscription_id = $2 AND xmin::text = $11 RETURNING name",
        subscription.resource,
        subscription.subscription_id,
        _settings(subscription.settings),
        subscription.state.value,
        subscription.reason,
        subscription.validating_until,
        token,
        secrets,
        None if subscription.pending is None else _settings(subscription.pending),
        pending_secrets,
        subscription.version,
    )
    return row is not None


async def consent(
    connection: Connection, subscription: UUID, token: bytes, now: datetime, rate_per_minute: int | None
) -> ResourceId | None:
    """Enable a subscription that waits for this token, or have it become what is pending; its resource, or None when
    none waits (any more)."""
    resource = await connection.fetchval(
        "UPDATE events_subscriptions SET state = CASE state WHEN 'validating' THEN 'enabled' ELSE state END,"
        " reason = NULL, validation_token = NULL, validating_until = NULL,"
        " settings = jsonb_set(coalesce(pending_settings, settings), '{rate_per_minute}',"
        " coalesce(to_jsonb($4::int), 'null'::jsonb)), secrets = coalesce(pending_secrets, secrets),"
        " pending_settings = NULL, pending_secrets = NULL"
        " WHERE subscription_id = $1 AND validation_token = $2 AND validating_until > $3"
        " AND (state = 'validating' OR pending_settings IS NOT NULL)"
        " RETURNING resource_id",
        subscription,
        token,
        now,
        rate_per_minute,
    )
    return None if resource is None else ResourceId(resource)


async def not_consented(connection: Connection, subscription: UUID, token: bytes, state: State, reason: str) -> None:
    """The handshake of this token ended without consent, unless consent has come by another way meanwhile."""
    await connection.execute(
        "UPDATE events_subscriptions SET state = $3, reason = $4"
        " WHERE subscription_id = $1 AND validation_token = $2 AND state = 'validating'",
        subscription,
        token,
        state.value,
        reason,
    )


async def not_moved(connection: Connection, subscription: UUID, token: bytes) -> bool:
    """What was pending ended without consent; False when consent, or another change, has come meanwhile."""
    row = await connection.fetchrow(
        "UPDATE events_subscriptions SET validation_token = NULL, validating_until = NULL, pending_settings = NULL,"
        " pending_secrets = NULL"
        " WHERE subscription_id = $1 AND validation_token = $2 AND pending_settings IS NOT NULL RETURNING name",
        subscription,
        token,
    )
    return row is not None


async def pending_secrets(database: Database, subscription: UUID) -> bytes | None:
    """The sealed secrets of what a subscription is to become."""
    return await database.fetchval(
        "SELECT pending_secrets FROM events_subscriptions WHERE subscription_id = $1", subscription
    )


async def delete(connection: Connection, resource: ResourceId, name: str) -> UUID | None:
    """The id of the subscription deleted, or None when there is none of this name."""
    return await connection.fetchval(
        "DELETE FROM events_subscriptions WHERE resource_id = $1 AND name = $2 RETURNING subscription_id",
        resource,
        name,
    )


async def delete_waiting(database: Database, resource: ResourceId, subscription: UUID, limit: int) -> bool:
    """Delete up to `limit` waiting rows and dead letters of a subscription that is gone; whether more may be left."""
    tag = await database.execute(
        "DELETE FROM events_deliveries WHERE ctid = ANY(ARRAY(SELECT ctid FROM events_deliveries"
        " WHERE resource_id = $1 AND subscription_id = $2 AND next_at IS NOT NULL LIMIT $3)"
        " || ARRAY(SELECT ctid FROM events_deliveries"
        " WHERE resource_id = $1 AND subscription_id = $2 AND dead_at IS NOT NULL LIMIT $3))",
        resource,
        subscription,
        limit,
    )
    return int(tag.rpartition(" ")[2]) >= limit


async def of_resource(connection: Connection, resource: ResourceId) -> list[Subscription]:
    """All subscriptions of a resource, by name."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM events_subscriptions WHERE resource_id = $1 ORDER BY name", resource
    )
    return [_subscription(row) for row in rows]


_ADDING = 0x73756273  # "subs": the first half of an advisory lock, whose second is of the resource


async def count_and_lock(connection: Connection, resource: ResourceId) -> int:
    """How many subscriptions the resource has; nobody else who asks this adds one until the transaction ends."""
    await connection.execute("SELECT pg_advisory_xact_lock($1, hashtext($2::text))", _ADDING, str(resource))
    return await connection.fetchval("SELECT count(*) FROM events_subscriptions WHERE resource_id = $1", resource)


async def find(database: Database, resource: ResourceId, name: str) -> tuple[Subscription, bytes] | None:
    """A subscription by name, and its sealed secrets."""
    row = await database.fetchrow(
        f"SELECT {_COLUMNS}, secrets, xmin::text AS version FROM events_subscriptions"
        " WHERE resource_id = $1 AND name = $2",
        resource,
        name,
    )
    return None if row is None else (replace(_subscription(row), version=row["version"]), row["secrets"])


async def by_id(database: Database, subscription: UUID) -> tuple[Subscription, bytes] | None:
    """A subscription by id, and its sealed secrets."""
    row = await database.fetchrow(
        f"SELECT {_COLUMNS}, secrets FROM events_subscriptions WHERE subscription_id = $1", subscription
    )
    return None if row is None else (_subscription(row), row["secrets"])


Position = tuple[datetime, UUID, UUID]
"""Where a page of dead letters begins: after this death, event and subscription."""


async def dead_letters(
    database: Database, resource: ResourceId, name: str | None, after: Position | None, limit: int
) -> list[Row]:
    """Up to `limit` dead letters (of the subscription `name`, or of all), the oldest first, after a position."""
    conditions = "d.resource_id = $1 AND d.dead_at IS NOT NULL"
    if name is None:
        conditions += " AND $2::text IS NULL"
    else:
        conditions += (
            " AND d.subscription_id = (SELECT subscription_id FROM events_subscriptions"
            " WHERE resource_id = $1 AND name = $2)"
        )
    if after is not None:
        conditions += " AND (d.dead_at, d.event_id, d.subscription_id) > ($4, $5, $6)"
    return await database.fetch(
        "SELECT s.name, d.about, d.event_id, d.subscription_id, d.type, d.subject, d.at, d.dead_at, d.reason,"
        " d.attempts, d.status, d.error, d.data FROM events_deliveries d"
        " LEFT JOIN events_subscriptions s ON s.subscription_id = d.subscription_id"
        f" WHERE {conditions} ORDER BY d.dead_at, d.event_id, d.subscription_id LIMIT $3",
        resource,
        name,
        limit,
        *(after or ()),
    )


_REVIVE = (
    "UPDATE events_deliveries SET dead_at = NULL, reason = NULL, next_at = $2, since = $2, attempts = 0,"
    " failures = CASE WHEN jsonb_array_length(failures) > 60 THEN NULL ELSE failures END"
)


async def revive(database: Database, resource: ResourceId, keys: Sequence[DeadKey], now: datetime) -> int:
    """Make these dead letters due again from their first try; how many there were."""
    tag = await database.execute(
        f"{_REVIVE} WHERE resource_id = $1 AND dead_at IS NOT NULL AND (about, event_id, subscription_id) IN"
        " (SELECT * FROM unnest($3::uuid[], $4::uuid[], $5::uuid[]))",
        resource,
        now,
        [key.about for key in keys],
        [key.event_id for key in keys],
        [key.subscription for key in keys],
    )
    return int(tag.rpartition(" ")[2])


async def revive_all(database: Database, resource: ResourceId, subscription: UUID, now: datetime, limit: int) -> int:
    """Make up to `limit` dead letters of a subscription that died until `now` due again; how many there were."""
    tag = await database.execute(
        # Asked again of each row: by a PostgreSQL older than autumn 2025, which does not compare a ctid again, one that
        # another operator revived while this waited for it would be revived once more, whatever has become of it.
        f"{_REVIVE} WHERE ctid = ANY(ARRAY(SELECT ctid FROM events_deliveries WHERE resource_id = $1"
        " AND subscription_id = $3 AND dead_at <= $2 ORDER BY dead_at LIMIT $4)) AND dead_at <= $2",
        resource,
        now,
        subscription,
        limit,
    )
    return int(tag.rpartition(" ")[2])


def _settings(settings: Settings) -> str:
    return msgspec.json.encode(settings).decode()


def _subscription(row: Row) -> Subscription:
    return Subscription(
        row["subscription_id"],
        ResourceId(row["resource_id"]),
        row["name"],
        _SETTINGS.decode(row["settings"]),
        State(row["state"]),
        row["reason"],
        row["created_at"],
        row["validating_until"],
        None if row["pending_settings"] is None else _SETTINGS.decode(row["pending_settings"]),
    )
