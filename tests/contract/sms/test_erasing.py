"""What is stored of a phone's number is erased, and nothing else; what is on its way is taken back, or named."""

import json
from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from prometheus_client.registry import CollectorRegistry
from tests.support.front import ADMIN_TOKEN, call
from tests.support.gateway import Gateway
from tests.support.scripted import Fate, ScriptedCarrier

from landline.core.ids import ResourceId
from landline.edge.admin import admin_app
from landline.engines.clock import DrivenClock
from landline.ports.sms_carrier import Arrival, Receipt
from landline.services.events import records_subscriptions
from landline.services.events.model import Settings, State, Subscription
from landline.services.sms import admin_erasing
from landline.services.sms.accounts import Settings as AccountSettings
from landline.services.sms.erasing import BEING_TOLD, Erasing
from landline.services.sms.model.pools import Pool
from landline.services.sms.service import Options, To
from landline.store.database import Database

SENDER, ANNA, BEN = "+18005550100", "+14255550141", "+14255550142"
FIGURES = ("outgoing", "incoming", "events", "waiting")
COLUMNS = (
    ("sms_messages", "recipient"),
    ("sms_inbound", "sender"),
    ("sms_sticky", "recipient"),
    ("sms_esme_out", "sender"),
    ("events_deliveries", "convert_from(data, 'UTF8')"),
)
"""Where a phone's number is."""


class World:
    """A gateway whose events lie in the backlog, and its admin port; a call looks at `rows_read` rows."""

    def __init__(self, dsn: str, database: Database) -> None:
        self.database = database
        self.clock = DrivenClock()
        self.carrier = ScriptedCarrier(self.clock)
        self.gateway = Gateway(dsn, database, self.clock, self.carrier)
        self.resource: ResourceId
        self.rows_read = 20_000

    async def start(self) -> None:
        await self.gateway.start()
        self.resource = await self.gateway.own()
        webhook = Subscription(
            uuid4(), self.resource, "hook", Settings("https://localhost/"), State.ENABLED, None, self.clock.now(), None
        )
        async with self.database.connection() as connection:
            await records_subscriptions.insert(connection, webhook, b"", None)

    async def send(self, *phones: str, sender: str = SENDER, **options: Any) -> list[str]:
        outcomes = await self.gateway.sms.send(
            self.resource, sender, [To(phone) for phone in phones], "secret", Options(report_wanted=True, **options)
        )
        await self.clock.advance(timedelta(milliseconds=1))
        return [outcome.message_id or "" for outcome in outcomes]

    async def hear(self, *texts: tuple[str, str]) -> None:
        arrivals = [Arrival(uuid4().hex, phone, SENDER, text, 1, self.clock.now()) for phone, text in texts]
        await self.gateway.news.arrived(self.carrier.name, arrivals)
        await self.clock.advance(timedelta(milliseconds=1))

    async def call(self, number: str, after: str | None = None) -> Any:
        gateway = self.gateway
        erasing = Erasing(self.database, self.clock, gateway.events, gateway.taking_back, rows_read=self.rows_read)
        app = admin_app(
            admin_erasing.routes(erasing, self._resolve), token=ADMIN_TOKEN, registry=CollectorRegistry(), checks={}
        )
        headers = {"host": "localhost", "authorization": f"Bearer {ADMIN_TOKEN}"}
        body = json.dumps({"number": number} if after is None else {"number": number, "after": after}).encode()
        return await call(app, "POST", "/resources/local/messages:erase", headers, body)

    async def erase(self, number: str) -> tuple[dict[str, int], list[tuple[str, str]], int]:
        """Until the end: the figures, what is left, and how many calls it took."""
        figures, left, calls, after = dict.fromkeys(FIGURES, 0), list[tuple[str, str]](), 0, None
        while True:
            reply = await self.call(number, after)
            assert reply.status == 200, reply.body
            done, calls = reply.json(), calls + 1
            figures = {each: count + done[each] for each, count in figures.items()}
            left += [(each["messageId"], each["state"]) for each in done["left"]]
            after = done.get("after")
            if after is None:
                return figures, left, calls

    async def stored(self, number: str) -> dict[str, int]:
        """How many rows have it."""
        return {
            table: await self.database.fetchval(
                f"SELECT count(*) FROM {table} WHERE position($1 IN {column}) > 0", number
            )
            for table, column in COLUMNS
        }

    async def _resolve(self, _name: str) -> ResourceId:
        return self.resource


@pytest.fixture
async def world(dsn: str, database: Database) -> AsyncGenerator[World]:
    world = World(dsn, database)
    await world.start()
    yield world
    await world.gateway.crash()


async def test_all_that_is_stored_of_a_number_is_erased_and_nothing_of_others(world: World) -> None:
    pool = Pool("news", (SENDER,), sticky=True)
    await world.gateway.pools.put(world.resource, pool)
    await world.send(ANNA, BEN, tag="spring")
    await world.send(ANNA, BEN, sender="pool:news")
    await world.hear((ANNA, "Anna lives here"), (BEN, "Ben lives here"), (ANNA, "STOP"))
    await world.clock.advance(BEING_TOLD + timedelta(minutes=1))
    others = await world.stored(BEN)
    had = await world.stored(ANNA)
    assert had == {"sms_messages": 3, "sms_inbound": 2, "sms_sticky": 1, "sms_esme_out": 0, "events_deliveries": 4}
    counted = await world.database.fetchval("SELECT count(*) FROM insights_deltas")
    figures, left, _ = await world.erase(ANNA)
    assert (figures, left) == ({"outgoing": 3, "incoming": 2, "events": 4, "waiting": 0}, [])
    assert set((await world.stored(ANNA)).values()) == {0}
    assert await world.stored(BEN) == others
    assert await world.database.fetchval("SELECT count(*) FROM insights_deltas") == counted
    assert await world.database.fetchval("SELECT count(*) FROM sms_optouts WHERE recipient = $1", ANNA) == 1
    assert await world.erase(ANNA) == (dict.fromkeys(FIGURES, 0), [], 2)


async def test_what_waits_for_an_account_of_a_customer_is_erased(world: World) -> None:
    await world.gateway.accounts.create(world.resource, "customer", AccountSettings(texts=("*",)))
    await world.hear((ANNA, "Anna lives here"), (BEN, "Ben lives here"))
    assert (await world.stored(ANNA))["sms_esme_out"] == 1
    await world.clock.advance(BEING_TOLD + timedelta(minutes=1))
    assert (await world.erase(ANNA))[0] == {"outgoing": 0, "incoming": 1, "events": 1, "waiting": 1}
    assert set((await world.stored(ANNA)).values()) == {0}
    assert (await world.stored(BEN))["sms_esme_out"] == 1


async def test_what_no_carrier_has_is_taken_back_and_erased_once_that_is_told(world: World) -> None:
    world.carrier.up = False
    [waiting] = await world.send(ANNA)
    [scheduled] = await world.send(ANNA, send_at=world.clock.now() + timedelta(days=3))
    figures, left, _ = await world.erase(ANNA)
    assert figures["outgoing"] == 0
    assert left == [(scheduled, "failed"), (waiting, "failed")]
    world.carrier.up = True
    await world.clock.advance(BEING_TOLD + timedelta(seconds=1))
    assert (await world.erase(ANNA))[:2] == ({"outgoing": 2, "incoming": 0, "events": 2, "waiting": 0}, [])
    await world.clock.advance(timedelta(days=4))
    assert world.carrier.submissions == []


async def test_what_a_carrier_has_is_named_and_erased_after_its_end(world: World) -> None:
    world.carrier.fate = Fate.TAKEN
    [message] = await world.send(ANNA)
    assert await world.erase(ANNA) == (dict.fromkeys(FIGURES, 0), [(message, "submitted")], 2)
    await world.gateway.news.reported("carrier", [Receipt("carrier1", True, 2000, world.clock.now())])
    assert (await world.erase(ANNA))[1] == [(message, "delivered")], "its report is being told"
    await world.clock.advance(BEING_TOLD + timedelta(seconds=1))
    assert (await world.erase(ANNA))[0]["outgoing"] == 1
    again = [Receipt("carrier1", False, 4006, world.clock.now())]
    await world.gateway.news.reported("carrier", again)
    assert set((await world.stored(ANNA)).values()) == {0}


async def test_a_call_looks_at_a_bounded_piece(world: World) -> None:
    for _ in range(5):
        await world.send(ANNA, BEN, BEN)
        await world.hear((BEN, "hello"), (ANNA, "hello"))
    await world.clock.advance(BEING_TOLD + timedelta(minutes=1))
    world.rows_read = 4
    figures, left, calls = await world.erase(ANNA)
    assert (figures["outgoing"], figures["incoming"], left) == (5, 5, [])
    assert calls >= 15 // 4 + 10 // 4
    assert set((await world.stored(ANNA)).values()) == {0}
    assert (await world.stored(BEN))["sms_messages"] == 10


@pytest.mark.parametrize("sender", ["60606", "My Bank", "4255550141", "+123"])
async def test_whoever_else_texted_is_erased_as_well(world: World, sender: str) -> None:
    await world.gateway.accounts.create(world.resource, "customer", AccountSettings(texts=("*",)))
    await world.hear((sender, "your code is 1234"), (BEN, "Ben lives here"), (sender, "STOP"))
    await world.clock.advance(BEING_TOLD + timedelta(minutes=1))
    others = await world.stored(BEN)
    figures, left, calls = await world.erase(sender)
    assert (figures, left, calls) == ({"outgoing": 0, "incoming": 2, "events": 2, "waiting": 2}, [], 1)
    assert set((await world.stored(sender)).values()) == {0}
    assert await world.stored(BEN) == others


async def test_what_waits_for_an_account_about_others_stays_when_the_number_is_the_resources_own(world: World) -> None:
    await world.gateway.accounts.create(world.resource, "customer", AccountSettings(texts=("*",)))
    await world.hear((ANNA, "Anna lives here"))
    assert (await world.erase(SENDER))[0]["waiting"] == 0
    assert (await world.stored(ANNA))["sms_esme_out"] == 1


@pytest.mark.parametrize("number", ["", "4" * 66])
async def test_what_nobody_can_be_is_refused(world: World, number: str) -> None:
    reply = await world.call(number)
    assert reply.status == 400
    assert reply.json()["error"]["target"] == "number"


async def test_an_answer_is_gone_on_with_for_its_own_number_only(world: World) -> None:
    after = (await world.call(ANNA)).json()["after"]
    for number, place in ((BEN, after), (ANNA, "nonsense")):
        reply = await world.call(number, place)
        assert (reply.status, reply.json()["error"]["target"]) == (400, "after")
    assert (await world.call(ANNA, after)).status == 200
