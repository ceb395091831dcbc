"""Counting and folding on a real database: nothing lost, nothing twice, every answer exact while others work."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random

import asyncpg
import pytest
from tests.contract.insights.conftest import DE, OURS, THEIRS, US, around, sent, store, totals
from tests.support.patience import PATIENCE_S
from tests.support.rows import pages_read

from landline.core.errors import Invalid, TooMany, Unavailable
from landline.engines.clock import DrivenClock
from landline.services.insights import records, service
from landline.services.insights.model import Figures, Tally
from landline.services.insights.questions import Dimension, Group, Question
from landline.services.insights.service import Insights
from landline.services.insights.worker import Folder
from landline.store.database import Database

HOUR = timedelta(hours=1)
BY_ALL = (Dimension.TAG, Dimension.NUMBER, Dimension.COUNTRY, Dimension.CARRIER, Dimension.HOUR)


async def unfolded(database: Database) -> int:
    return await database.fetchval("SELECT count(*) FROM insights_deltas")


async def groups(insights: Insights, question: Question) -> list[Group]:
    return (await insights.page(OURS, question, limit=1000)).groups


def random_tallies(midnight: datetime, count: int) -> list[Tally]:
    chance = Random(7)
    tallies: list[Tally] = []
    for _ in range(count):
        tally = Tally()
        for _ in range(chance.randrange(1, 6)):
            sent(
                midnight + timedelta(seconds=chance.randrange(86400)),
                tally=tally,
                tag=chance.choice([None, "a", "b", "c"]),
                to=chance.choice([US, DE]),
                carrier=chance.choice(["north", "south"]),
                delivered=chance.randrange(3),
                failed=chance.randrange(2),
                pending=chance.randrange(2),
                took=chance.uniform(0.1, 900),
                cost=chance.choice([None, 0, 7_500, 61_000_001]),
            )
        tallies.append(tally)
    return tallies


def summed(tallies: list[Tally]) -> Figures:
    cells: dict[int, int] = {}
    for tally in tallies:
        for group in tally.groups.values():
            for cell, count in group.items():
                cells[cell] = cells.get(cell, 0) + count
    return Figures.of(cells.items())


async def test_answers_are_the_same_before_while_and_after_folding(
    database: Database, insights: Insights, midnight: datetime
) -> None:
    tallies = random_tallies(midnight, 60)
    await store(database, insights, *tallies)
    question = replace(around(midnight), by=BY_ALL)
    before = await groups(insights, question)
    assert await totals(insights, question) == summed(tallies)
    async with database.connection() as connection:
        assert (await records.fold(connection, 7, 1000)).count == 7
    assert await unfolded(database) > 0
    assert await groups(insights, question) == before
    assert not await insights.fold()
    assert await unfolded(database) == 0
    assert await groups(insights, question) == before
    assert await totals(insights, around(midnight)) == summed(tallies)


@pytest.mark.parametrize("folded", ["never", "between", "after"])
async def test_a_carrier_whose_messages_all_went_elsewhere_is_no_group_however_it_was_folded(
    database: Database, insights: Insights, midnight: datetime, folded: str
) -> None:
    await store(database, insights, sent(midnight, pending=2))
    if folded == "between":
        await insights.fold()
    moved = Tally()
    for _ in range(2):
        moved.moved(OURS, midnight, "SHOP", None, US, "north", "south", 2)
    await store(database, insights, moved)
    if folded != "never":
        await insights.fold()
    for by in ((Dimension.CARRIER,), (Dimension.CARRIER, Dimension.HOUR)):
        question = replace(around(midnight), by=by)
        found = await groups(insights, question)
        assert [(group.place[0], group.figures.accepted) for group in found] == [("south", 2)]
        assert [group async for some in insights.export(OURS, question) for group in some] == found


async def test_what_is_rolled_back_was_never_counted(
    database: Database, insights: Insights, midnight: datetime
) -> None:
    async def fail() -> None:
        async with database.transaction() as connection:
            await insights.count(connection, sent(midnight, delivered=3))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    await insights.fold()
    assert await totals(insights, around(midnight)) == Figures()


async def test_hundreds_of_millions_are_counted_to_the_last(
    database: Database, insights: Insights, midnight: datetime
) -> None:
    for hour in range(24):
        tally = Tally()
        tally.accepted(OURS, midnight + hour * HOUR, "SHOP", "spring", US, "north", 3, 100_000_000)
        await store(database, insights, tally, sent(midnight + hour * HOUR, tag="spring", pending=1))
        await insights.fold()
    for by in ((), (Dimension.HOUR,), (Dimension.DAY,)):
        figures = await totals(insights, replace(around(midnight), by=by))
        assert (figures.accepted, figures.segments) == (2_400_000_024, 7_200_000_048)


async def test_costs_are_summed_to_the_last_millionth(
    database: Database, insights: Insights, midnight: datetime
) -> None:
    for hour in range(24):
        tally = Tally()
        tally.accepted(OURS, midnight + hour * HOUR, "SHOP", "spring", US, "north", 3, 100_000_000, 1_000_000_001)
        await store(database, insights, tally, sent(midnight + hour * HOUR, tag="spring", pending=1, cost=7))
        await insights.fold()
    for by in ((), (Dimension.HOUR,), (Dimension.DAY,)):
        figures = await totals(insights, replace(around(midnight), by=by))
        assert (figures.cost, figures.priced) == (24 * (100_000_000 * 1_000_000_001 + 7), 2_400_000_024)


async def test_an_empty_tally_costs_nothing(database: Database, insights: Insights) -> None:
    await store(database, insights, Tally())
    assert await unfolded(database) == 0


async def test_counting_waits_for_nobody(database: Database, insights: Insights, midnight: datetime) -> None:
    async with asyncio.timeout(PATIENCE_S), database.transaction() as slow:
        await insights.count(slow, sent(midnight, delivered=1))
        await store(database, insights, sent(midnight, delivered=10))
        await insights.fold()  # also while the first still is in its transaction
        await store(database, insights, sent(midnight, delivered=100))
        assert (await totals(insights, around(midnight))).delivered == 110
    assert (await totals(insights, around(midnight))).delivered == 111
    await insights.fold()
    assert (await totals(insights, around(midnight))).delivered == 111


async def test_every_read_is_exact_while_folders_work(dsn: str, insights: Insights, midnight: datetime) -> None:
    tallies = random_tallies(midnight, 150)
    pool = await Database.connect(dsn, size=8)
    try:
        await store(pool, insights, *tallies)
        question = around(midnight)
        left = len([None for tally in tallies for _ in tally.groups])

        async def fold() -> int:
            done = 0
            async with pool.connection() as connection:
                while taken := (await records.fold(connection, 9, 1000)).count:
                    done += taken
            return done

        folders = [asyncio.create_task(fold()) for _ in range(3)]
        reads = 0
        while not all(folder.done() for folder in folders):
            assert await totals(insights, question) == summed(tallies)
            reads += 1
        assert reads
        assert sum([await folder for folder in folders]) == left
        assert await unfolded(pool) == 0
        assert await totals(insights, question) == summed(tallies)
        assert await totals(insights, replace(question, by=(Dimension.HOUR,))) == summed(tallies)
    finally:
        await pool.close()


async def test_writers_folders_and_readers_at_once_agree_in_the_end(
    dsn: str, insights: Insights, midnight: datetime
) -> None:
    tallies = random_tallies(midnight, 120)
    pool = await Database.connect(dsn, size=10)
    written = asyncio.Event()
    question = around(midnight)

    async def fold() -> None:
        while not written.is_set() or await unfolded(pool):
            async with pool.connection() as connection:
                await records.fold(connection, 20, 1000)

    async def read() -> None:
        last = 0
        while not written.is_set():
            accepted = (await totals(insights, question)).accepted
            assert accepted >= last
            last = accepted

    try:
        others = [asyncio.create_task(each) for each in (fold(), fold(), read())]
        async with asyncio.TaskGroup() as writers:
            for part in range(4):
                writers.create_task(store(pool, insights, *tallies[part::4]))
        written.set()
        await asyncio.gather(*others)
        assert await totals(insights, question) == summed(tallies)
    finally:
        await pool.close()


async def test_a_folder_that_dies_leaves_everything_to_the_next(
    database: Database, insights: Insights, midnight: datetime
) -> None:
    await store(database, insights, *random_tallies(midnight, 20))
    before, question = await unfolded(database), around(midnight)
    wanted = await totals(insights, question)

    async def fold_and_die() -> None:
        async with database.transaction() as connection:
            assert (await records.fold(connection, 100_000, 1000)).count == before
            process = await connection.fetchval("SELECT pg_backend_pid()")
            await database.execute("SELECT pg_terminate_backend($1)", process)
            await connection.fetchval("SELECT 1")

    with pytest.raises(Unavailable):
        await fold_and_die()
    assert await unfolded(database) == before
    assert await totals(insights, question) == wanted
    await insights.fold()
    assert await unfolded(database) == 0
    assert await totals(insights, question) == wanted


async def test_an_outcome_days_later_reaches_its_hour_and_its_day(
    database: Database, insights: Insights, midnight: datetime
) -> None:
    at = midnight - timedelta(days=2) + 5 * HOUR
    await store(database, insights, sent(at, pending=2))
    await insights.fold()
    late = Tally()
    late.ended(OURS, at, at + timedelta(days=2), "SHOP", None, US, "north", True, 2000, 2)
    await store(database, insights, late)
    for _ in range(2):
        for by in ((Dimension.HOUR,), (Dimension.DAY,)):
            (group,) = await groups(insights, replace(around(at, days=3), by=by))
            assert (group.figures.accepted, group.figures.delivered, group.figures.pending) == (2, 1, 1)
        await insights.fold()


async def test_a_range_reads_whole_days_and_the_hours_around_them(
    database: Database, insights: Insights, midnight: datetime
) -> None:
    start = midnight - timedelta(days=3)
    await store(database, insights, *(sent(start + hour * HOUR, delivered=hour + 1) for hour in range(80)))
    first = int(start.timestamp()) // 3600
    for _ in range(2):
        for begin, end in ((0, 80), (3, 7), (22, 26), (24, 48), (23, 49), (5, 77), (24, 72)):
            wanted = sum(range(begin + 1, end + 1))
            question = Question(first + begin, first + end)
            assert (await totals(insights, question)).delivered == wanted
            assert (await totals(insights, replace(question, by=(Dimension.HOUR,)))).delivered == wanted
        await insights.fold()


async def test_a_message_that_another_carrier_takes_over_leaves_the_first_with_nothing(
    database: Database, insights: Insights, midnight: datetime
) -> None:
    tally = sent(midnight, pending=2)
    for _ in range(2):
        tally.moved(OURS, midnight, "SHOP", None, US, "north", "south", 2)
    await store(database, insights, sent(midnight, tally=tally, carrier="south", delivered=1))
    await insights.fold()
    (group,) = await groups(insights, replace(around(midnight), by=(Dimension.CARRIER,)))
    assert group.place == ("south",)
    assert (group.figures.accepted, group.figures.delivered, group.figures.pending) == (3, 1, 2)


async def test_resources_do_not_see_each_other(database: Database, insights: Insights, midnight: datetime) -> None:
    tally = sent(midnight, delivered=1)
    await store(database, insights, sent(midnight, tally=tally, resource=THEIRS, delivered=5))
    for _ in range(2):
        for by in ((), (Dimension.HOUR,)):  # of days, and of hours
            question = replace(around(midnight), by=by)
            assert (await totals(insights, question)).delivered == 1
            assert (await totals(insights, question, THEIRS)).delivered == 5
        await insights.fold()


async def by_tag(insights: Insights, question: Question) -> dict[str | int, tuple[int, int]]:
    found = await groups(insights, replace(question, by=(Dimension.TAG,)))
    return {group.place[0]: (group.figures.accepted, group.figures.delivered) for group in found}


async def test_tags_beyond_the_limit_of_an_hour_are_counted_together(
    database: Database, clock: DrivenClock, midnight: datetime
) -> None:
    insights = Insights(database, clock, tags_per_hour=2)
    await store(database, insights, sent(midnight, tag="b", delivered=1), sent(midnight, tag="a", pending=1))
    await insights.fold()
    await store(database, insights, *(sent(midnight, tag=f"c{at}", delivered=1) for at in range(5)))
    await store(database, insights, sent(midnight, delivered=1), sent(midnight + HOUR, tag="c1", delivered=1))
    await insights.fold()
    late = Tally()
    for tag in ("a", "c1"):
        late.ended(OURS, midnight, midnight + HOUR, "SHOP", tag, US, "north", False, 5002, 0)
        late.ended(OURS, midnight, midnight + HOUR, "SHOP", tag, US, "north", True, 2000, 1)
    await store(database, insights, late)
    await insights.fold()
    hour = Question(around(midnight).start, around(midnight).start + 1)
    assert await by_tag(insights, hour) == {"": (1, 1), "a": (1, 1), "b": (1, 1), "(other)": (5, 6)}
    day = await by_tag(insights, around(midnight))
    assert day == {"": (1, 1), "a": (1, 1), "b": (1, 1), "c1": (1, 1), "(other)": (5, 6)}
    assert await database.fetchval("SELECT count(*) FROM insights_tags") == 3


async def test_a_message_is_counted_under_one_tag_however_many_fold(
    database: Database, clock: DrivenClock, midnight: datetime
) -> None:
    insights = Insights(database, clock, tags_per_hour=2)
    await store(database, insights, sent(midnight, tag="a", delivered=1))
    await insights.fold()
    await store(database, insights, sent(midnight, tag="c", pending=1))
    async with database.analysis() as connection:  # another process, which has not committed yet
        assert await records.folds_alone(connection)
        assert (await records.fold(connection, 100, 2)).count == 1
        outcome = Tally()
        outcome.ended(OURS, midnight, midnight, "SHOP", "c", US, "north", True, 2000, 2)
        await store(database, insights, outcome, sent(midnight, tag="b", delivered=1))
        await insights.fold()
    await insights.fold()
    assert await unfolded(database) == 0
    found = await groups(insights, replace(around(midnight), by=(Dimension.TAG,)))
    counted = {group.place: (group.figures.accepted, group.figures.delivered) for group in found}
    assert counted == {("(other)",): (1, 1), ("a",): (1, 1), ("c",): (1, 1)}


async def test_a_flood_of_tags_leaves_few_rows(database: Database, clock: DrivenClock, midnight: datetime) -> None:
    insights = Insights(database, clock, tags_per_hour=5)
    await store(database, insights, *(sent(midnight, tag=f"order {at}", delivered=1) for at in range(60)))
    async with asyncio.TaskGroup() as tasks:
        for _ in range(3):
            tasks.create_task(insights.fold())
    assert await database.fetchval("SELECT count(*) FROM insights_hours") == 6
    assert await database.fetchval("SELECT count(*) FROM insights_days") == 6
    assert (await totals(insights, around(midnight))).delivered == 60


@pytest.mark.parametrize("kind", ["hours", "tags", "days"])
async def test_old_rows_of_any_kind_are_gone_on_with_until_none_are_left(
    database: Database, clock: DrivenClock, midnight: datetime, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(service, "PRUNE_ROWS", 4)
    insights = Insights(database, clock, keep_hours=timedelta(days=3), keep_days=timedelta(days=3))
    await store(
        database, insights, *(sent(midnight - timedelta(days=ago), tag="t", delivered=1) for ago in range(5, 10))
    )
    await insights.fold()
    for other in {"hours", "tags", "days"} - {kind}:
        await database.execute(f"DELETE FROM insights_{other}")
    assert await insights.prune()
    assert not await insights.prune()
    assert await database.fetchval(f"SELECT count(*) FROM insights_{kind}") == 0


async def test_old_hours_go_first_and_days_later(database: Database, clock: DrivenClock, midnight: datetime) -> None:
    insights = Insights(database, clock, keep_hours=timedelta(days=3), keep_days=timedelta(days=10))
    await store(database, insights, *(sent(midnight - timedelta(days=ago), tag="t", delivered=1) for ago in range(15)))
    await insights.fold()
    assert not await insights.prune()
    counts = [await database.fetchval(f"SELECT count(*) FROM insights_{kind}") for kind in ("hours", "tags", "days")]
    assert counts == [2, 2, 9]
    kept = around(midnight - timedelta(days=8), days=10)
    assert (await totals(insights, kept)).delivered == 9
    with pytest.raises(Invalid, match="Days are kept from") as refused:
        await totals(insights, around(midnight - timedelta(days=12), days=13))
    assert refused.value.target == "from"
    for question in (replace(kept, by=(Dimension.HOUR,)), replace(kept, start=kept.start + 1)):
        with pytest.raises(Invalid, match="Single hours are kept from") as refused:
            await totals(insights, question)
        assert refused.value.target == "from"
    with pytest.raises(Invalid, match="Single hours") as refused:
        await totals(insights, replace(kept, end=kept.start + 30))
    assert refused.value.target == "to"


async def test_an_export_is_of_one_instant_and_lets_go_of_its_connection(
    database: Database, insights: Insights, midnight: datetime
) -> None:
    await store(database, insights, *(sent(midnight, tag=f"{at:04}", delivered=1) for at in range(1200)))
    question = replace(around(midnight), by=(Dimension.TAG,))
    export = insights.export(OURS, question)
    found = await anext(export)
    await store(database, insights, sent(midnight, tag="zzz", delivered=1))
    await insights.fold()
    async for following in export:
        found += following
    assert [group.place for group in found] == [(f"{at:04}",) for at in range(1200)]
    for _ in range(6):  # more than there are connections
        abandoned = insights.export(OURS, question)
        await anext(abandoned)
        await abandoned.aclose()
    held = [insights.export(OURS, question) for _ in range(2)]
    for each in held:
        await anext(each)
    with pytest.raises(TooMany):
        await anext(insights.export(OURS, question))
    for each in held:
        await each.aclose()
    assert (await totals(insights, question)).delivered == 1201


async def test_an_export_sums_up_each_group_when_it_is_read(
    database: Database, insights: Insights, midnight: datetime
) -> None:
    """Of a million groups none would be there within a statement's time otherwise."""
    await store(database, insights, *(sent(midnight, tag=f"{at:04}", delivered=1) for at in range(1200)))
    for sender in ("A", "B"):  # too much for a sum, in the last group
        await database.execute(
            "INSERT INTO insights_deltas (resource_id, hour, sender, tag, country, carrier, cells, counts)"
            " SELECT resource_id, hour, $1, 'zzz', country, carrier, ARRAY[cells[1]], ARRAY[9000000000000000000]"
            " FROM insights_deltas LIMIT 1",
            sender,
        )
    export = insights.export(OURS, replace(around(midnight), by=(Dimension.TAG, Dimension.COUNTRY)))
    found = [*await anext(export), *await anext(export)]
    assert [group.place[0] for group in found] == [f"{at:04}" for at in range(1000)]
    with pytest.raises(asyncpg.PostgresError, match="out of range"):
        await anext(export)


async def test_the_folder_folds_and_prunes_by_itself(
    database: Database, clock: DrivenClock, midnight: datetime
) -> None:
    insights = Insights(database, clock, keep_hours=timedelta(days=3))
    await store(database, insights, sent(midnight, delivered=1))
    folder = asyncio.create_task(Folder(insights, clock).run())
    async with asyncio.timeout(PATIENCE_S):
        while await unfolded(database):
            await asyncio.sleep(0)
        assert await database.fetchval("SELECT count(*) FROM insights_hours") == 1
        await clock.advance(timedelta(days=6))
    assert await database.fetchval("SELECT count(*) FROM insights_hours") == 0
    folder.cancel()
    await asyncio.gather(folder, return_exceptions=True)
    await clock.advance(timedelta(days=1))  # it counts as busy no more


async def test_what_was_folded_while_nothing_is_vacuumed_is_not_gone_through_at_each_fold(
    database: Database, insights: Insights, midnight: datetime
) -> None:
    """A backup's transaction keeps all that is dead since it began: hours of it were read every two seconds."""
    question, pages = around(midnight), list[int]()
    await database.execute("ALTER TABLE insights_deltas SET (autovacuum_enabled = false)")
    await store(database, insights, sent(midnight, delivered=1))
    await database.execute(
        "INSERT INTO insights_deltas SELECT d.* FROM insights_deltas d CROSS JOIN generate_series(2, 20000)"
    )
    while await insights.fold():
        pass
    for number in range(2 * service.FROM_THE_FIRST):
        await store(database, insights, sent(midnight, delivered=1))
        before = await pages_read(database, "insights_deltas")
        assert not await insights.fold()
        pages.append(await pages_read(database, "insights_deltas") - before)
        assert await unfolded(database) == 0
        assert (await totals(insights, question)).delivered == 20_001 + number
    assert sum(count > 20 for count in pages) == 2
    assert max(pages) > 300


async def test_notes_that_get_the_room_of_earlier_ones_are_folded_at_once(
    database: Database, insights: Insights, midnight: datetime
) -> None:
    await store(database, insights, *(sent(midnight, tag=f"{number:0200}", delivered=1) for number in range(200)))
    await insights.fold()
    await database.execute("VACUUM insights_deltas")
    for _ in range(3):
        await store(database, insights, sent(midnight, delivered=1))
        await insights.fold()
        assert await unfolded(database) == 0
