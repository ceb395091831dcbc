"""A carrier that takes a message and says so too late: it is not handed over again where that can still be helped, and
a receipt by either of its ids ends it, once (docs/design/gateway.md, "Doubt")."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from msgspec import structs
from tests.support.gateway import Gateway
from tests.support.scripted import Fate, ScriptedCarrier

from landline.core.ids import ResourceId
from landline.engines.clock import DrivenClock
from landline.ports.sms_carrier import CrashPolicy, Receipt, Submitted
from landline.services.insights.model import Figures
from landline.services.insights.questions import Dimension, Question
from landline.services.sms import records_progress
from landline.services.sms.service import Options, To
from landline.store.database import Database

SENDER, PHONE = "+18005550100", "+14255550142"
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


class World:
    """One process over a carrier that is silent at first; a second one where the test wants it."""

    def __init__(self, dsn: str, database: Database) -> None:
        self.dsn = dsn
        self.database = database
        self.clock = DrivenClock()
        self.first = ScriptedCarrier(self.clock, Fate.SILENCE, name="first")
        self.second = ScriptedCarrier(self.clock, name="second")

    async def start(self, *carriers: ScriptedCarrier) -> None:
        self.gateway = await Gateway(self.dsn, self.database, self.clock, *carriers).start()
        self.resource: ResourceId = await self.gateway.own()

    async def send(self, timeout_s: int = 3_600) -> UUID:
        options = Options(report_wanted=True, report_timeout_s=timeout_s)
        (outcome,) = await self.gateway.sms.send(self.resource, SENDER, [To(PHONE)], "hello", options)
        assert outcome.message_id is not None
        self.public_id = outcome.message_id
        await self.clock.advance(timedelta(milliseconds=1))
        return self.first.submissions[0].key

    async def late(self, key: UUID, carrier_id: str = "late", carrier: str = "first") -> None:
        await self.gateway.news.submitted_late(carrier, [Submitted(key, carrier_id)])

    async def receipt(self, carrier_id: str, code: int = 2000) -> None:
        receipt = Receipt(carrier_id, code == 2000, code, self.clock.now())
        await self.gateway.news.reported("first", [receipt])

    async def pass_time(self, **amount: float) -> None:
        await self.clock.advance(timedelta(**amount))

    async def row(self) -> Any:
        return await self.database.fetchrow("SELECT * FROM sms_messages")

    async def end(self) -> tuple[int, int | None]:
        row = await self.row()
        return row["state"], row["code"]

    async def ends(self) -> int:
        """How often the message was counted as ended."""
        return sum(each.delivered + each.failed for each in (await self.figures()).values())

    async def steps(self) -> list[str]:
        timeline = await self.gateway.timelines.timeline([self.resource], self.public_id)
        return [step["what"] for step in timeline["steps"]]

    async def accepted(self) -> dict[str, int]:
        return {name: each.accepted for name, each in (await self.figures()).items() if each.accepted}

    async def figures(self) -> dict[str, Figures]:
        hour = int(self.clock.now().timestamp()) // 3600
        question = Question(hour - 24, hour + 1, by=(Dimension.CARRIER,))
        page = await self.gateway.insights.page(self.resource, question, limit=10)
        return {str(group.place[0]): group.figures for group in page.groups}


@pytest.fixture
async def world(dsn: str, database: Database):
    world = World(dsn, database)
    yield world
    await world.gateway.crash()


async def test_what_waits_for_its_next_try_is_the_carriers_and_not_sent_again(world: World):
    await world.start(world.first)
    key = await world.send()
    await world.late(key)
    row = await world.row()
    assert (row["due_at"], row["claim_id"]) == (row["report_by"], None)
    await world.pass_time(minutes=30)
    assert len(world.first.submissions) == 1
    await world.receipt("late")
    assert await world.end() == (8, 2000)
    assert await world.steps() == ["accepted", "queued", "unanswered", "answered late", "submitted", "reported"]


async def test_it_fails_as_not_reported_when_no_receipt_comes(world: World):
    await world.start(world.first)
    await world.late(await world.send())
    await world.pass_time(hours=2)
    assert len(world.first.submissions) == 1
    assert await world.end() == (9, 5002)
    assert await world.database.fetchval("SELECT count(*) FROM sms_blocks WHERE owner IS DISTINCT FROM block_id") == 0


async def test_it_cannot_be_canceled_any_more(world: World):
    await world.start(world.first)
    key = await world.send()
    await world.late(key)
    assert not await world.gateway.canceling.cancel(world.resource, [key])


async def test_what_is_in_hand_for_its_next_try_is_not_sent(world: World):
    await world.start(world.first)
    key = await world.send()
    world.first.up = False
    await world.pass_time(seconds=6)
    assert world.gateway.handover.in_hand(key) is not None
    await world.late(key)  # perhaps between a hand-over that was written down and its being taken back
    world.first.up = True
    await world.pass_time(minutes=30)
    assert len(world.first.submissions) == 1
    assert world.gateway.handover.in_hand(key) is None
    await world.receipt("late")
    assert await world.end() == (8, 2000)
    assert await world.database.fetchval("SELECT count(*) FROM sms_blocks WHERE owner IS DISTINCT FROM block_id") == 0


async def test_what_ends_while_its_next_hand_over_is_written_down_is_not_sent(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    await world.start(world.first)
    key = await world.send()
    mark = records_progress.mark

    async def meanwhile(*arguments: Any) -> set[UUID]:
        marked = await mark(*arguments)
        await world.late(key)
        await world.receipt("late")
        return marked

    monkeypatch.setattr(records_progress, "mark", meanwhile)
    await world.pass_time(minutes=1)
    assert await world.end() == (8, 2000)
    assert len(world.first.submissions) == 1
    assert world.gateway.handover.in_hand(key) is None
    assert await world.database.fetchval("SELECT count(*) FROM sms_blocks WHERE owner IS DISTINCT FROM block_id") == 0


async def test_what_another_process_has_in_hand_is_not_sent_by_it(world: World):
    await world.start(world.first)
    key = await world.send()
    world.first.up = False
    ours = world.gateway
    await ours.crash()
    await world.start(world.first)
    await world.pass_time(seconds=1)
    assert world.gateway.handover.in_hand(key) is not None
    await ours.news.submitted_late("first", [Submitted(key, "late")])
    world.first.up = True
    await world.pass_time(minutes=1)
    assert len(world.first.submissions) == 1
    assert world.gateway.handover.in_hand(key) is None
    await world.receipt("late")
    assert await world.end() == (8, 2000)


@pytest.mark.parametrize("by", ["late", "first2"])
async def test_a_receipt_by_either_id_ends_what_was_handed_over_again(world: World, by: str):
    await world.start(world.first)
    key = await world.send()
    world.first.fate = Fate.TAKEN
    await world.pass_time(seconds=6)
    assert len(world.first.submissions) == 2
    await world.late(key)
    await world.receipt(by)
    assert await world.end() == (8, 2000)
    await world.receipt("first2" if by == "late" else "late", 5000)
    assert await world.end() == (8, 2000)
    assert await world.ends() == 1
    assert await world.database.fetchval("SELECT count(*) FROM sms_parked_receipts") == 0


@pytest.mark.parametrize("ids", [("late", "first2"), ("first2", "late"), ("late", "late")])
@pytest.mark.parametrize("first", [True, False])
async def test_of_two_receipts_that_come_together_the_one_that_says_delivered_counts(
    world: World, ids: tuple[str, str], first: bool
):
    await world.start(world.first)
    key = await world.send()
    world.first.fate = Fate.TAKEN
    await world.pass_time(seconds=6)
    await world.late(key)
    receipts = [
        Receipt(carrier_id, delivered, 2000 if delivered else 5000, world.clock.now())
        for carrier_id, delivered in zip(ids, (first, not first), strict=True)
    ]
    await world.gateway.news.reported("first", receipts)
    assert await world.end() == (8, 2000)
    assert await world.ends() == 1


@pytest.mark.parametrize("ids", [("late", "first2"), ("first2", "late")])
async def test_the_failure_of_one_copy_does_not_end_a_message_whose_other_copy_is_on_its_way(
    world: World, ids: tuple[str, str]
):
    """An SMSC that tells duplicates apart fails one of them at once, long before it has delivered the other."""
    await world.start(world.first)
    await handed_over_twice(world)
    await world.receipt(ids[0], 5000)
    await world.receipt(ids[0], 5000)  # brought once more
    await world.pass_time(minutes=20)
    assert await world.end() == (0, None)
    await world.receipt(ids[1])
    assert await world.end() == (8, 2000)
    assert await world.ends() == 1
    assert len(world.first.submissions) == 2


async def one_failed_while_the_other_is_unanswered(world: World) -> UUID:
    await world.start(world.first)
    key = await world.send()
    world.first.fate = Fate.LOST
    await world.pass_time(seconds=6)
    await world.late(key)
    await world.receipt("late", 5000)
    await world.receipt("late", 5000)  # brought once more
    assert (len(world.first.submissions), await world.end()) == (2, (0, None))
    return key


async def test_the_failure_of_one_copy_does_not_end_a_message_whose_other_copy_is_being_taken(world: World):
    """Its SMSC fails the first when the second has come, before it answers that."""
    key = await one_failed_while_the_other_is_unanswered(world)
    await world.gateway.news.submitted("first", [Submitted(key, "second")])
    await world.pass_time(minutes=20)
    assert await world.end() == (0, None)
    await world.receipt("second")
    assert (await world.end(), await world.ends()) == ((8, 2000), 1)
    assert len(world.first.submissions) == 2


@pytest.mark.parametrize(
    ("answer", "end", "handed_over"),
    [
        (Submitted(UUID(int=0), None, 4001), (9, 4001), 2),
        (Submitted(UUID(int=0), None, 5001, temporary=True), (8, 2000), 3),
        (Submitted(UUID(int=0), None, 5001, temporary=True, unknown=True), (9, 9999), 2),
    ],
    ids=["refused", "busy", "silence"],
)
async def test_what_failed_in_one_copy_goes_by_what_becomes_of_the_other(
    world: World, answer: Submitted, end: tuple[int, int], handed_over: int
):
    key = await one_failed_while_the_other_is_unanswered(world)
    world.first.fate = Fate.DELIVERED
    await world.gateway.news.submitted("first", [structs.replace(answer, key=key)])
    await world.pass_time(minutes=20)
    assert (await world.end(), await world.ends(), len(world.first.submissions)) == (end, 1, handed_over)


async def test_what_failed_in_one_copy_is_tried_again_after_the_process_that_sent_the_other_died(world: World):
    """Of two hand-overs one is in doubt then, which is not too much."""
    await one_failed_while_the_other_is_unanswered(world)
    await world.gateway.crash()
    world.first.fate = Fate.DELIVERED
    await world.start(world.first)
    await world.pass_time(minutes=20)
    assert (await world.end(), len(world.first.submissions)) == ((8, 2000), 3)


@pytest.mark.parametrize("together", [True, False])
async def test_a_message_of_which_every_copy_fails_has_failed_once(world: World, together: bool):
    await world.start(world.first)
    await handed_over_twice(world)
    failures = [Receipt(carrier_id, False, 5000, world.clock.now()) for carrier_id in ("late", "first2")]
    if together:
        await world.gateway.news.reported("first", failures)
    else:
        await asyncio.gather(*(world.gateway.news.reported("first", [failure]) for failure in failures))
    assert await world.end() == (9, 5000)
    assert await world.ends() == 1


async def test_two_processes_that_hear_of_one_copy_each_end_the_message(world: World):
    """Neither knows of the other's before it commits: one waits for that, and sees that no copy is left."""
    await world.start(world.first)
    await handed_over_twice(world)
    other = await Gateway(world.dsn, world.database, world.clock, ScriptedCarrier(world.clock, name="first")).start()
    async with world.database.transaction() as connection:
        await connection.execute("SELECT FROM sms_messages FOR UPDATE")
        heard = [
            asyncio.create_task(each.news.reported("first", [Receipt(carrier_id, False, 5000, world.clock.now())]))
            for each, carrier_id in ((world.gateway, "late"), (other, "first2"))
        ]
        while await world.database.fetchval(WAITING) < len(heard):
            await asyncio.sleep(0)
    await asyncio.gather(*heard)
    assert await world.end() == (9, 5000)
    assert await world.ends() == 1
    await other.crash()


async def test_what_fails_goes_to_another_carrier_when_its_last_copy_has_failed(world: World):
    """Else the phone gets it from both."""
    world.second.up, world.second.crash_policy = False, CrashPolicy.UNKNOWN
    await world.start(world.first, world.second)
    world.gateway.fails_over_on_receipts = True
    await handed_over_twice(world)
    world.second.up = True
    await world.receipt("first2", 5000)
    await world.pass_time(minutes=1)
    assert world.second.submissions == []
    await world.receipt("late", 5000)
    await world.pass_time(seconds=1)
    assert len(world.second.submissions) == 1
    assert await world.end() == (8, 2000)


@pytest.mark.parametrize("carrier_id", ["late", "second1"])  # both may count from one
async def test_the_failure_at_one_carrier_does_not_end_what_another_has_from_before(world: World, carrier_id: str):
    await had_by_both(world, carrier_id)
    async with world.database.connection() as connection:  # what the first has failed of others is nothing to this one
        another = [(Submitted(uuid4(), None, 5000), world.resource)]
        await records_progress.attempted(connection, "first", another, world.clock.now())
    await world.gateway.news.reported("second", [Receipt("second1", False, 5000, world.clock.now())])
    assert await world.end() == (0, None)
    await world.receipt(carrier_id)
    assert await world.end() == (8, 2000)
    assert await world.ends() == 1


async def test_what_one_carrier_refused_says_nothing_of_the_copies_that_the_next_has(world: World):
    world.first.fate, world.second.fate = Fate.REFUSED, Fate.SILENCE
    await world.start(world.first, world.second)
    key = await world.send()
    world.second.fate = Fate.TAKEN
    await world.pass_time(seconds=11)
    assert len(world.second.submissions) == 2
    await world.late(key, carrier="second")
    await world.gateway.news.reported("second", [Receipt("second2", False, 5000, world.clock.now())])
    assert await world.end() == (0, None)
    await world.gateway.news.reported("second", [Receipt("late", True, 2000, world.clock.now())])
    assert await world.end() == (8, 2000)


@pytest.mark.parametrize("order", [("first", "second"), ("second", "first")])
async def test_what_has_failed_at_both_carriers_has_failed(world: World, order: tuple[str, str]):
    await had_by_both(world)
    codes = {"first": ("late", 4004), "second": ("second1", 5000)}
    for name in order:
        assert await world.end() == (0, None)
        carrier_id, code = codes[name]
        await world.gateway.news.reported(name, [Receipt(carrier_id, False, code, world.clock.now())])
    assert await world.end() == (9, codes[order[1]][1])
    assert await world.ends() == 1


async def test_what_one_has_failed_and_the_other_never_reports_is_not_sent_again(world: World):
    await had_by_both(world)
    await world.gateway.news.reported("second", [Receipt("second1", False, 5000, world.clock.now())])
    await world.pass_time(hours=2)
    assert await world.end() == (9, 5002)
    assert (len(world.first.submissions), len(world.second.submissions)) == (1, 1)


async def test_what_a_carrier_says_of_one_copy_when_it_is_asked_at_last_ends_the_message(world: World):
    await had_by_both(world)
    world.second.crash_policy = CrashPolicy.QUERY
    world.second.reports["second1"] = Receipt("second1", False, 5000, world.clock.now())
    await world.pass_time(hours=2)
    assert await world.end() == (9, 5000)


async def had_by_both(world: World, carrier_id: str = "late") -> None:
    world.second.fate = Fate.TAKEN
    await world.start(world.first, world.second)
    await world.late(await world.send(), carrier_id)
    assert len(world.second.submissions) == 1


async def handed_over_twice(world: World) -> None:
    """Sent again after a silence; the carrier has both, as `late` and `first2`."""
    key = await world.send()
    world.first.fate = Fate.TAKEN
    await world.pass_time(seconds=6)
    await world.late(key)
    assert len(world.first.submissions) == 2


async def test_a_late_answer_is_not_taken_for_that_of_the_next_hand_over(world: World):
    await world.start(world.first)
    key = await world.send()
    world.first.fate = Fate.LOST
    await world.pass_time(seconds=6)
    await world.late(key)
    await world.gateway.news.submitted("first", [Submitted(key, "second copy")])
    await world.receipt("second copy")
    assert await world.end() == (8, 2000)


@pytest.mark.parametrize(
    "answer", [Submitted(UUID(int=0), None, 5001, temporary=True, unknown=True), Submitted(UUID(int=0), None, 5000)]
)
async def test_what_the_carrier_has_does_not_fail_because_its_second_copy_does(world: World, answer: Submitted):
    await world.start(world.first)
    key = await world.send()
    world.first.fate = Fate.LOST
    await world.pass_time(seconds=6)
    await world.late(key)
    told = Submitted(key, None, answer.code, answer.temporary, "no", unknown=answer.unknown)
    await world.gateway.news.submitted("first", [told])
    await world.pass_time(minutes=20)
    assert len(world.first.submissions) == 2
    row = await world.row()
    assert (row["state"], row["due_at"], row["doubt"]) == (0, row["report_by"], 2 if answer.unknown else 1)
    again = "unanswered" if answer.unknown else "refused"
    assert await world.steps() == ["accepted", "queued", "unanswered", "answered late", "submitted", again]
    await world.receipt("late")
    assert await world.end() == (8, 2000)


@pytest.mark.parametrize("policy", [CrashPolicy.UNKNOWN, CrashPolicy.QUERY])
async def test_what_has_ended_as_unknown_stays_so_and_its_receipts_are_known(world: World, policy: CrashPolicy):
    world.first.crash_policy = policy
    await world.start(world.first)
    key = await world.send()
    assert await world.end() == (9, 9999)
    await world.late(key)
    await world.receipt("late")
    assert await world.end() == (9, 9999)
    assert await world.ends() == 1
    assert await world.database.fetchval("SELECT count(*) FROM sms_parked_receipts") == 0
    steps = await world.steps()
    assert steps == ["accepted", "queued", "unanswered", "answered late", "submitted", "reported"]


async def test_a_receipt_that_came_before_the_late_answer_ends_the_message(world: World):
    await world.start(world.first)
    key = await world.send()
    await world.receipt("late")
    assert await world.end() == (0, None)
    await world.late(key)
    assert await world.end() == (8, 2000)
    await world.pass_time(minutes=30)
    assert len(world.first.submissions) == 1


async def test_what_waits_for_another_carrier_is_the_first_ones_again(world: World):
    await world.start(world.first, world.second)
    world.second.reachable = False
    key = await world.send()
    assert (await world.row())["carrier"] == "second"
    assert await world.accepted() == {"second": 1}
    await world.late(key)
    assert (await world.row())["carrier"] == "first"
    assert await world.accepted() == {"first": 1}
    world.second.reachable = True
    world.gateway.worker.reached()
    await world.pass_time(minutes=30)
    assert (len(world.first.submissions), len(world.second.submissions)) == (1, 0)
    await world.receipt("late")
    assert await world.end() == (8, 2000)


async def test_what_the_first_has_failed_is_not_waited_for_when_the_next_is_busy(world: World):
    world.second.up, world.second.fate = False, Fate.BUSY
    await world.start(world.first, world.second)
    world.gateway.fails_over_on_receipts = True
    await world.send()
    world.first.fate, world.second.up = Fate.FAILED, True
    await world.pass_time(seconds=6)
    assert (len(world.first.submissions), len(world.second.submissions)) == (2, 1)
    world.second.fate = Fate.DELIVERED
    await world.pass_time(minutes=5)
    assert await world.end() == (8, 2000)


async def test_what_is_on_its_way_to_another_carrier_is_that_ones(world: World):
    """Else a failure at the first would send it to the second again."""
    world.second.fate = Fate.LOST
    await world.start(world.first, world.second)
    world.gateway.fails_over_on_receipts = True
    key = await world.send()
    assert len(world.second.submissions) == 1
    await world.late(key)
    assert (await world.row())["carrier"] == "second"
    await world.receipt("late", 5000)
    await world.pass_time(seconds=1)
    await world.gateway.news.submitted("second", [Submitted(key, "second1")])
    await world.gateway.news.reported("second", [Receipt("second1", True, 2000, world.clock.now())])
    assert await world.end() == (8, 2000)
    assert len(world.second.submissions) == 1


async def test_a_failure_that_came_before_the_late_answer_counts_in_the_same_instant(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    """The first has failed it: when the next carrier stays silent as well, nobody's receipt is waited for."""
    world.second.fate = Fate.LOST
    await world.start(world.first, world.second)
    world.gateway.fails_over_on_receipts = True
    key = await world.send()
    assert len(world.second.submissions) == 1
    await world.receipt("late", 4004)
    instant = world.clock.now()
    with monkeypatch.context() as patch:
        patch.setattr(world.clock, "now", lambda: instant)
        await world.late(key)
    await world.gateway.news.submitted("second", [Submitted(key, None, 5001, temporary=True, unknown=True)])
    assert await world.end() == (9, 9999)
    assert len(world.first.submissions) == 1


async def test_what_failed_before_the_late_answer_is_not_waited_for_when_the_next_is_busy(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    """The first failed it, and said so before its late answer, which is stored and applied in one instant."""
    world.second.reachable, world.second.fate = False, Fate.BUSY
    await world.start(world.first, world.second)
    world.gateway.fails_over_on_receipts = True
    key = await world.send()
    await world.receipt("late", 5000)
    instant = world.clock.now()
    with monkeypatch.context() as patch:
        patch.setattr(world.clock, "now", lambda: instant)
        await world.late(key)
    world.second.reachable = True
    world.gateway.worker.reached()
    await world.pass_time(seconds=1)
    assert len(world.second.submissions) == 1
    world.second.fate = Fate.DELIVERED
    await world.pass_time(minutes=5)
    assert await world.end() == (8, 2000)
    ways = ["answered late", "submitted", "refused", "refused", "submitted", "reported"]
    assert await world.steps() == ["accepted", "queued", "unanswered", *ways]


async def test_what_another_carrier_has_taken_stays_with_that_one(world: World):
    world.second.fate = Fate.TAKEN
    await world.start(world.first, world.second)
    key = await world.send()
    assert len(world.second.submissions) == 1
    await world.late(key)
    assert (await world.row())["carrier"] == "second"
    assert await world.accepted() == {"second": 1}
    await world.receipt("late")
    assert await world.end() == (8, 2000)


async def test_a_silence_that_was_resolved_leaves_the_failover_after_it_open(world: World):
    """The carrier answered late, and failed it: nothing is in doubt, and the next carrier may have it."""
    world.second.crash_policy = CrashPolicy.UNKNOWN
    await world.start(world.first, world.second)
    world.gateway.fails_over_on_receipts = True
    key = await world.send()
    assert world.second.submissions == [], "one silence is too much for it"
    await world.late(key)
    await world.receipt("late", 5000)
    await world.pass_time(seconds=1)
    assert len(world.second.submissions) == 1
    assert await world.end() == (8, 2000)


async def test_a_late_answer_told_again_changes_nothing(world: World):
    await world.start(world.first)
    key = await world.send()
    await world.late(key)
    before = await world.row()
    await world.late(key)
    assert await world.row() == before
    assert (await world.steps()).count("answered late") == 1


async def test_a_late_answer_to_what_this_process_does_not_know_is_none(world: World):
    await world.start(world.first)
    await world.late(UUID(int=9))
    await world.late(await world.send(), carrier="other")
    await world.pass_time(seconds=6)
    assert len(world.first.submissions) == 2
