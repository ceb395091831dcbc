"""What the tests of events share: a webhook on loopback, and the events slice over a fresh database."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from aiohttp import web
from tests.support.patience import PATIENCE_S

from landline.core.errors import NotFound
from landline.core.ids import ResourceId
from landline.engines.callout import HttpCallout
from landline.engines.clock import DrivenClock
from landline.services.events.model import Event, Secrets, Settings
from landline.services.events.service import Events
from landline.services.events.subscriptions import Edit, Subscriptions
from landline.services.events.worker import EventsWorker
from landline.store.changes import Changes
from landline.store.database import Database
from landline.store.sealing import Sealer

RESOURCE = ResourceId(UUID("0a5b0bd0-7d0d-4e6a-9bd9-0c1de3a3f001"))
REPORT = "Microsoft.Communication.SMSDeliveryReportReceived"


@dataclass(slots=True)
class Call:
    """One request that reached the webhook."""

    method: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Answerer = Callable[[Call], web.StreamResponse]


@dataclass
class Webhook:
    """A real HTTP server. `answer` decides; while `open_gate` is not set, requests hang."""

    url: str = ""
    calls: list[Call] = field(default_factory=list)
    answer: Answerer = lambda _call: web.Response(status=200)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        call = Call(request.method, {k.lower(): v for k, v in request.headers.items()}, await request.read())
        async with self.arrived:
            self.calls.append(call)
            self.arrived.notify_all()
        await self.gate.wait()
        return self.answer(call)

    async def wait_for(self, count: int) -> list[Call]:
        """The first `count` calls, once they have come."""
        async with asyncio.timeout(PATIENCE_S), self.arrived:
            await self.arrived.wait_for(lambda: len(self.calls) >= count)
        return self.calls[:count]

    @property
    def event_ids(self) -> list[str]:
        """The ids of all Event Grid events that came, in their order."""
        return [event["id"] for call in self.calls for event in call.json]


@asynccontextmanager
async def webhook(answer: Answerer | None = None) -> AsyncGenerator[Webhook]:
    """A webhook on a loopback port."""
    hook = Webhook()
    hook.gate.set()
    if answer is not None:
        hook.answer = answer
    app = web.Application(client_max_size=8 * 1024 * 1024)
    app.router.add_route("*", "/{tail:.*}", hook.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    hook.url = f"http://127.0.0.1:{port}/hook"
    try:
        yield hook
    finally:
        hook.gate.set()
        await runner.cleanup()


async def resource_name(_resource: ResourceId) -> str:
    return "local"


async def resource_id(name: str) -> ResourceId:
    if name != "local":
        raise NotFound(f"There is no resource {name}.")
    return RESOURCE


@dataclass
class Slice:
    """One process's events slice."""

    events: Events
    subscriptions: Subscriptions
    clock: DrivenClock
    database: Database

    async def subscribe(self, name: str, url: str, *, secrets: Secrets | None = None, **settings: Any) -> UUID:
        """An enabled subscription, without handshake."""
        edit: Edit = lambda _settings, _secrets: (Settings(url, **settings), secrets or Secrets())  # noqa: E731
        return (await self.subscriptions.add("local", name, edit, validation=False)).subscription_id

    async def emit(self, *events: Event) -> None:
        async with self.database.transaction() as connection:
            emitted = await self.events.emit(connection, events)
        self.events.committed(emitted)

    async def rows(self) -> list[dict[str, Any]]:
        found = await self.database.fetch("SELECT * FROM events_deliveries ORDER BY at, event_id")
        return [dict(row) for row in found]

    async def blocks(self) -> int:
        return await self.database.fetchval(
            "SELECT (SELECT count(*) FROM events_batches) + (SELECT count(*) FROM events_blocks)"
        )

    async def settle(self) -> None:
        """Until all work of this moment is done."""
        await self.clock.advance(timedelta(0))

    def event(self, **given: Any) -> Event:
        fields = {
            "event_id": uuid4(),
            "resource": RESOURCE,
            "type": REPORT,
            "subject": "/phonenumber/15555550100",
            "data": b'{"messageId":"m"}',
            "at": self.clock.now(),
            "about": uuid4(),
        }
        return Event(**{**fields, **given})


@asynccontextmanager
async def process(dsn: str, clock: DrivenClock | None = None, *, share: int = 1) -> AsyncGenerator[Slice]:
    """The slice as one process of `share` has it, without a worker."""
    clock = clock or DrivenClock()
    database = await Database.connect(dsn, size=4)
    changes = Changes(dsn)
    await changes.start()
    callout = HttpCallout(loopback_open=True)
    events = Events(
        database,
        clock,
        changes,
        callout,
        Sealer(b"s" * 32),
        uuid4(),
        public_base_url="https://landline.example",
        resource_name=resource_name,
        resource_named=resource_id,
        share=lambda: share,
    )
    try:
        yield Slice(events, Subscriptions(events), clock, database)
    finally:
        await changes.close()
        await callout.close()
        await database.close()


@asynccontextmanager
async def working(events: Events, **options: Any) -> AsyncGenerator[EventsWorker]:
    """A worker of the slice, running."""
    worker = EventsWorker(events, **options)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(worker.run())
        while events.sender is None:
            await asyncio.sleep(0)
        try:
            yield worker
        finally:
            await worker.close()
