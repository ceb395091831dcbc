"""Opt-outs as an operator looks after them: who opted out of which number, what was said elsewhere, and what is
refused."""

import json
from collections.abc import AsyncGenerator
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import pytest
from prometheus_client.registry import CollectorRegistry
from tests.support.front import ADMIN_TOKEN, Reply, call
from tests.support.gateway import Gateway
from tests.support.scripted import ScriptedCarrier

from landline.core.errors import NotFound
from landline.core.ids import ResourceId
from landline.edge.admin import admin_app
from landline.engines.clock import DrivenClock
from landline.ports.sms_carrier import Arrival
from landline.services.insights.questions import Question
from landline.services.sms import admin_opt_outs, records_opt_outs
from landline.services.sms.opt_outs import OptOuts
from landline.services.sms.service import Options, To
from landline.store.database import Database
from landline.wire.base import timestamp

OURS, OTHER, ANNA, BEN, EVA = "+18005550100", "+18335550101", "+14255550141", "+14255550142", "+14255550143"


class World:
    """A gateway with two numbers, and the admin port."""

    def __init__(self, dsn: str, database: Database) -> None:
        self.database = database
        self.clock = DrivenClock()
        self.carrier = ScriptedCarrier(self.clock)
        self.gateway = Gateway(dsn, database, self.clock, self.carrier)
        self.resource: ResourceId
        self.serve()

    def serve(self, **options: int) -> None:
        kept = OptOuts(
            self.database,
            self.clock,
            self.gateway.numbers,
            self.gateway.senders,
            self.gateway.insights,
            **options,
        )
        routes = admin_opt_outs.routes(kept, self._resource)
        self.admin = admin_app(routes, token=ADMIN_TOKEN, registry=CollectorRegistry(), checks={})

    async def _resource(self, name: str) -> ResourceId:
        if name != "local":
            raise NotFound("There is no such resource.")
        return self.resource

    async def ask(self, method: str, path: str = "", body: object = None, **query: Any) -> Reply:
        encoded = urlencode({name.rstrip("_"): value for name, value in query.items()})
        headers = {"host": "localhost", "authorization": f"Bearer {ADMIN_TOKEN}"}
        target = f"/resources/local/opt-outs{path}{'?' if encoded else ''}{encoded}"
        return await call(self.admin, method, target, headers, b"" if body is None else json.dumps(body).encode())

    async def enter(self, *entries: dict[str, str]) -> Reply:
        return await self.ask("POST", body={"value": entries})

    async def listed(self, **query: Any) -> list[Any]:
        """What all pages list."""
        listed: list[Any] = []
        while True:
            reply = await self.ask("GET", **query)
            assert reply.status == 200, reply.body
            listed += reply.json()["value"]
            if "continuationToken" not in reply.json():
                return listed
            query["continuationToken"] = reply.json()["continuationToken"]

    async def pairs(self, **query: Any) -> list[tuple[str, str]]:
        return [(each["from"], each["to"]) for each in await self.listed(**query)]

    async def sent(self, sender: str, phone: str) -> str:
        """What became of a text."""
        [outcome] = await self.gateway.sms.send(self.resource, sender, [To(phone)], "Hi", Options(report_wanted=True))
        row = await self.database.fetchrow(
            "SELECT code FROM sms_messages WHERE message_id = $1::text::uuid", (outcome.message_id or "")[-36:]
        )
        assert row is not None
        return "blocked" if row["code"] == 4007 else "on its way"


@pytest.fixture
async def world(dsn: str, database: Database) -> AsyncGenerator[World]:
    world = World(dsn, database)
    await world.gateway.start()
    world.resource = await world.gateway.own()
    await world.gateway.numbers.add(world.resource, OTHER)
    yield world
    await world.gateway.crash()


async def test_a_text_that_said_stop_and_what_an_sdk_said_are_listed_with_their_origin(world: World) -> None:
    before = world.clock.now()
    await world.gateway.news.arrived(world.carrier.name, [Arrival("key", ANNA, OURS, "STOP", 1, before)])
    between = world.clock.now()
    await world.gateway.opt_outs.opt_out(world.resource, OTHER, [BEN])
    after = world.clock.now()
    stopped, told = await world.listed()
    assert (stopped["from"], stopped["to"], stopped["origin"]) == (OURS, ANNA, "keyword")
    assert (told["from"], told["to"], told["origin"]) == (OTHER, BEN, "api")
    assert timestamp(before) <= stopped["at"] <= timestamp(between) <= told["at"] <= timestamp(after)


async def test_what_was_said_elsewhere_is_heeded_from_then_on(world: World) -> None:
    assert await world.sent(OURS, ANNA) == "on its way"
    reply = await world.enter({"from": OURS, "to": ANNA, "at": "2024-02-03T04:05:06Z"}, {"from": OURS, "to": BEN})
    assert (reply.status, reply.json()) == (200, {"entered": 2})
    assert await world.sent(OURS, ANNA) == "blocked"
    assert await world.sent(OTHER, ANNA) == "on its way"
    assert await world.listed(to=ANNA) == [
        {"from": OURS, "to": ANNA, "at": "2024-02-03T04:05:06.0000000+00:00", "origin": "import"}
    ]


async def test_what_is_entered_twice_is_kept_as_it_was_first(world: World) -> None:
    await world.enter({"from": OURS, "to": ANNA, "at": "2024-02-03T04:05:06Z"})
    again = {"from": OURS, "to": ANNA, "at": "2025-02-03T04:05:06Z"}
    assert (await world.enter(again, again, {"from": OURS, "to": BEN})).json() == {"entered": 1}
    assert [each["at"] for each in await world.listed(to=ANNA)] == ["2024-02-03T04:05:06.0000000+00:00"]


async def test_a_list_can_be_entered_as_it_was_listed(world: World) -> None:
    await world.enter({"from": OURS, "to": ANNA, "at": "2024-02-03T04:05:06.789Z"}, {"from": OURS, "to": BEN})
    listed = await world.listed()
    entries = [{"from": each["from"], "to": each["to"]} for each in listed]
    await world.ask("POST", ":remove", {"value": entries})
    assert await world.listed() == []
    await world.enter(*({**entry, "at": each["at"]} for entry, each in zip(entries, listed, strict=True)))
    assert await world.listed() == listed


async def test_it_is_no_answer_to_a_campaign(world: World) -> None:
    await world.enter({"from": OURS, "to": ANNA})
    await world.gateway.opt_outs.opt_out(world.resource, OURS, [BEN])
    hour = int(world.clock.now().timestamp()) // 3600
    page = await world.gateway.insights.page(world.resource, Question(hour, hour + 1), limit=1)
    assert page.totals.opt_outs == 1


async def test_who_wants_texts_again_gets_them(world: World) -> None:
    await world.enter({"from": OURS, "to": ANNA}, {"from": OURS, "to": BEN})
    reply = await world.ask("POST", ":remove", {"value": [{"from": OURS, "to": ANNA}, {"from": OURS, "to": EVA}]})
    assert (reply.status, reply.json()) == (200, {"removed": 1})
    assert await world.pairs() == [(OURS, BEN)]
    assert await world.sent(OURS, ANNA) == "on its way"


async def test_they_are_found_by_number_phone_and_time_in_pages(world: World) -> None:
    days = ["2024-02-01T00:00:00Z", "2024-02-02T00:00:00Z", "2024-02-03T00:00:00Z"]
    everybody = [(sender, phone) for sender in (OURS, OTHER) for phone in (ANNA, BEN, EVA)]
    await world.enter(*({"from": sender, "to": phone, "at": days[0]} for sender, phone in everybody if phone == ANNA))
    await world.enter(*({"from": sender, "to": phone, "at": days[1]} for sender, phone in everybody if phone == BEN))
    await world.enter(*({"from": sender, "to": phone, "at": days[2]} for sender, phone in everybody if phone == EVA))
    for rows_read in (20_000, 4, 1):
        world.serve(rows_read=rows_read)
        for page_size in (100, 2, 1):
            assert await world.pairs(pageSize=page_size) == everybody
            assert await world.pairs(from_=OTHER, pageSize=page_size) == everybody[3:]
            assert await world.pairs(to=BEN, pageSize=page_size) == [(OURS, BEN), (OTHER, BEN)]
            assert await world.pairs(from_=OURS, to=EVA, pageSize=page_size) == [(OURS, EVA)]
            assert await world.pairs(since=days[1], until=days[2], pageSize=page_size) == [(OURS, BEN), (OTHER, BEN)]
            assert await world.pairs(since=days[2], from_=OURS, pageSize=page_size) == [(OURS, EVA)]


@pytest.mark.parametrize(
    ("entry", "target"),
    [
        ({"from": "+18005550199", "to": BEN}, "value[1].from"),
        ({"from": "Landline", "to": BEN}, "value[1].from"),
        ({"from": OURS, "to": "4255550142"}, "value[1].to"),
        ({"from": OURS, "to": BEN, "at": "2999-01-01T00:00:00Z"}, "value[1].at"),
        ({"from": OURS, "to": BEN, "at": "0001-01-01T00:00:00+14:00"}, "value[1].at"),
    ],
)
async def test_of_what_cannot_be_entered_whole_nothing_is(world: World, entry: dict[str, str], target: str) -> None:
    reply = await world.enter({"from": OURS, "to": ANNA}, entry)
    assert (reply.status, reply.json()["error"]["target"]) == (400, target)
    assert await world.listed() == []


async def test_lifting_says_what_it_does_not_know(world: World) -> None:
    await world.enter({"from": OURS, "to": ANNA})
    entries = [{"from": OURS, "to": ANNA}, {"from": "+18005550199", "to": ANNA}]
    reply = await world.ask("POST", ":remove", {"value": entries})
    assert (reply.status, reply.json()["error"]["target"]) == (400, "value[1].from")
    assert await world.pairs() == [(OURS, ANNA)]


@pytest.mark.parametrize(
    ("query", "target"),
    [
        ({"number": OURS}, "number"),
        ({"to": "Landline"}, "to"),
        ({"from_": ""}, "from"),
        ({"since": "yesterday"}, "since"),
        ({"since": "2024-02-02", "until": "2024-02-01"}, "since"),
        ({"pageSize": "0"}, "pageSize"),
        ({"continuationToken": "WyJhIl0"}, "continuationToken"),
    ],
)
async def test_a_question_that_cannot_be_answered_is_refused(world: World, query: dict[str, str], target: str) -> None:
    reply = await world.ask("GET", **query)
    assert (reply.status, reply.json()["error"]["target"]) == (400, target)


async def test_a_token_goes_on_with_its_own_question_only(world: World) -> None:
    await world.enter({"from": OURS, "to": ANNA}, {"from": OURS, "to": BEN})
    token = (await world.ask("GET", from_=OURS, pageSize=1)).json()["continuationToken"]
    assert (await world.ask("GET", from_=OTHER, continuationToken=token)).status == 400
    assert (await world.ask("GET", continuationToken=token)).json()["value"][0]["to"] == BEN


async def test_who_wants_texts_of_one_number_again_still_wants_none_of_others(world: World) -> None:
    """By a keyword, by an SDK or by an operator; nor does it say anything of another resource's."""
    neighbour = ResourceId(uuid4())
    entered = [(sender, phone) for sender in (OURS, OTHER) for phone in (ANNA, BEN, EVA)]
    async with world.database.connection() as connection:
        for resource in (world.resource, neighbour):
            for sender, phone in entered:
                await records_opt_outs.add(connection, resource, sender, [phone], world.clock.now(), "api")
    await world.gateway.opt_outs.opt_in(world.resource, OURS, [ANNA])
    await world.gateway.news.arrived(world.carrier.name, [Arrival("1", BEN, OURS, "START", 1, world.clock.now())])
    await world.ask("POST", ":remove", {"value": [{"from": OURS, "to": EVA}]})
    rows = await world.database.fetch("SELECT resource_id, sender, recipient FROM sms_optouts")
    assert {tuple(row) for row in rows} == {
        *((world.resource, OTHER, phone) for phone in (ANNA, BEN, EVA)),
        *((neighbour, sender, phone) for sender, phone in entered),
    }
