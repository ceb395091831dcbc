"""Finding messages as a support desk does: to whom, what became of it, page by page; and what is refused."""

import base64
import json
from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from prometheus_client.registry import CollectorRegistry
from tests.support.front import ADMIN_TOKEN, Reply, call
from tests.support.gateway import Gateway
from tests.support.scripted import Fate, ScriptedCarrier

from landline.core.errors import NotFound
from landline.core.ids import ResourceId
from landline.edge.admin import admin_app
from landline.edge.app import Edge
from landline.engines.clock import DrivenClock
from landline.ports.sms_carrier import Arrival
from landline.services.sms import admin_search
from landline.services.sms.search import Search
from landline.services.sms.service import Options, To
from landline.store.database import Database

SENDER, ANNA, BEN = "+18005550100", "+14255550141", "+14255550142"


class World:
    """A gateway, and the admin port; a page looks at `rows_read` rows."""

    def __init__(self, dsn: str, database: Database) -> None:
        self.database = database
        self.clock = DrivenClock()
        self.carrier = ScriptedCarrier(self.clock)
        self.gateway = Gateway(dsn, database, self.clock, self.carrier)
        self.resource: ResourceId
        self.admin = self.port(rows_read=20_000)

    def port(self, *, rows_read: int) -> Edge:
        search = Search(self.database, rows_read=rows_read)
        routes = admin_search.routes(search, self.clock, self._resource)
        return admin_app(routes, token=ADMIN_TOKEN, registry=CollectorRegistry(), checks={})

    async def _resource(self, name: str) -> ResourceId:
        if name != "local":
            raise NotFound("There is no such resource.")
        return self.resource

    async def send(self, *phones: str, tag: str | None = None, options: Options | None = None) -> list[str]:
        options = options or Options(report_wanted=True, tag=tag)
        outcomes = await self.gateway.sms.send(
            self.resource, SENDER, [To(phone) for phone in phones], "secret", options
        )
        await self.clock.advance(timedelta(milliseconds=1))
        return [outcome.message_id or "" for outcome in outcomes]

    async def get(self, **query: Any) -> Reply:
        names = {"from_": "from", "page_size": "pageSize", "token": "continuationToken"}
        encoded = urlencode({names.get(name, name): value for name, value in query.items()})
        headers = {"host": "localhost", "authorization": f"Bearer {ADMIN_TOKEN}"}
        return await call(self.admin, "GET", f"/resources/local/messages?{encoded}", headers)

    async def found(self, **query: Any) -> list[Any]:
        """What all pages list."""
        listed: list[Any] = []
        while True:
            reply = await self.get(**query)
            assert reply.status == 200, reply.body
            page = reply.json()
            listed += page["value"]
            if "continuationToken" not in page:
                return listed
            query["token"] = page["continuationToken"]

    async def ids(self, **query: Any) -> list[str]:
        return [each["messageId"] for each in await self.found(**query)]


@pytest.fixture
async def world(dsn: str, database: Database) -> AsyncGenerator[World]:
    world = World(dsn, database)
    await world.gateway.start()
    world.resource = await world.gateway.own()
    yield world
    await world.gateway.crash()


async def test_what_became_of_the_texts_to_a_phone(world: World) -> None:
    [first] = await world.send(ANNA, tag="spring")
    await world.send(BEN)
    [second] = await world.send(ANNA)
    await world.clock.advance(timedelta(minutes=1))
    assert await world.ids(to=ANNA) == [second, first], "newest first"
    [shown] = await world.found(to=ANNA, tag="spring")
    assert (shown["state"], shown["code"], shown["from"], shown["carrier"]) == ("delivered", 2000, SENDER, "carrier")
    assert (shown["tag"], shown["segments"], shown["direction"]) == ("spring", 1, "outgoing")
    assert shown["acceptedAt"] < shown["endedAt"]
    assert "secret" not in str(shown)
    assert await world.ids(tag="", to=ANNA) == [second], "an empty tag is none"
    assert len(await world.found()) == 3


async def test_messages_are_found_by_where_they_stand(world: World) -> None:
    world.carrier.fate, world.carrier.code = Fate.REFUSED, 4004
    [refused] = await world.send(ANNA)
    world.carrier.fate = Fate.TAKEN
    [taken] = await world.send(ANNA)
    [later] = await world.send(ANNA, options=Options(send_at=world.clock.now() + timedelta(hours=1)))
    assert await world.ids(state="failed") == await world.ids(code=4004) == [refused]
    assert await world.ids(state="submitted") == [taken]
    assert await world.ids(state="queued") == [later]
    assert await world.ids(state="delivered") == []


async def test_texts_from_phones_are_listed_too(world: World) -> None:
    at = world.clock.now()
    await world.gateway.news.arrived(
        "carrier", [Arrival("1", BEN, SENDER, "STOP", 1, at), Arrival("2", ANNA, SENDER, "hi", 1, at)]
    )
    [stop] = await world.found(direction="incoming", from_=BEN)
    assert (stop["direction"], stop["state"], stop["to"], stop["keyword"]) == ("incoming", "received", SENDER, "stop")
    assert stop["messageId"].startswith("Incoming_")
    assert len(await world.found(direction="incoming", page_size=1)) == 2


@pytest.mark.parametrize("rows_read", [1, 7, 20_000])
async def test_pages_miss_nothing_and_repeat_nothing(world: World, rows_read: int) -> None:
    sent = [message for _ in range(4) for message in await world.send(*[ANNA, BEN] * 5)]
    world.admin = world.port(rows_read=rows_read)
    listed = await world.ids(page_size=3)
    assert sorted(listed) == sorted(sent)
    assert listed == sorted(listed, key=lambda each: each.rpartition("_")[2][12:], reverse=True)
    assert len(await world.ids(to=BEN, page_size=3)) == 20


async def test_every_page_of_a_question_that_is_answered_can_be_asked_for(world: World) -> None:
    await world.send(ANNA, BEN, ANNA, BEN)
    world.admin = world.port(rows_read=1)
    refused = await world.get(tag="t" * 7000)
    assert (refused.status, refused.json()["error"]["target"]) == (400, "tag")
    query: dict[str, Any] = {"tag": "t" * 4800}
    for _ in range(4):
        reply = await world.get(**query)
        assert reply.status == 200, reply.body
        query = {"token": reply.json()["continuationToken"]}
    assert "continuationToken" not in (await world.get(**query)).json()


async def test_a_page_in_which_nothing_matched_goes_on(world: World) -> None:
    [wanted] = await world.send(BEN)
    await world.send(*[ANNA] * 9)
    world.admin = world.port(rows_read=4)
    page = (await world.get(to=BEN)).json()
    assert page["value"] == []
    assert await world.ids(to=BEN, token=page["continuationToken"]) == [wanted]


@pytest.mark.parametrize("filters", [{"tag": "\0"}, {"to": "x\0"}, {"since": "x"}, {"state": 5}, {"colour": "red"}])
async def test_a_token_that_was_tampered_with_is_refused(world: World, filters: dict[str, Any]) -> None:
    query = {"since": "2026-01-01", "until": "2026-02-01", **filters}
    parts = [str(world.resource), query, "ffffffff-ffff-ffff-ffff-ffffffffffff"]
    reply = await world.get(token=base64.urlsafe_b64encode(json.dumps(parts).encode()).decode())
    assert (reply.status, reply.json()["error"]["target"]) == (400, "continuationToken")


@pytest.mark.parametrize("since", ["2026-03-01 14:00", "2026-03-01T14:00:00Z", "2026-03-01T16:00:00 02:00"])
async def test_instants_are_read_as_people_write_them(world: World, since: str) -> None:
    """The last one's + was not written %2B."""
    assert (await world.get(since=since)).status == 200


async def test_a_range_has_its_beginning_and_not_its_end(world: World) -> None:
    before = world.clock.now()
    await world.send(ANNA)
    between = world.clock.now()
    await world.send(BEN)
    assert [each["to"] for each in await world.found(since=before.isoformat(), until=between.isoformat())] == [ANNA]
    assert [each["to"] for each in await world.found(since=between.isoformat())] == [BEN]
    await world.clock.advance(timedelta(days=2))
    assert await world.found() == [], "the last day's"
    assert len(await world.found(since=f"{before:%Y-%m-%d}")) == 2


@pytest.mark.parametrize(
    ("query", "target"),
    [
        ({"recipient": ANNA}, "recipient"),
        ({"to": ANNA.removeprefix("+")}, "to"),
        ({"from_": ""}, "from"),
        ({"carrier": ""}, "carrier"),
        ({"page_size": 0}, "pageSize"),
        ({"page_size": 1001}, "pageSize"),
        ({"page_size": "0009999999"}, "pageSize"),
        ({"state": "sent"}, "state"),
        ({"code": "x"}, "code"),
        ({"direction": "both"}, "direction"),
        ({"direction": "incoming", "state": "failed"}, "state"),
        ({"since": "yesterday"}, "since"),
        ({"since": "2026-01-02", "until": "2026-01-01"}, "since"),
        ({"token": "x"}, "continuationToken"),
        ({"token": "W10"}, "continuationToken"),
    ],
)
async def test_what_cannot_be_asked_is_refused_by_name(world: World, query: dict[str, Any], target: str) -> None:
    reply = await world.get(**query)
    assert reply.status == 400
    assert reply.json()["error"]["target"] == target


async def test_a_token_continues_its_own_question_only(world: World) -> None:
    await world.send(ANNA, ANNA, BEN)
    token = (await world.get(to=ANNA, page_size=1)).json()["continuationToken"]
    assert (await world.get(to=BEN, token=token)).json()["error"]["target"] == "to"
    [other, *rest] = json.loads(base64.urlsafe_b64decode(token + "=="))
    assert other == str(world.resource)
    stolen = base64.urlsafe_b64encode(json.dumps(["00000000-0000-0000-0000-000000000009", *rest]).encode()).decode()
    assert (await world.get(token=stolen)).json()["error"]["target"] == "continuationToken"
