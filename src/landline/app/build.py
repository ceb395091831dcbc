"""Builds the product from its parts: the only place where slices, engines and the edge meet, by plain constructors."""

import asyncio
import os
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import product
from random import Random
from socket import socket
from typing import Any

import structlog
from prometheus_client import CollectorRegistry

from landline.app import bus as buses
from landline.app import clock_admin, processes_admin
from landline.app import relay as relaying
from landline.app.application import DevInfo, Place
from landline.app.base import CHAT, EVENTS, Base
from landline.app.config import Config
from landline.app.messaging import Messaging
from landline.app.secrets import sealing_secret
from landline.app.served_certificates import Certificates, Served
from landline.core.errors import Unavailable
from landline.core.ids import ResourceId, time_ordered
from landline.core.phone import SenderKind
from landline.edge.admin import Check, admin_app
from landline.edge.app import Edge
from landline.edge.bearer import Issuer, RemoteKeys, ServiceTokens
from landline.edge.cors import Cors
from landline.edge.dev_issuer import DevIssuer
from landline.edge.gate import Gate
from landline.edge.hmac import Signatures
from landline.edge.http import Limits as RequestLimits
from landline.edge.metrics import RequestMetrics
from landline.edge.routes import Route
from landline.edge.unserved import unserved, versioned
from landline.engines.callout import HttpCallout
from landline.engines.clock import SystemClock
from landline.engines.numbering_plans import NumberingPlans
from landline.engines.smpp import leases
from landline.ports.bus import Bus
from landline.ports.clock import Clock
from landline.ports.relay import Relay
from landline.services.chat import api as chat_api
from landline.services.chat import notices as chat_notices
from landline.services.chat.departures import Departures
from landline.services.chat.feed import Feed
from landline.services.chat.limits import Rates as ChatRates
from landline.services.chat.messages import Messages
from landline.services.chat.news import News as ChatNews
from landline.services.chat.realtime.api import RealTime
from landline.services.chat.realtime.hub import Hub
from landline.services.chat.realtime.metrics import ConnectionMetrics
from landline.services.chat.realtime.tickets import Tickets
from landline.services.chat.realtime.watch import Watch
from landline.services.chat.receipts import Receipts
from landline.services.chat.rosters import Rosters
from landline.services.chat.sends import Sends
from landline.services.chat.service import Chat
from landline.services.chat.stream.api import ChatFeed
from landline.services.chat.stream.audience import Audience
from landline.services.chat.stream.tail import Tail
from landline.services.chat.worker import Worker as ChatWorker
from landline.services.events import admin as events_admin
from landline.services.events import api as events_api
from landline.services.events.service import Events
from landline.services.events.subscriptions import Subscriptions
from landline.services.events.worker import EventsWorker
from landline.services.identity import admin as identity_admin
from landline.services.identity import api as identity_api
from landline.services.identity import service as identity_service
from landline.services.identity.service import Identity
from landline.services.insights import admin as insights_admin
from landline.services.insights.service import Insights
from landline.services.insights.worker import Folder
from landline.services.numbers import admin as numbers_admin
from landline.services.numbers import admin_stock as stock_admin
from landline.services.numbers import api as numbers_api
from landline.services.numbers.inventory import Inventory
from landline.services.numbers.lookup import Lookup
from landline.services.numbers.purchases import Purchases
from landline.services.numbers.reservations import Reservations
from landline.services.numbers.service import Numbers
from landline.services.numbers.worker import NumbersWorker
from landline.services.relay import api as relay_api
from landline.services.relay.service import Relays
from landline.services.resources import admin as resources_admin
from landline.services.resources.service import Resources
from landline.services.rooms import api as rooms_api
from landline.services.rooms.service import Rooms
from landline.services.rooms.worker import RoomsWorker
from landline.services.siprouting import admin as siprouting_admin
from landline.services.siprouting import api as siprouting_api
from landline.services.siprouting.service import SipRouting
from landline.services.sms import notices as sms_notices
from landline.store.changes import Changes
from landline.store.database import Database
from landline.store.migrations import migrate
from landline.store.processes import Processes, forget, forget_all
from landline.store.sealing import Sealer
from landline.store.wakeups import Wakeups

log = structlog.get_logger()
DEFAULT_RESOURCE = "local"
_CLOSE_S = 0.6
"""For carriers and webhooks to end what is on its way; the supervisor allows 1 s for all."""


class Product:
    """Everything above the database and below the sockets. Fills `application.Application`."""

    def __init__(
        self,
        config: Config,
        database: Database,
        changes: Changes,
        clock: Clock,
        relay: Relay | None,
        bus: Bus,
        place: Place,
    ) -> None:
        """Join the parts; nothing runs yet."""
        self._config = config
        self._relay = relay
        self._bus = bus
        self._database = database
        self._changes = changes
        self._clock = clock
        self._place = place
        self._owner = place.owner or time_ordered(clock.now(), os.urandom(10))
        secret = sealing_secret(config)
        assert secret is not None, "the supervisor settles the sealing secret"
        self._sealer = Sealer(secret.encode())
        self._callout = HttpCallout(allowed_hosts=config.webhook_allow, loopback_open=config.open_webhooks)
        self._callouts = [self._callout]
        wall = partial(datetime.now, UTC)
        worker = config.mode == "worker"  # it takes no requests
        self._processes = Processes(
            database,
            changes,
            self._owner,
            config.mode,
            wall=wall,
            serves=["sms", EVENTS, *([] if worker else [CHAT])],
            circle=None if worker else buses.circle(config, self._owner),
        )
        self._build_base()
        self._messaging = Messaging(self._base, self._bus)
        self._build_chat()
        self._build_edge()
        self._tasks: list[asyncio.Task[None]] = []
        self._dev_info: DevInfo | None = None

    def _build_base(self) -> None:
        self._resources = Resources(
            self._database,
            self._sealer,
            self._clock,
            self._changes,
            self._endpoint,
            default=DEFAULT_RESOURCE,
            base_hosts=[self._config.domain],
        )
        self._identity = Identity(self._database, self._sealer, self._clock, self._changes, self._resources)
        self._events = Events(
            self._database,
            self._clock,
            self._changes,
            self._callout,
            self._sealer,
            self._owner,
            public_base_url=self._endpoint(DEFAULT_RESOURCE),
            resource_name=self._resource_name,
            resource_named=self._resource_named,
            share=lambda: self._processes.serving(EVENTS),
        )
        self._subscriptions = Subscriptions(self._events)
        self._events_worker = EventsWorker(self._events, alone=self._place.alone)
        self._insights = Insights(
            self._database,
            self._clock,
            keep_hours=timedelta(days=self._config.insights_hours_kept_days),
            keep_days=timedelta(days=self._config.insights_days_kept_days),
            tags_per_hour=self._config.insights_tags_per_hour,
        )
        self._folder = Folder(self._insights, self._clock)
        self._build_numbers()
        self._wakeups = Wakeups(self._database, self._changes, self._owner)
        self._base = Base(
            self._config,
            self._place,
            self._database,
            self._changes,
            self._clock,
            self._owner,
            self._sealer,
            self._processes,
            self._wakeups,
            self._resources,
            self._events,
            self._insights,
            self._numbers,
        )

    def _build_numbers(self) -> None:
        database, clock, config = self._database, self._clock, self._config
        self._numbers = Numbers(database, clock, self._changes)
        # Made-up numbers are only for handsets that are made up, too.
        self._inventory = Inventory(
            database,
            clock,
            virtual_stock=config.simulated_carrier,
            random=Random(config.seed),  # noqa: S311
        )
        self._purchases = Purchases(database, clock, self._numbers, self._inventory)
        self._reservations = Reservations(database, clock, self._inventory, self._purchases)
        self._lookup = Lookup(NumberingPlans())
        self._numbers_worker = NumbersWorker(database, clock)
        self._sip_routing = SipRouting(self._database, self._clock, self._numbers)
        self._rooms = Rooms(self._database, self._clock)
        self._identity.when_deleted(self._rooms.uninvite)
        self._relays = Relays(
            self._relay, wall=lambda: datetime.now(UTC), longest_ttl_s=self._config.relay_longest_ttl_s
        )

    def _build_chat(self) -> None:
        database, clock = self._database, self._clock
        self._chat_feed = Feed(self._bus)
        news = ChatNews(self._events, self._chat_feed, clock)
        departures = Departures(database, clock, news, self._identity.existing)
        self._chat_worker = ChatWorker(database, clock, news, departures)
        self._identity.when_deleted(departures.note)
        self._changes.watch(identity_service.DELETED, lambda _: self._chat_worker.wake())
        self._chat_rates = rates = ChatRates(self._config.acs_limits, clock, self._chat_share, self._bus)
        rosters = Rosters()
        self._chat = Chat(database, clock, self._identity, news, rates, wake=self._chat_worker.wake)
        self._messages = Messages(
            database,
            clock,
            news,
            rates,
            Sends(database, clock, news, rates, rosters),
            Receipts(database, clock, news),
            rosters,
        )
        self._chat_hub = Hub(self._chat_feed)
        self._chat_tail = Tail(database, self._chat_feed, clock, Audience(database))
        self._tickets = tickets = Tickets(self._sealer, self._identity)
        self._chat_watch = Watch(self._chat_hub, tickets, clock)
        self._changes.watch(identity_service.TOKENS, self._chat_watch.suspect)
        self._real_time = RealTime(self._chat_hub, tickets, self._chat_watch, clock, self._bus)

    def _build_edge(self) -> None:
        config = self._config
        registry = CollectorRegistry()
        processes_admin.ProcessMetrics(registry, self._processes)
        self._messaging.metrics(registry)
        buses.metrics(registry, self._bus)
        self._certificates = Certificates(config, SystemClock(), registry, leads=self._place.first)
        dev_issuer = self._dev_issuer()
        served = [
            *identity_api.routes(self._identity, self._endpoint(DEFAULT_RESOURCE)),
            *self._messaging.routes(),
            *siprouting_api.routes(self._sip_routing),
            *rooms_api.routes(self._rooms),
            *relay_api.routes(self._relays),
            *events_api.routes(self._subscriptions),
            *chat_api.routes(self._chat, self._messages),
            *numbers_api.routes(self._purchases, self._reservations, self._inventory, self._lookup),
            *(dev_issuer.routes() if dev_issuer else ()),
        ]
        gate = Gate(
            tenants=self._resources,
            signatures=Signatures(
                skew_s=config.signature_skew_s,
                hosts=[config.authority()],
                trust_forwarded_host=config.trust_forwarded_host,
            ),
            service_tokens=self._service_tokens(dev_issuer),
            user_tokens=self._identity,
            trust_forwarded_host=config.trust_forwarded_host,
        )
        figures, real_time = self._chat_hub.figures, self._real_time
        feeds = ChatFeed(self._database, gate, self._tickets, self._chat_tail, self._chat_watch, figures)
        ConnectionMetrics(registry, figures, lambda: real_time.connections() | feeds.connections())
        served += [*self._real_time.routes(gate), *feeds.routes()]
        limits = RequestLimits(body_bytes=config.body_limit_bytes)
        self.public_app = Edge(
            [*versioned(served), *unserved(served)],
            gate,
            metrics=RequestMetrics(registry),
            sockets=[*self._real_time.sockets(), *feeds.sockets()],
            cors=Cors(config.cors_origins),
            limits=limits,
        )
        assert config.admin_token is not None, "the supervisor settles the admin token"
        self.admin_app = admin_app(
            self._admin_routes(),
            token=config.admin_token,
            registry=registry,
            checks=self._checks(),
            # Balancers are to go on: requests are served as well as elsewhere.
            lesser=("bus", "hearing", "clocks", "statements", "certificates"),
        )

    def _chat_share(self) -> int:
        return self._processes.serving(CHAT)

    def _checks(self) -> dict[str, Check]:
        checks: dict[str, Check] = {"database": self._database.check, "statements": self._database.check_statements}
        checks["hearing"] = processes_admin.Hearing(self._processes).check
        checks["certificates"] = self._certificates.check
        checks["clocks"] = processes_admin.Clocks(self._processes).check
        if self._relay is not None:
            checks["relay"] = self._relay.check
        if self._config.nats_urls:
            checks["bus"] = self._bus.check
        return checks

    def _admin_routes(self) -> Sequence[Route]:
        resource_named = self._base.resource_named
        return [
            *resources_admin.routes(self._resources),
            *identity_admin.routes(self._identity),
            *events_admin.routes(self._subscriptions, self._clock, sms_notices.TYPES | chat_notices.TYPES),
            *numbers_admin.routes(self._numbers, resource_named, self._messaging.check_carrier),
            *stock_admin.routes(self._inventory, self._resource_name, self._messaging.check_carrier),
            *siprouting_admin.routes(self._sip_routing, resource_named),
            *self._messaging.admin_routes(),
            *insights_admin.routes(self._insights, self._clock, resource_named, self._config.sms_currency),
            *clock_admin.routes(self._clock),
            *processes_admin.routes(self._processes),
        ]

    def _dev_issuer(self) -> DevIssuer | None:
        if not self._config.dev_issuer:
            return None
        assert self._config.admin_token is not None
        return DevIssuer(self._config.admin_token, f"{self._endpoint(DEFAULT_RESOURCE).rstrip('/')}/devissuer")

    def _service_tokens(self, dev_issuer: DevIssuer | None) -> ServiceTokens | None:
        issuers = [dev_issuer.issuer] if dev_issuer else []
        if self._config.oidc_issuer:
            # The operator named the issuer, which may name any other host: every address is open, but only with TLS.
            callout = HttpCallout(allowed_hosts=("0.0.0.0/0", "::/0"))
            self._callouts.append(callout)
            keys = RemoteKeys(self._config.oidc_issuer, callout)
            clients = frozenset(self._config.oidc_clients)
            issuers.append(Issuer(self._config.oidc_issuer, keys, (self._config.oidc_audience,), clients))
        return ServiceTokens(issuers) if issuers else None

    async def start(
        self, customers: Sequence[socket] = (), customers_tls: Sequence[socket] = (), served: Served | None = None
    ) -> None:
        """Start the workers; from now on the applications may be served."""
        if self._relay is not None:
            await self._relay.start()
        await self._changes.start()
        await self._succeed()
        await self._processes.start()
        self._wakeups.start()
        await self._bus.start()
        await self._chat_rates.start()
        await self._real_time.start()
        await self._identity.start()
        resource = await self._resources.ensure(DEFAULT_RESOURCE)
        if self._config.mode == "dev":
            await self._prepare_dev(resource.resource_id)
        self._certificates.served = served
        self._tasks = [
            *await self._messaging.start(customers, customers_tls, served.context if served is not None else None),
            asyncio.create_task(self._certificates.run(), name="certificates"),
            asyncio.create_task(self._events_worker.run(), name="events"),
            asyncio.create_task(RoomsWorker(self._rooms, self._clock).run(), name="rooms"),
            asyncio.create_task(self._numbers_worker.run(), name="numbers"),
            asyncio.create_task(self._folder.run(), name="insights"),
            asyncio.create_task(self._chat_worker.run(), name="chat"),
            asyncio.create_task(self._chat_watch.run(), name="chat sockets"),
            asyncio.create_task(self._chat_tail.run(), name="chat feed"),
        ]

    async def _succeed(self) -> None:
        """Take over from processes that are known to be dead."""
        now, dead = self._clock.now(), self._place.succeeds
        if self._place.alone:
            await forget_all(self._database)
            await self._messaging.blocks.inherit(now)
        elif dead:
            await forget(self._database, dead)
            await leases.forget(self._database, dead)
            for blocks, owner in product((self._messaging.blocks, *self._events.held), dead):
                await blocks.end(now, owner)

    async def _prepare_dev(self, resource: ResourceId) -> None:
        owned = await self._numbers.ensure_dev_numbers(resource)
        toll_free = next(number.number for number in owned if number.kind is SenderKind.TOLL_FREE)
        keys = await self._resources.keys(DEFAULT_RESOURCE)
        self._dev_info = DevInfo(self._resources.connection_string(DEFAULT_RESOURCE, keys[0]), toll_free)

    async def failed(self) -> None:
        """Wait until a worker ends by itself, which only a bug makes it do; raises what it raised."""
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            await task

    async def drain(self, patience_s: float) -> None:
        """Answer what is in hand and came by no HTTP, and hear what carriers have yet to answer: what they do not by
        then is in doubt, as after a crash."""
        ends = self._messaging.part_with_carriers()
        await asyncio.gather(self._messaging.part_with_customers(patience_s), _within(patience_s, *ends))

    async def close(self) -> None:
        """Stop the workers and let go of the database; what is left goes to the other processes at once."""
        await self._processes.close()
        await self._wakeups.close()
        if self._relay is not None:
            await self._relay.close()
        await _within(_CLOSE_S, *self._messaging.closing(), self._events_worker.close())
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            await self._messaging.give_back()
            for blocks in (self._messaging.blocks, *self._events.held):
                await blocks.end(self._clock.now())
        except Unavailable as error:
            log.warning("blocks.not_given_back", reason=error.message)  # their leases end by themselves
        await self._messaging.guard.close()
        await self._real_time.close()
        self._chat_hub.close()
        self._chat_tail.close()
        await self._bus.close()
        for callout in self._callouts:
            await callout.close()
        await self._changes.close()
        await self._database.close()

    def dev_info(self) -> DevInfo | None:
        """After `start`; None in `serve`."""
        return self._dev_info

    def _endpoint(self, name: str) -> str:
        return f"https://{self._config.authority('' if name == DEFAULT_RESOURCE else name)}/"

    async def _resource_named(self, name: str) -> ResourceId:
        return (await self._resources.get(name)).resource_id

    async def _resource_name(self, resource: ResourceId) -> str:
        return (await self._resources.by_id(resource)).name


async def _within(seconds: float, *closing: Coroutine[Any, Any, None]) -> None:
    """Let these go on for so long, then cancel them: what is left is as after a crash."""
    tasks = [asyncio.create_task(each) for each in closing]
    _, late = await asyncio.wait(tasks, timeout=seconds) if tasks else (set[asyncio.Task[None]](), ())
    for task in late:
        task.cancel()
    for failed in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(failed, Exception):
            log.error("server.close_failed", error=repr(failed))


async def build(config: Config, dsn: str, clock: Clock, place: Place) -> Product:
    """The product on the database of `dsn`, which is migrated first. Raises `Unavailable`, `SchemaMismatch`."""
    relay, bus = relaying.engine(config, runs_it=place.first), buses.engine(config)
    async with AsyncExitStack() as stack:
        database = await Database.connect(dsn, size=config.database_connections)
        stack.push_async_callback(database.close)  # it must not outlive a refusal, nor the embedded server it is of
        await migrate(database)
        made = Product(config, database, Changes(dsn), clock, relay, bus, place)
        stack.pop_all()
    return made
