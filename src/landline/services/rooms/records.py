"""The SQL of rooms and their participants."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from landline.core.ids import ResourceId
from landline.services.rooms.model import Participant, Rejected, Repeatable, Role, Room, RoomId
from landline.store.database import Connection, Record

_COLUMNS = "room_id, created_at, valid_from, valid_until, pstn_dial_out_enabled"
_PRUNED_AT_ONCE = 1000


async def insert(connection: Connection, resource: ResourceId, room: Room, repeatable: Repeatable | None) -> bool:
    """Write a new room. False when its id, or its request's, is taken."""
    done = await connection.fetchval(
        f"INSERT INTO rooms_room (resource_id, {_COLUMNS}, request_id, request_digest)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING RETURNING true",
        resource,
        room.room_id,
        room.created_at,
        room.valid_from,
        room.valid_until,
        room.pstn_dial_out_enabled,
        repeatable.request_id if repeatable else None,
        repeatable.digest if repeatable else None,
    )
    return done is True


async def get(connection: Connection, resource: ResourceId, room_id: RoomId, *, lock: bool = False) -> Room | None:
    """The room; with `lock` nobody else changes it or its participants until the transaction ends."""
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM rooms_room WHERE resource_id = $1 AND room_id = $2{' FOR UPDATE' if lock else ''}",
        resource,
        room_id,
    )
    return _room(row) if row is not None else None


async def by_request(connection: Connection, resource: ResourceId, repeatable: Repeatable) -> Room | None:
    """The room that this request has made. Raises `Rejected` when it is another request's with the same id."""
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS}, request_digest FROM rooms_room WHERE resource_id = $1 AND request_id = $2",
        resource,
        repeatable.request_id,
    )
    if row is None:
        return None
    if row["request_digest"] not in (None, repeatable.digest):
        raise Rejected("Another request had this id.", target="Repeatability-Request-ID")
    return _room(row)


async def update(connection: Connection, resource: ResourceId, room: Room) -> None:
    await connection.execute(
        "UPDATE rooms_room SET valid_from = $3, valid_until = $4, pstn_dial_out_enabled = $5"
        " WHERE resource_id = $1 AND room_id = $2",
        resource,
        room.room_id,
        room.valid_from,
        room.valid_until,
        room.pstn_dial_out_enabled,
    )


async def delete(connection: Connection, resource: ResourceId, room_id: RoomId) -> bool:
    """Remove the room and its participants. False when there is none."""
    done = await connection.fetchval(
        "DELETE FROM rooms_room WHERE resource_id = $1 AND room_id = $2 RETURNING true", resource, room_id
    )
    return done is True


async def page(
    connection: Connection, resource: ResourceId, after: tuple[datetime, RoomId] | None, limit: int
) -> list[Room]:
    """Rooms, the youngest first; those that come after (instant, id)."""
    if after is None:
        rows = await connection.fetch(
            f"SELECT {_COLUMNS} FROM rooms_room WHERE resource_id = $1 ORDER BY created_at DESC, room_id DESC LIMIT $2",
            resource,
            limit,
        )
    else:
        rows = await connection.fetch(
            f"SELECT {_COLUMNS} FROM rooms_room WHERE resource_id = $1 AND (created_at, room_id) < ($2, $3)"
            " ORDER BY created_at DESC, room_id DESC LIMIT $4",
            resource,
            *after,
            limit,
        )
    return [_room(row) for row in rows]


async def participants(
    connection: Connection, resource: ResourceId, room_id: RoomId, after: UUID, limit: int
) -> list[Participant]:
    """Participants in the order of their ids, those after `after`."""
    rows = await connection.fetch(
        "SELECT user_id, role FROM rooms_participant"
        " WHERE resource_id = $1 AND room_id = $2 AND user_id > $3 ORDER BY user_id LIMIT $4",
        resource,
        room_id,
        after,
        limit,
    )
    return [Participant(resource, row["user_id"], Role(row["role"])) for row in rows]


async def put_participants(
    connection: Connection, resource: ResourceId, room_id: RoomId, invited: Sequence[Participant]
) -> None:
    """Invite, or change the role of who is invited."""
    await connection.execute(
        "INSERT INTO rooms_participant (resource_id, room_id, user_id, role)"
        " SELECT $1, $2, user_id, role FROM unnest($3::uuid[], $4::text[]) AS invited (user_id, role)"
        " ON CONFLICT (resource_id, room_id, user_id) DO UPDATE SET role = excluded.role",
        resource,
        room_id,
        [participant.user_id for participant in invited],
        [participant.role.value for participant in invited],
    )


async def drop_participants(
    connection: Connection, resource: ResourceId, room_id: RoomId, users: Sequence[UUID]
) -> None:
    await connection.execute(
        "DELETE FROM rooms_participant WHERE resource_id = $1 AND room_id = $2 AND user_id = ANY($3::uuid[])",
        resource,
        room_id,
        users,
    )


async def drop_user(connection: Connection, resource: ResourceId, user_id: UUID) -> None:
    """Out of all rooms."""
    await connection.execute("DELETE FROM rooms_participant WHERE resource_id = $1 AND user_id = $2", resource, user_id)


async def count_participants(connection: Connection, resource: ResourceId, room_id: RoomId) -> int:
    return await connection.fetchval(
        "SELECT count(*) FROM rooms_participant WHERE resource_id = $1 AND room_id = $2", resource, room_id
    )


async def role(
    connection: Connection, resource: ResourceId, room_id: RoomId, user_id: UUID, now: datetime
) -> Role | None:
    """As what `user_id` may join the room at `now`."""
    found = await connection.fetchval(
        "SELECT role FROM rooms_participant JOIN rooms_room USING (resource_id, room_id)"
        " WHERE resource_id = $1 AND room_id = $2 AND user_id = $3 AND valid_from <= $4 AND valid_until > $4",
        resource,
        room_id,
        user_id,
        now,
    )
    return Role(found) if found is not None else None


async def prune(connection: Connection, ended_before: datetime) -> bool:
    """Remove some of the rooms that ended before that instant. False when they were the last."""
    removed = await connection.fetch(
        "DELETE FROM rooms_room WHERE (resource_id, room_id) IN"
        " (SELECT resource_id, room_id FROM rooms_room WHERE valid_until < $1 ORDER BY valid_until LIMIT $2)"
        " RETURNING room_id",
        ended_before,
        _PRUNED_AT_ONCE,
    )
    return len(removed) == _PRUNED_AT_ONCE


def _room(row: Record) -> Room:
    return Room(row["room_id"], row["created_at"], row["valid_from"], row["valid_until"], row["pstn_dial_out_enabled"])
