"""The routing rules in force: those of the configuration, and over them those set over the admin API; and the carriers'
prices. Cached until they change in any process."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Literal

import msgspec
import structlog
from msgspec import Struct

from landline.core.errors import Conflict, Invalid, NotFound
from landline.core.ids import ResourceId
from landline.services.resources.service import SUBJECT as RESOURCES
from landline.services.sms import records_prices, records_routing
from landline.services.sms.model.prices import Price, PriceList
from landline.services.sms.model.routing import Country, Router, Rule, checked
from landline.services.sms.prices import SUBJECT as PRICES
from landline.store.changes import Changes
from landline.store.database import Database
from landline.store.group_commit import GroupCommit

log = structlog.get_logger()
_SUBJECT = "sms.routes"
_MOST_RULES = 1_000
_RULE = msgspec.json.Decoder(Rule)

ResourceIds = Callable[[], Awaitable[Mapping[str, ResourceId]]]
"""All resources by their names."""


class InForce(Struct, frozen=True):
    """A rule, where it comes from, and which of its carriers this server does not have."""

    rule: Rule
    origin: Literal["configuration", "admin"]
    missing_carriers: tuple[str, ...]


class Routing:
    """Reads and sets rules. `carriers` are those there are, `defaults` the ones to try where no rule matches,
    `configured` the rules of the configuration."""

    def __init__(
        self,
        database: Database,
        changes: Changes,
        *,
        carriers: Collection[str],
        defaults: Sequence[str],
        configured: Sequence[Rule],
        resources: ResourceIds,
        country: Country,
    ) -> None:
        """Raises `Invalid` for a configured rule that cannot be."""
        self._database = database
        self._changes = changes
        self._carriers = frozenset(carriers)
        self._defaults = tuple(defaults)
        self._configured = {rule.name: checked(rule) for rule in configured}
        self._resources = resources
        self._country = country
        self._cached: Router | None = None
        self._version = 0
        self._loads: GroupCommit[None, Router] = GroupCommit(self._load_for, lanes=1, batch_limit=20_000)
        changes.watch(_SUBJECT, self._forget)
        changes.watch(RESOURCES, self._forget)
        changes.watch(PRICES, self._forget)

    async def router(self) -> Router:
        """What decides now. Ask for each request: it is remembered while that is safe. Raises `Unavailable`."""
        if self._cached is not None and self._changes.trusted:
            return self._cached
        return await self._loads.submit(None)

    async def rules(self) -> list[InForce]:
        """All rules in force, in the order they are looked at."""
        stored = await self._stored()
        rules = {**self._configured, **stored}
        return [
            InForce(
                rule,
                "admin" if rule.name in stored else "configuration",
                tuple(choice.carrier for choice in rule.carriers if choice.carrier not in self._carriers),
            )
            for rule in sorted(rules.values(), key=lambda rule: rule.sort_key)
        ]

    async def rule(self, name: str) -> InForce:
        """The rule of that name. Raises `NotFound`."""
        found = next((each for each in await self.rules() if each.rule.name == name), None)
        if found is None:
            raise NotFound(f"There is no route called {name}.", target="name")
        return found

    def check_carrier(self, name: str, *, target: str = "carrier") -> None:
        """Raises `Invalid` when there is no carrier of that name."""
        if name not in self._carriers:
            known = ", ".join(sorted(self._carriers)) or "none"
            raise Invalid(f"There is no carrier {name!r}; there are: {known}.", target=target)

    async def put(self, rule: Rule) -> InForce:
        """Have `rule` in force, in place of one of its name. Raises `Invalid`, `Conflict`."""
        checked(rule)
        for choice in rule.carriers:
            self.check_carrier(choice.carrier, target="carriers")
        names = await self._resources()
        for name in rule.resources:
            if name not in names:
                raise Invalid(f"There is no resource {name!r}.", target="resources")
        async with self._database.transaction() as connection:
            if await records_routing.others(connection, rule.name) >= _MOST_RULES:
                raise Conflict(f"There are {_MOST_RULES} routes already, which is the most there may be.")
            await records_routing.set_route(connection, rule.name, msgspec.json.encode(rule).decode())
            await self._changes.publish(connection, _SUBJECT, rule.name)
        self._changes.forget(_SUBJECT, rule.name)
        log.info("sms.route_set", route=rule.name, carriers=[choice.carrier for choice in rule.carriers])
        return InForce(rule, "admin", ())

    async def delete(self, name: str) -> None:
        """Take away a rule set here; the one of the configuration that it replaced is in force again.

        Raises `NotFound`, and `Conflict` for a rule of the configuration.
        """
        async with self._database.transaction() as connection:
            if not await records_routing.delete_route(connection, name):
                if name in self._configured:
                    raise Conflict(
                        "The route comes from the configuration: take it out there, or replace it here.", target="name"
                    )
                raise NotFound(f"There is no route called {name}.", target="name")
            await self._changes.publish(connection, _SUBJECT, name)
        self._changes.forget(_SUBJECT, name)
        log.info("sms.route_deleted", route=name)

    async def _stored(self) -> dict[str, Rule]:
        return _decoded(await self._texts())

    async def _texts(self) -> list[str]:
        async with self._database.connection() as connection:
            return await records_routing.routes(connection)

    def _forget(self, _key: str | None) -> None:
        self._version += 1
        self._cached = None

    async def _load_for(self, callers: list[None]) -> list[Router]:
        version = self._version
        # Compiling a million prefixes takes a second, in which everything else goes on.
        stored, prices = await self._texts(), await self._prices()
        router = await asyncio.to_thread(self._compiled, stored, prices, await self._resources())
        if router.missing:
            log.warning("sms.routes_without_carriers", routes=sorted(router.missing))
        if version == self._version and self._changes.trusted:  # nothing changed while we read
            self._cached = router
        return [router] * len(callers)

    async def _prices(self) -> list[Price]:
        async with self._database.connection() as connection:
            return await records_prices.every(connection)

    def _compiled(self, stored: Sequence[str], prices: Sequence[Price], resources: Mapping[str, ResourceId]) -> Router:
        return Router(
            list({**self._configured, **_decoded(stored)}.values()),
            carriers=self._carriers,
            defaults=self._defaults,
            resources=resources,
            country=self._country,
            prices=PriceList(prices),
        )


def _decoded(stored: Sequence[str]) -> dict[str, Rule]:
    rules = [_RULE.decode(each) for each in stored]
    return {rule.name: rule for rule in rules}
