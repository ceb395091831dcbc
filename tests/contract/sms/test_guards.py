"""Each condition under which a step of a message's way is written, alone: a message that is elsewhere by now, has
ended, or is in another process's hands is left as it is (docs/design/gateway.md, "Doubt" and "Fences")."""

from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest

from landline.core.ids import ResourceId
from landline.ports.sms_carrier import Submitted
from landline.services.sms import records_deferred
from landline.services.sms import records_progress as records
from landline.services.sms import records_receipts as receipts
from landline.services.sms.model.crowds import NO_CROWDS, Crowd, Fairly
from landline.services.sms.model.messages import State
from landline.services.sms.records_deferred import Claim
from landline.services.sms.records_progress import PARKED_FOR, Deferral, TakenAfterAll
from landline.services.sms.records_receipts import Ending
from landline.services.sms.rota import Rota
from landline.store.blocks import LEASE
from landline.store.database import Connection, Database

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
LATER, REPORT_BY = NOW + timedelta(minutes=5), NOW + timedelta(hours=1)
RESOURCE, MESSAGE = UUID(int=1), UUID(int=2)
KEY = (RESOURCE, MESSAGE)
US, THEM = UUID(int=3), UUID(int=4)
BLOCK, CLAIM, THEIR_CLAIM = UUID(int=5), UUID(int=6), UUID(int=7)


class World:
    """One message at the carrier "first", in a block that we hold; `claim` is ours too, `their claim` is not."""

    def __init__(self, database: Database, connection: Connection) -> None:
        self.database = database
        self.connection = connection
        self.rota = Rota()

    async def begin(self) -> None:
        for block, owner in ((BLOCK, US), (CLAIM, US), (THEIR_CLAIM, THEM)):
            await self.connection.execute("INSERT INTO sms_blocks VALUES ($1, $2, $3)", block, owner, NOW + LEASE)
        await self.message(MESSAGE)

    async def message(self, message: UUID, **columns: Any) -> None:
        await self.connection.execute(
            "INSERT INTO sms_messages (resource_id, message_id, block_id, accepted_at, report_by, segments, state,"
            " report_wanted, sender, recipient, carrier, body)"
            " VALUES ($1, $2, $3, $4, $5, 1, $6, true, 'from', 'to', 'first', 'hello')",
            RESOURCE, message, BLOCK, NOW, REPORT_BY, State.QUEUED,
        )  # fmt: skip
        await self.change(message, **columns)

    async def change(self, message: UUID = MESSAGE, **columns: Any) -> None:
        for name, value in columns.items():
            sql = f"UPDATE sms_messages SET {name} = $1 WHERE message_id = $2"
            await self.connection.execute(sql, value, message)

    async def taken_by(self, carrier: str, carrier_id: str = "1", message: UUID = MESSAGE) -> None:
        taken = [(Submitted(message, carrier_id), RESOURCE, BLOCK)]
        await records.submitted(self.connection, carrier, taken, NOW)

    async def tried(self, carrier: str, at: datetime = NOW, *, temporary: bool = True) -> None:
        await records.attempted(self.connection, carrier, [(Submitted(MESSAGE, None, 5000, temporary), RESOURCE)], at)

    async def row(self) -> Any:
        return await self.connection.fetchrow("SELECT * FROM sms_messages WHERE message_id = $1", MESSAGE)

    async def owners(self) -> dict[UUID, UUID | None]:
        rows = await self.connection.fetch("SELECT block_id, owner FROM sms_blocks")
        return {row["block_id"]: row["owner"] for row in rows}


@pytest.fixture
async def world(database: Database) -> AsyncGenerator[World]:
    async with database.connection() as connection:
        world = World(database, connection)
        await world.begin()
        yield world


async def others_block(world: World) -> None:
    await world.connection.execute("UPDATE sms_blocks SET owner = $1 WHERE block_id = $2", THEM, BLOCK)


def is_(**columns: Any) -> Callable[[World], Any]:
    async def change(world: World) -> None:
        await world.change(**columns)

    return change


ENDED = is_(state=State.FAILED, code=5000, ended_at=NOW)
NOT_OURS = {
    "in another's block": others_block,
    "waiting in nobody's hands": is_(due_at=LATER),
    "in another's hands": is_(due_at=LATER, claim_id=THEIR_CLAIM),
}
ELSEWHERE = {"another carrier's": is_(carrier="second"), "tried again meanwhile": is_(attempts=1)}


async def mark(world: World, doubt: int = 1) -> bool:
    marked = await records.mark(world.connection, [(KEY, "first", 0, doubt)], US)
    assert marked <= {MESSAGE}
    assert (await world.row())["doubt"] == (doubt if marked else 0)
    return bool(marked)


@pytest.mark.parametrize("state", [is_(), is_(due_at=LATER, claim_id=CLAIM)], ids=["in its block", "in our hands"])
async def test_the_hand_over_of_what_is_ours_is_written_down(world: World, state: Callable[[World], Any]):
    await state(world)
    assert await mark(world)


@pytest.mark.parametrize(
    "state", [ENDED, *NOT_OURS.values(), *ELSEWHERE.values()], ids=["ended", *NOT_OURS, *ELSEWHERE]
)
async def test_the_hand_over_of_what_is_not_is_not(world: World, state: Callable[[World], Any]):
    await state(world)
    assert not await mark(world)


async def test_what_its_carrier_has_after_a_silence_is_not_handed_over_again(world: World):
    await world.taken_by("first")
    assert not await mark(world, doubt=2)


async def test_what_another_carrier_has_after_a_silence_is(world: World):
    await world.taken_by("second")
    assert await mark(world, doubt=2)


async def test_what_its_carrier_had_and_failed_may_be_handed_over_once_more(world: World):
    await world.taken_by("first")
    assert await mark(world, doubt=1)


async def defer(world: World, *, reopened: bool = False) -> bool:
    deferral = Deferral(RESOURCE, MESSAGE, LATER, "second", 1, "first", 0)
    changed = await records.defer(world.connection, [deferral], US, reopened=reopened)
    row = await world.row()
    if changed:
        assert (row["due_at"], row["claim_id"], row["attempts"]) == (LATER, None, 1)
        assert (row["carrier"], row["doubt"], row["state"], row["ended_at"]) == ("second", 1, State.QUEUED, None)
        assert (row["code"], row["segments_delivered"]) == (None, None)
    return bool(changed)


@pytest.mark.parametrize("state", [is_(), is_(due_at=NOW, claim_id=CLAIM)], ids=["in its block", "in our hands"])
async def test_what_is_ours_is_put_off(world: World, state: Callable[[World], Any]):
    await state(world)
    assert await defer(world)


@pytest.mark.parametrize(
    "state", [ENDED, *NOT_OURS.values(), *ELSEWHERE.values()], ids=["ended", *NOT_OURS, *ELSEWHERE]
)
async def test_what_is_not_is_not_put_off(world: World, state: Callable[[World], Any]):
    await state(world)
    before = await world.row()
    assert not await defer(world)
    assert await world.row() == before


async def test_what_this_transaction_ended_is_put_off_whosever_it_is(world: World):
    await world.change(state=State.FAILED, code=5000, ended_at=NOW, segments_delivered=0, due_at=NOW)
    await others_block(world)
    assert await defer(world, reopened=True)


async def take_after_all(world: World, doubt: int = 1, settled: int | None = None) -> bool:
    taken = TakenAfterAll(RESOURCE, MESSAGE, "first", doubt, settled)
    changed = await records.taken_after_all(world.connection, [taken])
    row = await world.row()
    if changed:
        assert (row["due_at"], row["claim_id"], row["carrier"]) == (REPORT_BY, None, "first")
        assert row["doubt"] == (1 if settled is None else settled)
    return bool(changed)


STILL_TO_BE_HELPED = {
    "waiting": is_(due_at=LATER, doubt=1),
    "waiting for another carrier": is_(due_at=LATER, doubt=1, carrier="second"),
    "in our hands": is_(due_at=LATER, doubt=1, claim_id=CLAIM),
    "in another's hands": is_(due_at=LATER, doubt=1, claim_id=THEIR_CLAIM),
}


@pytest.mark.parametrize("state", STILL_TO_BE_HELPED.values(), ids=STILL_TO_BE_HELPED)
async def test_what_was_taken_after_all_waits_for_its_report(world: World, state: Callable[[World], Any]):
    await state(world)
    assert await take_after_all(world)


async def test_what_waits_was_taken_after_all_whatever_silences_came_since(world: World):
    await world.change(due_at=LATER, doubt=1)
    assert await take_after_all(world, doubt=2)


async def test_a_hand_over_that_was_settled_is_counted_no_more(world: World):
    await world.change(due_at=LATER, doubt=2, claim_id=CLAIM)
    assert await take_after_all(world, doubt=2, settled=1)


TOO_LATE = {
    "ended": is_(due_at=LATER, doubt=1, state=State.FAILED, code=5000, ended_at=NOW),
    "never put off": is_(doubt=1),
    "handed over again from here": is_(due_at=LATER, doubt=2, claim_id=CLAIM),
    "handed over again from elsewhere": is_(due_at=LATER, doubt=2, claim_id=THEIR_CLAIM),
}


@pytest.mark.parametrize("state", TOO_LATE.values(), ids=TOO_LATE)
async def test_what_cannot_be_helped_any_more_is_left_as_it_is(world: World, state: Callable[[World], Any]):
    await state(world)
    before = await world.row()
    assert not await take_after_all(world)
    assert await world.row() == before


async def test_what_another_carrier_took_meanwhile_stays_its(world: World):
    await world.change(due_at=LATER, doubt=1, carrier="second")
    await world.taken_by("second")
    assert not await take_after_all(world)


async def test_a_carrier_has_what_it_took_and_did_not_fail(world: World):
    asked = [(RESOURCE, BLOCK, MESSAGE)]
    assert await records.taken_before(world.connection, asked) == {}
    await world.taken_by("first")
    await world.tried("first")
    await world.tried("second", temporary=False)
    assert await records.taken_before(world.connection, asked) == {MESSAGE: "first"}
    await world.tried("first", NOW + timedelta(seconds=1), temporary=False)
    assert await records.taken_before(world.connection, asked) == {}


async def test_a_try_told_again_is_one(world: World):
    await world.tried("first")
    await world.tried("first")
    assert await world.connection.fetchval("SELECT count(*) FROM sms_attempts") == 1


NOT_TO_BE_CANCELED = {
    "never put off": is_(),
    "in somebody's hands": is_(due_at=LATER, claim_id=CLAIM),
    "ended": is_(due_at=LATER, state=State.FAILED, code=5000, ended_at=NOW),
}


@pytest.mark.parametrize("state", NOT_TO_BE_CANCELED.values(), ids=NOT_TO_BE_CANCELED)
async def test_only_what_waits_is_canceled(world: World, state: Callable[[World], Any]):
    await state(world)
    assert not await records.cancel(world.connection, RESOURCE, [MESSAGE], NOW)
    await world.change(due_at=LATER, claim_id=None, state=State.QUEUED)
    assert await records.cancel(world.connection, RESOURCE, [MESSAGE], NOW)


async def test_what_has_ended_does_not_end_again(world: World):
    await world.change(due_at=LATER, claim_id=CLAIM)
    assert await records.end(world.connection, [KEY], [5002], NOW)
    row = await world.row()
    assert (row["state"], row["code"], row["due_at"], row["claim_id"]) == (State.FAILED, 5002, None, None)
    assert not await records.end(world.connection, [KEY], [9999], LATER)
    await records.wait_alone(world.connection, [KEY], [LATER])
    assert await world.row() == row


async def test_what_leaves_our_block_is_due_and_says_so(world: World):
    await records.leave(world.connection, [KEY], LATER, US)
    row = await world.row()
    assert (row["due_at"], row["attempts"], row["claim_id"]) == (LATER, 1, None)


@pytest.mark.parametrize("state", [*NOT_OURS.values(), ENDED], ids=[*NOT_OURS, "ended"])
async def test_what_is_not_in_our_block_does_not_leave_it(world: World, state: Callable[[World], Any]):
    await state(world)
    before = await world.row()
    await records.leave(world.connection, [KEY], NOW, US)
    assert await world.row() == before


async def test_what_leaves_a_block_together_keeps_its_order_and_is_due_at_once(world: World):
    others = [UUID(int=90), UUID(int=80)]
    for other in others:
        await world.message(other)
    await records.leave(world.connection, [KEY, *((RESOURCE, other) for other in others)], LATER, US)
    rows = await world.connection.fetch("SELECT message_id FROM sms_messages WHERE due_at <= $1 ORDER BY due_at", LATER)
    assert [row["message_id"] for row in rows] == [MESSAGE, *others]


NAMED: dict[str, Callable[[Connection], Any]] = {
    "ended": lambda c: records.end(c, [KEY], [5000], NOW),
    "marked": lambda c: records.mark(c, [(KEY, "first", 0, 1)], US),
    "put off": lambda c: records.defer(c, [Deferral(RESOURCE, MESSAGE, LATER, "second", 1, "first", 0)], US),
    "waiting alone": lambda c: records.wait_alone(c, [KEY], [LATER]),
    "leaving its block": lambda c: records.leave(c, [KEY], NOW, US),
}


@pytest.mark.parametrize("change", NAMED.values(), ids=NAMED)
async def test_what_is_not_named_is_left_as_it_is(world: World, change: Callable[[Connection], Any]):
    of_a_block = "SELECT * FROM sms_messages WHERE message_id <> $1"
    await world.message(UUID(int=90))
    before, changed = await world.connection.fetch(of_a_block, MESSAGE), await world.row()
    await change(world.connection)
    assert await world.connection.fetch(of_a_block, MESSAGE) == before
    assert await world.row() != changed


async def test_what_was_taken_after_all_is_that_message_and_no_other(world: World):
    other = UUID(int=90)
    await world.message(other, due_at=LATER, doubt=1)
    await world.change(due_at=LATER, doubt=1)
    assert await take_after_all(world)
    assert await world.connection.fetchval("SELECT due_at FROM sms_messages WHERE message_id = $1", other) == LATER


async def test_what_waits_alone_is_in_nobodys_hands(world: World):
    await world.change(due_at=NOW, claim_id=CLAIM)
    await records.wait_alone(world.connection, [KEY], [LATER])
    row = await world.row()
    assert (row["due_at"], row["claim_id"]) == (LATER, None)


async def report(world: World, state: State, carrier: str = "first", carrier_id: str = "1") -> bool:
    ending = Ending(state, 2000 if state is State.DELIVERED else 5000, NOW, None)
    ended = await receipts.report(world.connection, carrier, [(carrier_id, ending)], NOW)
    return bool(ended)


@pytest.mark.parametrize("state", [State.DELIVERED, State.FAILED])
async def test_a_report_ends_a_message_once_wherever_it_is(world: World, state: State):
    await world.taken_by("first")
    await world.change(due_at=LATER, claim_id=THEIR_CLAIM)
    assert await report(world, state)
    row = await world.row()
    assert (row["state"], row["due_at"], row["claim_id"]) == (state, None, None)
    assert not await report(world, State.DELIVERED)
    assert not await report(world, State.FAILED)
    assert await world.row() == row


async def test_only_a_good_report_counts_of_a_carrier_that_has_the_message_no_more(world: World):
    await world.taken_by("first")
    await world.change(carrier="second")
    assert not await report(world, State.FAILED)
    assert await report(world, State.DELIVERED)


async def claim(world: World, claim: UUID, *carriers: str, at: datetime = LATER) -> set[UUID]:
    rows = await records_deferred.claim_deferred(world.connection, Claim(claim, US, at), 10, carriers=carriers)
    return {row["message_id"] for row in rows}


async def test_what_is_due_is_claimed_by_one(world: World):
    await world.change(due_at=LATER)
    first, second = uuid4(), uuid4()
    assert await claim(world, first, "first", at=LATER - timedelta(seconds=1)) == set()
    assert await claim(world, first, "first") == {MESSAGE}
    assert (await world.row())["claim_id"] == first
    assert await claim(world, second, "first") == set()
    owners = await world.owners()
    assert owners[first] == US
    assert second not in owners, "nothing was opened for nothing"


async def claim_ending(world: World, *carriers: str, at: datetime) -> set[UUID]:
    pause = timedelta(seconds=15)
    rows = await records_deferred.claim_ending(
        world.connection, Claim(uuid4(), US, at), 10, carriers=carriers, since=at - pause
    )
    return {row["message_id"] for row in rows}


async def test_what_is_due_at_another_carrier_is_left_to_who_reaches_it(world: World):
    await world.change(due_at=LATER)
    assert await claim(world, uuid4(), "second", at=REPORT_BY) == set()


@pytest.mark.parametrize(
    "columns",
    [{}, {"report_by": LATER}, {"valid_until": LATER}, {"doubt": 1}],
    ids=["good", "late", "invalid", "doubt"],
)
async def test_of_that_only_what_ends_is_claimed_after_a_while(world: World, columns: dict[str, Any]):
    await world.change(due_at=LATER, **columns)
    soon, after = LATER + timedelta(seconds=14), LATER + timedelta(seconds=15)
    assert await claim_ending(world, "second", at=soon) == set()
    assert await claim_ending(world, "first", "second", at=after) == set(), "it is not another's"
    assert await claim_ending(world, "second", at=after) == ({MESSAGE} if columns else set())


async def test_whether_others_have_timers(world: World):
    assert not await records_deferred.elsewhere(world.connection, [])
    await world.change(due_at=LATER)
    assert await records_deferred.elsewhere(world.connection, [])
    assert await records_deferred.elsewhere(world.connection, ["second", "a third"])
    assert not await records_deferred.elsewhere(world.connection, ["second", "first"])
    await world.change(claim_id=THEIR_CLAIM)
    assert not await records_deferred.elsewhere(world.connection, [])


async def test_what_another_claims_at_this_moment_is_not_claimed(world: World):
    await world.change(due_at=LATER)
    async with world.database.transaction() as theirs:
        assert await claim(World(world.database, theirs), uuid4(), "first") == {MESSAGE}
        assert await claim(world, uuid4(), "first") == set()


async def claim_fairly(world: World, claim: UUID, *carriers: str, fairly: Fairly, limit: int = 500) -> list[UUID]:
    rows = await world.rota.claim(
        world.connection,
        Claim(claim, US, LATER),
        limit,
        carriers=carriers,
        fairly=fairly,
    )
    return [row["message_id"] for row in rows]


async def of_senders(world: World, *counts: int) -> list[list[UUID]]:
    """Messages that are due, so many of each sender: those of one all before the next one's."""
    senders = [[UUID(int=10_000 * number + each) for each in range(count)] for number, count in enumerate(counts, 1)]
    for number, messages in enumerate(senders):
        await world.connection.execute(
            "INSERT INTO sms_messages (resource_id, message_id, block_id, accepted_at, report_by, segments, state,"
            " report_wanted, sender, recipient, carrier, body, due_at)"
            " SELECT $1, message, $2, $3, $4, 1, $5, true, $6, 'to', 'first', 'hello',"
            "  $3::timestamptz + place * interval '1 ms'"
            " FROM unnest($7::uuid[]) WITH ORDINALITY AS m (message, place)",
            RESOURCE, BLOCK, NOW + timedelta(seconds=number), REPORT_BY, State.QUEUED, f"+1800555000{number}", messages,
        )  # fmt: skip
    return senders


async def test_what_is_due_is_claimed_fairly(world: World):
    """The first of each sender before the second of any, the longest due first, and of crowds nothing."""
    many, few, kept_out = await of_senders(world, 30, 3, 5)
    fairly = Fairly({Crowd("first", (ResourceId(RESOURCE), "+18005550002")): 5}, of_each=10)
    assert set(await claim_fairly(world, uuid4(), "first", fairly=fairly, limit=4)) == {*many[:2], *few[:2]}
    assert set(await claim_fairly(world, uuid4(), "first", fairly=fairly)) == {*many[2:12], few[2]}
    carriers = Fairly({Crowd("first"): 30}, of_each=10)
    assert await claim_fairly(world, uuid4(), "first", fairly=carriers) == []
    fairly = Fairly(NO_CROWDS, of_each=100)
    assert set(await claim_fairly(world, uuid4(), "first", fairly=fairly)) == {*many[12:], *kept_out}


async def test_who_is_due_after_as_many_senders_as_are_claimed_at_once_gets_a_turn(world: World):
    """While the others have more that is due, and has been for longer."""
    *_, (last,) = await of_senders(world, 1000, 1000, 1000, 1)
    claimed = list[UUID]()
    while last not in claimed:
        assert len(claimed) < 600, "in half as many claims as the others can fill, one in four of which it is in"
        claimed += await claim_fairly(world, uuid4(), "first", fairly=Fairly(NO_CROWDS, of_each=10), limit=3)


async def test_what_another_claims_at_this_moment_is_not_claimed_fairly(world: World):
    await world.change(due_at=LATER)
    everybody = Fairly(NO_CROWDS, of_each=10)
    assert await claim_fairly(world, uuid4(), "second", fairly=everybody) == [], "it is left to who reaches its carrier"
    async with world.database.transaction() as theirs:
        assert await claim_fairly(World(world.database, theirs), uuid4(), "first", fairly=everybody) == [MESSAGE]
        assert await claim_fairly(world, uuid4(), "first", fairly=everybody) == []


async def test_when_something_is_due_of_others_than_crowds(world: World):
    await of_senders(world, 3)
    await world.change(due_at=LATER)
    kept_out = {Crowd("first", (ResourceId(RESOURCE), "+18005550000")): 3}
    due, first_at = partial(world.rota.next_due, world.connection), NOW + timedelta(milliseconds=1)
    assert await records_deferred.next_deferred(world.connection) == first_at
    assert await due(LATER, ["first"], NO_CROWDS) == await due(NOW, ["first"], NO_CROWDS) == first_at
    assert await due(LATER, ["second"], NO_CROWDS) is None, "it is left to who reaches its carrier"
    assert await due(LATER, ["first"], kept_out) == LATER
    assert await due(LATER, ["first"], {Crowd("first"): 3}) is None
    assert await due(NOW, ["second"], kept_out) == first_at, "until then nobody's are looked for"


async def read_for_one(world: World, fairly: Fairly, *carriers: str) -> int:
    """Rows read to find the one message that is due there."""
    async with world.database.transaction() as connection:
        await records_deferred.elsewhere(connection, carriers)
        theirs = World(world.database, connection)
        await theirs.rota.next_due(connection, LATER, carriers, fairly.without)
        assert len(await claim_fairly(theirs, uuid4(), *carriers, fairly=fairly)) == 1
        return await connection.fetchval(
            "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'sms_messages'"
        )


async def test_what_is_due_is_found_without_looking_through_what_is_kept_out(world: World):
    await of_senders(world, 1000, 1)
    fairly = Fairly({Crowd("first", (ResourceId(RESOURCE), "+18005550000")): 1000}, of_each=10)
    assert 1 <= await read_for_one(world, fairly, "first") < 50


async def test_what_is_due_is_found_without_looking_through_what_is_at_others_carriers(world: World):
    await of_senders(world, 1000, 1000)
    await world.change(due_at=LATER, carrier="second")
    assert 1 <= await read_for_one(world, Fairly(NO_CROWDS, of_each=500), "second") < 50


async def test_what_is_being_canceled_is_not_claimed(world: World):
    await world.change(due_at=LATER)
    async with world.database.transaction() as theirs:
        assert await records.cancel(theirs, RESOURCE, [MESSAGE], NOW)
        assert await claim(world, uuid4(), "first") == set()


async def test_a_message_with_two_of_its_carriers_ids_is_claimed_as_one(world: World):
    await world.taken_by("first", "1")
    await world.taken_by("first", "2")
    assert [len(rows) for rows in (await records.unfinished(world.connection, [BLOCK])).values()] == [1]
    await world.change(due_at=LATER)
    rows = await records_deferred.claim_deferred(world.connection, Claim(uuid4(), US, LATER), 10, carriers=["first"])
    assert len(rows) == 1


async def test_what_is_to_be_done_of_a_block(world: World):
    """Not what has ended, nor what has a timer of its own; taken is what its present carrier took."""
    for number, columns in enumerate(({"state": State.DELIVERED}, {"due_at": LATER}, {"carrier": "second"})):
        await world.message(UUID(int=20 + number), **columns)
        await world.taken_by("first", str(number), UUID(int=20 + number))
    await world.taken_by("first", "mine")
    found = await records.unfinished(world.connection, [BLOCK])
    assert {row["message_id"]: row["submitted"] for row in found[BLOCK]} == {MESSAGE: "mine", UUID(int=22): None}


async def test_only_what_is_in_hand_under_a_claim_of_ours_is_given_back(world: World):
    await world.change(due_at=LATER, claim_id=THEIR_CLAIM)
    await records_deferred.give_back(world.connection, [CLAIM, THEIR_CLAIM], US, NOW)
    assert (await world.row())["claim_id"] == THEIR_CLAIM
    await world.change(claim_id=CLAIM)
    await records_deferred.give_back(world.connection, [CLAIM], US, NOW)
    row = await world.row()
    assert (row["claim_id"], row["due_at"]) == (None, NOW)


async def park(world: World, carrier_id: str, at: datetime) -> None:
    ending = Ending(State.DELIVERED, 2000, at, None)
    await receipts.report(world.connection, "first", [(carrier_id, ending)], at)


async def unparked(world: World, at: datetime) -> set[str]:
    return {row["carrier_message_id"] for row in await receipts.unpark(world.connection, at)}


async def test_parked_receipts_are_found_once_their_messages_are_known_and_for_a_while(world: World):
    await park(world, "1", NOW)
    assert await unparked(world, NOW) == set()
    await world.taken_by("second", "1")
    assert await unparked(world, NOW) == set(), "another carrier's"
    await world.connection.execute(
        "INSERT INTO sms_submissions VALUES ($1, $2, $3, $4, 'first', '1')", RESOURCE, MESSAGE, BLOCK, NOW
    )
    assert await unparked(world, NOW + PARKED_FOR) == set()
    assert await unparked(world, NOW) == {"1"}
    assert await unparked(world, NOW) == set()


async def test_a_receipt_that_was_parked_long_after_a_submission_is_not_its(world: World):
    """That of a message which ended was parked, in case its id is another's by now."""
    await park(world, "1", NOW + timedelta(minutes=1))
    await world.connection.execute(
        "INSERT INTO sms_submissions VALUES ($1, $2, $3, $4, 'first', '1')", RESOURCE, MESSAGE, BLOCK, NOW
    )
    await world.change(state=State.DELIVERED, ended_at=NOW)
    assert await unparked(world, NOW + timedelta(minutes=1)) == set()


@pytest.mark.parametrize("awaited", [False, True])
async def test_a_receipt_that_came_while_the_process_that_stored_the_answer_stood_still_is_its(
    world: World, awaited: bool
):
    """The answer is dated before the stop, and was there after the receipt."""
    await park(world, "1", NOW + timedelta(minutes=1))
    await world.connection.execute(
        "INSERT INTO sms_submissions VALUES ($1, $2, $3, $4, 'first', '1')", RESOURCE, MESSAGE, BLOCK, NOW
    )
    found = await receipts.unpark(world.connection, NOW + timedelta(minutes=1), [("first", "1")] if awaited else [])
    assert [row["carrier_message_id"] for row in found] == ["1"]
