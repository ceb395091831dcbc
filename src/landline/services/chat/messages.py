"""Messages of a thread: sent, read, changed and deleted by their senders; typing and reading told of."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from landline.core.errors import Forbidden, NotFound
from landline.core.ids import RawId, ResourceId
from landline.ports.clock import Clock
from landline.services.chat import access, records, records_messages
from landline.services.chat.limits import Rates
from landline.services.chat.model import values
from landline.services.chat.model.changes import MessageDeleted, MessageEdited, TypingIndicatorReceived
from landline.services.chat.model.ids import MessageId, ThreadId, milliseconds, to_milliseconds
from landline.services.chat.model.order import version
from landline.services.chat.model.rates import Operation
from landline.services.chat.model.values import WRITTEN, Attachment, Draft, Kind
from landline.services.chat.news import News
from landline.services.chat.receipts import Receipt, Receipts
from landline.services.chat.records import Key, Seat
from landline.services.chat.rosters import Rosters
from landline.services.chat.sends import Sends
from landline.store.database import Connection, Database, Record

_ATTACHMENTS = msgspec.json.Decoder(tuple[Attachment, ...])


@dataclass(frozen=True, slots=True)
class Edit:
    """What to change of a message; None leaves it as it is, but takes all metadata away."""

    content: str | None = None
    metadata: dict[str, str | None] | msgspec.UnsetType | None = msgspec.UNSET
    attachments: tuple[Attachment, ...] | None = None


def attachments(stored: str | None) -> tuple[Attachment, ...]:
    """Stored attachments as values."""
    return _ATTACHMENTS.decode(stored) if stored else ()


class Messages:
    """Messages of all threads. Every method acts for one user of one resource, as its token proved."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        news: News,
        rates: Rates,
        sends: Sends,
        receipts: Receipts,
        rosters: Rosters,
    ) -> None:
        self._database = database
        self._clock = clock
        self._news = news
        self._rates = rates
        self._sends = sends
        self._receipts = receipts
        self._rosters = rosters

    async def send(self, draft: Draft) -> MessageId:
        """Send a message; its id, once it is committed. Raises `NotFound`, `Forbidden`, `Invalid`, `MessageTooLarge`,
        `TooMany`, `Unavailable`."""
        self._rates.check(Operation.WRITE_MESSAGE, draft.resource, draft.sender, draft.thread)
        return await self._sends.submit(draft)

    async def listed(
        self,
        resource: ResourceId,
        user: RawId,
        thread: ThreadId,
        since: datetime | None,
        before: MessageId | None,
        limit: int,
    ) -> list[Record]:
        """What `user` may see of a thread, the newest first. Raises `NotFound`, `Forbidden`, `TooMany`."""
        self._rates.check(Operation.READ_MESSAGES, resource, user, thread)
        key = (resource, thread)
        async with self._database.connection() as connection:
            await access.readable(connection, key, user)
            self._rates.take(Operation.READ_MESSAGES, resource, user, thread)
            return await records_messages.visible(connection, key, user, since, before, limit)

    async def one(self, resource: ResourceId, user: RawId, thread: ThreadId, message: MessageId) -> Record:
        """A message that `user` may see. Raises `NotFound`, `Forbidden`, `TooMany`."""
        self._rates.check(Operation.READ_MESSAGES, resource, user, thread)
        key = (resource, thread)
        async with self._database.connection() as connection:
            await access.readable(connection, key, user)
            self._rates.take(Operation.READ_MESSAGES, resource, user, thread)
            return await _visible(connection, key, user, message)

    async def edit(self, resource: ResourceId, user: RawId, thread: ThreadId, message: MessageId, edit: Edit) -> None:
        """Change one's own message. Raises `NotFound`, `Forbidden`, `Invalid`, `MessageTooLarge`, `TooMany`."""
        self._rates.check(Operation.WRITE_MESSAGE, resource, user, thread)
        key, now = (resource, thread), to_milliseconds(self._clock.now())
        async with self._database.ordered() as connection:
            row = await self._own(connection, key, user, message)
            if row["deleted_at"] is not None:
                raise _no_message()
            kind = Kind(row["kind"])
            metadata = values.merged(records.metadata(row["metadata"]), edit.metadata)
            files = attachments(row["attachments"]) if edit.attachments is None else edit.attachments
            content: str = row["content"]
            if edit.content is None:
                values.check_kept(kind, content, metadata, files)
            else:
                content = values.content(kind, edit.content, metadata, files)
            at_version = version(row["version"], now)
            await records_messages.edit(
                connection,
                key,
                message,
                version=at_version,
                now=now,
                content=content,
                metadata=records.stored(metadata),
                attachments=records.stored(files) if files else None,
            )
            change = MessageEdited(
                thread=thread,
                recipients=await records.shown_since(connection, key, row["created_at"]),
                version=at_version,
                at=now,
                message_id=message,
                sequence=row["sequence"],
                sender=user,
                sender_display_name=row["sender_display_name"],
                kind=kind,
                content=content,
                metadata=metadata,
                attachments=files,
                created_at=row["created_at"],
            )
            emitted = await self._news.write(connection, [(resource, change)])
        self._news.committed(emitted, [(resource, change)])

    async def delete(self, resource: ResourceId, user: RawId, thread: ThreadId, message: MessageId) -> None:
        """Delete one's own message: what it said is gone for good; again changes nothing. Raises as `edit`."""
        self._rates.check(Operation.WRITE_MESSAGE, resource, user, thread)
        key, now = (resource, thread), to_milliseconds(self._clock.now())
        async with self._database.ordered() as connection:
            row = await self._own(connection, key, user, message)
            if row["deleted_at"] is not None:
                return
            at_version = version(row["version"], now)
            await records_messages.erase(connection, key, message, version=at_version, now=now)
            change = MessageDeleted(
                thread=thread,
                recipients=await records.shown_since(connection, key, row["created_at"]),
                version=at_version,
                at=now,
                message_id=message,
                sequence=row["sequence"],
                sender=user,
                sender_display_name=row["sender_display_name"],
                kind=Kind(row["kind"]),
                created_at=row["created_at"],
            )
            emitted = await self._news.write(connection, [(resource, change)])
        self._news.committed(emitted, [(resource, change)])

    async def typing(self, resource: ResourceId, user: RawId, thread: ThreadId, name: str | None) -> None:
        """Tell the others that `user` types; in a crowd nobody is told. Raises `NotFound`, `Forbidden`, `TooMany`."""
        self._rates.check(Operation.TYPING, resource, user, thread)
        key, now = (resource, thread), to_milliseconds(self._clock.now())
        async with self._database.ordered() as connection:
            roster = await self._roster(connection, key, user)
            self._rates.take(Operation.TYPING, resource, user, thread)
            if not values.lively(len(roster)):
                return
            change = TypingIndicatorReceived(
                thread=thread,
                recipients=roster,
                version=milliseconds(now),
                at=now,
                sender=user,
                sender_display_name=name,
            )
            emitted = await self._news.write(connection, [(resource, change)])
        self._news.committed(emitted, [(resource, change)])

    async def read(self, resource: ResourceId, user: RawId, thread: ThreadId, message: MessageId) -> None:
        """Tell the others that `user` has read up to `message`; in a crowd nobody is told, and nothing kept. Raises
        `NotFound`, `Forbidden`, `TooMany`."""
        self._rates.check(Operation.READ_RECEIPT, resource, user, thread)
        key = (resource, thread)
        async with self._database.connection() as connection:
            roster = await self._roster(connection, key, user)
            self._rates.take(Operation.READ_RECEIPT, resource, user, thread)
            if not values.lively(len(roster)):
                await _visible(connection, key, user, message)
                return
        await self._receipts.submit(Receipt(key, user, message, roster))

    async def receipts(
        self, resource: ResourceId, user: RawId, thread: ThreadId, skip: int, limit: int, after: Seat | None
    ) -> Sequence[Record]:
        """How far each participant has read, in the order they came, after a seat. Raises `NotFound`, `Forbidden`."""
        key = (resource, thread)
        async with self._database.connection() as connection:
            await access.entered(connection, key, user)
            return await records.receipts(connection, key, skip, limit, after)

    async def _roster(self, connection: Connection, key: Key, user: RawId) -> tuple[RawId, ...]:
        """Who is in the thread, `user` among them."""
        row = await access.entered(connection, key, user)
        return (await self._rosters.of(connection, {key: row}))[key]

    async def _own(self, connection: Connection, key: Key, user: RawId, message: MessageId) -> Record:
        """The message, which `user` wrote, of a thread that is locked then. Counts as writing."""
        row = await access.locked(connection, key)
        if user not in (await self._rosters.of(connection, {key: row}))[key]:
            raise access.no_member()
        self._rates.take(Operation.WRITE_MESSAGE, key[0], user, key[1])
        found = await _visible(connection, key, user, message)
        if found["sender"] != user or found["kind"] not in WRITTEN:
            raise Forbidden("Only its sender may change or delete a message.", target="chatMessageId")
        return found


async def _visible(connection: Connection, key: Key, user: RawId, message: MessageId) -> Record:
    found = await records_messages.visible_one(connection, key, user, message)
    if found is None:
        raise _no_message()
    return found


def _no_message() -> NotFound:
    return NotFound("There is no such message in the thread.", target="chatMessageId")
