"""Found by the simulation: a process that lost its lease, or an answer of the database, neither doubles messages nor
loses them, nor counts them twice (docs/design/gateway.md, "Fences")."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from tests.support.cluster import eventually
from tests.support.gateway import Gateway
from tests.support.scripted import Fate, ScriptedCarrier
from tests.support.still import StillClock

from landline.core.errors import Unavailable
from landline.core.ids import ResourceId
from landline.core.phone import SenderKind
from landline.ports.clock import Clock
from landline.ports.sms_carrier import Arrival, CrashPolicy, Receipt, Submission, Submitted
from landline.services.insights.model import Figures
from landline.services.insights.questions import Dimension, Question
from landline.services.sms import records as sms_records
from landline.services.sms import records_deferred
from landline.services.sms import records_progress as records
from landline.services.sms.handover import Pending
from landline.services.sms.model import details
from landline.services.sms.model.messages import FINAL, State
from landline.services.sms.records_deferred import Claim
from landline.services.sms.service import Options, To
from landline.store.blocks import LEASE
from landline.store.database import Connection, Database

SENDER, PHONE = "+18005550100", "+14255550142"
SOMEBODY_ELSE = uuid4()


class LossyDatabase(Database):
    """Loses the answer of the next transaction when it is told to."""

    loses = False

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Connection]:
        async with super().transaction() as connection:
            yield connection
        if self.loses:
            self.loses = False
            raise Unavailable("the connection was lost")


class World:
    """One process over two carriers, whose leases and answers the test takes away."""

    def __init__(self, dsn: str, database: Database) -> None:
        self.dsn = dsn
        self.database = database
        self.clock = StillClock()
        self.first = ScriptedCarrier(self.clock, name="first")
        self.second = ScriptedCarrier(self.clock, name="second")

    async def start(
        self,
        *carriers: ScriptedCarrier,
        rate_per_s: float | None = None,
        line: Clock | None = None,
        beat_s: float = 3_600.0,
    ) -> None:
        """`beat_s`: see `Worker`; else none disturbs."""
        rates = None if rate_per_s is None else {SenderKind.TOLL_FREE: rate_per_s}
        self.gateway = Gateway(self.dsn, self.database, self.clock, *carriers, sender_rates=rates, line=line)
        self.gateway.worker.beat_s = beat_s
        await self.gateway.start()
        self.resource: ResourceId = await self.gateway.own()

    async def send(self, options: Options | None = None) -> None:
        await self.gateway.sms.send(self.resource, SENDER, [To(PHONE)], "hello", options or Options())
        await self.clock.advance(timedelta(milliseconds=1))

    async def lose_blocks(self) -> None:
        """Another process claims all blocks, as it may once our leases have ended."""
        await self.database.execute("UPDATE sms_blocks SET owner = $1", SOMEBODY_ELSE)

    async def message(self) -> tuple[int, int | None, int]:
        row = await self.database.fetchrow("SELECT state, code, attempts FROM sms_messages")
        assert row is not None
        return row["state"], row["code"], row["attempts"]

    async def by_carrier(self) -> dict[str, Figures]:
        hour = int(self.clock.now().timestamp()) // 3600
        question = Question(hour - 24, hour + 1, by=(Dimension.CARRIER,))
        page = await self.gateway.insights.page(self.resource, question, limit=10)
        return {str(group.place[0]): group.figures for group in page.groups}


@pytest.fixture
async def world(dsn: str, database: Database):
    world = World(dsn, database)
    yield world
    await world.gateway.crash()
    if world.database is not database:
        await world.database.close()


@pytest.mark.parametrize("policy", CrashPolicy)
async def test_what_another_process_has_claimed_is_not_handed_over(world: World, policy: CrashPolicy):
    world.first.crash_policy = policy
    await world.start(world.first)
    world.first.up = False
    await world.send()
    await world.lose_blocks()
    await world.clock.advance(LEASE)
    world.first.up = True
    await world.clock.advance(timedelta(minutes=1))
    assert world.first.submissions == []
    assert await world.database.fetchval("SELECT owner FROM sms_blocks") == SOMEBODY_ELSE


async def test_what_another_process_has_claimed_is_not_handed_over_by_a_clock_that_was_set_back(world: World):
    line = StillClock()
    await world.start(world.first, line=line)
    world.first.up = False
    await world.send()
    await world.lose_blocks()
    world.clock.set_back(timedelta(hours=1))
    world.first.up = True
    await line.advance(LEASE)
    await world.clock.advance(timedelta(minutes=1))
    assert world.first.submissions == []
    assert world.gateway.handover.count == 0


async def test_what_another_process_has_sent_and_its_phone_had_erased_is_not_handed_over(world: World):
    world.first.crash_policy = CrashPolicy.UNKNOWN
    await world.start(world.first)
    world.first.up = False
    await world.send()
    await world.lose_blocks()
    await world.database.execute("DELETE FROM sms_messages")
    world.first.up = True
    await world.clock.advance(timedelta(seconds=2))
    assert world.first.submissions == []
    await world.send()  # it goes on with what is its own
    assert len(world.first.submissions) == 1


async def test_a_refusal_decides_nothing_about_what_another_process_has_claimed(world: World):
    world.first.fate = Fate.LOST
    await world.start(world.first)
    await world.send()
    await world.lose_blocks()
    key = world.first.submissions[0].key
    await world.gateway.news.submitted("first", [Submitted(key, None, 5001, temporary=True)])
    await world.clock.advance(timedelta(seconds=10))
    assert await world.message() == (0, None, 0)
    assert await world.database.fetchval("SELECT owner FROM sms_blocks") == SOMEBODY_ELSE


@pytest.mark.parametrize("temporary", [True, False])
async def test_what_an_answer_shows_to_be_another_processs_is_not_handed_over(world: World, temporary: bool):
    """As with clocks that are apart: by ours the lease holds."""
    world.first.fate = Fate.LOST
    await world.start(world.first, rate_per_s=1)
    to = [To(PHONE), To("+14255550143")]
    await world.gateway.sms.send(world.resource, SENDER, to, "hello", Options())
    await world.clock.advance(timedelta(milliseconds=1))
    await world.lose_blocks()
    key = world.first.submissions[0].key
    await world.gateway.news.submitted("first", [Submitted(key, None, 5001, temporary=temporary)])
    await world.clock.advance(timedelta(seconds=2))
    assert len(world.first.submissions) == 1
    assert world.gateway.handover.count == 0


async def test_an_answer_that_comes_late_keeps_the_next_holder_from_doubling(world: World):
    """The first holder stores it while the second, which has claimed the block, waits for its carrier."""
    world.first.fate = Fate.LOST
    await world.start(world.first)
    await world.send()
    late, key = world.gateway, world.first.submissions[0].key
    heir = Gateway(world.dsn, world.database, world.clock, world.first)
    heir.worker.beat_s = 3_600.0
    world.first.up = False
    await world.database.execute("UPDATE sms_blocks SET due_at = $1", world.clock.now())
    await heir.start()
    await world.clock.advance(timedelta(seconds=5))
    assert heir.handover.in_hand(key) is not None
    await late.news.submitted("first", [Submitted(key, "late")])
    world.first.up = True
    await world.clock.advance(timedelta(minutes=1))
    assert len(world.first.submissions) == 1
    await heir.crash()


async def test_what_its_carrier_has_after_all_ends_when_its_report_does_not_come(world: World):
    """As before, and the first holder is gone: that it has a message is no end of it."""
    world.first.fate = Fate.LOST
    await world.start(world.first)
    await world.send()
    late, key = world.gateway, world.first.submissions[0].key
    world.gateway = Gateway(world.dsn, world.database, world.clock, world.first)
    world.gateway.worker.beat_s = 3_600.0
    world.first.up = False
    await world.database.execute("UPDATE sms_blocks SET due_at = $1", world.clock.now())
    await world.gateway.start()
    await world.clock.advance(timedelta(seconds=5))
    await late.news.submitted("first", [Submitted(key, "late")])
    await late.crash()
    world.first.up = True
    await world.clock.advance(timedelta(minutes=1))
    state, *_ = await world.message()
    assert state not in FINAL
    await world.clock.advance(timedelta(days=4))
    assert await world.message() == (State.FAILED, details.NO_REPORT, 0)
    assert len(world.first.submissions) == 1


async def test_a_refusal_told_again_is_not_the_next_carriers(world: World):
    world.first.fate, world.second.fate = Fate.BUSY, Fate.LOST
    await world.start(world.first, world.second)
    await world.send()
    key = world.second.submissions[0].key
    await world.gateway.news.submitted("first", [Submitted(key, None, 5000, temporary=True, reason="busy")])
    await world.clock.advance(timedelta(minutes=1))
    assert (len(world.first.submissions), len(world.second.submissions)) == (1, 1)
    figures = await world.by_carrier()
    assert {name: each.accepted for name, each in figures.items()} == {"second": 1}


async def test_a_reply_to_a_keyword_that_fails_over_is_counted_nowhere(world: World):
    world.first.fate = Fate.REFUSED
    await world.start(world.first, world.second)
    arrival = Arrival("mo1", PHONE, SENDER, "STOP", 1, world.clock.now())
    await world.gateway.news.arrived("first", [arrival])
    await world.clock.advance(timedelta(seconds=1))
    assert len(world.second.submissions) == 1
    assert all(each.accepted == 0 for each in (await world.by_carrier()).values())


async def test_a_better_report_stops_the_next_carrier(world: World):
    """The first failed it, so the second is to have it when its sender's pace allows; then the first delivered it."""
    world.first.fate = Fate.FAILED
    await world.start(world.first, world.second, rate_per_s=0.02)
    world.gateway.fails_over_on_receipts = True
    await world.send()
    await world.clock.advance(timedelta(seconds=10))
    assert world.gateway.handover.count == 1
    await world.gateway.news.reported("first", [Receipt("first1", True, 2000, world.clock.now())])
    await world.clock.advance(timedelta(minutes=5))
    assert world.second.submissions == []
    assert (await world.message())[:2] == (8, 2000)


async def test_silences_are_counted_over_a_failover(world: World):
    """Silence at the first, a failure of the second: then once more at most, and not twice again."""
    world.first.fate, world.second.fate = Fate.SILENCE, Fate.FAILED
    await world.start(world.first, world.second)
    world.gateway.fails_over_on_receipts = True
    await world.send(Options(report_timeout_s=3_600))
    await world.clock.advance(timedelta(hours=2))
    assert len(world.first.submissions) + len(world.second.submissions) <= 3


async def test_stop_is_heeded_by_what_waits_for_its_time(world: World):
    await world.start(world.first)
    await world.send(Options(report_wanted=True, send_at=world.clock.now() + timedelta(minutes=5)))
    await world.gateway.opt_outs.opt_out(world.resource, SENDER, [PHONE])
    await world.clock.advance(timedelta(minutes=10))
    assert world.first.submissions == []
    assert (await world.message())[:2] == (9, 4007)


async def test_stop_is_heeded_by_what_waits_for_its_turn(world: World):
    await world.start(world.first, rate_per_s=0.02)
    await world.gateway.sms.send(world.resource, SENDER, [To("+14255550143")], "first in line", Options())
    await world.send()
    arrival = Arrival("mo1", PHONE, SENDER, "STOP", 1, world.clock.now())
    await world.gateway.news.arrived("first", [arrival])
    await world.clock.advance(timedelta(minutes=10))
    texts = {(each.recipient, each.text) for each in world.first.submissions}
    assert (PHONE, "hello") not in texts
    assert len([text for to, text in texts if to == PHONE]) == 1, "the reply to STOP passes"


@pytest.mark.parametrize("released", [False, True])
async def test_what_waits_is_looked_at_again_though_the_clock_was_set_back_since_it_was_accepted(
    world: World, released: bool
):
    async def may_not_send(_resource: ResourceId, _sender: str) -> bool:
        return False

    await world.start(world.first, rate_per_s=0.02)
    await world.gateway.sms.send(world.resource, SENDER, [To("+14255550143")], "first in line", Options())
    await world.send()
    world.clock._began -= timedelta(hours=1)
    if released:
        world.gateway.wanted._may_send = may_not_send
    else:
        await world.gateway.opt_outs.opt_out(world.resource, SENDER, [PHONE])
    world.gateway.worker.reached()  # its alarms go off, as they do where time passes by itself
    await world.clock.advance(timedelta(minutes=10))
    assert [each.recipient for each in world.first.submissions] == ["+14255550143"]
    assert world.gateway.handover.count == 0


async def test_a_block_whose_release_failed_is_released_later(world: World):
    world.first.fate = Fate.TAKEN
    await world.start(world.first)
    release, refused = world.gateway.blocks.release, 0

    async def refuse_once(*arguments: object, **options: bool) -> None:
        nonlocal refused
        if arguments[0] and not refused:
            refused += 1
            raise Unavailable("PostgreSQL is away")
        await release(*arguments, **options)  # type: ignore[arg-type]

    world.gateway.blocks.release = refuse_once  # type: ignore[method-assign]
    await world.send(Options(report_timeout_s=60))
    assert refused == 1
    world.gateway.worker.look()
    await world.clock.advance(timedelta(minutes=2))
    assert (await world.message())[:2] == (9, 5002)


async def test_a_block_claimed_without_our_learning_of_it_is_looked_at(world: World):
    world.first.fate = Fate.TAKEN
    await world.start(world.first)
    await world.send(Options(report_timeout_s=60))
    block: UUID = await world.database.fetchval("SELECT block_id FROM sms_blocks")
    await world.database.execute(
        "UPDATE sms_blocks SET owner = $1, due_at = $2", world.gateway.owner, world.clock.now()
    )
    assert block not in world.gateway.handover.known()


async def test_what_may_have_been_given_to_another_carrier_is_not_handed_over_unasked(world: World):
    """Seed 30492: it was, the database did not say so, and the first carrier was there again."""
    world.database = lossy = await LossyDatabase.connect(world.dsn)
    assert isinstance(lossy, LossyDatabase)
    world.first.crash_policy, world.second.fate = CrashPolicy.REPEATABLE, Fate.LOST
    await world.start(world.first, world.second)
    submit = world.first.submit

    async def down_once(_submissions: Sequence[Submission]) -> None:
        world.first.submit, lossy.loses = submit, True  # type: ignore[method-assign]
        raise Unavailable("it is down")

    world.first.submit = down_once  # type: ignore[method-assign]
    await world.send()
    world.gateway.worker.look()
    await world.clock.advance(timedelta(seconds=5))
    assert (len(world.first.submissions), len(world.second.submissions)) == (0, 1)
    assert not lossy.loses


@pytest.mark.parametrize(("count", "least"), [(1, 1), (12, 2)], ids=["what is next", "what waits behind it"])
async def test_what_another_process_took_up_for_another_carrier_is_not_handed_over_unasked(
    world: World, count: int, least: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was given to that carrier, which the database did not say, and the first was there again."""
    world.database = lossy = await LossyDatabase.connect(world.dsn)
    assert isinstance(lossy, LossyDatabase)
    world.first.up, world.first.at_once = False, 1
    await world.start(world.first, world.second)
    reroute = world.gateway.rerouting.reroute

    async def lost(messages: Sequence[Pending], reason: str) -> list[Pending]:
        lossy.loses = len(messages) >= least
        try:
            return await reroute(messages, reason)
        except Unavailable:
            world.first.up, world.first.at_once = True, 100
            now = world.clock.now()
            async with world.database.connection() as connection:
                claim = Claim(uuid4(), SOMEBODY_ELSE, now)
                assert await records_deferred.claim_deferred(connection, claim, 10, carriers=["second"])
            raise

    monkeypatch.setattr(world.gateway.rerouting, "reroute", lost)
    for _ in range(count):
        await world.send()
    await world.clock.advance(timedelta(seconds=12))
    there = await world.database.fetchval("SELECT count(*) FROM sms_messages WHERE claim_id IS NOT NULL")
    assert there >= least
    assert (len(world.first.submissions), len(world.second.submissions)) == (0, count - there)


async def test_what_is_on_its_way_from_here_is_not_handed_over_again_before_it_is_answered(world: World):
    """Seed 30859: its lease was lost and gained again, and the first answer was taken for the second hand-over's."""
    world.first.fate = Fate.BUSY
    await world.start(world.first)
    await world.send()
    world.first.fate = Fate.LOST
    await world.clock.advance(timedelta(seconds=6))
    assert len(world.first.submissions) == 2
    await world.lose_blocks()
    await world.database.execute("UPDATE sms_blocks SET due_at = $1", world.clock.now())
    world.gateway.worker.look()
    await world.clock.advance(timedelta(seconds=5))
    assert len(world.first.submissions) == 2
    key = world.first.submissions[0].key
    await world.gateway.news.submitted("first", [Submitted(key, None, 5001, temporary=True)])
    assert await world.message() == (0, None, 2)
    world.first.fate = Fate.DELIVERED
    await world.clock.advance(timedelta(minutes=1))
    assert await world.message() == (8, 2000, 2)
    assert len(world.first.submissions) == 3


async def test_a_deferred_message_in_the_hands_of_a_process_that_died_is_taken_up_as_soon_as_a_block(world: World):
    world.first.fate = Fate.BUSY
    await world.start(world.first)
    await world.send()
    world.first.up = False
    await world.clock.advance(timedelta(seconds=6))
    assert world.gateway.handover.count == 1
    await world.gateway.crash()  # with it, its leases end
    world.first.up, world.first.fate = True, Fate.DELIVERED
    world.gateway = Gateway(world.dsn, world.database, world.clock, world.first)
    world.gateway.worker.beat_s = 3_600.0
    await world.gateway.start()
    await world.clock.advance(timedelta(seconds=1))
    assert await world.message() == (8, 2000, 1)


async def test_a_deferred_message_claimed_without_our_learning_of_it_is_taken_up(world: World):
    world.first.fate = Fate.BUSY
    await world.start(world.first, beat_s=0.02)
    await world.send()
    world.first.fate = Fate.DELIVERED
    soon = world.clock.now() + timedelta(seconds=6)
    async with world.database.connection() as connection:  # PostgreSQL dies before it answers
        assert await records_deferred.claim_deferred(
            connection, Claim(uuid4(), world.gateway.owner, soon), 10, carriers=["first"]
        )
    await eventually(lambda: world.database.fetchval("SELECT claim_id IS NULL FROM sms_messages"))
    await world.clock.advance(timedelta(seconds=1))
    assert await world.message() == (8, 2000, 1)
    assert len(world.first.submissions) == 2


async def test_what_another_process_claimed_from_us_is_not_handed_over_though_it_has_a_timer(world: World):
    world.first.fate = Fate.BUSY
    await world.start(world.first)
    await world.send()
    world.first.up = False
    await world.clock.advance(timedelta(seconds=6))
    await world.lose_blocks()
    world.first.up = True
    await world.clock.advance(LEASE / 2)
    assert len(world.first.submissions) == 1
    assert world.gateway.handover.count == 0


async def test_what_is_left_over_when_a_claim_ends_is_due(world: World):
    """The message was answered for after all, by a process that had lost it."""
    world.first.fate = Fate.SILENCE
    await world.start(world.first)
    await world.send(Options(report_timeout_s=60))
    world.first.up = False
    await world.clock.advance(timedelta(seconds=6))
    key, block = world.first.submissions[0].key, await world.database.fetchval("SELECT block_id FROM sms_messages")
    async with world.database.connection() as connection:
        late = [(Submitted(key, "late"), UUID(str(world.resource)), block)]
        await records.submitted(connection, "first", late, world.clock.now())
    world.first.up = True
    await world.clock.advance(timedelta(minutes=2))
    assert len(world.first.submissions) == 1
    assert (await world.message())[:2] == (9, 5002)
    assert await world.database.fetchval("SELECT count(*) FROM sms_blocks WHERE owner IS DISTINCT FROM block_id") == 0


async def test_an_opt_out_is_heeded_that_came_while_the_hand_over_was_written_down(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    world.first.crash_policy = CrashPolicy.UNKNOWN
    await world.start(world.first)
    mark = records.mark

    async def slow_mark(*arguments: Any) -> set[UUID]:
        marked = await mark(*arguments)
        await world.gateway.opt_outs.opt_out(world.resource, SENDER, [PHONE])
        world.clock._offset += timedelta(seconds=5)
        return marked

    monkeypatch.setattr(records, "mark", slow_mark)
    await world.send()
    await world.clock.advance(timedelta(minutes=1))
    assert world.first.submissions == []
    assert (await world.message())[1] == 4007


async def test_an_opt_out_is_heeded_that_came_while_the_carrier_had_no_room(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    await world.start(world.first)

    async def slow() -> int:
        await world.gateway.opt_outs.opt_out(world.resource, SENDER, [PHONE])
        world.clock._offset += timedelta(seconds=5)
        return 200

    monkeypatch.setattr(world.first, "room", slow)
    await world.send()
    await world.clock.advance(timedelta(minutes=1))
    assert world.first.submissions == []
    assert (await world.message())[1] == 4007


async def test_nothing_is_handed_over_on_answers_that_come_too_late(world: World, monkeypatch: pytest.MonkeyPatch):
    await world.start(world.first)
    world.first.up = False
    await world.send()
    asked = 0
    opted_out = sms_records.opted_out

    async def slow(*arguments: Any) -> set[tuple[UUID, str, str]]:
        nonlocal asked
        asked += 1
        found = await opted_out(*arguments)
        if asked <= 4:
            assert world.first.submissions == []
            world.clock._offset += timedelta(seconds=5)
        return found

    monkeypatch.setattr(sms_records, "opted_out", slow)
    await world.clock.advance(timedelta(seconds=3))
    world.first.up = True
    await world.clock.advance(timedelta(minutes=1))
    assert (len(world.first.submissions), asked) == (1, 5)
