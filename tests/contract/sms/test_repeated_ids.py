"""A carrier that counts its message ids anew, as SMSCs do that were restarted: a receipt is the newest message's, also
when it comes before that message's answer is stored."""

from datetime import timedelta
from uuid import UUID

import pytest
from structlog.testing import capture_logs
from tests.support.gateway import Gateway
from tests.support.scripted import Fate, ScriptedCarrier

from landline.core.ids import ResourceId
from landline.engines.clock import DrivenClock
from landline.ports.sms_carrier import Receipt, Submitted
from landline.services.sms.service import Options, To
from landline.store.database import Database

SENDER, PHONE = "+18005550100", "+14255550142"
ID = "17"
QUEUED, DELIVERED, FAILED = 0, 8, 9


class World:
    """One process; its carrier says nothing by itself."""

    def __init__(self, dsn: str, database: Database) -> None:
        self.database = database
        self.clock = DrivenClock()
        self.carrier = ScriptedCarrier(self.clock, name="carrier", fate=Fate.LOST)
        self.gateway = Gateway(dsn, database, self.clock, self.carrier)

    async def start(self) -> None:
        await self.gateway.start()
        self.resource: ResourceId = await self.gateway.own()

    async def send(self) -> UUID:
        """A message that is on its way; its key."""
        await self.gateway.sms.send(self.resource, SENDER, [To(PHONE)], "hello", Options())
        await self.clock.advance(timedelta(milliseconds=1))
        return self.carrier.submissions[-1].key

    async def answer(self, key: UUID) -> None:
        await self.gateway.news.submitted("carrier", [Submitted(key, ID)])

    async def receipt(self, delivered: bool = True) -> None:
        code = 2000 if delivered else 4006
        await self.gateway.news.reported("carrier", [Receipt(ID, delivered, code, self.clock.now())])

    async def state(self, key: UUID) -> int:
        return await self.database.fetchval("SELECT state FROM sms_messages WHERE message_id = $1", key)


@pytest.fixture
async def world(dsn: str, database: Database):
    world = World(dsn, database)
    await world.start()
    yield world
    await world.gateway.crash()


async def test_a_receipt_before_the_answer_to_the_newer_message_is_kept_for_it(world: World):
    first = await world.send()
    await world.answer(first)
    await world.receipt(delivered=False)
    await world.clock.advance(timedelta(minutes=5))
    second = await world.send()
    await world.receipt()
    assert [await world.state(first), await world.state(second)] == [FAILED, QUEUED]
    await world.answer(second)
    assert [await world.state(first), await world.state(second)] == [FAILED, DELIVERED]


async def test_a_receipt_that_another_process_kept_meanwhile_is_found(world: World):
    """That process and the one that stores the answer do not see one another's transactions."""
    first = await world.send()
    await world.answer(first)
    await world.receipt()
    await world.clock.advance(timedelta(minutes=5))
    second = await world.send()
    await world.answer(second)
    await world.database.execute(
        "INSERT INTO sms_parked_receipts (carrier, carrier_message_id, parked_at, at, state, code)"
        " VALUES ('carrier', $1, $2, $2, $3, 2000)",
        ID, world.clock.now() - timedelta(seconds=1), DELIVERED,
    )  # fmt: skip
    assert await world.gateway.news.unpark() == 1
    assert await world.state(second) == DELIVERED


async def test_a_receipt_that_crossed_its_answer_counts_also_when_a_day_passes_in_the_same_moment(world: World):
    """Before any heartbeat has brought the two together."""
    message = await world.send()
    await world.answer(message)
    await world.database.execute(
        "INSERT INTO sms_parked_receipts (carrier, carrier_message_id, parked_at, at, state, code)"
        " VALUES ('carrier', $1, $2, $2, $3, 2000)",
        ID, world.clock.now(), DELIVERED,
    )  # fmt: skip
    world.gateway.worker.look()
    await world.clock.advance(timedelta(days=2))
    assert await world.state(message) == DELIVERED


async def test_a_repeated_receipt_is_not_the_next_message_by_its_id(world: World):
    first = await world.send()
    await world.answer(first)
    await world.receipt()
    await world.clock.advance(timedelta(minutes=5))
    await world.receipt()
    assert await world.gateway.news.unpark() == 0
    await world.clock.advance(timedelta(hours=2))
    second = await world.send()
    await world.answer(second)
    assert await world.state(second) == QUEUED
    await world.receipt()
    assert await world.state(second) == DELIVERED


async def test_a_receipt_of_nobodys_message_is_not_that_of_a_message_hours_later(world: World):
    """Two servers with one account at a carrier get each other's receipts."""
    await world.receipt(delivered=False)
    await world.clock.advance(timedelta(hours=2))
    message = await world.send()
    await world.receipt()
    await world.answer(message)
    assert await world.state(message) == DELIVERED


async def test_receipts_of_nobodys_messages_do_not_stand_before_others(world: World):
    message = await world.send()
    await world.answer(message)
    now = world.clock.now()
    await world.database.execute(
        "INSERT INTO sms_parked_receipts (carrier, carrier_message_id, parked_at, at, state, code)"
        " SELECT 'carrier', 'x' || n, $1, $1, $2, 2000 FROM generate_series(1, 2000) n",
        now - timedelta(minutes=1), DELIVERED,
    )  # fmt: skip
    await world.database.execute(
        "INSERT INTO sms_parked_receipts (carrier, carrier_message_id, parked_at, at, state, code)"
        " VALUES ('carrier', $1, $2, $2, $3, 2000)",
        ID, now, DELIVERED,
    )  # fmt: skip
    assert await world.gateway.news.unpark() == 1
    assert await world.state(message) == DELIVERED


async def test_a_receipt_that_its_carrier_dates_back_ends_its_own_message_and_not_the_next_by_its_id(world: World):
    first = await world.send()
    await world.answer(first)
    lately = world.clock.now() - timedelta(minutes=1)
    both = [Receipt(ID, True, 2000, lately), Receipt("nobody's", True, 2000, lately)]
    await world.gateway.news.reported("carrier", both)
    assert await world.state(first) == DELIVERED
    second = await world.send()
    await world.answer(second)
    assert await world.state(second) == QUEUED


async def test_receipts_that_are_repeated_twice_at_once_hold_up_no_other(world: World):
    first = await world.send()
    await world.answer(first)
    await world.receipt()
    await world.clock.advance(timedelta(minutes=5))
    second = await world.send()
    await world.gateway.news.submitted("carrier", [Submitted(second, "18")])
    now = world.clock.now()
    with capture_logs() as logs:
        await world.gateway.news.reported("carrier", [Receipt(name, True, 2000, now) for name in (ID, ID, "18", ID)])
    assert [await world.state(first), await world.state(second)] == [DELIVERED, DELIVERED]
    assert [entry for entry in logs if entry["log_level"] in ("warning", "error")] == []


async def test_a_message_whose_id_another_got_is_not_taken_back(world: World):
    """Its phone may have it: who is told that it was canceled sends another."""
    first = await world.send()
    await world.answer(first)
    await world.clock.advance(timedelta(minutes=5))
    second = await world.send()
    await world.answer(second)
    assert await world.gateway.taking_back.cancel(world.resource, [first, second]) == set()
    assert [await world.state(first), await world.state(second)] == [QUEUED, QUEUED]


async def test_a_carrier_that_gives_its_ids_again_has_each_answer_stored(world: World):
    """As one with very few of them does, each time."""
    for _ in range(3):
        message = await world.send()
        await world.answer(message)
        await world.receipt()
        assert await world.state(message) == DELIVERED
        await world.clock.advance(timedelta(minutes=31))


async def test_a_message_whose_id_another_got_is_not_handed_over_again_after_a_crash(world: World):
    """One of their request is unanswered still, for which their block is held. The timeline tells that the carrier has
    it, by an id that no receipt can name."""
    recipients = [To(f"+1425555010{number}") for number in range(3)]
    await world.gateway.sms.send(world.resource, SENDER, recipients, "hello", Options())
    await world.clock.advance(timedelta(milliseconds=1))
    first, second, third = (each.key for each in world.carrier.submissions)
    await world.answer(first)
    await world.answer(second)
    await world.gateway.crash()
    world.gateway = await Gateway(world.gateway.dsn, world.database, world.clock, world.carrier).start()
    await world.clock.advance(timedelta(seconds=1))
    assert [each.key for each in world.carrier.submissions] == [first, second, third, third]
    shown = await world.gateway.timelines.timeline([world.resource], str(first))
    assert [step.get("carrierMessageId") for step in shown["steps"]] == [None, None, f"{ID}?{first.hex}"]
    await world.receipt()
    assert [await world.state(key) for key in (first, second, third)] == [QUEUED, DELIVERED, QUEUED]
