"""Processes that serve chat's real-time side over real sockets, and a browser's way to them."""

import asyncio
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import aiohttp
import trustme
from prometheus_client.registry import CollectorRegistry
from tests.support.patience import PATIENCE_S

from landline.core.ids import RawId, ResourceId
from landline.edge.app import Edge
from landline.edge.gate import Gate
from landline.edge.http import Caller
from landline.edge.metrics import RequestMetrics
from landline.edge.server import Listener, bind, listen
from landline.engines.bus import MemoryBus
from landline.engines.clock import DrivenClock
from landline.ports.bus import Bus
from landline.protocols.trouter.client import Client, Connected, Draining, Ended, Pushed
from landline.services.chat.feed import Feed
from landline.services.chat.model.changes import MessageReceived, TypingIndicatorReceived
from landline.services.chat.model.ids import MessageId, ThreadId
from landline.services.chat.model.values import Kind
from landline.services.chat.realtime.api import RealTime
from landline.services.chat.realtime.hub import Hub
from landline.services.chat.realtime.metrics import ConnectionMetrics
from landline.services.chat.realtime.tickets import Tickets
from landline.services.chat.realtime.watch import Watch
from landline.services.identity.service import TOKENS, Identity
from landline.services.resources.service import Resources
from landline.store.changes import Changes
from landline.store.database import Database
from landline.store.sealing import Sealer

THREAD = ThreadId(UUID(int=7))
AT = datetime(2026, 11, 21, 9, 0, 0, 123_000, tzinfo=UTC)
SECRET = b"s" * 32
_numbers = count(1)


@dataclass
class Node:
    """One process."""

    resource: ResourceId
    identity: Identity
    feed: Feed
    hub: Hub
    listener: Listener
    clock: DrivenClock
    tls: bool
    registry: CollectorRegistry

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.listener.port}"

    async def user(self, *scopes: str, minutes: int | None = None) -> tuple[RawId, str]:
        """A new user and a token for it."""
        user, token = await self.identity.create(Caller(self.resource), list(scopes or ("chat",)), minutes)
        assert token is not None
        return user.raw_id, token.text


@asynccontextmanager
async def node(
    database: Database,
    dsn: str,
    clock: DrivenClock,
    *,
    secret: bytes = SECRET,
    most_of_a_user: int = 32,
    tls: bool = False,
    bus: Bus | None = None,
) -> AsyncGenerator[Node]:
    """A process on `database`; `bus` None is a bus of its own."""
    changes, sealer = Changes(dsn), Sealer(SECRET)
    resources = Resources(database, sealer, clock, changes, lambda name: f"https://{name}/")
    identity = Identity(database, sealer, clock, changes, resources)
    bus = bus or MemoryBus()
    feed = Feed(bus)
    hub, tickets = Hub(feed, most_of_a_user=most_of_a_user), Tickets(Sealer(secret), identity)
    watch = Watch(hub, tickets, clock)
    changes.watch(TOKENS, watch.suspect)
    real_time, registry = RealTime(hub, tickets, watch, clock, bus), CollectorRegistry()
    ConnectionMetrics(registry, hub.figures, real_time.connections)
    gate, metrics = Gate(tenants=resources, user_tokens=identity), RequestMetrics(registry)
    app = Edge(real_time.routes(gate), gate, metrics=metrics, sockets=real_time.sockets())
    await changes.start()
    resource = await resources.ensure("local")
    await identity.start()
    await real_time.start()
    task = asyncio.create_task(watch.run())
    listener = await listen(app, bind("127.0.0.1", 0), _tls() if tls else None)
    try:
        yield Node(resource.resource_id, identity, feed, hub, listener, clock, tls, registry)
    finally:
        await listener.close()
        await real_time.close()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await changes.close()


class Browser:
    """A user's page."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self._http = http
        self._pages: list[Page] = []

    async def close(self) -> None:
        """Close what is open: aiohttp warns of sockets that are forgotten."""
        for page in self._pages:
            await page.socket.close()

    async def request(self, node: Node, method: str, path: str, **options: Any) -> tuple[int, str]:
        url = f"{node.url}{path}"
        async with self._http.request(method, url, **options) as answer:
            return answer.status, await answer.text()

    async def allocate(self, node: Node, token: str) -> dict[str, str]:
        """The parameters of everything that follows."""
        url = f"{node.url}/v4/a?epid=1"
        async with self._http.post(url, headers={"X-Skypetoken": token}) as answer:
            assert answer.status == 200, await answer.text()
            return (await answer.json())["connectparams"]

    async def open(self, node: Node, params: dict[str, str]) -> "Page":
        """A socket that has been greeted."""
        url = f"{node.url}/socket.io/1/websocket/x?{urlencode(params)}"
        page = Page(await self._http.ws_connect(url))
        self._pages.append(page)
        assert await page.heard() == Connected()
        return page

    async def connect(self, node: Node, token: str) -> "Page":
        """All of it."""
        return await self.open(node, await self.allocate(node, token))


class Page:
    """An open socket and the client's core above it."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self._client = Client(0)

    async def heard(self) -> Connected | Pushed | Draining | Ended | int:
        """The next event; a number is the code the socket was closed with."""
        while True:
            message = await self.socket.receive(timeout=PATIENCE_S)
            if message.type is not aiohttp.WSMsgType.TEXT:
                return int(self.socket.close_code or 0)
            event = self._client.receive(message.data, 0)
            for packet in self._client.outgoing():
                await self.socket.send_str(packet)
            if event is not None:
                return event


def _tls() -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    return context


def message(*recipients: RawId, text: str = "hi", sender: RawId | None = None) -> MessageReceived:
    """A message of the first of `recipients`, newer than the one before."""
    number = next(_numbers)
    return MessageReceived(
        thread=THREAD,
        recipients=recipients,
        version=number,
        at=AT,
        message_id=MessageId(number),
        sequence=number,
        sender=sender or recipients[0],
        sender_display_name=None,
        kind=Kind.TEXT,
        content=text,
        metadata={},
    )


def typing(sender: RawId, *others: RawId) -> TypingIndicatorReceived:
    """`sender` types."""
    return TypingIndicatorReceived(
        thread=THREAD, recipients=(sender, *others), version=1, at=AT, sender=sender, sender_display_name="Ann"
    )
