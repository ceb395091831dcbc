"""Chat over a real database, driven in-process: one process's worth of it, users, and what they say to each other."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid4

from landline.core.ids import RawId, ResourceId
from landline.edge.http import Caller
from landline.engines.bus import MemoryBus
from landline.engines.callout import HttpCallout
from landline.engines.clock import DrivenClock
from landline.ports.bus import Bus
from landline.ports.clock import Clock
from landline.services.chat.departures import Departures
from landline.services.chat.feed import Feed
from landline.services.chat.limits import Rates
from landline.services.chat.messages import Messages
from landline.services.chat.model.changes import ChatChange
from landline.services.chat.model.ids import MessageId, ThreadId
from landline.services.chat.model.values import EPOCH, Draft, Kind, Participant, Properties
from landline.services.chat.news import News
from landline.services.chat.receipts import Receipts
from landline.services.chat.rosters import Rosters
from landline.services.chat.sends import Sends
from landline.services.chat.service import Chat
from landline.services.chat.worker import Worker
from landline.services.events.service import Events
from landline.services.identity.service import Identity
from landline.services.resources.service import Resources
from landline.store.changes import Changes
from landline.store.database import Database, Record
from landline.store.sealing import Sealer

EDITED_LATER = "(edited later)"
"""What `Process.listed` has of a message that was edited after its reader was removed."""
RESOURCE = ResourceId(UUID("0a5b0bd0-7d0d-4e6a-9bd9-0c1de3a3f001"))


@dataclass
class Process:
    """One process's chat. Several may share a database, each with caches and lanes of its own."""

    identity: Identity
    events: Events
    chat: Chat
    messages: Messages
    worker: Worker
    feed: Feed
    clock: Clock

    async def user(self, resource: ResourceId = RESOURCE) -> RawId:
        """A new user."""
        user, _ = await self.identity.create(Caller(resource), None, None)
        return user.raw_id

    async def thread(
        self, owner: RawId, *others: RawId, days: int | None = None, resource: ResourceId = RESOURCE
    ) -> ThreadId:
        """A new thread of these."""
        properties = Properties("Lunch", {}, days)
        members = [Participant(other) for other in others]
        return (await self.chat.create(resource, owner, properties, members, None)).thread

    async def send(self, thread: ThreadId, sender: RawId, text: str = "hi") -> MessageId:
        """A text message."""
        return await self.messages.send(Draft(RESOURCE, thread, sender, None, Kind.TEXT, text, {}))

    async def add(self, thread: ThreadId, by: RawId, who: RawId, since: datetime = EPOCH) -> None:
        """Add one participant."""
        assert not await self.chat.add(RESOURCE, by, thread, [Participant(who, None, since)])

    async def listed(self, thread: ThreadId, user: RawId, *, page: int = 200) -> list[tuple[int, str]]:
        """(sequence, text or kind) of all a user may see, the oldest first, read page by page."""
        found: list[tuple[int, str]] = []
        before: MessageId | None = None
        while True:
            rows = await self.messages.listed(RESOURCE, user, thread, None, before, page)
            found += [(row["sequence"], _said(row)) for row in rows]
            if len(rows) < page:
                return found[::-1]
            before = rows[-1]["message_id"]

    async def hears(self, resource: ResourceId = RESOURCE) -> list[ChatChange]:
        """A list that grows with every change from now on."""
        heard: list[ChatChange] = []
        await self.feed.listen(resource, heard.append)
        return heard


def process(
    database: Database, dsn: str, *, clock: Clock | None = None, acs_limits: bool = False, bus: Bus | None = None
) -> Process:
    """Chat on `database` as one process would have it."""
    clock = clock or DrivenClock()
    changes, sealer = Changes(dsn), Sealer(b"s" * 32)
    resources = Resources(database, sealer, clock, changes, lambda name: f"https://{name}/")
    identity = Identity(database, sealer, clock, changes, resources)
    events = Events(
        database,
        clock,
        changes,
        HttpCallout(allowed_hosts=(), loopback_open=True),
        sealer,
        uuid4(),
        public_base_url="https://localhost/",
        resource_name=_no_name,
        resource_named=_no_id,
    )
    bus = bus or MemoryBus()
    feed = Feed(bus)
    news = News(events, feed, clock)
    departures = Departures(database, clock, news, identity.existing)
    identity.when_deleted(departures.note)
    worker = Worker(database, clock, news, departures)
    rates, rosters = Rates(acs_limits, clock, lambda: 1, bus), Rosters()
    chat = Chat(database, clock, identity, news, rates, wake=worker.wake)
    messages = Messages(
        database,
        clock,
        news,
        rates,
        Sends(database, clock, news, rates, rosters),
        Receipts(database, clock, news),
        rosters,
    )
    return Process(identity, events, chat, messages, worker, feed, clock)


def texts(listed: Sequence[tuple[int, str]]) -> list[str]:
    """The texts of a list without the system's messages."""
    return [text for _, text in listed if text not in set(Kind)]


def _said(row: Record) -> str:
    said = row["content"] if row["kind"] == Kind.TEXT else row["kind"]
    return EDITED_LATER if row["edited_later"] else said


async def _no_name(_resource: ResourceId) -> str:
    return "local"


async def _no_id(_name: str) -> ResourceId:
    return RESOURCE
