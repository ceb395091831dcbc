"""The simulated carrier's handsets: what they show, when they report, what survives, and the admin API over them."""

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from datetime import timedelta
from uuid import uuid4

import pytest
from tests.support.patience import PATIENCE_S

from landline.core.errors import Conflict, Invalid, NotFound
from landline.edge.http import Request
from landline.edge.routes import Router
from landline.engines.clock import DrivenClock
from landline.engines.simulated import admin, desk
from landline.engines.simulated.carrier import SimulatedCarrier
from landline.ports.sms_carrier import Arrival, Receipt, Submission, Submitted
from landline.store.database import Database

OURS = "+18005550100"
A, B = "+14255550198", "+14255550199"


class Recorder:
    """The service's side of the port."""

    def __init__(self) -> None:
        self.answers: list[Submitted] = []
        self.receipts: list[Receipt] = []
        self.arrivals: list[Arrival] = []

    async def submitted(self, carrier: str, answers: Sequence[Submitted]) -> None:
        self.answers.extend(answers)

    async def submitted_late(self, carrier: str, answers: Sequence[Submitted]) -> None:
        raise AssertionError("nothing here is late")

    async def reported(self, carrier: str, receipts: Sequence[Receipt]) -> None:
        self.receipts.extend(receipts)

    async def early(self, carrier: str, ids: Sequence[str]) -> list[Receipt]:
        raise AssertionError("nothing here is sent in parts")

    async def forget_early(self, carrier: str, ids: Sequence[str]) -> None:
        raise AssertionError("nothing here is sent in parts")

    async def arrived(self, carrier: str, arrivals: Sequence[Arrival]) -> None:
        self.arrivals.extend(arrivals)

    async def received(self, carrier: str, key: str) -> str | None:
        known = any(arrival.key == key and arrival.recipient == OURS for arrival in self.arrivals)
        return f"{carrier} {key}" if known else None

    def codes(self) -> list[int]:
        return [receipt.code for receipt in self.receipts]


class World:
    """A carrier on a driven clock with its admin API."""

    def __init__(self, database: Database, clock: DrivenClock) -> None:
        self.database = database
        self.clock = clock
        self.events = Recorder()
        self.carrier = SimulatedCarrier(database, clock, seed=7)
        self.router = Router(admin.routes(self.carrier, self.events.received))

    async def restart(self) -> None:
        await self.carrier.close()
        self.carrier = SimulatedCarrier(self.database, self.clock, seed=7)
        self.router = Router(admin.routes(self.carrier, self.events.received))
        await self.carrier.start(self.events)

    async def send(self, *recipients: str, text: str = "hello", sender: str = OURS) -> list[Submission]:
        """Send to `recipients` and let time stand until the work that makes at once is done."""
        given = [Submission(uuid4(), sender, recipient, text, 1, True) for recipient in recipients]
        await self.carrier.submit(given)
        await self.passes(0)
        return given

    async def passes(self, seconds: float) -> None:
        await self.clock.advance(timedelta(seconds=seconds))

    async def call(self, method: str, target: str, body: object = None) -> tuple[int, dict]:
        route, params = self.router.find(method, target.partition("?")[0])
        octets = json.dumps(body).encode() if body is not None else b""
        response = await route.handler(Request(method, target, {}, octets, "request", params=params))
        return response.status, json.loads(response.body or b"{}")

    async def texts(self, number: str, query: str = "") -> list[str]:
        _, found = await self.call("GET", f"/handsets/{number}/inbox{query}")
        return [item["text"] for item in found["value"]]


@pytest.fixture
async def world(database: Database) -> AsyncGenerator[World]:
    world = World(database, DrivenClock())
    await world.carrier.start(world.events)
    yield world
    await world.carrier.close()


async def test_a_text_is_on_the_handset_with_what_came_with_it(world: World) -> None:
    (given,) = await world.send(A, text="Your code is 1234")
    assert world.events.codes() == [2000]
    assert world.events.receipts[0].segments_delivered == 1
    _, found = await world.call("GET", f"/handsets/{A}/inbox")
    (item,) = found["value"]
    assert item == {
        "id": item["id"],
        "from": OURS,
        "to": A,
        "text": "Your code is 1234",
        "segments": 1,
        "receivedAt": item["receivedAt"],
        "messageKey": str(given.key),
    }
    assert await world.texts(B) == []
    await world.send(A, text="second")
    assert await world.texts(A, f"?after={item['id']}") == ["second"]
    await world.call("DELETE", f"/handsets/{A}/inbox")
    assert await world.texts(A) == []


async def test_a_message_handed_over_again_is_shown_once(world: World) -> None:
    given = await world.send(A)
    await world.carrier.submit(given)
    await world.passes(0)
    await world.restart()
    await world.carrier.submit(given)
    await world.passes(0)
    assert await world.texts(A) == ["hello"]
    assert {answer.carrier_message_id for answer in world.events.answers} == {str(given[0].key)}
    assert world.events.codes() == [2000] * 3


async def test_a_slow_handset_shows_at_once_and_reports_late_even_after_a_restart(world: World) -> None:
    await world.call("PUT", f"/handsets/{A}", {"behaviour": "slow", "after": 5})
    await world.send(A)
    assert await world.texts(A) == ["hello"]
    await world.passes(4)
    assert world.events.codes() == []
    await world.restart()
    assert world.events.codes() == []
    await world.passes(1)
    assert world.events.codes() == [2000]


async def test_a_roaming_handset_gets_its_texts_when_it_is_back(world: World) -> None:
    await world.call("PUT", f"/handsets/{A}", {"behaviour": "roaming", "after": 600})
    await world.send(A, text="first")
    await world.send(A, B, text="second")
    assert await world.texts(A) == []
    assert world.events.codes() == [2000]
    await world.restart()
    await world.passes(500)
    waiting = asyncio.create_task(world.texts(A, "?wait=30"))
    await asyncio.sleep(0)
    await world.call("PUT", f"/handsets/{A}", {"behaviour": "answers", "autoReplies": ["back"]})
    await world.passes(0)
    assert await asyncio.wait_for(waiting, PATIENCE_S) == ["first", "second"]
    assert world.events.codes() == [2000] * 3
    assert [arrival.text for arrival in world.events.arrivals] == ["back", "back"]
    await world.passes(1000)
    assert world.events.codes() == [2000] * 3


async def test_a_roaming_handset_that_stays_away_fails_4006(world: World) -> None:
    await world.call("PUT", f"/handsets/{A}", {"behaviour": "roaming", "after": 600})
    given = await world.send(A)
    await world.passes(600)
    assert [(receipt.code, receipt.delivered, receipt.segments_delivered) for receipt in world.events.receipts] == [
        (4006, False, 0)
    ]
    await world.call("DELETE", f"/handsets/{A}")
    await world.carrier.submit(given)
    await world.passes(0)
    assert await world.texts(A) == []
    assert world.events.codes() == [4006, 4006]


async def test_a_roaming_handset_fails_after_an_hour_when_nothing_else_is_said(world: World) -> None:
    await world.call("PUT", f"/handsets/{A}", {"behaviour": "roaming"})
    await world.send(A)
    await world.passes(3599)
    assert world.events.codes() == []
    await world.passes(1)
    assert world.events.codes() == [4006]


@pytest.mark.parametrize(
    ("behaviour", "codes", "texts"),
    [
        ({"behaviour": "landline"}, [4006], []),
        ({"behaviour": "rejects"}, [4005], []),
        ({"behaviour": "rejects", "code": 4008}, [4008], []),
        ({"behaviour": "silent"}, [], ["hello"]),
        ({"behaviour": "answers"}, [2000], ["hello"]),
    ],
)
async def test_each_behaviour_has_its_outcome(
    world: World, behaviour: dict[str, object], codes: list[int], texts: list[str]
) -> None:
    await world.call("PUT", f"/handsets/{A}", behaviour)
    await world.send(A)
    await world.passes(7 * 24 * 3600)
    assert world.events.codes() == codes
    assert await world.texts(A) == texts


async def test_a_refusal_at_submit_is_the_answer_and_may_be_late(world: World) -> None:
    await world.call("PUT", f"/handsets/{A}", {"behaviour": "rejects", "code": 4008, "at": "submit", "after": 2})
    await world.send(A)
    assert world.events.answers == []
    await world.passes(2)
    (answer,) = world.events.answers
    assert (answer.carrier_message_id, answer.code, answer.temporary) == (None, 4008, False)
    assert world.events.receipts == []


async def test_a_temporary_refusal_ends_when_its_count_is_used_up(world: World) -> None:
    rule = {"number": A, "count": 2, "at": "submit", "outcome": {"code": 5001, "temporary": True}}
    await world.call("POST", "/carrier/rules", rule)
    given = await world.send(A)
    for _ in range(2):
        await world.carrier.submit(given)
        await world.passes(0)
    assert [(answer.code, answer.temporary) for answer in world.events.answers] == [(5001, True)] * 2 + [(0, False)]
    assert await world.texts(A) == ["hello"]


async def test_the_third_message_fails_after_two_seconds_also_across_a_restart(world: World) -> None:
    rule = {"number": B, "nth": 3, "outcome": {"code": 4006}, "after": 2}
    status, made = await world.call("POST", "/carrier/rules", rule)
    assert (status, made["seen"], made["outcome"]) == (201, 0, {"code": 4006})
    await world.send(A, B, B)
    await world.restart()
    await world.send(B)
    assert world.events.codes() == [2000] * 3
    await world.passes(2)
    assert world.events.codes() == [2000, 2000, 2000, 4006]
    _, found = await world.call("GET", "/carrier/rules")
    assert [(rule["id"], rule["seen"], rule["fired"]) for rule in found["value"]] == [(made["id"], 3, 1)]
    await world.call("DELETE", f"/carrier/rules/{made['id']}")
    with pytest.raises(NotFound):
        await world.call("DELETE", f"/carrier/rules/{made['id']}")


async def test_putting_a_seed_begins_a_run_that_repeats(world: World) -> None:
    await world.call("POST", "/carrier/rules", {"number": "*", "rate": 0.5, "outcome": {"code": 5001}})
    runs: list[list[int]] = []
    for seed in (42, 42, 43):
        await world.call("PUT", "/carrier/seed", {"seed": seed})
        world.events.receipts.clear()
        given = await world.send(*[A] * 40)
        codes = {receipt.carrier_message_id: receipt.code for receipt in world.events.receipts}
        runs.append([codes[str(submission.key)] for submission in given])
    assert runs[0] == runs[1] != runs[2]
    assert await world.call("GET", "/carrier/seed") == (200, {"seed": 43})


async def test_a_seed_that_was_put_holds_after_a_restart_unless_the_start_names_one(
    world: World, database: Database
) -> None:
    await world.call("PUT", "/carrier/seed", {"seed": 42})
    for given, found in ((None, 42), (7, 7)):
        carrier = SimulatedCarrier(database, world.clock, seed=given)
        await carrier.start(world.events)
        assert await carrier.desk.seed() == found
        await carrier.close()


async def test_handsets_answer_by_themselves_and_their_answers_survive(world: World) -> None:
    answering = {"behaviour": "answers", "autoReplies": ["yes", "STOP"], "autoReplyAfter": 60}
    await world.call("PUT", f"/handsets/{A}", answering)
    await world.send(A)
    await world.restart()
    await world.send(A)
    await world.send(A, sender="SHOP")
    await world.passes(60)
    assert [(arrival.sender, arrival.recipient, arrival.text) for arrival in world.events.arrivals] == [
        (A, OURS, "yes"),
        (A, OURS, "STOP"),
    ]
    assert len({arrival.key for arrival in world.events.arrivals}) == 2


async def test_a_handset_texts_one_of_our_numbers(world: World) -> None:
    status, made = await world.call("POST", f"/handsets/{A}:text", {"to": OURS, "text": "hi 😀"})
    assert (status, made["segments"]) == (202, 1)
    (arrival,) = world.events.arrivals
    assert (arrival.sender, arrival.recipient, arrival.text, arrival.key) == (
        A,
        OURS,
        "hi 😀",
        made["messageId"].split()[1],
    )
    await world.call("PUT", f"/handsets/{A}", {"behaviour": "landline"})
    with pytest.raises(Conflict):
        await world.call("POST", f"/handsets/{A}:text", {"to": OURS, "text": "hi"})


async def test_a_text_to_a_number_that_nobody_has_is_refused(world: World) -> None:
    with pytest.raises(Invalid, match="No resource here has"):
        await world.call("POST", f"/handsets/{A}:text", {"to": "+18005550999", "text": "hi"})


async def test_waiting_for_a_text_ends_with_the_text_or_empty(world: World) -> None:
    waiting = [asyncio.create_task(world.texts(A, "?wait=60")) for _ in range(3)]
    await asyncio.sleep(0)
    await world.send(B)
    assert not any(task.done() for task in waiting)
    await world.send(A)
    assert await asyncio.wait_for(asyncio.gather(*waiting), PATIENCE_S) == [["hello"]] * 3
    assert await world.texts(B, "?after=999999&wait=0.01") == []
    assert world.carrier.desk._watchers == {}


async def test_waiting_ends_when_the_server_stops(world: World) -> None:
    waiting = asyncio.create_task(world.texts(A, "?wait=60"))
    await asyncio.sleep(0)
    assert world.carrier.desk._watchers
    world.carrier.desk.end_waits()
    assert await asyncio.wait_for(waiting, PATIENCE_S) == []


async def test_handsets_with_a_behaviour_or_texts_are_listed(world: World) -> None:
    await world.call("PUT", f"/handsets/{A}", {"behaviour": "rejects", "code": 4008, "at": "submit"})
    await world.send(B, B)
    _, found = await world.call("GET", "/handsets")
    assert [(item["number"], item["behaviour"], item["texts"], item["code"]) for item in found["value"]] == [
        (A, "rejects", 0, 4008),
        (B, "answers", 2, None),
    ]


async def test_reset_is_like_the_first_start(world: World) -> None:
    await world.call("PUT", f"/handsets/{A}", {"behaviour": "slow", "after": 5})
    await world.call("POST", "/carrier/rules", {"number": "*", "outcome": {"code": 5001}, "nth": 9})
    await world.call("PUT", "/carrier/seed", {"seed": 42})
    await world.send(A)
    _, found = await world.call("GET", f"/handsets/{A}/inbox")
    await world.call("POST", "/carrier:reset")
    await world.passes(60)
    assert world.events.codes() == []
    assert (await world.call("GET", "/handsets"))[1] == (await world.call("GET", "/carrier/rules"))[1] == {"value": []}
    assert (await world.call("GET", "/carrier/seed"))[1] == {"seed": 7}
    await world.send(A)
    assert await world.texts(A, f"?after={found['value'][0]['id']}") == ["hello"]
    assert world.events.codes() == [2000]


async def test_a_handset_keeps_a_bounded_number_of_texts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "INBOX_LIMIT", 20)
    monkeypatch.setattr(desk, "MESSAGES_LIMIT", 100)
    for number in range(30):
        await world.send(A, text=str(number))
    texts = await world.texts(A)
    assert 20 <= len(texts) <= 25
    assert texts[-1] == "29"
    for number in range(10):
        await world.send(*[f"+1425555{number:02}{extension:02}" for extension in range(20)])
    assert 100 <= await world.database.fetchval("SELECT count(*) FROM handset_messages") <= 130


async def test_one_message_that_cannot_be_written_fails_alone(world: World) -> None:
    bad = Submission(uuid4(), OURS, A, "nul \0", 1, True)
    good = [Submission(uuid4(), OURS, B, "good", 1, True) for _ in range(2)]
    await world.carrier.submit([good[0], bad, good[1]])
    await world.passes(0)
    codes = {answer.key: answer.code for answer in world.events.answers}
    assert codes == {good[0].key: 0, bad.key: 5000, good[1].key: 0}
    assert await world.texts(B) == ["good", "good"]


async def test_a_lost_database_connection_delays_and_repeats_nothing(world: World, database: Database) -> None:
    await world.call("POST", "/carrier/rules", {"number": A, "nth": 2, "outcome": {"code": 4006}})
    others = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    for _ in range(3):
        await world.carrier.submit([Submission(uuid4(), OURS, A, "hello", 1, True)])
        await database.execute(others)
        await world.passes(1)
    async with asyncio.timeout(PATIENCE_S):
        while len(world.events.codes()) < 3:
            await world.passes(1)
    assert sorted(world.events.codes()) == [2000, 2000, 4006]
    assert len(world.events.answers) == 3
    assert len(await world.texts(A)) == 2


BAD: list[tuple[str, str, object]] = [
    ("PUT", "/handsets/5551", {}),
    ("PUT", f"/handsets/{A}", {"behaviour": "sleepy"}),
    ("PUT", f"/handsets/{A}", {"behaviour": "rejects", "code": 2000}),
    ("PUT", f"/handsets/{A}", {"behaviour": "rejects", "code": 1}),
    ("PUT", f"/handsets/{A}", {"behaviour": "slow", "after": -1}),
    ("PUT", f"/handsets/{A}", {"autoReplies": [""]}),
    ("PUT", f"/handsets/{A}", {"autoReplies": ["\0"]}),
    ("GET", f"/handsets/{A}/inbox?after=x", None),
    ("GET", f"/handsets/{A}/inbox?wait=61", None),
    ("GET", f"/handsets/{A}/inbox?wait=nan", None),
    ("GET", f"/handsets/{A}/inbox?after=99999999999999999999", None),
    ("POST", f"/handsets/{A}:text", {"to": "SHOP", "text": "hi"}),
    ("POST", f"/handsets/{A}:text", {"to": OURS, "text": ""}),
    ("POST", "/carrier/rules", {"number": "5*x", "outcome": {"code": 4006}}),
    ("POST", "/carrier/rules", {"number": "", "outcome": {"code": 4006}}),
    ("POST", "/carrier/rules", {"number": A, "outcome": {}}),
    ("POST", "/carrier/rules", {"number": A, "outcome": {"code": 4006, "silent": True}}),
    ("POST", "/carrier/rules", {"number": A, "outcome": {"code": 2000}, "at": "submit"}),
    ("POST", "/carrier/rules", {"number": A, "outcome": {"silent": True}, "at": "submit"}),
    ("POST", "/carrier/rules", {"number": A, "outcome": {"code": 5001, "temporary": True}}),
    ("POST", "/carrier/rules", {"number": A, "outcome": {"code": 4006}, "nth": 0}),
    ("POST", "/carrier/rules", {"number": A, "outcome": {"code": 4006}, "rate": 1.5}),
    ("DELETE", "/carrier/rules/first", None),
    ("PUT", "/carrier/seed", {"seed": -1}),
]


@pytest.mark.parametrize(("method", "target", "body"), BAD)
async def test_what_makes_no_sense_is_refused(world: World, method: str, target: str, body: object) -> None:
    with pytest.raises(Invalid) as refused:
        await world.call(method, target, body)
    assert refused.value.errors
