"""Rules and rates on a real database: over the admin API, in every process at once, back after a change is undone."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from tests.support.patience import PATIENCE_S
from tests.support.still import StillClock

from landline.core.errors import Conflict, Invalid, NotFound, Unavailable
from landline.core.ids import ResourceId
from landline.core.phone import SenderKind
from landline.edge import routes as edge
from landline.edge.http import Request
from landline.engines.clock import DrivenClock
from landline.engines.simulated.carrier import SimulatedCarrier
from landline.services.numbers.service import Numbers
from landline.services.sms import admin_routing, records_routing
from landline.services.sms.model.prices import Price
from landline.services.sms.model.routing import Choice, Rule
from landline.services.sms.prices import Prices
from landline.services.sms.rates import FASTEST_PER_S, SLOWEST_PER_S, Rates
from landline.services.sms.routing import Routing
from landline.store.changes import Changes
from landline.store.database import Connection, Database

SHOP = ResourceId(UUID(int=1))
OURS, PARIS, SEATTLE = "+18005550100", "+33612345678", "+14255550123"
CONFIGURED = (Rule(name="france", carriers=(Choice("south"),), countries=("FR",)),)


def country(number: str) -> str | None:
    return {"+33": "FR", "+14": "US"}.get(number[:3])


class Process:
    """What one process has of this."""

    def __init__(self, database: Database, dsn: str, clock: DrivenClock, processes: int = 1) -> None:
        self.processes = processes
        self.parts: dict[str, float] = {}
        self.changes = Changes(dsn)
        self.numbers = Numbers(database, clock, self.changes)
        self.ids = {"shop": SHOP}
        self.routing = Routing(
            database,
            self.changes,
            carriers=("north", "south"),
            defaults=("north",),
            configured=CONFIGURED,
            resources=self._ids,
            country=country,
        )
        defaults = {SenderKind.TOLL_FREE: 3.0}
        self.rates = Rates(
            database,
            self.changes,
            clock,
            defaults=defaults,
            carriers={"north": 100.0},
            share=lambda: self.processes,
            parts=lambda: self.parts,
        )
        carrier = SimulatedCarrier(database, clock, seed=1, name="north")
        admin = admin_routing.routes(self.routing, self.rates, self.numbers, {"north": carrier}, self._resolve)
        self._router = edge.Router(admin)

    async def call(self, method: str, target: str, body: object = None) -> tuple[int, Any]:
        route, params = self._router.find(method, target)
        octets = json.dumps(body).encode() if body is not None else b""
        response = await route.handler(Request(method, target, {}, octets, "request", params=params))
        return response.status, json.loads(response.body) if response.body else None

    async def rule(self, recipient: str = PARIS, tag: str | None = None) -> str:
        return (await self.routing.router()).route(SHOP, OURS, recipient, tag).rule

    async def _ids(self) -> dict[str, ResourceId]:
        return self.ids

    async def _resolve(self, name: str) -> ResourceId:
        if name not in self.ids:
            raise NotFound("There is no such resource.")
        return self.ids[name]


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@asynccontextmanager
async def started(process: Process) -> AsyncGenerator[Process]:
    await process.changes.start()
    try:
        yield process
    finally:
        await process.changes.close()


@pytest.fixture
async def here(database: Database, dsn: str, clock: DrivenClock) -> AsyncGenerator[Process]:
    async with started(Process(database, dsn, clock)) as process:
        yield process


@pytest.fixture
async def there(database: Database, dsn: str, clock: DrivenClock) -> AsyncGenerator[Process]:
    async with started(Process(database, dsn, clock)) as process:
        yield process


async def heard(process: Process, subject: str) -> asyncio.Event:
    event = asyncio.Event()
    process.changes.watch(subject, lambda _: event.set())
    return event


async def test_a_rule_is_in_force_here_at_once_and_there_when_the_news_comes(here: Process, there: Process) -> None:
    assert await here.rule() == await there.rule() == "france"
    assert (await here.routing.router()) is (await here.routing.router())
    news = await heard(there, "sms.routes")
    await here.routing.put(Rule(name="otp", priority=1, tags=("otp",), carriers=(Choice("north"),)))
    assert await here.rule(tag="otp") == "otp"
    await asyncio.wait_for(news.wait(), PATIENCE_S)
    assert await there.rule(tag="otp") == "otp"
    news.clear()
    await here.routing.delete("otp")
    assert await here.rule(tag="otp") == "france"
    await asyncio.wait_for(news.wait(), PATIENCE_S)
    assert await there.rule(tag="otp") == "france"


async def test_a_process_that_hears_no_news_asks_the_database(
    here: Process, database: Database, dsn: str, clock: DrivenClock
) -> None:
    deaf = Process(database, dsn, clock)
    assert await deaf.rule(SEATTLE) == "default"
    await here.routing.put(Rule(name="all", carriers=(Choice("north"),)))
    assert await deaf.rule(SEATTLE) == "all"


async def test_rules_that_change_while_they_are_read_are_read_again(
    here: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    was_read, go_on, routes = asyncio.Event(), asyncio.Event(), records_routing.routes

    async def slowly(connection: Connection) -> list[str]:
        found = await routes(connection)
        was_read.set()
        await go_on.wait()
        return found

    with monkeypatch.context() as patch:
        patch.setattr(records_routing, "routes", slowly)
        reading = asyncio.create_task(here.rule())
        await asyncio.wait_for(was_read.wait(), PATIENCE_S)
    await here.routing.put(Rule(name="all", carriers=(Choice("south"),), priority=1))
    go_on.set()
    assert await reading == "france"
    assert await here.rule() == "all"


async def test_a_stored_rule_replaces_the_configured_one_until_it_is_deleted(here: Process) -> None:
    await here.routing.put(Rule(name="france", carriers=(Choice("north"), Choice("south", 0)), countries=("FR",)))
    route = (await here.routing.router()).route(SHOP, OURS, PARIS)
    assert route.carriers == ("north", "south")
    assert [(each.rule.name, each.origin) for each in await here.routing.rules()] == [("france", "admin")]
    await here.routing.delete("france")
    assert (await here.routing.router()).route(SHOP, OURS, PARIS).carriers == ("south",)
    with pytest.raises(Conflict):
        await here.routing.delete("france")
    with pytest.raises(NotFound):
        await here.routing.delete("nowhere")


async def test_rules_that_name_what_is_not_there_are_refused(here: Process) -> None:
    for rule, field in (
        (Rule(name="r", carriers=(Choice("west"),)), "carriers"),
        (Rule(name="r", carriers=(Choice("north"),), resources=("bank",)), "resources"),
        (Rule(name="r", carriers=(Choice("north"),), countries=("UK",)), "countries"),
    ):
        with pytest.raises(Invalid) as refused:
            await here.routing.put(rule)
        assert refused.value.target == field
    assert [each.rule.name for each in await here.routing.rules()] == ["france"]


async def test_a_rule_of_a_resource_made_later_matches_it_then(here: Process) -> None:
    here.ids["bank"] = bank = ResourceId(UUID(int=2))
    await here.routing.put(Rule(name="bank", carriers=(Choice("north"),), resources=("bank",)))
    assert (await here.routing.router()).route(bank, OURS, SEATTLE).rule == "bank"
    here.ids["bank"] = again = ResourceId(UUID(int=3))
    here.changes.forget("resources", "bank")
    assert (await here.routing.router()).route(again, OURS, SEATTLE).rule == "bank"


async def test_the_admin_api_sets_shows_tests_and_deletes_rules(here: Process) -> None:
    await here.numbers.add(SHOP, OURS, carrier="south")
    body = {"carriers": ["north", {"carrier": "south", "weight": 0}], "prefixes": ["+1"], "priority": 5}
    status, shown = await here.call("PUT", "/sms/routes/america", body)
    assert (status, shown["origin"], shown["failover"], shown["missingCarriers"]) == (200, "admin", True, [])
    assert shown["carriers"] == [{"carrier": "north", "weight": 1}, {"carrier": "south", "weight": 0}]
    assert await here.call("PUT", "/sms/routes/america", shown) == (200, shown)
    assert await here.call("GET", "/sms/routes/america") == (200, shown)
    listed = (await here.call("GET", "/sms/routes"))[1]["value"]
    assert [each["name"] for each in listed] == ["america", "france"]
    message = {"resource": "shop", "from": "SHOP", "to": PARIS, "tag": "otp"}
    assert await here.call("POST", "/sms/routes:test", message) == (
        200,
        {
            "rule": "france",
            "carriers": [{"carrier": "south", "up": False}],
            "country": "FR",
            "looked": [
                {"rule": "america", "passedOver": "it is for other destinations"},
                {"rule": "france", "passedOver": None},
            ],
            "senderOwned": False,
        },
    )
    _, bound = await here.call("POST", "/sms/routes:test", {"resource": "shop", "from": OURS, "to": SEATTLE})
    assert (bound["rule"], bound["senderOwned"]) == ("number", True)
    assert [each["carrier"] for each in bound["carriers"]] == ["south", "north"]
    assert (await here.call("DELETE", "/sms/routes/america"))[0] == 204
    with pytest.raises(NotFound):
        await here.call("GET", "/sms/routes/america")


async def test_a_rule_chooses_the_cheapest_by_the_prices_there_are_now(here: Process, database: Database) -> None:
    status, shown = await here.call("PUT", "/sms/routes/all", {"carriers": ["north", "south"], "choose": "cheapest"})
    assert (status, shown["choose"]) == (200, "cheapest")
    assert await here.call("PUT", "/sms/routes/all", shown) == (200, shown)
    prices = Prices(database, here.changes, currency="EUR", check_carrier=here.routing.check_carrier)
    for north, wanted in (
        (90_000, [("south", "0.02"), ("north", "0.09")]),
        (7_500, [("north", "0.0075"), ("south", "0.02")]),
    ):
        await prices.put([Price("north", "+1", north), Price("south", "+", 20_000)])
        message = {"resource": "shop", "from": "SHOP", "to": SEATTLE}
        found = (await here.call("POST", "/sms/routes:test", message))[1]["carriers"]
        assert [(each["carrier"], each["price"]) for each in found] == wanted


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"carriers": []},
        {"carriers": ["north"], "prefixs": ["+1"]},
        {"carriers": [{"carrier": "north", "wieght": 2}]},
        {"carriers": ["north"], "name": "another"},
        {"carriers": ["north"], "priority": -1},
        {"carriers": ["north"], "choose": "cheap"},
    ],
)
async def test_a_body_that_is_no_rule_is_refused(here: Process, body: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        await here.call("PUT", "/sms/routes/r", body)
    assert await here.rule(SEATTLE) == "default"


RATE = "/resources/shop/numbers/%2B18005550100/rate"


async def test_a_senders_rate_is_its_kinds_until_it_is_set(here: Process, clock: DrivenClock) -> None:
    await here.numbers.add(SHOP, OURS)
    await here.numbers.add(SHOP, "55501")
    assert await here.call("GET", RATE) == (200, {"messagesPerSecond": 3.0, "origin": "kind"})
    code = RATE.replace("%2B18005550100", "55501")
    assert await here.call("GET", code) == (200, {"messagesPerSecond": None, "origin": None})
    assert await here.call("PUT", RATE, {"messagesPerSecond": 50}) == (
        200,
        {"messagesPerSecond": 50.0, "origin": "number"},
    )
    await here.rates.refresh()
    bucket = here.rates.bucket((SHOP, OURS))
    assert bucket is not None
    assert bucket.rate_per_s == 50
    assert here.rates.bucket((SHOP, "55501")) is None
    assert (await here.call("DELETE", RATE))[0] == 204
    assert await here.call("GET", RATE) == (200, {"messagesPerSecond": 3.0, "origin": "kind"})
    for wrong in ({"messagesPerSecond": 0}, {"messagesPerSecond": "fast"}, {}):
        with pytest.raises(Invalid):
            await here.call("PUT", RATE, wrong)
    with pytest.raises(NotFound):
        await here.call("PUT", RATE.replace("8005550100", "8005550199"), {"messagesPerSecond": 1})


async def test_a_changed_rate_retunes_the_bucket_of_every_process(here: Process, there: Process) -> None:
    await there.rates.refresh()
    bucket = there.rates.bucket((SHOP, OURS))
    assert bucket is not None
    stale, changed = asyncio.Event(), asyncio.Event()
    there.rates.on_stale, there.rates.on_changed = stale.set, changed.set
    await here.rates.set(SHOP, OURS, 0.5)
    await asyncio.wait_for(stale.wait(), PATIENCE_S)
    await there.rates.refresh()
    assert there.rates.bucket((SHOP, OURS)) is bucket
    assert (bucket.rate_per_s, changed.is_set()) == (0.5, True)


async def test_a_changed_rate_is_known_no_later_for_a_clock_that_was_set_back(
    here: Process, there: Process, clock: StillClock
) -> None:
    await here.changes.close()  # it has to look by itself
    await here.rates.refresh()
    bucket = here.rates.bucket((SHOP, OURS))
    assert bucket is not None
    clock.set_back(timedelta(hours=1))
    await there.rates.set(SHOP, OURS, 0.5)
    await here.rates.refresh()
    assert bucket.rate_per_s == 0.5


async def test_a_rate_that_is_taken_away_limits_no_more(here: Process) -> None:
    await here.rates.refresh()
    assert here.rates.bucket((SHOP, "55501")) is None
    await here.rates.set(SHOP, "55501", 2.0)
    await here.rates.refresh()
    bucket = here.rates.bucket((SHOP, "55501"))
    assert bucket is not None
    assert bucket.rate_per_s == 2
    changed = asyncio.Event()
    here.rates.on_changed = changed.set
    await here.rates.set(SHOP, "55501", None)
    await here.rates.refresh()
    assert (here.rates.bucket((SHOP, "55501")), changed.is_set()) == (None, True)


async def test_processes_share_a_senders_rate_and_a_carriers(here: Process) -> None:
    await here.rates.refresh()
    north = here.rates.carrier_bucket("north")
    assert here.rates.carrier_bucket("south") is None
    assert north is not None
    assert north.rate_per_s == 100
    bucket = here.rates.bucket((SHOP, OURS))
    here.processes = 4
    await here.rates.refresh()
    assert bucket is not None
    assert (bucket.rate_per_s, north.rate_per_s) == (0.75, 25)
    assert here.rates.carrier_bucket("north") is north


async def test_a_process_without_binds_takes_nothing_of_a_rate_from_those_that_have_them(here: Process) -> None:
    here.processes, here.parts = 4, {"north": 0.5, "south": 1.0}
    await here.rates.refresh()
    north, bucket = here.rates.carrier_bucket("north"), here.rates.bucket((SHOP, OURS))
    assert north is not None
    assert bucket is not None
    assert (bucket.rate_per_s, north.rate_per_s) == (2.25, 50)
    changed = asyncio.Event()
    here.rates.on_changed = changed.set
    here.parts = {"north": 1.0, "south": 1.0}
    await here.rates.refresh()
    assert (bucket.rate_per_s, north.rate_per_s, changed.is_set()) == (3, 100, True)
    here.parts = {"north": 0.0}
    await here.rates.refresh()
    assert (bucket.rate_per_s, north.rate_per_s) == (0.003, 0.1)  # next to nothing: of nothing nobody knows when


async def test_without_news_rates_are_read_once_a_second(
    here: Process, database: Database, dsn: str, clock: DrivenClock
) -> None:
    deaf = Process(database, dsn, clock).rates
    await deaf.refresh()
    await here.rates.set(SHOP, "55501", 2.0)
    await deaf.refresh()
    assert deaf.bucket((SHOP, "55501")) is None
    await clock.advance(timedelta(seconds=1))
    await deaf.refresh()
    bucket = deaf.bucket((SHOP, "55501"))
    assert bucket is not None
    assert bucket.rate_per_s == 2


async def test_rates_stay_in_force_while_the_database_is_away_which_is_asked_once_a_second(
    here: Process, clock: DrivenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(_connection: Connection) -> None:
        raise Unavailable("PostgreSQL is away")

    rates: list[float | None] = []
    told: asyncio.Queue[str | None] = asyncio.Queue()
    here.changes.watch("sms.rates", told.put_nowait)

    async def set_rate(rate_per_s: float) -> None:
        await here.rates.set(SHOP, OURS, rate_per_s)
        for _ in range(2):  # by ourselves, and by the database, whose news would have the rates read again
            await asyncio.wait_for(told.get(), PATIENCE_S)

    async def refresh() -> None:
        await here.rates.refresh()
        bucket = here.rates.bucket((SHOP, OURS))
        rates.append(bucket and bucket.rate_per_s)

    await set_rate(5.0)
    await refresh()
    await set_rate(7.0)
    with monkeypatch.context() as patch:
        patch.setattr(records_routing, "rates", away)
        await refresh()
    await refresh()
    await clock.advance(timedelta(seconds=1))
    await refresh()
    assert rates == [5, 5, 5, 7]


async def test_the_slowest_and_the_fastest_rate_may_be_set(here: Process) -> None:
    for rate in (SLOWEST_PER_S, FASTEST_PER_S):
        await here.rates.set(SHOP, OURS, rate)
        assert await here.rates.rate(SHOP, OURS) == rate
    for rate in (SLOWEST_PER_S / 2, FASTEST_PER_S + 1):
        with pytest.raises(Invalid):
            await here.rates.set(SHOP, OURS, rate)


async def test_the_thousandth_rule_is_the_last_and_may_still_be_changed(here: Process, database: Database) -> None:
    await database.execute(
        "INSERT INTO sms_routes (name, rule) SELECT name, jsonb_build_object('name', name, 'carriers',"
        " '[{\"carrier\": \"north\"}]'::jsonb, 'tags', jsonb_build_array(name))"
        " FROM (SELECT 'rule' || number AS name FROM generate_series(1, 1000) AS number) rules"
    )
    with pytest.raises(Conflict):
        await here.routing.put(Rule(name="another", carriers=(Choice("north"),)))
    await here.routing.put(Rule(name="rule7", carriers=(Choice("south"),), tags=("seven",)))
    assert await here.rule(SEATTLE, "seven") == "rule7"


async def test_other_work_goes_on_while_routes_with_many_prefixes_are_read(database: Database, dsn: str) -> None:
    process = Process(database, dsn, DrivenClock())
    rules = [
        Rule(name=f"rule{at}", carriers=(Choice("north"),), prefixes=tuple(f"+{at}{area:06}" for area in range(10_000)))
        for at in range(10, 30)
    ]
    for rule in rules:
        await process.routing.put(rule)
    turns = 0

    async def ids() -> dict[str, ResourceId]:  # the last that is asked for
        nonlocal turns
        turns = 0
        return process.ids

    process.routing._resources = ids
    reading = asyncio.create_task(process.routing.router())
    while not reading.done():
        turns += 1
        await asyncio.sleep(0)
    assert (await reading).route(SHOP, OURS, "+10000001").rule == "rule10"
    assert turns > 20
