"""Sending: messages of all threads, committed in groups, each thread's in one order (docs/design/chat.md).

A thread always goes through the same of a few lanes, so that this process tells of its messages in the order of their
sequence; between processes the lock of the thread's row keeps the order in the store.
"""

from collections.abc import Sequence
from zlib import crc32

from landline.core.errors import Refusal, TooMany
from landline.core.ids import RawId
from landline.ports.clock import Clock
from landline.services.chat import access, records, records_messages
from landline.services.chat.limits import Rates
from landline.services.chat.model.changes import MessageReceived
from landline.services.chat.model.ids import MessageId, to_milliseconds
from landline.services.chat.model.order import Place
from landline.services.chat.model.rates import Operation
from landline.services.chat.model.values import Draft
from landline.services.chat.news import Change, News
from landline.services.chat.records import Key
from landline.services.chat.records_messages import Row
from landline.services.chat.rosters import Rosters
from landline.store.database import Database, Record
from landline.store.group_commit import GroupCommit

_LANES = 2


class Sends:
    """Writes messages. What `submit` returns is committed, and told."""

    def __init__(self, database: Database, clock: Clock, news: News, rates: Rates, rosters: Rosters) -> None:
        self._database = database
        self._rates = rates
        self._clock = clock
        self._news = news
        self._rosters = rosters
        self._groups: list[GroupCommit[Draft, MessageId | Refusal]] = [
            GroupCommit(self._commit, lanes=1) for _ in range(_LANES)
        ]

    async def submit(self, draft: Draft) -> MessageId:
        """Commit `draft`; the id it got. Raises `NotFound`, `Forbidden`, `TooMany`, `Unavailable`."""
        lane = crc32(draft.thread.bytes) % _LANES
        done = await self._groups[lane].submit(draft)
        if isinstance(done, Refusal):
            raise done
        return done

    async def _commit(self, drafts: list[Draft]) -> list[MessageId | Refusal]:
        keys = list({(draft.resource, draft.thread): None for draft in drafts})
        async with self._database.ordered() as connection:
            threads = await records.lock(connection, keys)
            rosters = await self._rosters.of(connection, threads)
            results, rows, changes = self._placed(drafts, threads, rosters)
            if rows:
                await records_messages.insert(connection, rows)
            emitted = await self._news.write(connection, changes)
        self._news.committed(emitted, changes)
        return results

    def _placed(
        self, drafts: Sequence[Draft], threads: dict[Key, Record], rosters: dict[Key, tuple[RawId, ...]]
    ) -> tuple[list[MessageId | Refusal], list[Row], list[Change]]:
        now = to_milliseconds(self._clock.now())
        members = {key: frozenset(roster) for key, roster in rosters.items()}
        places = {key: Place(row["sequence"], row["last_message_id"]) for key, row in threads.items()}
        results: list[MessageId | Refusal] = []
        rows: list[Row] = []
        changes: list[Change] = []
        for draft in drafts:
            key = (draft.resource, draft.thread)
            if key not in threads:
                results.append(access.no_thread())
                continue
            if draft.sender not in members[key]:
                results.append(access.no_member())
                continue
            try:
                self._rates.take(Operation.WRITE_MESSAGE, draft.resource, draft.sender, draft.thread)
            except TooMany as over:
                results.append(over)
                continue
            sequence, message = places[key].next(now)
            change = MessageReceived(
                thread=draft.thread,
                recipients=rosters[key],
                version=message,
                at=now,
                message_id=message,
                sequence=sequence,
                sender=draft.sender,
                sender_display_name=draft.sender_display_name,
                kind=draft.kind,
                content=draft.content,
                metadata=draft.metadata,
                attachments=draft.attachments,
            )
            results.append(message)
            rows.append(_row(key, change))
            changes.append((draft.resource, change))
        return results, rows, changes


def _row(key: Key, change: MessageReceived) -> Row:
    return Row(
        key,
        change.message_id,
        change.sequence,
        change.at,
        change.kind,
        change.sender,
        change.sender_display_name,
        change.content,
        records.stored(change.metadata) if change.metadata else None,
        records.stored(change.attachments) if change.attachments else None,
    )
