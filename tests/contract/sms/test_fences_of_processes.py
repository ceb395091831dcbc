"""What a process does about messages it lost to another, has lost sight of, or took over from one that died: nothing is
handed over once too often, ended too early, or forgotten (docs/design/gateway.md, "Fences" and "Doubt")."""

from collections.abc import Sequence, Set
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from tests.support.cluster import eventually
from tests.support.gateway import Gateway
from tests.support.scripted import Fate, ScriptedCarrier

from landline.core.errors import Unavailable
from landline.core.ids import ResourceId
from landline.engines.clock import DrivenClock
from landline.ports.sms_carrier import CrashPolicy, Receipt, Submitted
from landline.services.sms import records_progress as records
from landline.services.sms.service import Options, To
from landline.store.database import Database, Record

SENDER, PHONE, OTHER = "+18005550100", "+14255550142", "+14255550143"
SOMEBODY_ELSE = uuid4()


class World:
    """One process over two carriers; further ones where the test wants them."""

    def __init__(self, dsn: str, database: Database) -> None:
        self.dsn = dsn
        self.database = database
        self.clock = DrivenClock()
        self.first = ScriptedCarrier(self.clock, name="first")
        self.second = ScriptedCarrier(self.clock, name="second")
        self.gateways: list[Gateway] = []

    async def start(self, *carriers: ScriptedCarrier, beat_s: float = 3_600.0) -> Gateway:
        """`beat_s`: see `Worker`; else none disturbs."""
        self.gateway = Gateway(self.dsn, self.database, self.clock, *(carriers or (self.first,)))
        self.gateway.worker.beat_s = beat_s
        self.gateways.append(self.gateway)
        await self.gateway.start()
        self.resource: ResourceId = await self.gateway.own()
        return self.gateway

    async def crash(self) -> None:
        await self.gateways.pop().crash()

    async def send(self, *phones: str, report_timeout_s: int = 3_600) -> UUID:
        to = [To(phone) for phone in phones or (PHONE,)]
        options = Options(report_wanted=True, report_timeout_s=report_timeout_s)
        await self.gateway.sms.send(self.resource, SENDER, to, "hello", options)
        await self.pass_time(milliseconds=1)
        return await self.database.fetchval("SELECT message_id FROM sms_messages ORDER BY 1 DESC LIMIT 1")

    async def pass_time(self, **amount: float) -> None:
        await self.clock.advance(timedelta(**amount))

    async def lose_blocks(self) -> None:
        """Another process claims all blocks, as it may once our leases have ended."""
        await self.database.execute("UPDATE sms_blocks SET owner = $1", SOMEBODY_ELSE)

    async def end_leases(self) -> None:
        """Whoever looks next claims all there is."""
        await self.database.execute("UPDATE sms_blocks SET due_at = $1", self.clock.now())

    async def told(self, carrier: str, answer: Submitted) -> None:
        await self.gateway.news.submitted(carrier, [answer])

    async def receipt(self, carrier: str, carrier_id: str, code: int = 2000) -> None:
        receipt = Receipt(carrier_id, code == 2000, code, self.clock.now())
        await self.gateway.news.reported(carrier, [receipt])

    async def ends(self) -> dict[str, tuple[int, int | None]]:
        rows = await self.database.fetch("SELECT recipient, state, code FROM sms_messages")
        return {row["recipient"]: (row["state"], row["code"]) for row in rows}

    async def blocks(self) -> int:
        return await self.database.fetchval("SELECT count(*) FROM sms_blocks WHERE owner IS DISTINCT FROM block_id")


@pytest.fixture
async def world(dsn: str, database: Database):
    world = World(dsn, database)
    yield world
    for gateway in world.gateways:
        await gateway.crash()


@pytest.mark.parametrize("unknown", [False, True], ids=["a refusal for good", "a silence"])
async def test_what_another_process_has_claimed_is_not_ended_by_an_answer_to_us(world: World, unknown: bool):
    world.first.fate = Fate.LOST
    world.first.crash_policy = CrashPolicy.UNKNOWN if unknown else CrashPolicy.RESEND
    await world.start()
    key = await world.send()
    await world.lose_blocks()
    code = 5001 if unknown else 5000
    await world.told("first", Submitted(key, None, code, temporary=unknown, unknown=unknown))
    assert await world.ends() == {PHONE: (0, None)}
    assert world.gateway.handover.count == 0
    assert await world.database.fetchval("SELECT owner FROM sms_blocks") == SOMEBODY_ELSE


async def test_what_is_on_its_way_when_its_lease_is_lost_is_known_by_its_answer(world: World):
    world.first.fate = Fate.LOST
    await world.start(beat_s=0.01)
    key = await world.send()
    await world.lose_blocks()

    async def noticed() -> bool:
        return not world.gateway.handover.held()

    await eventually(noticed)
    await world.told("first", Submitted(key, "late"))
    await world.receipt("first", "late")
    assert await world.ends() == {PHONE: (8, 2000)}


@pytest.mark.parametrize("temporary", [True, False])
async def test_a_refused_second_copy_fails_nothing_that_the_first_process_could_store_late_only(
    world: World, temporary: bool
):
    """It was without the database while its lease ended, and another had written down the next hand-over by then."""
    world.first.fate = Fate.LOST
    before = await world.start(world.first, world.second)
    key = await world.send()
    await world.end_leases()
    await world.start(world.first, world.second)
    await world.pass_time(seconds=1)
    assert len(world.first.submissions) == 2
    await before.news.submitted("first", [Submitted(key, "first1")])
    await world.told("first", Submitted(key, None, 5001 if temporary else 4006, temporary=temporary))
    await world.pass_time(minutes=20)
    assert (len(world.first.submissions), len(world.second.submissions)) == (2, 0)
    assert await world.ends() == {PHONE: (0, None)}
    await world.receipt("first", "first1")
    assert await world.ends() == {PHONE: (8, 2000)}


async def test_what_we_took_back_is_not_in_doubt_for_being_on_its_way(world: World):
    """Its lease was lost and gained again meanwhile: its answer is still to come, and decides."""
    world.first.fate, world.first.crash_policy = Fate.LOST, CrashPolicy.UNKNOWN
    await world.start()
    key = await world.send()
    await world.lose_blocks()
    await world.end_leases()
    world.gateway.worker.look()
    await world.pass_time(seconds=1)
    assert await world.database.fetchval("SELECT owner FROM sms_blocks") == world.gateway.owner
    assert await world.ends() == {PHONE: (0, None)}
    await world.told("first", Submitted(key, "first1"))
    await world.receipt("first", "first1")
    assert (await world.ends(), len(world.first.submissions)) == ({PHONE: (8, 2000)}, 1)


async def test_a_block_that_was_begun_while_the_leases_were_renewed_is_not_lost(world: World):
    world.first.fate = Fate.LOST
    await world.start(beat_s=0.01)
    await world.send()
    extend = world.gateway.blocks.extend

    async def slow(*arguments: Any) -> set[UUID]:
        held = await extend(*arguments)
        world.gateway.blocks.extend = extend  # type: ignore[method-assign]
        await world.send(OTHER)
        return held

    lost, lose = set[UUID](), world.gateway.handover.lose

    def noting(blocks: Set[UUID]) -> None:
        lost.update(blocks)
        lose(blocks)

    world.gateway.handover.lose = noting  # type: ignore[method-assign]
    world.gateway.blocks.extend = slow  # type: ignore[method-assign]
    await eventually(lambda: world.database.fetchval("SELECT count(*) = 2 FROM sms_messages"))
    await world.pass_time(seconds=1)
    assert len(world.gateway.handover.held()) == 2
    assert lost == set()


async def test_a_lease_counts_from_before_it_was_asked_for(world: World):
    """An answer that took 12 of its 15 s is no reason to hand over for 10 more."""
    await world.start()
    world.first.up = False
    await world.send()
    extend, renewed = world.gateway.blocks.extend, list[datetime]()

    async def slow_at_first(*arguments: Any) -> set[UUID]:
        held = await extend(*arguments)
        if not renewed:
            world.clock._offset += timedelta(seconds=12)
        renewed.append(world.clock.now())
        return held

    world.gateway.blocks.extend = slow_at_first  # type: ignore[method-assign]
    await world.pass_time(seconds=14)
    assert renewed[1] - renewed[0] < timedelta(seconds=1)


async def test_a_message_that_left_its_block_does_not_end_it_for_another(world: World):
    """One is refused for now and delivered later; the other is never reported, and its block knows until when."""
    busy = True
    world.first.fate = lambda submission: (
        Fate.TAKEN if submission.recipient == OTHER else Fate.BUSY if busy else Fate.DELIVERED
    )
    await world.start()
    await world.send(PHONE, OTHER, report_timeout_s=600)
    busy = False
    await world.pass_time(seconds=6)
    assert await world.ends() == {PHONE: (8, 2000), OTHER: (0, None)}
    assert await world.blocks() == 1
    await world.pass_time(minutes=10)
    assert await world.ends() == {PHONE: (8, 2000), OTHER: (9, 5002)}
    assert await world.blocks() == 0


async def test_a_message_that_failed_over_after_it_left_its_block_does_not_end_it_for_another(world: World):
    busy = True
    world.first.fate = lambda submission: (
        Fate.TAKEN if submission.recipient == OTHER else Fate.BUSY if busy else Fate.FAILED
    )
    world.second.up = False
    await world.start(world.first, world.second)
    world.gateway.fails_over_on_receipts = True
    await world.send(PHONE, OTHER, report_timeout_s=600)
    busy, world.second.up = False, True
    await world.pass_time(seconds=6)
    assert await world.ends() == {PHONE: (8, 2000), OTHER: (0, None)}
    assert await world.blocks() == 1
    await world.pass_time(minutes=10)
    assert await world.ends() == {PHONE: (8, 2000), OTHER: (9, 5002)}


async def test_what_a_dead_process_may_have_sent_stays_in_doubt_when_its_heir_cannot_go_on(world: World):
    """The heir does not reach the carrier and passes the block on: the next is told by the message itself."""
    world.first.fate = Fate.LOST
    await world.start()
    await world.send()
    await world.crash()
    world.first.reachable, world.first.fate = False, Fate.SILENCE
    await world.start()
    await world.pass_time(seconds=1)
    assert await world.database.fetchval("SELECT owner IS NULL FROM sms_blocks")
    await world.crash()
    world.first.reachable = True
    await world.start()
    await world.pass_time(minutes=30)
    assert (len(world.first.submissions), await world.ends()) == (2, {PHONE: (9, 9999)})


async def test_what_a_dead_process_may_have_sent_is_not_taken_back_from_what_waits_in_nobodys_hands(world: World):
    """Who is told that it was canceled sends another."""
    world.first.fate = Fate.LOST
    await world.start()
    resource, key = world.resource, await world.send()
    await world.crash()
    world.first.reachable = False
    await world.start()
    await world.pass_time(seconds=1)
    assert await world.database.fetchval("SELECT owner IS NULL FROM sms_blocks")
    assert await world.gateway.canceling.cancel(resource, [key]) == set()
    assert await world.ends() == {PHONE: (0, None)}


async def test_what_a_dead_process_may_have_sent_stays_in_doubt_when_its_heir_loses_the_database(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    world.first.fate = Fate.LOST
    await world.start()
    await world.send()
    await world.crash()
    world.first.fate = Fate.SILENCE
    unfinished, asked = records.unfinished, 0

    async def away_at_first(*arguments: Any) -> dict[UUID, list[Record]]:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise Unavailable("PostgreSQL is away")
        return await unfinished(*arguments)

    monkeypatch.setattr(records, "unfinished", away_at_first)
    await world.start(beat_s=0.01)
    await world.pass_time(milliseconds=1)
    await eventually(lambda: world.database.fetchval("SELECT ended_at IS NOT NULL FROM sms_messages"))
    assert (len(world.first.submissions), await world.ends()) == (2, {PHONE: (9, 9999)})


async def test_what_the_first_carrier_failed_is_not_waited_for_when_the_second_is_busy(world: World):
    """It was silent, and said late that it had the message; its failure came while the second had it on its way."""
    world.first.fate, world.second.fate = Fate.SILENCE, Fate.LOST
    await world.start(world.first, world.second)
    key = await world.send()
    await world.gateway.news.submitted_late("first", [Submitted(key, "late")])
    await world.receipt("first", "late", 5000)
    assert await world.ends() == {PHONE: (0, None)}
    world.second.fate = Fate.DELIVERED
    await world.told("second", Submitted(key, None, 5001, temporary=True))
    await world.pass_time(minutes=2)
    assert (await world.ends(), len(world.second.submissions)) == ({PHONE: (8, 2000)}, 2)


async def test_a_failure_that_is_taken_back_at_once_is_none(world: World):
    """Seed 116: brought together, the first receipt alone was heeded, and the next carrier sent the text again."""
    world.first.fate = Fate.TAKEN
    await world.start(world.first, world.second)
    world.gateway.fails_over_on_receipts = True
    await world.send()
    now = world.clock.now()
    both = [Receipt("first1", False, 5000, now), Receipt("first1", True, 2000, now)]
    await world.gateway.news.reported("first", both)
    await world.pass_time(seconds=1)
    assert (await world.ends(), world.second.submissions) == ({PHONE: (8, 2000)}, [])


async def test_what_could_not_be_checked_is_asked_about_before_it_is_handed_over(world: World):
    """Something may have been decided about it in a commit of whose answer we did not learn."""
    await world.start()
    world.first.up = False
    key = await world.send()
    await world.pass_time(seconds=3)
    opted_out = world.gateway.wanted.without_opted_out
    marked = list[Sequence[Any]]()
    mark = world.gateway.standing._mark

    async def away(_batch: Sequence[Any]) -> Sequence[Any]:
        raise Unavailable("PostgreSQL is away")

    async def noting(messages: Sequence[Any]) -> set[int]:
        marked.append(messages)
        return await mark(messages)

    world.gateway.wanted.without_opted_out = away  # type: ignore[method-assign]
    await world.pass_time(seconds=2)
    world.gateway.wanted.without_opted_out = opted_out  # type: ignore[method-assign]
    world.gateway.standing._mark = noting  # type: ignore[method-assign]
    world.first.up = True
    await world.pass_time(seconds=2)
    assert [message.submission.key for message in marked[0]] == [key]
    assert len(world.first.submissions) == 1
