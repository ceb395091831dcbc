"""Users that identity deletes: they leave their threads, and what they wrote there is deleted (azure-docs, privacy:
removing an identity "deletes their chat messages").

It is noted in the transaction that deletes the user, and done by the worker in portions, each of which may be done
again: several processes may be at it.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection
from datetime import datetime, timedelta

import structlog

from landline.core.ids import RawId, ResourceId
from landline.ports.clock import Clock
from landline.services.chat import comings, records, records_departures
from landline.services.chat.model.ids import MessageId, to_milliseconds
from landline.services.chat.news import News
from landline.services.chat.records import Key
from landline.store.database import Connection, Database

log = structlog.get_logger()
_DEPARTURES = 100
_THREADS = 100
_MESSAGES = 1_000
_CHECKED = 500
_SETTLED = timedelta(minutes=1)
"""Who was asked for just before the deletion may be added to a thread just after it: it is looked for once more."""


Existing = Callable[[ResourceId, Collection[RawId]], Awaitable[set[RawId]]]
"""Which of these are users of the resource."""


class Departures:
    """Lets go of deleted users, of all resources."""

    def __init__(self, database: Database, clock: Clock, news: News, existing: Existing) -> None:
        self._database = database
        self._clock = clock
        self._news = news
        self._existing = existing

    async def note(self, connection: Connection, resource: ResourceId, user: RawId) -> None:
        """`user` is deleted in this transaction."""
        await records_departures.note(connection, resource, user, self._clock.now())

    async def next_due(self) -> datetime | None:
        """When to look again."""
        looked_at = await records_departures.first_looked_at(self._database)
        return None if looked_at is None else looked_at + _SETTLED

    async def work(self) -> None:
        """Let go of all whose time it is. Raises `Unavailable`."""
        await self._check()
        while True:
            now = self._clock.now()
            due = await records_departures.due(self._database, now - _SETTLED, _DEPARTURES)
            for row in due:
                resource, user = ResourceId(row["resource_id"]), RawId(row["raw_id"])
                await self._leave_all(resource, user)
                if row["looked_at"] is None:
                    await records_departures.looked(self._database, resource, user, now)
                    log.info("chat.user_forgotten", user=user)
                else:
                    await records_departures.done(self._database, resource, user)
            if len(due) < _DEPARTURES:
                return

    async def _check(self) -> None:
        """Note those who were deleted before that was told: an earlier version left them where they were."""
        while users := await records_departures.unchecked(self._database, _CHECKED):
            of_resource: dict[ResourceId, list[RawId]] = defaultdict(list)
            for resource, user in users:
                of_resource[resource].append(user)
            for resource, those in of_resource.items():
                there = await self._existing(resource, those)
                async with self._database.ordered() as connection:
                    for user in those:
                        if user not in there:
                            await self.note(connection, resource, user)
                    await records_departures.checked(connection, resource, those)

    async def _leave_all(self, resource: ResourceId, user: RawId) -> None:
        while True:
            threads = await records_departures.threads(self._database, resource, user, _THREADS)
            for thread in threads:
                await self._leave((resource, thread), user)
            if len(threads) < _THREADS:
                return

    async def _leave(self, key: Key, user: RawId) -> None:
        await self._remove(key, user)
        last: MessageId | None = MessageId(0)
        while last is not None:
            async with self._database.ordered() as connection:
                await records.lock(connection, [key])
                now = to_milliseconds(self._clock.now())
                last = await records_departures.erase(connection, key, user, last, now, _MESSAGES)
        await records_departures.forget_participant(self._database, key, user)

    async def _remove(self, key: Key, user: RawId) -> None:
        async with self._database.ordered() as connection:
            thread = (await records.lock(connection, [key])).get(key)
            who = (await records.participants_named(connection, key, [user])).get(user)
            if thread is None or who is None:
                return
            now = to_milliseconds(self._clock.now())
            members = [RawId(row["raw_id"]) for row in await records.participants(connection, key)]
            change = await comings.removed(connection, key, thread, now, members, who, by=who)
            emitted = await self._news.write(connection, [(key[0], change)])
        self._news.committed(emitted, [(key[0], change)])
