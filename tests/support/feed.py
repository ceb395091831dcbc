"""A process that serves chat and its feed over real sockets, and clients that are not ours: websockets, aiohttp."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import aiohttp
from prometheus_client.registry import CollectorRegistry
from tests.support.patience import PATIENCE_S
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from landline.core.ids import RawId, ResourceId
from landline.edge.app import Edge
from landline.edge.cors import Cors
from landline.edge.gate import Gate
from landline.edge.http import Caller
from landline.edge.metrics import RequestMetrics
from landline.edge.server import Listener, bind, listen
from landline.engines.bus import MemoryBus
from landline.engines.callout import HttpCallout
from landline.engines.clock import DrivenClock
from landline.ports.bus import Bus
from landline.services.chat import api as chat_api
from landline.services.chat.departures import Departures
from landline.services.chat.feed import Feed
from landline.services.chat.limits import Rates
from landline.services.chat.messages import Messages
from landline.services.chat.news import News
from landline.services.chat.realtime.hub import Hub
from landline.services.chat.realtime.metrics import ConnectionMetrics, Figures
from landline.services.chat.realtime.tickets import Tickets
from landline.services.chat.realtime.watch import Watch
from landline.services.chat.receipts import Receipts
from landline.services.chat.rosters import Rosters
from landline.services.chat.sends import Sends
from landline.services.chat.service import Chat
from landline.services.chat.stream.api import ChatFeed
from landline.services.chat.stream.audience import Audience
from landline.services.chat.stream.tail import Tail
from landline.services.chat.worker import Worker
from landline.services.events.service import Events
from landline.services.identity.service import TOKENS, Identity
from landline.services.resources.service import Resources
from landline.store.changes import Changes
from landline.store.database import Database
from landline.store.sealing import Sealer

VERSION = "api-version=2025-03-15"


class Refused(Exception):
    """The answer is not a success."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status} {text}")
        self.status = status


@dataclass(repr=False)
class Node:
    """One process. Its representation is short, for Hypothesis shows it with what it found."""

    resource: ResourceId
    resources: Resources
    identity: Identity
    audience: Audience
    feed: Feed
    tail: Tail
    worker: Worker
    listener: Listener
    clock: DrivenClock
    http: aiohttp.ClientSession
    registry: CollectorRegistry
    sockets: list[ClientConnection] = field(default_factory=list[ClientConnection])
    """Those that were opened."""

    async def user(self, *scopes: str, minutes: int | None = None) -> "User":
        """A new user with a token."""
        made, token = await self.identity.create(Caller(self.resource), list(scopes or ("chat",)), minutes)
        assert token is not None
        return User(made.raw_id, token.text)

    async def call(self, user: "User", method: str, path: str, body: Any = None) -> Any:
        """A request with the user's token; the decoded answer. Raises `Refused`."""
        headers = {"authorization": f"Bearer {user.token}"}
        join = "&" if "?" in path else "?"
        url = f"http://127.0.0.1:{self.listener.port}{path}{join}{VERSION}"
        async with self.http.request(method, url, json=body, headers=headers) as answer:
            text = await answer.text()
            if answer.status >= 300:
                raise Refused(answer.status, text)
            return json.loads(text) if text else None

    async def thread(self, owner: "User", *others: "User", topic: str = "Lunch") -> str:
        """A new thread of these; its id."""
        made = await self.call(owner, "POST", "/chat/threads", {"topic": topic, "participants": _those(others)})
        return made["chatThread"]["id"]

    async def send(self, user: "User", thread: str, text: str) -> str:
        """A message; its id."""
        return (await self.call(user, "POST", f"/chat/threads/{thread}/messages", {"content": text}))["id"]

    async def add(self, user: "User", thread: str, *others: "User", since: str | None = None) -> None:
        """Add participants."""
        body = {"participants": _those(others, since)}
        await self.call(user, "POST", f"/chat/threads/{thread}/participants/:add", body)

    async def remove(self, user: "User", thread: str, other: "User") -> None:
        """Remove a participant."""
        await self.call(user, "POST", f"/chat/threads/{thread}/participants/:remove", {"rawId": other.raw_id})

    async def listed(self, user: "User", thread: str) -> list[dict[str, Any]]:
        """What users wrote, as REST lists it, the oldest first."""
        found: list[dict[str, Any]] = []
        path: str | None = f"/chat/threads/{thread}/messages?maxPageSize=200"
        while path is not None:
            page = await self.call(user, "GET", path.partition("&api-version")[0])
            found += page["value"]
            path = page.get("nextLink")
        return [each for each in found[::-1] if each["type"] in ("text", "html")]

    def url(self, **query: Any) -> str:
        """The feed's address for a WebSocket."""
        asked = "&".join(f"{name}={value}" for name, value in query.items())
        return f"ws://127.0.0.1:{self.listener.port}/chat/feed?{asked}"

    async def open(self, user: "User", at: tuple[int, str] | None = None) -> "Reader":
        """A WebSocket, greeted."""
        asked = {"offset": at[0], "epoch": at[1]} if at else {}
        headers = {"authorization": f"Bearer {user.token}"}
        # No pings: a test that does not read for a while has not gone away.
        socket = await connect(self.url(**asked), additional_headers=headers, ping_interval=None)
        self.sockets.append(socket)
        return await Reader(socket).greeted()


@dataclass(frozen=True)
class User:
    """A user and its token."""

    raw_id: RawId
    token: str


class Reader:
    """A client of the feed over a WebSocket."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.greeting: dict[str, Any] = {}
        self.offset = 0
        self.epoch = ""

    async def greeted(self) -> "Reader":
        self.greeting = await self.frame()
        self.epoch = self.greeting["epoch"]
        return self

    @property
    def at(self) -> tuple[int, str]:
        """Where to resume."""
        return self.offset, self.epoch

    async def frame(self) -> dict[str, Any]:
        """The next frame."""
        async with asyncio.timeout(PATIENCE_S):
            frame = json.loads(await self.socket.recv())
        self.offset = frame.get("offset", self.offset)
        return frame

    async def event(self) -> dict[str, Any]:
        """The next frame that tells of a change."""
        while (frame := await self.frame())["type"] == "progress":
            pass
        return frame

    async def texts(self, count: int) -> list[str]:
        """What the next messages say."""
        found: list[str] = []
        for _ in range(count):
            frame = await self.event()
            assert frame["type"] == "chatMessageReceived", frame
            found.append(frame["message"]["content"]["message"])
        return found

    async def closed(self) -> int:
        """The code it is closed with; what comes before is read and dropped."""
        try:
            while True:
                await self.frame()
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else 1006


@asynccontextmanager
async def node(
    database: Database,
    dsn: str,
    clock: DrivenClock,
    *,
    bus: Bus | None = None,
    origins: tuple[str, ...] = ("*",),
    **limits: int,
) -> AsyncGenerator[Node]:
    """A process on `database`; `bus` None is a bus of its own, by which others hear nothing of it."""
    changes, sealer = Changes(dsn), Sealer(b"s" * 32)
    resources = Resources(database, sealer, clock, changes, lambda name: f"https://{name}/", base_hosts=["localhost"])
    identity = Identity(database, sealer, clock, changes, resources)
    bus = bus or MemoryBus()
    feed = Feed(bus)
    news = News(_events(database, clock, changes, sealer), feed, clock)
    worker = Worker(database, clock, news, Departures(database, clock, news, identity.existing))
    rates, rosters = Rates(False, clock, lambda: 1, bus), Rosters()
    chat = Chat(database, clock, identity, news, rates, wake=worker.wake)
    sends, receipts = Sends(database, clock, news, rates, rosters), Receipts(database, clock, news)
    messages = Messages(database, clock, news, rates, sends, receipts, rosters)
    audience, tickets = Audience(database, **limits), Tickets(sealer, identity)
    tail, watch = Tail(database, feed, clock, audience), Watch(Hub(feed), tickets, clock)
    changes.watch(TOKENS, watch.suspect)
    gate = Gate(tenants=resources, user_tokens=identity)
    figures, registry = Figures(), CollectorRegistry()
    feeds = ChatFeed(database, gate, tickets, tail, watch, figures)
    ConnectionMetrics(registry, figures, feeds.connections)
    routes = [*chat_api.routes(chat, messages), *feeds.routes()]
    metrics = RequestMetrics(registry)
    app = Edge(routes, gate, metrics=metrics, sockets=feeds.sockets(), cors=Cors(origins))
    await changes.start()
    resource = await resources.ensure("local")
    await identity.start()
    tasks = [asyncio.create_task(each) for each in (watch.run(), tail.run())]
    listener = await listen(app, bind("127.0.0.1", 0))
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=40)) as http:
            running = Node(
                resource.resource_id, resources, identity, audience, feed, tail, worker, listener, clock, http, registry
            )
            yield running
            for socket in running.sockets:
                socket.transport.abort()
                await socket.wait_closed()
    finally:
        await listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        tail.close()
        await changes.close()


def _events(database: Database, clock: DrivenClock, changes: Changes, sealer: Sealer) -> Events:
    return Events(
        database,
        clock,
        changes,
        HttpCallout(allowed_hosts=(), loopback_open=True),
        sealer,
        uuid4(),
        public_base_url="https://localhost/",
        resource_name=_name,
        resource_named=_id,
    )


async def _name(_resource: ResourceId) -> str:
    return "local"


async def _id(_name: str) -> ResourceId:
    raise AssertionError("nobody asks")


def _those(users: "tuple[User, ...]", since: str | None = None) -> list[dict[str, Any]]:
    shared = {"shareHistoryTime": since} if since else {}
    return [{"communicationIdentifier": {"rawId": each.raw_id}, **shared} for each in users]
