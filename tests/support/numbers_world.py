"""The phone numbers service over a real database, with a clock to drive: called through its services and its routes."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any
from uuid import UUID

from landline.core.ids import ResourceId
from landline.edge.http import Caller, Request, Response
from landline.edge.routes import Router
from landline.engines.clock import DrivenClock
from landline.engines.numbering_plans import NumberingPlans
from landline.services.numbers import admin_stock, api
from landline.services.numbers.inventory import Inventory
from landline.services.numbers.lookup import Lookup
from landline.services.numbers.purchases import Purchases
from landline.services.numbers.reservations import Reservations
from landline.services.numbers.service import Numbers
from landline.store.changes import Changes
from landline.store.database import Database

OURS, THEIRS = ResourceId(UUID(int=1)), ResourceId(UUID(int=2))
VERSION = "api-version=2025-06-01"


@dataclass(slots=True)
class Reply:
    """One answer, its body read."""

    status: int
    headers: dict[str, str] = field(repr=False)
    body: Any = None


@dataclass(slots=True)
class World:
    """One process's worth of the service."""

    database: Database
    clock: DrivenClock
    numbers: Numbers
    inventory: Inventory
    purchases: Purchases
    reservations: Reservations
    public: Router
    admin: Router

    async def call(
        self, method: str, path: str, body: Any = None, *, by: ResourceId = OURS, router: Router | None = None
    ) -> Reply:
        """Call a public route as `by`; raises what it raises."""
        joint = "&" if "?" in path else "?"
        target = path if router or "api-version" in path else f"{path}{joint}{VERSION}"  # the admin API has none
        route, params = (router or self.public).find(method, target.partition("?")[0])
        octets = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        request = Request(method, target, {}, octets, "request", params=params)
        request.authenticated(Caller(by))
        response: Response = await route.handler(request)
        return Reply(response.status, response.headers, json.loads(response.body) if response.body else None)

    async def administer(self, method: str, path: str, body: Any = None) -> Reply:
        """Call an admin route."""
        return await self.call(method, path, body, router=self.admin)

    async def stock(self, csv: str) -> Reply:
        """Put real numbers up for sale."""
        return await self.administer("POST", "/numbers/stock:import", csv.encode())

    async def search(
        self, *, by: ResourceId = OURS, country: str = "US", kind: str = "tollFree", quantity: int = 1, **more: Any
    ) -> str:
        """The id of a new search for numbers of applications."""
        body = {
            "phoneNumberType": kind,
            "assignmentType": "application",
            "capabilities": {"sms": "none", "calling": "outbound"},
            "quantity": quantity,
            **more,
        }
        reply = await self.call("POST", f"/availablePhoneNumbers/countries/{country}/:search", body, by=by)
        assert reply.status == 202
        return reply.headers["search-id"]

    async def found(self, search: str, *, by: ResourceId = OURS) -> Any:
        """The result of a search."""
        return (await self.call("GET", f"/availablePhoneNumbers/searchResults/{search}", by=by)).body

    async def buy(self, search: str, *, by: ResourceId = OURS, agreed: bool = False) -> Any:
        """The operation of buying what a search found."""
        body = {"searchId": search, "agreeToNotResell": agreed}
        reply = await self.call("POST", "/availablePhoneNumbers/:purchase", body, by=by)
        return await self.operation(reply, by=by)

    async def operation(self, begun: Reply, *, by: ResourceId = OURS) -> Any:
        """What polling says about an operation begun."""
        assert (begun.status, begun.headers["retry-after"]) == (202, "1")
        return (await self.call("GET", begun.headers["operation-location"], by=by)).body

    async def owned(self, by: ResourceId = OURS) -> list[str]:
        """The numbers `by` has, as its list shows them."""
        return [each["phoneNumber"] for each in (await self.call("GET", "/phoneNumbers", by=by)).body["phoneNumbers"]]


@asynccontextmanager
async def world(database: Database, dsn: str, *, virtual_stock: bool = False) -> AsyncGenerator[World]:
    """The service with nothing for sale, or with the virtual stock."""
    clock, changes = DrivenClock(), Changes(dsn)
    await changes.start()
    numbers = Numbers(database, clock, changes)
    inventory = Inventory(database, clock, virtual_stock=virtual_stock, random=Random(1))
    purchases = Purchases(database, clock, numbers, inventory)
    reservations = Reservations(database, clock, inventory, purchases)
    public = Router(api.routes(purchases, reservations, inventory, Lookup(NumberingPlans())))
    admin = Router(admin_stock.routes(inventory, _name, lambda _carrier: None))
    try:
        yield World(database, clock, numbers, inventory, purchases, reservations, public, admin)
    finally:
        await changes.close()


async def _name(resource: ResourceId) -> str:
    return {OURS: "ours", THEIRS: "theirs"}[resource]
