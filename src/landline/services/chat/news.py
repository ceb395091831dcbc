"""Changes on their way out: their events and the log written in the transaction that makes them, the stream told after
it."""

import os
from collections.abc import Iterator, Sequence
from itertools import chain
from uuid import UUID

from landline.core.ids import ResourceId, time_ordered
from landline.ports.clock import Clock
from landline.services.chat import notices, records_log
from landline.services.chat.feed import Feed
from landline.services.chat.model.changes import ChatChange
from landline.services.events.model import Emitted, Event
from landline.services.events.service import Events
from landline.store.database import Connection

Change = tuple[ResourceId, ChatChange]


class News:
    """Tells of changes, once they are committed."""

    def __init__(self, events: Events, feed: Feed, clock: Clock) -> None:
        self._events = events
        self._feed = feed
        self._clock = clock

    async def wanted(self, connection: Connection, resource: ResourceId) -> bool:
        """Whether anybody wants events of chat at this resource."""
        return bool(await self._events.wants(connection, resource, notices.TYPES))

    async def write(self, connection: Connection, changes: Sequence[Change]) -> Emitted:
        """Write `changes` to the log, and those of their events that are wanted, in the caller's transaction, which
        holds their threads locked."""
        await records_log.append(connection, changes)
        found: list[Iterator[Event]] = []
        wanted: dict[ResourceId, frozenset[str]] = {}
        for resource, change in changes:
            types = wanted.get(resource)
            if types is None:
                types = wanted[resource] = await self._events.wants(connection, resource, notices.TYPES)
            if not types.isdisjoint(notices.types_of(change)):
                found.append(notices.events(resource, change, types, self._new_id))
        return await self._events.emit_all(connection, chain.from_iterable(found))

    def committed(self, emitted: Emitted, changes: Sequence[Change]) -> None:
        """The transaction of `write` is committed: deliver the events, tell the stream. Returns at once."""
        self._events.committed(emitted)
        self.told(changes)

    def told(self, changes: Sequence[Change]) -> None:
        """Tell the stream alone, of changes that have no events."""
        for resource, change in changes:
            self._feed.tell(resource, change)

    def _new_id(self) -> UUID:
        return time_ordered(self._clock.now(), os.urandom(10))
