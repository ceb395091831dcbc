"""Receipts of messages that this process sent, and that arrived: one statement ends, tells and counts them, and comes
to the same as what other processes do, who have to look the messages up."""

from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
import pytest
from tests.support.gateway import Gateway
from tests.support.scripted import Fate, ScriptedCarrier

from landline.core.ids import ResourceId
from landline.engines.clock import DrivenClock
from landline.ports.sms_carrier import Receipt, Submitted
from landline.services.events import records
from landline.services.events.model import Delivery
from landline.services.insights.questions import Question
from landline.services.sms.service import Options, To
from landline.store.database import Database

SENDER = "+18005550100"
QUEUED, DELIVERED, FAILED = 0, 8, 9


class Memory:
    """Takes what is to be delivered, and delivers nothing: it stays in its batch."""

    def room(self, subscription: UUID) -> int:
        return 100

    def total_room(self) -> int:
        return 100

    def take(self, deliveries: Sequence[Delivery]) -> None:
        pass

    def wake(self) -> None:
        pass


class World:
    """Two processes. The carrier of the first, which sends, says nothing by itself."""

    def __init__(self, dsn: str, database: Database) -> None:
        self.database = database
        self.clock = DrivenClock()
        self.carrier = ScriptedCarrier(self.clock, Fate.LOST)
        self.here = Gateway(dsn, database, self.clock, self.carrier, share=lambda: 2)
        self.there = Gateway(dsn, database, self.clock, ScriptedCarrier(self.clock, Fate.LOST), share=lambda: 2)

    async def start(self) -> None:
        for gateway in (self.here, self.there):
            gateway.events.sender = Memory()
            await gateway.start()
        self.resource: ResourceId = await self.here.own()
        await self.database.execute(
            "INSERT INTO events_subscriptions"
            " (resource_id, name, subscription_id, settings, secrets, state, created_at)"
            " VALUES ($1, 'a', gen_random_uuid(), $3, '', 'enabled', $2)",
            self.resource,
            self.clock.now(),
            '{"endpoint": "https://example.com/"}',
        )

    async def send(self, count: int, *, wanted: bool = True) -> list[UUID]:
        """Messages on their way; their keys."""
        before = len(self.carrier.submissions)
        recipients = [To(f"+1425555{number:04}") for number in range(before, before + count)]
        await self.here.sms.send(self.resource, SENDER, recipients, "hello", Options(report_wanted=wanted, tag="t"))
        await self.clock.advance(timedelta(milliseconds=1))
        return [submission.key for submission in self.carrier.submissions[before:]]

    async def taken(self, keys: Sequence[UUID]) -> list[str]:
        """The carrier answers; its ids."""
        ids = [f"id{key}" for key in keys]
        answers = [Submitted(key, carrier_id) for key, carrier_id in zip(keys, ids, strict=True)]
        await self.here.news.submitted("carrier", answers)
        return ids

    async def report(
        self,
        ids: Sequence[str],
        gateway: Gateway | None = None,
        *,
        failed: Sequence[str] = (),
        at: datetime | None = None,
    ) -> None:
        now = self.clock.now() if at is None else at
        receipts = [Receipt(each, each not in failed, 4006 if each in failed else 2000, now) for each in ids]
        await (gateway or self.here).news.reported("carrier", receipts)

    async def states(self, keys: Sequence[UUID]) -> list[int]:
        rows = await self.database.fetch("SELECT message_id, state FROM sms_messages")
        found = {row["message_id"]: row["state"] for row in rows}
        return [found[key] for key in keys]

    async def told(self) -> dict[UUID, dict[str, object]]:
        """What is told of each message; of each once."""
        blocks = [row["block_id"] for row in await self.database.fetch("SELECT block_id FROM events_batches")]
        found = await records.of_batches(self.database, blocks)
        assert max(Counter(each.event.about for each in found).values(), default=1) == 1
        return {each.event.about: msgspec.json.decode(each.event.data) for each in found if each.event.about}

    async def counted(self) -> tuple[int, int, int]:
        """Messages delivered, their segments, and messages failed, as they are counted."""
        hour = int(self.clock.now().timestamp()) // 3600
        totals = (await self.here.insights.page(self.resource, Question(hour - 24, hour + 24), limit=10)).totals
        return totals.delivered, totals.segments_delivered, sum(totals.failed_by_code.values())


@pytest.fixture
async def world(dsn: str, database: Database) -> AsyncGenerator[World]:
    world = World(dsn, database)
    await world.start()
    yield world
    await world.here.crash()
    await world.there.crash()


async def test_it_comes_to_the_same_as_where_messages_are_looked_up(world: World) -> None:
    keys = await world.send(4)
    ids = await world.taken(keys)
    now = world.clock.now()
    await world.report(ids[:2], at=now)
    await world.report(ids[2:], world.there, at=now)
    assert await world.states(keys) == [DELIVERED] * 4
    assert await world.counted() == (4, 4, 0)
    told = await world.told()
    assert told.keys() == set(keys)
    alike = [{name: value for name, value in told[key].items() if name not in ("messageId", "to")} for key in keys]
    assert alike == [alike[0]] * 4
    rows = await world.database.fetch(
        "SELECT code, ended_at, segments_delivered, due_at, claim_id, attempts, doubt FROM sms_messages"
    )
    assert len({tuple(row.values()) for row in rows}) == 1


async def test_what_nobody_wants_to_be_told_of_is_counted_alone(world: World) -> None:
    keys = [*await world.send(2, wanted=False), *await world.send(1)]
    await world.report(await world.taken(keys))
    assert (await world.told()).keys() == {keys[2]}
    assert await world.counted() == (3, 3, 0)


async def test_receipts_that_come_again_change_nothing(world: World) -> None:
    keys = await world.send(3)
    ids = await world.taken(keys)
    await world.report([*ids, ids[0]])
    before = await world.told()
    for gateway in (world.here, world.there):
        await world.report(ids, gateway)
        await world.report(ids, gateway, failed=ids)
    assert await world.states(keys) == [DELIVERED] * 3
    assert await world.told() == before
    assert await world.counted() == (3, 3, 0)


async def test_one_that_ended_elsewhere_ends_once_and_keeps_no_other_back(world: World) -> None:
    keys = await world.send(3)
    ids = await world.taken(keys)
    await world.report(ids[1:2], world.there)
    await world.report(ids)
    assert await world.states(keys) == [DELIVERED] * 3
    assert (await world.told()).keys() == set(keys)
    assert await world.counted() == (3, 3, 0)


async def test_failures_and_receipts_nobody_knows_come_among_them(world: World) -> None:
    keys = await world.send(4)
    ids = await world.taken(keys)
    await world.report(["unknown", *ids], failed=ids[1:3])
    assert await world.states(keys) == [DELIVERED, FAILED, FAILED, DELIVERED]
    assert await world.counted() == (2, 2, 2)
    assert (await world.told()).keys() == set(keys)
    assert await world.database.fetchval("SELECT carrier_message_id FROM sms_parked_receipts") == "unknown"


async def test_an_id_that_is_another_processs_message_by_now_ends_that_one(world: World) -> None:
    older, newer, third = await world.send(3)
    ids = await world.taken([older, third])
    await world.database.execute(
        "UPDATE sms_submissions SET message_id = $1 WHERE carrier_message_id = $2", newer, ids[0]
    )
    await world.report(ids)
    assert await world.states([older, newer, third]) == [QUEUED, DELIVERED, DELIVERED]
    assert (await world.told()).keys() == {newer, third}


async def test_one_that_was_erased_meanwhile_keeps_no_other_back(world: World) -> None:
    keys = await world.send(2)
    ids = await world.taken(keys)
    await world.database.execute("DELETE FROM sms_messages WHERE message_id = $1", keys[0])
    await world.report(ids)
    assert (await world.told()).keys() == {keys[1]}
    assert await world.counted() == (1, 1, 0)


async def test_a_block_whose_last_receipts_end_by_a_statement_is_closed(world: World) -> None:
    keys = await world.send(2)
    await world.report(await world.taken(keys))
    await world.report(await world.taken(await world.send(1)))  # it is closed with the next
    left = await world.database.fetchval("SELECT count(*) FROM sms_blocks WHERE owner IS DISTINCT FROM block_id")
    assert left == 1


async def test_the_statement_is_used_for_what_this_process_sent(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = await world.send(5)
    ids = await world.taken(keys)

    def looked_up(*_: object) -> None:
        raise AssertionError("the messages were looked up")

    monkeypatch.setattr("landline.services.sms.records_receipts.report", looked_up)
    await world.report(ids)
    assert await world.states(keys) == [DELIVERED] * 5


async def test_what_more_webhooks_want_than_one_statement_writes_is_told_each_of_them_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several statements need a transaction around them: without it, what fails is told by those before, and again."""
    monkeypatch.setattr("landline.services.events.service.WRITTEN_AT_ONCE", 3)
    keys = await world.send(5)
    ids = await world.taken(keys)
    await world.report(ids[-1:], world.there)
    await world.report(ids)
    assert await world.states(keys) == [DELIVERED] * 5
    assert set(await world.told()) == set(keys)
    assert await world.counted() == (5, 5, 0)
