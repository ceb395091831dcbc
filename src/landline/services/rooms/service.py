"""Rooms: made, changed and ended by applications; who may join one is asked by whatever lets people into calls."""

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

import structlog

from landline.core.errors import Invalid, NotFound
from landline.core.ids import RawId, ResourceId
from landline.ports.clock import Clock
from landline.services.rooms import model, records
from landline.services.rooms.model import Participant, Repeatable, Role, Room, RoomId
from landline.store.database import Connection, Database, settle

log = structlog.get_logger()

FIRST = UUID(int=0)
"""What all participants come after."""


class Rooms:
    """The rooms of all resources."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def create(
        self,
        resource: ResourceId,
        *,
        valid_from: datetime | None = None,
        valid_until: datetime | None = None,
        dial_out: bool = False,
        roles: Mapping[str, str | None] | None = None,
        repeatable: Repeatable | None = None,
    ) -> Room:
        """A new room with the participants `roles` (raw id, role), committed; or the one that the same request has
        made before, as it is now. Raises `Invalid`, `Rejected` when another request had this one's id."""
        invited = model.invited(resource, roles or {})
        _check_count(len(invited))
        while True:
            room_id = model.room_id(secrets.randbelow(10**15))
            room = model.opened(room_id, self._clock.now(), valid_from, valid_until, dial_out=dial_out)
            async with self._database.transaction() as connection:
                if await records.insert(connection, resource, room, repeatable):
                    await records.put_participants(connection, resource, room_id, invited)
                    log.info("rooms.created", room=room_id, participants=len(invited))
                    return room
                made = await records.by_request(connection, resource, repeatable) if repeatable else None
                if made is not None:
                    await settle(connection)
            if made is not None:
                return made

    async def get(self, resource: ResourceId, room_id: str) -> Room:
        """Raises `Invalid`, `NotFound`."""
        async with self._database.connection() as connection:
            return await _found(connection, resource, model.checked_room_id(room_id))

    async def update(
        self,
        resource: ResourceId,
        room_id: str,
        *,
        valid_from: datetime | None = None,
        valid_until: datetime | None = None,
        dial_out: bool | None = None,
    ) -> Room:
        """The room with what is not None changed, committed. Raises `Invalid`, `NotFound`."""
        checked = model.checked_room_id(room_id)
        async with self._database.transaction() as connection:
            present = await _found(connection, resource, checked, lock=True)
            wanted = model.changed(
                present, self._clock.now(), valid_from=valid_from, valid_until=valid_until, dial_out=dial_out
            )
            await records.update(connection, resource, wanted)
        return wanted

    async def delete(self, resource: ResourceId, room_id: str) -> None:
        """The room is gone when this returns. Raises `Invalid`, `NotFound`."""
        async with self._database.transaction() as connection:
            if not await records.delete(connection, resource, model.checked_room_id(room_id)):
                raise _no_such_room()
        log.info("rooms.deleted", room=room_id)

    async def page(self, resource: ResourceId, after: tuple[datetime, RoomId] | None, limit: int) -> list[Room]:
        """Up to `limit` rooms, the youngest first as in Azure's recorded answers, ended ones too: those that come after
        the one of that instant and id."""
        async with self._database.connection() as connection:
            return await records.page(connection, resource, after, limit)

    async def participants(
        self, resource: ResourceId, room_id: str, *, after: UUID = FIRST, limit: int
    ) -> list[Participant]:
        """Up to `limit` participants in the order of their ids, after `after`. Raises `Invalid`, `NotFound`."""
        checked = model.checked_room_id(room_id)
        async with self._database.connection() as connection:
            await _found(connection, resource, checked)
            return await records.participants(connection, resource, checked, after, limit)

    async def update_participants(
        self, resource: ResourceId, room_id: str, roles: Mapping[str, str | None], removed: Sequence[str]
    ) -> None:
        """Invite, change roles, and remove those of the raw ids `removed`, invited or not; all or nothing, committed.
        Raises `Invalid`, `NotFound`."""
        checked = model.checked_room_id(room_id)
        invited = model.invited(resource, roles)
        gone = [model.user(resource, raw_id) for raw_id in removed]
        async with self._database.transaction() as connection:
            await _found(connection, resource, checked, lock=True)
            await records.drop_participants(connection, resource, checked, gone)
            await records.put_participants(connection, resource, checked, invited)
            _check_count(await records.count_participants(connection, resource, checked))

    async def uninvite(self, connection: Connection, resource: ResourceId, raw_id: RawId) -> None:
        """The user is deleted in this transaction: it is invited to no room any more."""
        await records.drop_user(connection, resource, model.user(resource, raw_id))

    async def may_join(self, resource: ResourceId, room_id: str, user: RawId, now: datetime) -> Role | None:
        """As what `user` may join the call of the room at `now`; None when not: it is not invited, the room is not
        open yet, has ended, or is not there."""
        try:
            checked, user_id = model.checked_room_id(room_id), model.user(resource, user)
        except Invalid:
            return None
        async with self._database.connection() as connection:
            return await records.role(connection, resource, checked, user_id, now)

    async def prune(self) -> None:
        """Remove the rooms that ended more than `model.KEPT` ago."""
        before = self._clock.now() - model.KEPT
        more = True
        while more:
            async with self._database.transaction() as connection:
                more = await records.prune(connection, before)


async def _found(connection: Connection, resource: ResourceId, room_id: RoomId, *, lock: bool = False) -> Room:
    room = await records.get(connection, resource, room_id, lock=lock)
    if room is None:
        raise _no_such_room()
    return room


def _check_count(participants: int) -> None:
    if participants > model.PARTICIPANTS:
        raise Invalid(f"A room has at most {model.PARTICIPANTS} participants.", target="participants")


def _no_such_room() -> NotFound:
    return NotFound("There is no such room.")
