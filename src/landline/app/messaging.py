"""The SMS part of the product: carriers, the worker between them and the database, customers over SMPP; its routes."""

import asyncio
from collections.abc import Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from socket import socket
from ssl import SSLContext
from typing import Any

from prometheus_client import CollectorRegistry

from landline.app import carriers, carriers_admin
from landline.app.base import Base
from landline.core.countries import country
from landline.core.ids import ResourceId
from landline.edge.routes import Route
from landline.engines.clock import SteadyClock
from landline.engines.simulated import admin as simulated_admin
from landline.engines.simulated.carrier import SimulatedCarrier
from landline.engines.smpp.carrier import SmppCarrier
from landline.engines.smpp.config import SmppConfig
from landline.engines.smpp.leases import Leases
from landline.engines.smpp.listener import ListenerConfig, SmppListener
from landline.engines.smpp.listener.shares import Together
from landline.ports.bus import Bus
from landline.ports.sms_carrier import SmsCarrier
from landline.services.sms import admin as sms_admin
from landline.services.sms import (
    admin_accounts,
    admin_erasing,
    admin_guard,
    admin_messages,
    admin_opt_outs,
    admin_prices,
    admin_routing,
    admin_search,
)
from landline.services.sms import api as sms_api
from landline.services.sms.accept import Accepts
from landline.services.sms.accounts import Accounts
from landline.services.sms.backlog import Backlog
from landline.services.sms.canceling import Canceling
from landline.services.sms.detours import Detours
from landline.services.sms.erasing import Erasing
from landline.services.sms.esme import Esme, PlannedSends
from landline.services.sms.esme_out import EsmeOut
from landline.services.sms.esme_worker import EsmeWorker
from landline.services.sms.expiry import Expiry
from landline.services.sms.failover import Failover
from landline.services.sms.giving_up import GivingUp
from landline.services.sms.guard import Guard
from landline.services.sms.guard_metrics import GuardMetrics
from landline.services.sms.handover import HandOver
from landline.services.sms.inbound import Inbound
from landline.services.sms.keywords import Keywords
from landline.services.sms.limits import Limits
from landline.services.sms.metrics import Counts, SmsMetrics
from landline.services.sms.model import settings
from landline.services.sms.news import News
from landline.services.sms.observers import Observers
from landline.services.sms.opt_outs import OptOuts
from landline.services.sms.outcomes import Outcomes
from landline.services.sms.outgoing import Outgoing
from landline.services.sms.pools import Pools
from landline.services.sms.prices import Prices
from landline.services.sms.rates import Rates
from landline.services.sms.removed import Removed
from landline.services.sms.rerouting import Rerouting
from landline.services.sms.retention import Retention
from landline.services.sms.routing import Routing
from landline.services.sms.search import Search
from landline.services.sms.senders import Senders
from landline.services.sms.service import Sms
from landline.services.sms.settings import Settings
from landline.services.sms.standing import Standing
from landline.services.sms.still_wanted import StillWanted
from landline.services.sms.submissions import Submissions
from landline.services.sms.submitting import Submitting
from landline.services.sms.taking_back import TakingBack
from landline.services.sms.timeline import Timelines
from landline.services.sms.timers import Timers
from landline.services.sms.worker import Worker
from landline.store.blocks import Blocks

_UNBINDING_S = 0.3
"""How long customers may take to answer our unbind, once they have all answers of ours."""


class Messaging:
    """Joined by its constructor, begun by `start`, ended by `close`."""

    def __init__(self, base: Base, bus: Bus) -> None:
        self._base = base
        self._bus = bus
        # Several with driven clocks cannot be.
        self._shared = not base.place.alone and not base.config.driven_clock
        self.blocks = Blocks(base.database, "sms_blocks", base.owner)
        self._build_carriers()
        self._ending: Sequence[SmsCarrier] = tuple(self._carriers.values())
        self._build_settings()
        self._build_news()
        self._build_worker()
        self._build_requests()
        self._build_operations()
        self._build_listener()

    def _build_settings(self) -> None:
        """What operators set of numbers, resources and customers, as it is in force."""
        base, config = self._base, self._base.config
        database, clock, changes = base.database, base.clock, base.changes
        self._keywords = Keywords(database, changes)
        self._pools = Pools(database, changes, base.numbers)
        self._accounts = Accounts(database, clock, changes, base.sealer, base.numbers)
        self._rates = Rates(
            database,
            changes,
            clock,
            defaults=carriers.sender_rates(config),
            carriers=carriers.carrier_rates(config),
            share=base.share,
            parts=self._parts,
        )
        self._settings = Settings(
            database,
            changes,
            settings.defaults(guarded=config.sms_guard, countries=config.sms_countries, acs_limits=config.acs_limits),
        )

    def _build_news(self) -> None:
        """What this process has in hand, what carriers say of it, and who is told."""
        base, database, clock = self._base, self._base.database, self._base.clock
        self._handover = handover = HandOver(share=base.share)
        self._counts = Counts()
        self._out = EsmeOut(clock, base.changes, self._accounts)
        self._observers = observers = Observers(base.events, base.insights, self._out, self._counts)
        self._outcomes = outcomes = Outcomes(clock, handover, self.blocks, observers)
        self._failover = failover = Failover(self._carriers, self._carriers_for, self._wants_failover)
        inbound = Inbound(database, clock, base.numbers, self._keywords, handover, observers, base.owner)
        self._news = News(database, clock, handover, self.blocks, inbound, failover, outcomes, observers)

    def _build_worker(self) -> None:
        """What hands messages to carriers, and takes up what is due."""
        base, handover, news, line = self._base, self._handover, self._news, SteadyClock()
        database, clock, failover = base.database, base.clock, self._failover
        # What was meant for handsets that are made up leaves to real ones by no accident.
        configured = (*carriers.default_carriers(base.config), carriers.SIMULATED)
        self._removed = Removed(database, clock, self._carriers, failover, configured)
        wanted = StillWanted(database, clock, handover, news, base.numbers.may_send, self._settings)
        standing = Standing(database, clock, line, handover, self.blocks, failover, wanted)
        rerouting = Rerouting(database, clock, handover, failover, self._outcomes)
        expiry = Expiry(clock, handover, news)
        giving_up = GivingUp(database, self._carriers, handover, news, failover)
        timers = Timers(database, clock, handover, giving_up, rerouting, self._removed, base.owner)
        detours = Detours(clock, line, handover, news, standing, failover, rerouting)
        submitting = Submitting(clock, line, self._carriers, handover, self._rates, standing, expiry, detours)
        backlog = Backlog(database, clock, handover, self.blocks, standing, giving_up, self._removed, timers)
        self._worker = Worker(clock, line, handover, news, standing, expiry, submitting, backlog)
        detours.on_left = self._outcomes.on_deferred = self._worker.look
        for carrier in self._carriers.values():
            if isinstance(carrier, SmppCarrier):
                carrier.on_reachable = self._worker.reached
        base.wakeups.on("sms", self._worker.look)
        handover.on_left = partial(base.wakeups.hint, "sms")

    def _build_requests(self) -> None:
        """What applications ask for: may it be sent, and how; opt-outs."""
        base, config = self._base, self._base.config
        database, clock = base.database, base.clock
        self.guard = Guard(
            database, clock, country=country, share=base.takers, bus=self._bus, currency=config.sms_currency
        )
        self._limits = Limits(config.acs_limits, clock, base.takers, self._bus)
        senders = Senders(base.numbers, self._pools, self._settings, self._routing.router)
        self._opt_outs = OptOuts(database, clock, base.numbers, senders, base.insights)
        self.sms = Sms(
            database,
            clock,
            senders,
            self._routing.router,
            self._settings,
            self._limits,
            self.guard,
            Accepts(database, clock, self._handover, self._observers, base.owner),
            wall=lambda: datetime.now(UTC),
        )

    def _build_operations(self) -> None:
        """What operators do about messages."""
        base, database, clock, events = self._base, self._base.database, self._base.clock, self._base.events
        canceling = Canceling(database, clock, self._handover, self._outcomes, base.owner)
        self._taking_back = TakingBack(database, canceling, base.owner, self._bus)
        self._timelines = Timelines(database, events, self._carriers, base.config.sms_currency)
        self._outgoing = Outgoing(database, clock, events, self._taking_back)
        self._erasing = Erasing(database, clock, events, self._taking_back)

    def _build_listener(self) -> None:
        """The SMSC that customers bind to, where it is switched on."""
        base, config = self._base, self._base.config
        self._parted = False
        self._listener: SmppListener | None = None
        self._esme_worker: EsmeWorker | None = None
        off = config.smpp_listen_port is None and config.smpp_listen_tls_port is None
        if off or config.mode == "worker":
            return
        sends = PlannedSends(self.sms, base.clock)
        esme = Esme(base.database, base.clock, self._accounts, self._out, sends, self._taking_back.cancel)
        listening = ListenerConfig(
            config.smpp_listen_host,
            config.smpp_listen_port,
            config.smpp_listen_tls_port,
        )
        shares = Together(base.database, base.changes, self._bus, base.clock, base.owner) if self._shared else None
        self._listener = SmppListener(listening, esme, base.database, base.clock, line=SteadyClock(), shares=shares)
        self._esme_worker = EsmeWorker(
            base.database, base.clock, base.changes, self._accounts, esme, self._out, self._listener, base.owner
        )

    def _build_carriers(self) -> None:
        base, config = self._base, self._base.config
        simulated = config.simulated_carrier and base.place.first
        self._simulated = SimulatedCarrier(base.database, base.clock, config.seed) if simulated else None
        self._carriers: dict[str, SmsCarrier] = carriers.carriers(
            config,
            base.database,
            base.clock,
            self._slots if self._shared else None,
            Submissions(base.database).known,
            lambda: base.share() > 1,
            line=SteadyClock(),
        )
        if self._simulated is not None:
            self._carriers[self._simulated.name] = self._simulated
        self._routing = Routing(
            base.database,
            base.changes,
            carriers={*self._carriers, *carriers.default_carriers(config)},
            defaults=carriers.default_carriers(config),
            configured=carriers.rules(config),
            resources=base.resource_ids,
            country=country,
        )
        self.check_carrier = self._routing.check_carrier
        self._prices = Prices(
            base.database, base.changes, currency=config.sms_currency, check_carrier=self.check_carrier
        )

    def _parts(self) -> dict[str, float]:
        """What part of each carrier that is shared by its binds is this process's."""
        return {name: carrier.part for name, carrier in self._carriers.items() if carrier.part is not None}

    def _slots(self, carrier: SmppConfig) -> Leases:
        base = self._base
        return Leases(
            base.database,
            base.changes,
            base.clock,
            base.owner,
            carrier.name,
            carrier.binds,
            expected=base.place.together,
        )

    def metrics(self, registry: CollectorRegistry) -> None:
        """Have its figures collected."""
        GuardMetrics(registry, self.guard)
        SmsMetrics(registry, self._counts, self._handover, self._carriers, _figures)

    def routes(self) -> list[Route]:
        """The public operations."""
        return sms_api.routes(self.sms, self._opt_outs)

    def admin_routes(self) -> list[Route]:
        """The admin operations."""
        base = self._base
        return [
            *sms_admin.routes(self._timelines, self._keywords, base.numbers, base.resource_named, base.all_resources),
            *admin_routing.routes(self._routing, self._rates, base.numbers, self._carriers, base.resource_named),
            *admin_prices.routes(self._prices),
            *admin_messages.routes(self.sms, self._outgoing, self._pools, base.resource_named, base.all_resources),
            *admin_erasing.routes(self._erasing, base.resource_named),
            *admin_search.routes(Search(base.database), base.clock, base.resource_named),
            *admin_opt_outs.routes(self._opt_outs, base.resource_named),
            *carriers_admin.routes(self._carriers, self._removed.waiting, base.database, base.clock, base.owner),
            *admin_accounts.routes(self._accounts, base.resource_named),
            *admin_guard.routes(self._settings, base.resource_named),
            *(simulated_admin.routes(self._simulated, self._timelines.received) if self._simulated else ()),
        ]

    async def start(
        self, customers: Sequence[socket], customers_tls: Sequence[socket], tls: SSLContext | None
    ) -> list[asyncio.Task[None]]:
        """Begin to work; the tasks that never end by themselves. `customers` are the SMPP server's bound sockets, `tls`
        what those with TLS are served with."""
        for carrier in self._carriers.values():
            await carrier.start(self._news)
        await self._taking_back.start()
        if self._base.config.mode != "worker":  # which takes no requests
            await self.guard.start()
            await self._limits.start()
        kept = timedelta(days=self._base.config.sms_kept_days)
        tasks = [
            asyncio.create_task(self.guard.run(), name="guard"),
            asyncio.create_task(Retention(self._base.database, self._base.clock, keep=kept).run(), name="retention"),
        ]
        if self._carriers or self._base.place.first:  # who has no carrier would only take blocks from those who do
            tasks.append(asyncio.create_task(self._worker.run(), name="sms"))
        else:
            self._worker.close()
        if self._listener is not None and self._esme_worker is not None:
            if self._base.place.alone:
                await self._esme_worker.inherit()
            elif self._base.place.succeeds:
                await self._esme_worker.succeed(self._base.place.succeeds)
            await self._listener.start(customers, customers_tls, tls)
            tasks.append(asyncio.create_task(self._esme_worker.run(), name="smpp customers"))
        return tasks

    def closing(self) -> Sequence[Coroutine[Any, Any, None]]:
        """What ends its dealings with the outside world."""
        return [*self.part_with_carriers(), self._taking_back.close(), self.part_with_customers(0.0)]

    def part_with_carriers(self) -> Sequence[Coroutine[Any, Any, None]]:
        """What gives carriers nothing more and ends once they have answered what they got; to be cancelled when that is
        waited for no longer. The first call counts: then there is nothing to end."""
        ending, self._ending = self._ending, ()
        return [carrier.close() for carrier in ending]

    async def give_back(self) -> None:
        """Once all of `start` has been ended: leave to others what no carrier may have. Raises `Unavailable`."""
        await self._worker.give_back()

    async def part_with_customers(self, patience_s: float) -> None:
        """Unbind them once what they submitted is answered, at most `patience_s` later, and leave to other processes
        what they had not acknowledged. The first call counts."""
        if self._listener is not None and self._esme_worker is not None and not self._parted:
            self._parted = True
            await self._listener.close(patience_s, unbind_s=_UNBINDING_S)
            await self._esme_worker.finish()

    async def _carriers_for(
        self, resource: ResourceId, sender: str, recipient: str, tag: str | None
    ) -> tuple[str, ...]:
        owned = await self._base.numbers.sender(resource, sender)
        router = await self._routing.router()
        return router.route(resource, sender, recipient, tag, owned.carrier if owned else None).carriers

    async def _wants_failover(self, resource: ResourceId) -> bool:
        return (await self._settings.of(resource)).failover_on_receipt


def _figures(carrier: SmsCarrier) -> dict[str, int]:
    return carrier.counters() if isinstance(carrier, SmppCarrier) else {}
