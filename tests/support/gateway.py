"""The SMS slice of one process in a test: real database, real events table, a carrier of the test's choice."""

import asyncio
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from landline.core.countries import country
from landline.core.ids import ResourceId
from landline.core.phone import SenderKind
from landline.engines.callout import HttpCallout
from landline.engines.clock import DrivenClock
from landline.ports.bus import Bus
from landline.ports.callout import Callout
from landline.ports.clock import Clock
from landline.ports.sms_carrier import SmsCarrier
from landline.services.events.service import Events
from landline.services.insights.service import Insights
from landline.services.numbers.service import Numbers
from landline.services.sms.accept import Accepts
from landline.services.sms.accounts import Accounts
from landline.services.sms.backlog import Backlog
from landline.services.sms.canceling import Canceling
from landline.services.sms.detours import Detours
from landline.services.sms.esme_out import EsmeOut
from landline.services.sms.expiry import Expiry
from landline.services.sms.failover import Failover
from landline.services.sms.giving_up import GivingUp
from landline.services.sms.guard import Guard
from landline.services.sms.handover import HandOver
from landline.services.sms.inbound import Inbound
from landline.services.sms.keywords import Keywords
from landline.services.sms.limits import Limits
from landline.services.sms.metrics import Counts
from landline.services.sms.model import settings
from landline.services.sms.model.prices import PriceList
from landline.services.sms.model.routing import Router, Rule
from landline.services.sms.news import News
from landline.services.sms.observers import Observers
from landline.services.sms.opt_outs import OptOuts
from landline.services.sms.outcomes import Outcomes
from landline.services.sms.outgoing import Outgoing
from landline.services.sms.pools import Pools
from landline.services.sms.rates import Rates
from landline.services.sms.removed import Removed
from landline.services.sms.rerouting import Rerouting
from landline.services.sms.senders import Senders
from landline.services.sms.service import Sms
from landline.services.sms.settings import Settings
from landline.services.sms.standing import Standing
from landline.services.sms.still_wanted import StillWanted
from landline.services.sms.submitting import Submitting
from landline.services.sms.taking_back import TakingBack
from landline.services.sms.timeline import Timelines
from landline.services.sms.timers import Timers
from landline.services.sms.worker import Worker
from landline.store.blocks import LEASE, Blocks
from landline.store.changes import Changes
from landline.store.database import Database
from landline.store.sealing import Sealer

DEFAULT_CARRIER = "carrier"


class Gateway:
    """One process. `start` runs its worker, `crash` drops everything it holds in memory."""

    def __init__(
        self,
        dsn: str,
        database: Database,
        clock: DrivenClock,
        *carriers: SmsCarrier,
        changes: Changes | None = None,
        callout: Callout | None = None,
        sender_rates: Mapping[SenderKind, float] | None = None,
        share: Callable[[], int] = lambda: 1,
        in_hand: int = 20_000,
        line: Clock | None = None,
        report_timeout_s: int = 43_200,
        bus: Bus | None = None,
    ) -> None:
        """The first of `carriers` is the default one, the others are there for failover. `share`: of how many processes
        this is one; `in_hand`: how many messages it takes into memory; `report_timeout_s`: of who does not say;
        `line` times the pauses before a carrier that is down."""
        self.owner = owner = uuid4()
        self.dsn = dsn
        self.database = database
        self.clock = clock
        self.carriers = {carrier.name: carrier for carrier in carriers}
        self.rules: list[Rule] = []
        self.prices = PriceList()
        self.fails_over_on_receipts = False
        self.changes = changes or Changes(dsn)
        self.callout = callout or HttpCallout(loopback_open=True)
        self.numbers = Numbers(database, clock, self.changes)
        self.keywords = Keywords(database, self.changes)
        self.events = Events(
            database,
            clock,
            self.changes,
            self.callout,
            Sealer(os.urandom(32)),
            owner,
            public_base_url="https://localhost",
            resource_name=_name,
            resource_named=_no_resource,
        )
        self.handover = HandOver(limit=in_hand, share=share)
        self.insights = Insights(database, clock)
        self.accounts = Accounts(database, clock, self.changes, Sealer(os.urandom(32)), self.numbers)
        self.customers = EsmeOut(clock, self.changes, self.accounts)
        self.rates = Rates(database, self.changes, clock, defaults=sender_rates or {}, carriers={}, share=share)
        self.blocks = Blocks(database, "sms_blocks", owner)
        self._join(owner, share, line, report_timeout_s)
        self.taking_back = TakingBack(database, self.canceling, owner, bus)
        self.outgoing = Outgoing(database, clock, self.events, self.taking_back)

    def _join(self, owner: UUID, share: Callable[[], int], line: Clock | None, report_timeout_s: int) -> None:
        database, clock = self.database, self.clock
        self.counts = Counts()
        observers = Observers(self.events, self.insights, self.customers, self.counts)
        inbound = Inbound(database, clock, self.numbers, self.keywords, self.handover, observers, owner)
        self.settings = Settings(database, self.changes, settings.defaults(guarded=False, countries=("*",)))
        self.guard = Guard(database, clock, country=country, share=share)
        self.pools = Pools(database, self.changes, self.numbers)
        failover = Failover(self.carriers, self._route, self._wants_failover)
        outcomes = Outcomes(clock, self.handover, self.blocks, observers)
        self.news = News(database, clock, self.handover, self.blocks, inbound, failover, outcomes, observers)
        self.canceling = Canceling(database, clock, self.handover, outcomes, owner)
        self._join_worker(line or clock, failover, outcomes)
        self.senders = Senders(self.numbers, self.pools, self.settings, self._router)
        self.opt_outs = OptOuts(database, clock, self.numbers, self.senders, self.insights)
        self.sms = Sms(
            database,
            clock,
            self.senders,
            self._router,
            self.settings,
            Limits(False, clock, lambda: 1),
            self.guard,
            Accepts(database, clock, self.handover, observers, owner),
            wall=lambda: datetime.now(UTC),
            report_timeout_s=report_timeout_s,
        )
        self.timelines = Timelines(database, self.events, self.carriers)
        self._running: asyncio.Task[None] | None = None

    def _join_worker(self, line: Clock, failover: Failover, outcomes: Outcomes) -> None:
        database, clock, handover, news = self.database, self.clock, self.handover, self.news
        self.removed = Removed(database, clock, self.carriers, failover, ())
        self.wanted = StillWanted(database, clock, handover, news, self.numbers.may_send, self.settings)
        self.standing = Standing(database, clock, line, handover, self.blocks, failover, self.wanted)
        self.rerouting = Rerouting(database, clock, handover, failover, outcomes)
        expiry = Expiry(clock, handover, news)
        giving_up = GivingUp(database, self.carriers, handover, news, failover)
        self.timers = Timers(database, clock, handover, giving_up, self.rerouting, self.removed, self.owner)
        self.detours = Detours(clock, line, handover, news, self.standing, failover, self.rerouting)
        submitting = Submitting(clock, line, self.carriers, handover, self.rates, self.standing, expiry, self.detours)
        backlog = Backlog(database, clock, handover, self.blocks, self.standing, giving_up, self.removed, self.timers)
        self.worker = Worker(clock, line, handover, news, self.standing, expiry, submitting, backlog)
        self.detours.on_left = outcomes.on_deferred = self.worker.look

    async def start(self, *, alone: bool = False) -> "Gateway":
        await self.changes.start()
        await self.taking_back.start()
        if alone:
            await self.blocks.inherit(self.clock.now())
        for carrier in self.carriers.values():
            await carrier.start(self.news)
        self._running = asyncio.create_task(self.worker.run())
        return self

    async def end(self) -> None:
        """End as a server does that is told to, once no carrier is to answer any more."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
        await self.worker.give_back()
        await self.blocks.end(self.clock.now())
        await self.crash()

    async def crash(self) -> None:
        """End without finishing anything; leases of what it held have ended when this returns."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
        await self.taking_back.close()
        self.worker.close()
        await self.changes.close()
        await self.callout.close()
        await self.clock.advance(LEASE + timedelta(seconds=1))

    async def _router(self) -> Router:
        names = list(self.carriers)
        return Router(
            self.rules,
            carriers=names,
            defaults=names,
            resources={},
            country=lambda _number: None,
            prices=self.prices,
        )

    async def _route(self, resource: ResourceId, sender: str, recipient: str, tag: str | None) -> tuple[str, ...]:
        return (await self._router()).route(resource, sender, recipient, tag).carriers

    async def _wants_failover(self, _resource: ResourceId) -> bool:
        return self.fails_over_on_receipts

    async def own(self) -> ResourceId:
        """A resource with the numbers of `landline dev`."""
        resource = ResourceId(uuid4())
        await self.numbers.ensure_dev_numbers(resource)
        return resource


async def _name(_resource: ResourceId) -> str:
    return "local"


async def _no_resource(_name: str) -> ResourceId:
    raise AssertionError("these tests name no resource")
