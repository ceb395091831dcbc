"""Chat threads and who is in them: created, read, changed, deleted. Messages: `messages`."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

import msgspec

from landline.core.errors import Conflict, NotFound
from landline.core.ids import RawId, ResourceId, time_ordered
from landline.ports.clock import Clock
from landline.services.chat import access, comings, records, records_messages
from landline.services.chat.limits import Rates
from landline.services.chat.model import values
from landline.services.chat.model.changes import (
    ChatChange,
    ParticipantsAdded,
    ThreadCreated,
    ThreadDeleted,
    ThreadPropertiesUpdated,
)
from landline.services.chat.model.ids import ThreadId, milliseconds, own_user, to_milliseconds
from landline.services.chat.model.order import Place, version
from landline.services.chat.model.rates import Operation
from landline.services.chat.model.values import Invalidated, Kind, Participant, Properties
from landline.services.chat.news import News
from landline.services.chat.records import Key, Seat
from landline.services.identity.service import Identity
from landline.store.database import Connection, Database, Record, settle


class Created(msgspec.Struct, frozen=True):
    """What a creation is answered; kept, so that it can be answered again."""

    thread: ThreadId
    created_at: datetime
    created_by: RawId
    properties: Properties
    invalid: tuple[Invalidated, ...]


@dataclass(frozen=True, slots=True)
class Patch:
    """What to change of a thread; None leaves it as it is, but takes all metadata away."""

    topic: str | None = None
    metadata: dict[str, str | None] | msgspec.UnsetType | None = msgspec.UNSET
    retention_days: int | None = None
    drop_retention: bool = False


@dataclass(frozen=True, slots=True)
class Repeat:
    """The id under which a creation may be asked for again, and what it asks."""

    repeatability_id: str
    body: bytes


_ANSWER = msgspec.json.Decoder(Created)


class Chat:
    """Threads of all resources. Every method acts for one user of one resource, as its token proved."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        identity: Identity,
        news: News,
        rates: Rates,
        *,
        wake: Callable[[], None],
    ) -> None:
        """`wake` is called when there is something to take away, or a thread gets another time to end."""
        self._database = database
        self._clock = clock
        self._identity = identity
        self._news = news
        self._rates = rates
        self._wake = wake

    async def create(
        self,
        resource: ResourceId,
        user: RawId,
        properties: Properties,
        participants: Sequence[Participant],
        repeat: Repeat | None,
    ) -> Created:
        """A new thread of `user` and `participants`; those who are no users of the resource are left out and named.
        Raises `Invalid`, `TooMany`, `Conflict` when the repeatability id stands for another creation."""
        self._rates.take(Operation.CREATE_OR_DELETE_THREAD, resource, user)
        values.check_batch(len(participants))
        now = to_milliseconds(self._clock.now())
        good, invalid = await self._known(resource, participants, now)
        creator = good.pop(user, Participant(user))
        members = [creator, *good.values()]
        values.check_size(len(members))
        thread = ThreadId(time_ordered(now, os.urandom(10)))
        created = Created(thread, now, user, properties, tuple(invalid))
        async with self._database.ordered() as connection:
            if repeat is not None:
                before = await self._repeated(connection, resource, user, repeat, now, created)
                if before is not None:
                    await settle(connection)
                    return before
            change = await self._write_thread(connection, resource, created, creator, members)
            emitted = await self._news.write(connection, [(resource, change)])
        self._news.committed(emitted, [(resource, change)])
        if properties.retention_days:
            self._wake()
        return created

    async def _repeated(
        self, connection: Connection, resource: ResourceId, user: RawId, repeat: Repeat, now: datetime, created: Created
    ) -> Created | None:
        digest = sha256(repeat.body).digest()
        found = await records.claim_creation(connection, resource, user, repeat.repeatability_id, digest, now)
        if found is None:
            answer = msgspec.json.encode(created)
            await records.keep_answer(connection, resource, user, repeat.repeatability_id, answer)
            return None
        if found["digest"] != digest:
            raise Conflict(
                "The repeatability request id was used for another creation.", target="repeatability-request-id"
            )
        return _ANSWER.decode(found["answer"])

    async def _write_thread(
        self,
        connection: Connection,
        resource: ResourceId,
        created: Created,
        creator: Participant,
        members: list[Participant],
    ) -> ChatChange:
        key, now = (resource, created.thread), created.created_at
        first = milliseconds(now)
        await records.insert_thread(
            connection,
            key,
            created.properties,
            created_by=created.created_by,
            created_at=now,
            delete_at=_ends(now, created.properties.retention_days),
            version=first,
        )
        await records.add_participants(connection, key, members, now)
        place = Place(0, first - 1)
        rows = [
            comings.system(key, place, now, Kind.PARTICIPANT_ADDED, creator.raw_id, members),
            comings.system(key, place, now, Kind.TOPIC_UPDATED, creator.raw_id, created.properties.topic),
        ]
        await records_messages.insert(connection, rows)
        return ThreadCreated(
            thread=created.thread,
            recipients=tuple(each.raw_id for each in members),
            version=first,
            at=now,
            created_by=creator,
            participants=tuple(members),
            properties=created.properties,
        )

    async def properties(self, resource: ResourceId, user: RawId, thread: ThreadId) -> Record:
        """The thread. Raises `NotFound`, `Forbidden`."""
        async with self._database.connection() as connection:
            return await access.entered(connection, (resource, thread), user)

    async def threads(
        self, resource: ResourceId, user: RawId, since: datetime | None, before: ThreadId | None, limit: int
    ) -> list[Record]:
        """The threads `user` is or was in, the youngest first."""
        async with self._database.connection() as connection:
            return await records.threads_of(connection, resource, user, since, before, limit)

    async def update(self, resource: ResourceId, user: RawId, thread: ThreadId, patch: Patch) -> None:
        """Change a thread's properties. Raises `NotFound`, `Forbidden`, `Invalid`, `TooMany`."""
        self._rates.check(Operation.UPDATE_THREAD, resource, user, thread)
        key, now = (resource, thread), to_milliseconds(self._clock.now())
        async with self._database.ordered() as connection:
            row = await access.locked(connection, key)
            members, editor = await self._members(connection, key, user)
            self._rates.take(Operation.UPDATE_THREAD, resource, user, thread)
            old = _properties(row)
            new = _patched(old, patch)
            if new == old:
                return
            at_version = version(row["version"], now)
            await records.update_thread(connection, key, new, at_version, _ends(row["created_at"], new.retention_days))
            if new.topic != old.topic:
                place = Place(row["sequence"], row["last_message_id"])
                told = comings.system(key, place, now, Kind.TOPIC_UPDATED, user, new.topic)
                await records_messages.insert(connection, [told])
            change = ThreadPropertiesUpdated(
                thread=thread,
                recipients=members,
                version=at_version,
                at=now,
                edited_by=editor,
                properties=new,
                created_at=row["created_at"],
            )
            emitted = await self._news.write(connection, [(resource, change)])
        self._news.committed(emitted, [(resource, change)])
        if new.retention_days != old.retention_days:
            self._wake()

    async def delete(self, resource: ResourceId, user: RawId, thread: ThreadId) -> None:
        """Delete a thread and all it holds; again by the same user changes nothing. Raises `NotFound`, `Forbidden`,
        `TooMany`."""
        self._rates.take(Operation.CREATE_OR_DELETE_THREAD, resource, user)
        key, now = (resource, thread), to_milliseconds(self._clock.now())
        async with self._database.ordered() as connection:
            row = (await records.lock(connection, [key])).get(key)
            if row is None:
                if await records.deleter(connection, key) == user:
                    return
                raise access.no_thread()
            members, deleter = await self._members(connection, key, user)
            at_version = version(row["version"], now)
            await records.delete_thread(connection, key, user, now, at_version)
            change = ThreadDeleted(
                thread=thread,
                recipients=members,
                version=at_version,
                at=now,
                deleted_by=deleter,
                created_at=row["created_at"],
            )
            emitted = await self._news.write(connection, [(resource, change)])
        self._news.committed(emitted, [(resource, change)])
        self._wake()

    async def participants(
        self, resource: ResourceId, user: RawId, thread: ThreadId, skip: int, limit: int, after: Seat | None
    ) -> list[Record]:
        """Who is in a thread, in the order they came, after a seat. Raises `NotFound`, `Forbidden`."""
        key = (resource, thread)
        async with self._database.connection() as connection:
            await access.entered(connection, key, user)
            return await records.participants(connection, key, skip, limit, after)

    async def add(
        self, resource: ResourceId, user: RawId, thread: ThreadId, participants: Sequence[Participant]
    ) -> list[Invalidated]:
        """Add `participants`; those in it already stay as they are. Those who are no users of the resource, returned.
        Raises `NotFound`, `Forbidden`, `Invalid`, `TooMany`."""
        self._rates.check(Operation.CHANGE_PARTICIPANTS, resource, user, thread)
        values.check_batch(len(participants))
        key, now = (resource, thread), to_milliseconds(self._clock.now())
        good, invalid = await self._known(resource, participants, now)
        async with self._database.ordered() as connection:
            row = await access.locked(connection, key)
            members, initiator = await self._members(connection, key, user)
            self._rates.take(Operation.CHANGE_PARTICIPANTS, resource, user, thread)
            new = [each for each in good.values() if each.raw_id not in members]
            if not new:
                return invalid
            values.check_size(len(members) + len(new))
            at_version = version(row["version"], now)
            await records.add_participants(connection, key, new, now)
            await comings.roster_changed(connection, key, row, now, at_version, Kind.PARTICIPANT_ADDED, user, new)
            change = ParticipantsAdded(
                thread=thread,
                recipients=(*members, *(each.raw_id for each in new)),
                version=at_version,
                at=now,
                added_by=initiator,
                participants=tuple(new),
                created_at=row["created_at"],
            )
            emitted = await self._news.write(connection, [(resource, change)])
        self._news.committed(emitted, [(resource, change)])
        return invalid

    async def remove(self, resource: ResourceId, user: RawId, thread: ThreadId, who: str) -> None:
        """Remove the participant with the raw id `who`, or leave. Who is removed may still read what was there. Raises
        `NotFound`, `Forbidden`, `TooMany`."""
        self._rates.check(Operation.CHANGE_PARTICIPANTS, resource, user, thread)
        key, now = (resource, thread), to_milliseconds(self._clock.now())
        target = own_user(who, resource)
        async with self._database.ordered() as connection:
            row = await access.locked(connection, key)
            members, initiator = await self._members(connection, key, user)
            self._rates.take(Operation.CHANGE_PARTICIPANTS, resource, user, thread)
            if target is None or target not in members:
                raise NotFound("The user is not a participant of this chat thread.", target="rawId")
            removed = (await records.participants_named(connection, key, [target]))[target]
            change = await comings.removed(connection, key, row, now, members, removed, by=initiator)
            emitted = await self._news.write(connection, [(resource, change)])
        self._news.committed(emitted, [(resource, change)])

    async def _members(self, connection: Connection, key: Key, user: RawId) -> tuple[tuple[RawId, ...], Participant]:
        """Who is in a locked thread, `user` among them. Raises `Forbidden`."""
        rows = await records.participants(connection, key)
        found = {row["raw_id"]: row for row in rows}
        if user not in found:
            raise access.no_member()
        return tuple(found), records.participant(found[user])

    async def _known(
        self, resource: ResourceId, participants: Sequence[Participant], now: datetime
    ) -> tuple[dict[RawId, Participant], list[Invalidated]]:
        """Participants that are users of the resource, each once, by raw id; and the others. What is written from `now`
        on all of them are shown: a client whose clock is ahead means now."""
        own = {each.raw_id: own_user(each.raw_id, resource) for each in participants}
        existing = await self._identity.existing(resource, [raw_id for raw_id in own.values() if raw_id])
        good: dict[RawId, Participant] = {}
        invalid: dict[str, Invalidated] = {}
        for each in participants:
            raw_id = own[each.raw_id]
            if raw_id is None:
                message = "Only communication users of this resource can be participants."
                invalid[each.raw_id] = Invalidated(each.raw_id, "403", message)
            elif raw_id not in existing:
                invalid[each.raw_id] = Invalidated(each.raw_id, "404", "There is no such communication user.")
            else:
                since = min(each.share_history_from, now)
                good.setdefault(raw_id, msgspec.structs.replace(each, raw_id=raw_id, share_history_from=since))
        return good, list(invalid.values())


def _properties(row: Record) -> Properties:
    return Properties(row["topic"], records.metadata(row["metadata"]), row["retention_days"])


def _patched(old: Properties, patch: Patch) -> Properties:
    days = patch.retention_days if patch.retention_days is not None else old.retention_days
    return Properties(
        values.topic(patch.topic) if patch.topic is not None else old.topic,
        values.checked_metadata(values.merged(old.metadata, patch.metadata)),
        None if patch.drop_retention else days,
    )


def _ends(created_at: datetime, retention_days: int | None) -> datetime | None:
    return created_at + timedelta(days=retention_days) if retention_days else None
