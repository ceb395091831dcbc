"""Prices on a real database: over the admin API, exact, all of a file or nothing, and in force in every process."""

import asyncio
import json
from collections.abc import AsyncGenerator
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import pytest
from tests.support.patience import PATIENCE_S

from landline.core.errors import Conflict, Invalid, NotFound
from landline.core.ids import ResourceId
from landline.edge import routes as edge
from landline.edge.http import Request
from landline.services.sms import admin_prices, prices
from landline.services.sms.model.prices import Price
from landline.services.sms.prices import SUBJECT, Prices
from landline.services.sms.routing import Routing
from landline.store.changes import Changes
from landline.store.database import Database

US, PARIS = "+14255550123", "+33612345678"
LIST = "carrier,prefix,price\nnorth,+,0.09\nnorth,+1,0.0075\nsouth,+1,0.008\n"


class Process:
    """What one process has of this."""

    def __init__(self, database: Database, dsn: str) -> None:
        self.changes = Changes(dsn)
        self.routing = Routing(
            database,
            self.changes,
            carriers=("north", "south"),
            defaults=("north",),
            configured=(),
            resources=self._ids,
            country=lambda _number: None,
        )
        self.prices = Prices(database, self.changes, currency="EUR", check_carrier=self.routing.check_carrier)
        self._router = edge.Router(admin_prices.routes(self.prices))

    async def call(self, method: str, target: str, body: object = None) -> tuple[int, Any]:
        octets = body.encode() if isinstance(body, str) else b"" if body is None else json.dumps(body).encode()
        route, params = self._router.find(method, target.partition("?")[0])
        response = await route.handler(Request(method, target, {}, octets, "request", params=params))
        return response.status, json.loads(response.body) if response.body else None

    async def listed(self, query: str = "") -> list[tuple[str, str, str]]:
        _, page = await self.call("GET", f"/sms/prices{query}")
        return [(each["carrier"], each["prefix"], each["price"]) for each in page["value"]]

    async def micros(self, carrier: str, number: str) -> int | None:
        return (await self.routing.router()).prices.of(carrier, number)

    async def _ids(self) -> dict[str, ResourceId]:
        return {"shop": ResourceId(UUID(int=1))}


@pytest.fixture
async def here(database: Database, dsn: str) -> AsyncGenerator[Process]:
    process = Process(database, dsn)
    await process.changes.start()
    yield process
    await process.changes.close()


@pytest.fixture
async def there(database: Database, dsn: str) -> AsyncGenerator[Process]:
    process = Process(database, dsn)
    await process.changes.start()
    yield process
    await process.changes.close()


async def test_a_price_is_in_force_here_at_once_and_there_when_the_news_comes(here: Process, there: Process) -> None:
    heard = asyncio.Event()
    there.changes.watch(SUBJECT, lambda _: heard.set())
    assert not (await here.routing.router()).prices
    assert await there.micros("north", US) is None
    assert (await here.call("PUT", "/sms/prices/north/%2B1", {"price": "0.0075"}))[0] == 200
    assert await here.micros("north", US) == 7_500
    await asyncio.wait_for(heard.wait(), PATIENCE_S)
    assert await there.micros("north", US) == 7_500
    heard.clear()
    assert (await here.call("DELETE", "/sms/prices/north/%2B1"))[0] == 204
    assert await here.micros("north", US) is None
    await asyncio.wait_for(heard.wait(), PATIENCE_S)
    assert not (await there.routing.router()).prices


async def test_a_process_that_hears_no_news_asks_the_database(here: Process, database: Database, dsn: str) -> None:
    deaf = Process(database, dsn)
    assert await deaf.micros("north", US) is None
    await here.prices.put([Price("north", "+1", 7_500)])
    assert await deaf.micros("north", US) == 7_500


@pytest.mark.parametrize("said", ["0.100001", 0.100001, "1E-1", 3, "1000000", 999999.999999])
async def test_prices_are_exact_as_numbers_and_as_text(here: Process, said: object) -> None:
    status, shown = await here.call("PUT", "/sms/prices/north/+", {"price": said})
    assert status == 200
    assert (Decimal(shown.pop("price")), shown) == (
        Decimal(str(said)), {"carrier": "north", "prefix": "+", "currency": "EUR"}
    )  # fmt: skip
    status, again = await here.call("GET", "/sms/prices/north/%2B")
    assert await here.call("PUT", "/sms/prices/north/%2B", again) == (200, again)


@pytest.mark.parametrize(
    ("path", "body", "target"),
    [
        ("west/+1", {"price": "1"}, "carrier"),
        ("north/1425x", {"price": "1"}, "prefix"),
        ("north/+1", {"price": "-1"}, "price"),
        ("north/+1", {"price": 0.0000001}, "price"),
        ("north/+1", {"price": "cheap"}, "price"),
        ("north/+1", {"price": True}, "price"),
        ("north/+1", {}, "price"),
        ("north/+1", {"price": "1", "currency": "USD"}, "currency"),
        ("north/+1", {"price": "1", "carrier": "south"}, "carrier"),
        ("north/+1", {"price": "1", "prefix": "+2"}, "prefix"),
    ],
)
async def test_what_is_no_price_is_refused_by_its_field(here: Process, path: str, body: object, target: str) -> None:
    with pytest.raises(Invalid) as refused:
        await here.call("PUT", f"/sms/prices/{path}", body)
    assert refused.value.target == target
    assert await here.listed() == []


async def test_a_file_sets_its_prices_and_leaves_the_others(here: Process) -> None:
    await here.prices.put([Price("north", "+33", 50_000), Price("south", "+33", 60_000)])
    assert await here.call("POST", "/sms/prices:import", LIST) == (200, {"set": 3, "removed": 0})
    assert await here.listed() == [
        ("north", "+", "0.09"),
        ("north", "+1", "0.0075"),
        ("north", "+33", "0.05"),
        ("south", "+1", "0.008"),
        ("south", "+33", "0.06"),
    ]
    answer = await here.call("POST", "/sms/prices:import?carrier=north&replace=true", "prefix,price\n+1,0.007\n+44,1\n")
    assert answer == (200, {"set": 2, "removed": 2})
    assert await here.listed("?carrier=north") == [("north", "+1", "0.007"), ("north", "+44", "1")]
    assert len(await here.listed("?carrier=south")) == 2


@pytest.mark.parametrize(
    ("query", "lines", "target"),
    [
        ("", LIST + "north,+2,x\n", "csv"),
        ("", LIST + "west,+2,1\n", "carrier"),
        ("?replace=yes", LIST, "replace"),
        ("?carrier=west", "prefix,price\n+1,1\n", "carrier"),
        ("?carrier=north", LIST, "carrier"),
    ],
)
async def test_a_file_with_a_bad_line_changes_nothing(here: Process, query: str, lines: str, target: str) -> None:
    await here.prices.put([Price("north", "+33", 50_000)])
    with pytest.raises(Invalid) as refused:
        await here.call("POST", f"/sms/prices:import{query}", lines)
    assert refused.value.target == target
    assert await here.listed() == [("north", "+33", "0.05")]


async def test_thousands_of_prices_are_taken_at_once_and_listed_by_pages(here: Process) -> None:
    lines = "".join(f"+{prefix},0.{prefix}\n" for prefix in range(10_000, 30_000))
    answer = await here.call("POST", "/sms/prices:import?carrier=north", f"prefix,price\n{lines}")
    assert answer == (200, {"set": 20_000, "removed": 0})
    assert await here.call("POST", "/sms/prices:import?carrier=north&replace=true", f"prefix,price\n{lines}") == answer
    assert await here.micros("north", "+12345550100") == 123_450
    seen: list[str] = []
    query = "?carrier=north&pageSize=1000"
    while query:
        _, page = await here.call("GET", f"/sms/prices{query}")
        seen += [each["prefix"] for each in page["value"]]
        token = page.get("continuationToken")
        query = f"?pageSize=1000&continuationToken={token}" if token else ""
    assert seen == [f"+{prefix}" for prefix in range(10_000, 30_000)]


async def test_pages_of_all_carriers_go_on_where_they_ended(here: Process) -> None:
    await here.call("POST", "/sms/prices:import", LIST)
    _, first = await here.call("GET", "/sms/prices?pageSize=2")
    _, second = await here.call("GET", f"/sms/prices?continuationToken={first['continuationToken']}")
    assert [each["carrier"] for each in first["value"] + second["value"]] == ["north", "north", "south"]
    for query, target in (
        ("continuationToken=x", "continuationToken"),
        ("pageSize=0", "pageSize"),
        ("carier=north", "carier"),
        (f"carrier=north&continuationToken={first['continuationToken']}", "carrier"),
    ):
        with pytest.raises(Invalid) as refused:
            await here.call("GET", f"/sms/prices?{query}")
        assert refused.value.target == target


async def test_there_are_only_so_many_prices(here: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prices, "MOST_PRICES", 3)
    await here.call("POST", "/sms/prices:import", LIST)
    with pytest.raises(Conflict):
        await here.prices.put([Price("north", "+2", 1)])
    await here.prices.put([Price("north", "+1", 1)])
    assert len(await here.listed()) == 3


async def test_imports_at_once_leave_the_prices_of_one_of_them(here: Process, there: Process) -> None:
    async def take(process: Process, micros: int, *, backwards: bool) -> None:
        rows = [Price("north", f"+{prefix}", micros) for prefix in range(100, 400)]
        await process.prices.put(rows[::-1] if backwards else rows, replace=True)

    await asyncio.gather(
        *(take(process, micros, backwards=micros % 2 == 0) for micros in range(1, 5) for process in (here, there))
    )
    page = await here.prices.page(None, ("", ""), 1000)
    assert len(page) == 300
    assert len({price.micros for price in page}) == 1


async def test_all_prices_of_a_carrier_that_is_no_more_can_be_removed(here: Process, database: Database) -> None:
    await database.execute("INSERT INTO sms_prices VALUES ('west', '+1', 5), ('west', '+2', 5), ('north', '+1', 5)")
    assert (await here.call("DELETE", "/sms/prices/west"))[0] == 204
    assert await here.listed() == [("north", "+1", "0.000005")]
    for path in ("west", "west/+1", "north/+2"):
        with pytest.raises(NotFound):
            await here.call("DELETE", f"/sms/prices/{path}")
    with pytest.raises(NotFound):
        await here.call("GET", "/sms/prices/north/+2")


def test_a_price_that_is_shown_can_be_set() -> None:
    shown = {each.name for each in msgspec.structs.fields(admin_prices.PriceShown)}
    assert shown == {each.name for each in msgspec.structs.fields(admin_prices.PriceSetting)}
