"""Builds the product from its parts: the only place where slices, engines and the edge meet, by plain constructors."""

import asyncio
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from random import Random

import structlog
from prometheus_client import CollectorRegistry

from landline.app import carriers, clock_admin
from landline.app import config as configuration
from landline.app import relay as relaying
from landline.app.application import DevInfo
from landline.app.config import Config
from landline.core.countries import country
from landline.core.ids import ResourceId, time_ordered
from landline.core.phone import SenderKind
from landline.edge.admin import admin_app
from landline.edge.app import Edge
from landline.edge.app import Limits as RequestLimits
from landline.edge.bearer import Issuer, RemoteKeys, ServiceTokens
from landline.edge.cors import Cors
from landline.edge.dev_issuer import DevIssuer
from landline.edge.gate import Gate
from landline.edge.hmac import Signatures
from landline.edge.metrics import RequestMetrics
from landline.edge.routes import Route
from landline.edge.unserved import unserved
from landline.engines.callout import HttpCallout
from landline.engines.numbering_plans import NumberingPlans
from landline.engines.simulated import admin as simulated_admin
from landline.engines.simulated.carrier import SimulatedCarrier
from landline.ports.clock import Clock
from landline.ports.relay import Relay
from landline.ports.sms_carrier import SmsCarrier
from landline.services.events import admin as events_admin
from landline.services.events import api as events_api
from landline.services.events.service import Events
from landline.services.events.subscriptions import Subscriptions
from landline.services.events.worker import EventsWorker
from landline.services.identity import admin as identity_admin
from landline.services.identity import api as identity_api
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
from landline.services.sms import admin as sms_admin
from landline.services.sms import admin_guard, admin_messages, admin_routing
from landline.services.sms import api as sms_api
from landline.services.sms.accept import Accepts
from landline.services.sms.failover import Failover
from landline.services.sms.guard import Guard
from landline.services.sms.guard_metrics import GuardMetrics
from landline.services.sms.handover import HandOver
from landline.services.sms.inbound import Inbound
from landline.services.sms.keywords import Keywords
from landline.services.sms.limits import Limits
from landline.services.sms.model import settings
from landline.services.sms.news import News
from landline.services.sms.outgoing import Outgoing
from landline.services.sms.pools import Pools
from landline.services.sms.rates import Rates
from landline.services.sms.routing import Routing
from landline.services.sms.service import Sms
from landline.services.sms.settings import Settings
from landline.services.sms.timeline import Timelines
from landline.services.sms.worker import Worker
from landline.store.blocks import Blocks
from landline.store.changes import Changes
from landline.store.database import Database
from landline.store.migrations import migrate
from landline.store.sealing import Sealer

log = structlog.get_logger()
DEFAULT_RESOURCE = "local"


class Product:
    """Everything above the database and below the sockets. Fills `application.Application`."""

    def __init__(self, config: Config, database: Database, changes: Changes, clock: Clock, relay: Relay | None) -> None:
        """Join the parts; nothing runs yet."""
        self._config = config
        self._relay = relay
        self._database = database
        self._changes = changes
        self._clock = clock
        self._alone = config.dsn is None
        """The data directory's lock says that no other process is on this database."""
        self._owner = time_ordered(clock.now(), os.urandom(10))
        secret = configuration.sealing_secret(config)
        assert secret is not None, "the supervisor settles the sealing secret"
        self._sealer = Sealer(secret.encode())
        self._callout = HttpCallout(allowed_hosts=config.webhook_allow, loopback_open=config.open_webhooks)
        self._build_base()
        self._build_sms()
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
            resource_id=self._resource_id,
        )
        self._subscriptions = Subscriptions(self._events)
        self._events_worker = EventsWorker(self._events, alone=self._alone)
        self._insights = Insights(self._database, self._clock)
        self._folder = Folder(self._insights, self._clock)
        self._build_numbers()

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
        self._relays = Relays(
            self._relay, wall=lambda: datetime.now(UTC), longest_ttl_s=self._config.relay_longest_ttl_s
        )

    def _build_sms(self) -> None:
        database, clock, events, changes = self._database, self._clock, self._events, self._changes
        config = self._config
        handover = HandOver()
        self._sms_blocks = Blocks(database, "sms_blocks", self._owner)
        self._keywords = Keywords(database, changes)
        self._build_carriers()
        failover = Failover(self._carriers, self._carriers_for, self._wants_failover)
        inbound = Inbound(database, clock, self._numbers, events, self._keywords, handover, self._insights, self._owner)
        self._news = News(database, clock, events, handover, self._sms_blocks, inbound, failover, self._insights)
        self._rates = Rates(
            database,
            changes,
            clock,
            defaults=carriers.sender_rates(config),
            carriers=carriers.carrier_rates(config),
            share=self._share,
        )
        self._sms_worker = Worker(
            database, clock, self._carriers, handover, self._sms_blocks, self._news, failover, self._rates
        )
        self._settings = Settings(
            database, changes, settings.defaults(guarded=config.sms_guard, countries=config.sms_countries)
        )
        self._guard = Guard(database, clock, country=country, share=self._share)
        self._pools = Pools(database, changes, self._numbers)
        self._sms = Sms(
            database,
            clock,
            self._numbers,
            events,
            Accepts(database, clock, events, self._insights, handover, self._owner),
            self._insights,
            wall=lambda: datetime.now(UTC),
            router=self._routing.router,
            pools=self._pools,
            settings=self._settings,
            limits=Limits(config.acs_limits, clock, self._share),
            guard=self._guard,
        )
        self._timelines = Timelines(database, events)
        self._outgoing = Outgoing(database, clock, events, self._news)

    def _build_carriers(self) -> None:
        config, database, clock = self._config, self._database, self._clock
        self._simulated = SimulatedCarrier(database, clock, config.seed) if config.simulated_carrier else None
        self._carriers: dict[str, SmsCarrier] = carriers.carriers(config, database, clock)
        if self._simulated is not None:
            self._carriers[self._simulated.name] = self._simulated
        self._routing = Routing(
            database,
            self._changes,
            carriers=self._carriers,
            defaults=carriers.default_carriers(config),
            configured=carriers.rules(config),
            resources=self._resource_ids,
            country=country,
        )

    def _build_edge(self) -> None:
        config = self._config
        registry = CollectorRegistry()
        GuardMetrics(registry, self._guard)
        dev_issuer = self._dev_issuer()
        served = [
            *identity_api.routes(self._identity, self._endpoint(DEFAULT_RESOURCE)),
            *sms_api.routes(self._sms),
            *siprouting_api.routes(self._sip_routing),
            *rooms_api.routes(self._rooms),
            *relay_api.routes(self._relays),
            *events_api.routes(self._subscriptions),
            *numbers_api.routes(self._purchases, self._reservations, self._inventory, self._lookup),
            *(dev_issuer.routes() if dev_issuer else ()),
        ]
        gate = Gate(
            tenants=self._resources,
            signatures=Signatures(),
            service_tokens=self._service_tokens(dev_issuer),
            user_tokens=self._identity,
        )
        limits = RequestLimits(body_bytes=config.body_limit_bytes)
        self.public_app = Edge(
            [*served, *unserved(served)],
            gate,
            metrics=RequestMetrics(registry),
            cors=Cors(config.cors_origins),
            limits=limits,
        )
        assert config.admin_token is not None, "the supervisor settles the admin token"
        self.admin_app = admin_app(
            self._admin_routes(),
            token=config.admin_token,
            registry=registry,
            checks={"database": self._database_answers, **({"relay": self._relay.check} if self._relay else {})},
        )

    def _admin_routes(self) -> Sequence[Route]:
        return [
            *resources_admin.routes(self._resources),
            *identity_admin.routes(self._identity),
            *events_admin.routes(self._subscriptions, self._clock),
            *numbers_admin.routes(self._numbers, self._resource_id),
            *stock_admin.routes(self._inventory, self._resource_name),
            *sms_admin.routes(self._timelines, self._keywords, self._numbers, self._resource_id, self._all_resources),
            *siprouting_admin.routes(self._sip_routing, self._resource_id),
            *admin_routing.routes(self._routing, self._rates, self._numbers, self._carriers, self._resource_id),
            *admin_messages.routes(self._sms, self._outgoing, self._pools, self._resource_id, self._all_resources),
            *admin_guard.routes(self._settings, self._resource_id),
            *insights_admin.routes(self._insights, self._clock, self._resource_id),
            *clock_admin.routes(self._clock),
            *(simulated_admin.routes(self._simulated) if self._simulated else ()),
        ]

    def _dev_issuer(self) -> DevIssuer | None:
        if not self._config.dev_issuer:
            return None
        assert self._config.admin_token is not None
        return DevIssuer(self._config.admin_token, f"{self._endpoint(DEFAULT_RESOURCE).rstrip('/')}/devissuer")

    def _service_tokens(self, dev_issuer: DevIssuer | None) -> ServiceTokens | None:
        issuers = [dev_issuer.issuer] if dev_issuer else []
        if self._config.oidc_issuer:
            keys = RemoteKeys(self._config.oidc_issuer)
            issuers.append(Issuer(self._config.oidc_issuer, keys, (self._config.oidc_audience,)))
        return ServiceTokens(issuers) if issuers else None

    async def start(self) -> None:
        """Start the workers; from now on the applications may be served."""
        if self._relay is not None:
            await self._relay.start()
        await self._changes.start()
        await self._identity.start()
        resource = await self._resources.ensure(DEFAULT_RESOURCE)
        if self._config.mode == "dev":
            await self._prepare_dev(resource.resource_id)
        if self._alone:
            await self._sms_blocks.inherit(self._clock.now())
        for carrier in self._carriers.values():
            await carrier.start(self._news)
        self._tasks = [
            asyncio.create_task(self._events_worker.run(), name="events"),
            asyncio.create_task(self._sms_worker.run(), name="sms"),
            asyncio.create_task(RoomsWorker(self._rooms, self._clock).run(), name="rooms"),
            asyncio.create_task(self._numbers_worker.run(), name="numbers"),
            asyncio.create_task(self._folder.run(), name="insights"),
            asyncio.create_task(self._guard.run(), name="guard"),
        ]

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

    async def close(self) -> None:
        """Stop the workers and let go of the database."""
        if self._relay is not None:
            await self._relay.close()
        for carrier in self._carriers.values():
            await carrier.close()
        await self._events_worker.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._guard.close()
        await self._callout.close()
        await self._changes.close()
        await self._database.close()

    def dev_info(self) -> DevInfo | None:
        """After `start`; None in `serve`."""
        return self._dev_info

    def _endpoint(self, name: str) -> str:
        host = self._config.domain if name == DEFAULT_RESOURCE else f"{name}.{self._config.domain}"
        return f"https://{host}:{self._config.clients_port}/"

    async def _carriers_for(
        self, resource: ResourceId, sender: str, recipient: str, tag: str | None
    ) -> tuple[str, ...]:
        owned = await self._numbers.sender(resource, sender)
        router = await self._routing.router()
        return router.route(resource, sender, recipient, tag, owned.carrier if owned else None).carriers

    async def _wants_failover(self, resource: ResourceId) -> bool:
        return (await self._settings.of(resource)).failover_on_receipt

    def _share(self) -> int:
        return 1

    async def _resource_id(self, name: str) -> ResourceId:
        return (await self._resources.get(name)).resource_id

    async def _resource_name(self, resource: ResourceId) -> str:
        return (await self._resources.by_id(resource)).name

    async def _resource_ids(self) -> dict[str, ResourceId]:
        return {resource.name: resource.resource_id for resource in await self._resources.list_all()}

    async def _all_resources(self) -> list[ResourceId]:
        return [resource.resource_id for resource in await self._resources.list_all()]

    async def _database_answers(self) -> None:
        await self._database.fetchval("SELECT 1")


async def build(config: Config, dsn: str, clock: Clock) -> Product:
    """The product on the database of `dsn`, which is migrated first. Raises `Unavailable`, `SchemaMismatch`."""
    relay = relaying.engine(config)
    database = await Database.connect(dsn, size=config.database_connections)
    await migrate(database)
    return Product(config, database, Changes(dsn), clock, relay)
