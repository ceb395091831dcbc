"""Blocks: who looks after what, when leases end, and that two claimants never share one."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from tests.support.patience import PATIENCE_S
from tests.support.rows import backup, index_pages_read, pages_read, rows_read

from landline.store.blocks import LEASE, Blocks
from landline.store.database import Database

NOW = datetime(2026, 11, 21, tzinfo=UTC)
LATER = NOW + timedelta(hours=12)


@pytest.fixture
async def table(database: Database) -> str:
    await database.execute(
        "CREATE TABLE work_blocks (block_id uuid PRIMARY KEY, owner uuid, due_at timestamptz NOT NULL)"
    )
    return "work_blocks"


async def opened(database: Database, blocks: Blocks, *, held: bool, at: datetime = NOW) -> UUID:
    block = uuid4()
    async with database.transaction() as connection:
        await blocks.open(connection, block, at, held=held)
    return block


async def test_a_held_block_is_claimed_only_after_its_lease(database: Database, table: str):
    ours, theirs = Blocks(database, table, uuid4()), Blocks(database, table, uuid4())
    block = await opened(database, ours, held=True)
    assert await theirs.claim(NOW, 10) == {}
    assert await ours.claim(NOW + LEASE, 10) == {}
    assert await theirs.claim(NOW + LEASE, 10) == {block: True}


async def test_a_heartbeat_keeps_a_lease(database: Database, table: str):
    ours, theirs = Blocks(database, table, uuid4()), Blocks(database, table, uuid4())
    await opened(database, ours, held=True)
    await ours.extend(NOW + timedelta(seconds=10))
    assert await theirs.claim(NOW + LEASE, 10) == {}


async def test_the_backlog_is_shared_without_overlap(database: Database, table: str):
    workers = [Blocks(database, table, uuid4()) for _ in range(4)]
    expected = {await opened(database, workers[0], held=False) for _ in range(40)}
    claims = await asyncio.gather(*(worker.claim(NOW, 5) for worker in workers for _ in range(3)))
    claimed = [block for claim in claims for block in claim]
    assert len(claimed) == len(set(claimed)) == 40
    assert set(claimed) == expected


async def test_a_block_that_another_claims_at_this_moment_is_passed_over(database: Database, table: str):
    ours, theirs = Blocks(database, table, uuid4()), Blocks(database, table, uuid4())
    first, second = await opened(database, ours, held=False), await opened(database, ours, held=False)
    async with database.transaction() as connection:
        await connection.execute("SELECT FROM work_blocks WHERE block_id = $1 FOR UPDATE", min(first, second))
        async with asyncio.timeout(PATIENCE_S):
            assert await theirs.claim(NOW, 1) == {max(first, second): False}


async def test_a_released_block_is_due_when_it_said(database: Database, table: str):
    ours = Blocks(database, table, uuid4())
    block = await opened(database, ours, held=True)
    later = NOW + timedelta(hours=1)
    await ours.release({block: later})
    assert await ours.next_due() == later
    assert await ours.claim(NOW + LEASE, 10) == {}
    assert await ours.claim(later, 10) == {block: False}


async def test_whoever_is_alone_takes_over_at_once(database: Database, table: str):
    dead, ours = Blocks(database, table, uuid4()), Blocks(database, table, uuid4())
    block = await opened(database, dead, held=True)
    await ours.inherit(NOW)
    assert await ours.claim(NOW, 10) == {block: True}


async def test_a_closed_block_is_gone(database: Database, table: str):
    ours = Blocks(database, table, uuid4())
    block = await opened(database, ours, held=True)
    async with database.transaction() as connection:
        await ours.close(connection, [block])
    assert await Blocks(database, table, uuid4()).claim(NOW + timedelta(days=1), 10) == {}


async def test_a_block_passed_on_is_for_the_others_until_its_instant(database: Database, table: str):
    ours, theirs = Blocks(database, table, uuid4()), Blocks(database, table, uuid4())
    block, until = await opened(database, ours, held=True), NOW + timedelta(seconds=10)
    await ours.pass_on([block], NOW, until)
    assert await ours.claim(NOW, 10) == {}
    assert await ours.next_due() == until
    assert await theirs.claim(NOW, 10) == {block: False}
    await theirs.pass_on([block], NOW, until)
    assert await ours.claim(until, 10) == {block: False}


async def test_a_block_passed_on_may_be_taken_back(database: Database, table: str):
    ours = Blocks(database, table, uuid4())
    block = await opened(database, ours, held=True)
    await ours.pass_on([block], NOW, NOW + timedelta(hours=1))
    ours.take_back()
    assert await ours.claim(NOW, 10) == {block: False}


async def test_a_block_passed_on_before_the_clock_was_set_back_may_be_claimed_again(database: Database, table: str):
    ours, theirs = Blocks(database, table, uuid4()), Blocks(database, table, uuid4())
    block, ahead = await opened(database, ours, held=True), NOW + timedelta(hours=1)
    await ours.pass_on([block], ahead, ahead + timedelta(seconds=10))
    assert await theirs.claim(ahead, 10) == {block: False}
    await theirs.release({block: NOW})
    assert await ours.claim(NOW, 10) == {block: False}


async def test_whoever_ends_leaves_what_it_holds_to_the_others_at_once(database: Database, table: str):
    ours, theirs = Blocks(database, table, uuid4()), Blocks(database, table, uuid4())
    blocks = {await opened(database, ours, held=True) for _ in range(3)}
    later = await opened(database, ours, held=True)
    await ours.release({later: NOW + timedelta(hours=1)})
    await opened(database, theirs, held=True)
    await ours.end(NOW)
    assert await theirs.claim(NOW, 10) == dict.fromkeys(blocks, True), "as after a crash: held"


async def test_what_a_process_holds_is_found_without_reading_what_waits(database: Database):
    await database.execute(
        "INSERT INTO sms_blocks SELECT gen_random_uuid(), NULL, $1 FROM generate_series(1, 3000)", NOW
    )
    blocks = Blocks(database, "sms_blocks", uuid4())
    block = await opened(database, blocks, held=True)
    before = await rows_read(database, "sms_blocks")
    assert await blocks.extend(NOW) == {block}
    assert await blocks.forgotten({block}) == []
    await blocks.end(NOW, uuid4())
    assert await rows_read(database, "sms_blocks") - before < 100


async def of_crowds(database: Database, *crowds: str | None, ends_at: datetime = LATER) -> list[UUID]:
    """Blocks that nobody holds, one of each of `crowds`, each due a millisecond later than the one before."""
    blocks = [uuid4() for _ in crowds]
    await database.execute(
        "INSERT INTO sms_blocks SELECT block, NULL, $1::timestamptz + place * interval '1 ms', crowd, $2"
        " FROM unnest($3::uuid[], $4::text[]) WITH ORDINALITY AS b (block, crowd, place)",
        NOW,
        ends_at,
        blocks,
        list(crowds),
    )
    return blocks


async def fairly(blocks: Blocks, *arguments: Any) -> dict[UUID, bool]:
    return (await blocks.claim_fairly(*arguments))[0]


async def test_of_crowds_the_first_block_of_each_is_claimed_before_the_second_of_any(database: Database):
    blocks = await of_crowds(database, "a", "a", "a", "b", None, "c")
    ours, now = Blocks(database, "sms_blocks", uuid4()), NOW + timedelta(seconds=1)
    assert set(await fairly(ours, now, 3, 2)) == {blocks[4], blocks[0], blocks[3]}, "what is of none goes first"
    assert set(await fairly(ours, now, 10, 2, ["c"])) == {*blocks[1:3]}
    assert await fairly(ours, now, 10, 2, None) == {}
    assert await ours.claim_fairly(now, 10, 1) == ({blocks[5]: False}, {blocks[5]}), "it is a crowd's"
    assert await fairly(ours, now, 10, 1) == {}


async def test_of_crowds_no_more_blocks_of_each_are_claimed_at_once_than_asked_for(database: Database):
    blocks = await of_crowds(database, "a", "a", "a")
    ours, now = Blocks(database, "sms_blocks", uuid4()), NOW + timedelta(seconds=1)
    assert await fairly(ours, NOW, 10, 2) == {}, "none is due"
    assert set(await fairly(ours, now, 10, 2)) == {*blocks[:2]}
    theirs = Blocks(database, "sms_blocks", uuid4())
    assert await fairly(theirs, now, 10, 2) == dict.fromkeys(blocks[2:], False)
    assert await fairly(theirs, now + LEASE, 10, 2) == dict.fromkeys(blocks[:2], True)


async def test_a_crowd_that_is_kept_out_is_claimed_when_some_of_it_ends(database: Database):
    (first,) = await of_crowds(database, "a", ends_at=NOW + timedelta(minutes=1))
    (second,) = await of_crowds(database, "b", ends_at=NOW + timedelta(minutes=2))
    ours = Blocks(database, "sms_blocks", uuid4())
    assert await ours.next_due(["b"]) == NOW + timedelta(milliseconds=1)
    assert await ours.next_due(["a", "b"]) == await ours.next_due(None) == NOW + timedelta(minutes=1)
    assert await fairly(ours, NOW + timedelta(minutes=1), 10, 1, None) == {first: False}
    assert await fairly(ours, NOW + timedelta(minutes=2), 10, 1, ["a", "b"]) == {second: False}


async def test_the_first_block_to_be_due_of_all_crowds_is_told(database: Database):
    await of_crowds(database, "a", "b", "a", "kept out", None)
    ours = Blocks(database, "sms_blocks", uuid4())
    assert await ours.next_due(["kept out"]) == NOW + timedelta(milliseconds=1)
    assert await ours.next_due(["kept out", "a"]) == NOW + timedelta(milliseconds=2)
    assert await ours.next_due(["a", "b", "kept out"]) == NOW + timedelta(milliseconds=5)


async def test_a_crowds_block_that_another_looks_at_at_this_moment_is_passed_over(database: Database):
    blocks = await of_crowds(database, "a", "b", None)
    ours, now = Blocks(database, "sms_blocks", uuid4()), NOW + timedelta(seconds=1)
    async with database.transaction() as connection:
        await connection.execute("SELECT FROM sms_blocks WHERE block_id = ANY($1) FOR UPDATE", blocks[1:])
        async with asyncio.timeout(PATIENCE_S):
            assert await fairly(ours, now, 3, 3) == {blocks[0]: False}


async def test_blocks_are_found_without_reading_those_of_crowds_that_are_kept_out(database: Database):
    *_, none, other = await of_crowds(database, *["many"] * 3000, None, "other")
    blocks, now = Blocks(database, "sms_blocks", uuid4()), NOW + timedelta(minutes=1)
    before = await rows_read(database, "sms_blocks")
    assert await blocks.next_due(["many"]) == NOW + timedelta(milliseconds=3001)
    assert set(await fairly(blocks, now, 10, 10, ["many"])) == {none, other}
    assert await blocks.next_due(["many"]) == LATER
    assert await fairly(blocks, now, 10, 10, None) == {}
    assert await rows_read(database, "sms_blocks") - before < 100


async def test_thousands_of_crowds_are_looked_for_once_for_all_their_turns(database: Database):
    """And not all of them again for each few blocks."""
    await of_crowds(database, *(f"crowd {number}" for number in range(2000)))
    blocks, now = Blocks(database, "sms_blocks", uuid4()), NOW + timedelta(minutes=1)
    assert len(await fairly(blocks, now, 10, 10)) == 10
    before = await rows_read(database, "sms_blocks"), await index_pages_read(database, "sms_blocks")
    for _ in range(50):
        assert len(await fairly(blocks, now, 10, 10)) == 10
    assert await rows_read(database, "sms_blocks") - before[0] < 5 * 500
    assert await index_pages_read(database, "sms_blocks") - before[1] < 50 * 500


async def test_of_many_crowds_no_more_is_read_of_each_than_its_turn_can_bring(database: Database):
    await of_crowds(database, *(f"crowd {number}" for number in range(20) for _ in range(100)))
    blocks = Blocks(database, "sms_blocks", uuid4())
    before = await rows_read(database, "sms_blocks")
    assert len(await fairly(blocks, NOW + timedelta(minutes=1), 20, 100)) == 20
    assert await rows_read(database, "sms_blocks") - before < 10 * 20


async def test_all_crowds_have_their_turns_beside_larger_ones(database: Database):
    """Also those whose first block is due after all of the others'."""
    names = [f"crowd {number}" for number in range(20)]
    blocks = await of_crowds(database, *(name for name in names for _ in range(20)), "last")
    ours, claimed = Blocks(database, "sms_blocks", uuid4()), set[UUID]()
    while blocks[-1] not in claimed:
        claimed |= set(await fairly(ours, NOW + timedelta(minutes=1), 3, 1))
    assert len(claimed) <= len(names) + 3


async def test_what_is_due_of_a_crowd_is_found_whatever_postgresql_knows(database: Database):
    """It has planned this of an empty table, or has seen one that was all of one crowd."""
    await database.execute("ALTER TABLE sms_blocks SET (autovacuum_enabled = false)")
    blocks, now = Blocks(database, "sms_blocks", uuid4()), NOW + timedelta(minutes=1)
    assert await fairly(blocks, now, 10, 10) == {}
    await of_crowds(database, *["many"] * 2000, *(f"crowd {number}" for number in range(100)))
    before = await rows_read(database, "sms_blocks"), await index_pages_read(database, "sms_blocks")
    for _ in range(10):
        assert await fairly(blocks, now, 10, 10)
    assert await rows_read(database, "sms_blocks") - before[0] < 10 * 100
    assert await index_pages_read(database, "sms_blocks") - before[1] < 10 * 500


async def seen_empty(database: Database, table: str) -> None:
    """PostgreSQL has found pages in `table`, and only dead rows in them, as while a backup goes on."""
    await database.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = false)")
    await database.execute(f"INSERT INTO {table} SELECT gen_random_uuid(), NULL, $1 FROM generate_series(1, 3000)", NOW)
    await database.execute(f"DELETE FROM {table}")
    await database.execute(f"ANALYZE {table}")


async def test_blocks_are_claimed_by_their_keys_though_postgresql_has_seen_none(database: Database):
    """Of a backlog that has come since, or of all that is dead, the whole would be read for each few."""
    await seen_empty(database, "sms_blocks")
    await of_crowds(database, *["many"] * 3000)
    ours, now = Blocks(database, "sms_blocks", uuid4()), NOW + timedelta(minutes=1)
    before = await rows_read(database, "sms_blocks")
    claimed = await fairly(ours, now, 10, 10)
    assert len(claimed) == 10
    await ours.release(dict.fromkeys(claimed, LATER))
    assert await rows_read(database, "sms_blocks") - before < 100


async def test_what_is_due_is_found_without_going_through_what_came_and_went_during_a_backup(
    database: Database, dsn: str
):
    """Each commit's block is dead a second later, and stays until the backup ends."""
    ours, theirs = (Blocks(database, "sms_blocks", uuid4()) for _ in range(2))
    now = NOW + timedelta(minutes=5)
    async with backup(dsn):
        await database.execute(
            "INSERT INTO sms_blocks"
            " SELECT gen_random_uuid(), NULL, $1::timestamptz + n * 7919 % 3000 * interval '1 millisecond'"
            " FROM generate_series(1, 3000) AS n",
            NOW,
        )
        await database.execute("DELETE FROM sms_blocks")
        assert await fairly(ours, now, 10, 10) == {}  # which goes through all, once a minute
        await opened(database, theirs, held=False, at=now)
        before = await pages_read(database, "sms_blocks")
        assert await ours.next_due() == now
        assert len(await fairly(ours, now + timedelta(seconds=50), 10, 10)) == 1
        assert await ours.next_due(["kept out"]) is None
        assert await pages_read(database, "sms_blocks") - before < 200


async def test_what_was_due_long_before_it_was_written_waits_a_minute_at_most(database: Database):
    """As by a process whose clock is behind."""
    ours, theirs = (Blocks(database, "sms_blocks", uuid4()) for _ in range(2))
    assert await fairly(ours, NOW, 10, 10) == {}
    block = await opened(database, theirs, held=False, at=NOW - timedelta(hours=1))
    assert await fairly(ours, NOW + timedelta(minutes=1), 10, 10) == {block: False}


async def test_what_is_given_back_as_long_due_is_claimed_at_once(database: Database):
    ours = Blocks(database, "sms_blocks", uuid4())
    block = await opened(database, ours, held=True)
    assert await fairly(ours, NOW, 10, 10) == {}
    await ours.release({block: NOW - timedelta(hours=1)})
    assert await fairly(ours, NOW, 10, 10) == {block: False}


async def test_blocks_that_have_no_crowds_are_claimed_likewise(database: Database, table: str):
    """Without an index all that is due is read once, to be put in order, and not once more for its keys."""
    await seen_empty(database, table)
    blocks = Blocks(database, table, uuid4())
    await database.execute(f"INSERT INTO {table} SELECT gen_random_uuid(), NULL, $1 FROM generate_series(1, 3000)", NOW)
    before = await rows_read(database, table)
    assert len(await blocks.claim(NOW, 10)) == 10
    assert await rows_read(database, table) - before < 3100


async def test_pages_that_hold_nothing_any_more_are_not_read_for_what_is_there(database: Database):
    """A backup kept half a million batches of events; they are gone since, and the room they had is not."""
    await database.execute(
        "INSERT INTO events_batches (block_id, owner, due_at, since, events)"
        " SELECT lpad(to_hex(n), 32, '0')::uuid, $1, $2, $2, convert_to(repeat('x', 700), 'UTF8')"
        " FROM generate_series(1, 10000) AS n",
        uuid4(),
        NOW,
    )
    await database.execute("DELETE FROM events_batches WHERE block_id <> lpad(to_hex(10000), 32, '0')::uuid")
    await database.execute("VACUUM events_batches")  # once for the rows, and for what they had in the index
    await database.execute("VACUUM events_batches")
    assert await database.fetchval("SELECT pg_relation_size('events_batches') / 8192") > 900, (
        "the last page holds a row"
    )
    blocks = Blocks(database, "events_batches", uuid4(), by_key=True)
    before = await pages_read(database, "events_batches")
    assert await blocks.next_due() == NOW
    assert len(await blocks.claim(NOW, 10)) == 1
    assert len(await blocks.extend(NOW)) == 1
    assert await blocks.forgotten(set()) == []
    await blocks.inherit(NOW)
    await blocks.end(NOW)
    assert await pages_read(database, "events_batches") - before < 100


async def test_what_another_has_claimed_is_neither_given_back_nor_closed_by_who_had_it(database: Database, table: str):
    ours, theirs, third = (Blocks(database, table, uuid4()) for _ in range(3))
    block, free = [await opened(database, ours, held=held) for held in (True, False)]
    assert await theirs.claim(NOW + LEASE, 10) == {free: False, block: True}
    await ours.release({block: NOW, free: NOW})
    async with database.transaction() as connection:
        await ours.close(connection, [block, free])
    assert await third.claim(NOW + LEASE, 10) == {}
    assert await theirs.extend(NOW + LEASE) == {block, free}


async def test_who_had_a_block_may_close_what_nobody_has_now(database: Database, table: str):
    ours = Blocks(database, table, uuid4())
    block = await opened(database, ours, held=True)
    await ours.release({block: NOW + LEASE})
    async with database.transaction() as connection:
        await ours.close(connection, [block])
    assert await ours.next_due() is None


async def test_the_longest_due_is_claimed_first_and_the_first_due_is_told(database: Database, table: str):
    ours, theirs = Blocks(database, table, uuid4()), Blocks(database, table, uuid4())
    blocks = [await opened(database, ours, held=True) for _ in range(3)]
    dues = [NOW + timedelta(seconds=seconds) for seconds in (20, 10, 30)]
    await ours.release(dict(zip(blocks, dues, strict=True)))
    assert await theirs.next_due() == dues[1]
    assert await theirs.claim(NOW + timedelta(minutes=1), 1) == {blocks[1]: False}
    assert await theirs.claim(NOW + timedelta(minutes=1), 1) == {blocks[0]: False}


async def test_the_leases_of_a_process_that_died_end_and_those_of_others_do_not(database: Database, table: str):
    ours, dead, theirs = (Blocks(database, table, uuid4()) for _ in range(3))
    await opened(database, ours, held=True)
    left = await opened(database, dead, held=True)
    await ours.end(NOW, dead.owner)
    assert await theirs.claim(NOW, 10) == {left: True}
    await theirs.release({left: NOW + LEASE}, held=True)
    await ours.inherit(NOW)
    assert await theirs.claim(NOW, 10) == {left: True}


async def test_more_blocks_than_can_be_left_to_others_one_by_one_rest_for_all(
    database: Database, table: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("landline.store.blocks._PASSED_LIMIT", 1)
    ours, theirs = Blocks(database, table, uuid4()), Blocks(database, table, uuid4())
    blocks = [await opened(database, ours, held=True) for _ in range(3)]
    until = NOW + timedelta(seconds=5)
    await ours.pass_on(blocks[:2], NOW, until)
    await ours.pass_on(blocks[2:], NOW, until)
    assert await ours.claim(NOW, 10) == {}
    assert set(await theirs.claim(NOW, 10)) == set(blocks[:2])
    assert await ours.claim(until, 10) == {blocks[2]: False}
