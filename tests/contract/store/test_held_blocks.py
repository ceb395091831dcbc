"""Blocks that a process holds for long: it renews one lease for all of them, and they end with that one
(docs/design/blocks.md)."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from landline.core.errors import Unavailable
from landline.store.blocks import LEASE, Blocks
from landline.store.database import Database

NOW = datetime(2026, 11, 21, tzinfo=UTC)
BEAT = timedelta(seconds=2)
FOR_LONG = timedelta(minutes=10)


async def opened(database: Database, blocks: Blocks, count: int = 20, *, now: datetime = NOW) -> set[UUID]:
    found = {uuid4() for _ in range(count)}
    async with database.transaction() as connection:
        for block in found:
            await blocks.open(connection, block, now, held=True)
    return found


async def kept(blocks: Blocks, *, since: datetime = NOW, until: datetime) -> datetime:
    """The last of the heartbeats of a process that lives `until` then."""
    now = since
    while now + BEAT <= until:
        now += BEAT
        await blocks.extend(now)
    return now


def process(database: Database) -> Blocks:
    return Blocks(database, "sms_blocks", uuid4())


async def rows(database: Database) -> int:
    return await database.fetchval("SELECT count(*) FROM sms_blocks")


async def test_blocks_are_held_for_as_long_as_their_process_renews_its_lease(database: Database):
    ours, theirs = process(database), process(database)
    held = await opened(database, ours)
    now = NOW
    while now < NOW + FOR_LONG:
        now = await kept(ours, since=now, until=now + timedelta(seconds=20))
        assert await theirs.claim(now + LEASE - BEAT, 100) == {}
    assert await ours.extend(now) == held
    assert await ours.forgotten(held) == []


async def test_what_is_held_for_long_is_hardly_ever_written(database: Database):
    """10,000 messages accepted one by one, behind a carrier that is down: 18 million rows were written an hour."""
    ours = process(database)
    held = await opened(database, ours)
    written, beats, now = 0, 0, NOW
    versions = "SELECT array_agg(ctid ORDER BY block_id) FROM sms_blocks WHERE block_id = ANY($1)"
    before = await database.fetchval(versions, held)
    while now < NOW + FOR_LONG:
        now = await kept(ours, since=now, until=now + BEAT)
        after = await database.fetchval(versions, held)
        written += sum(was != is_now for was, is_now in zip(before, after, strict=True))
        before, beats = after, beats + 1
    assert written < beats * len(held) / 15


@pytest.mark.parametrize("held_for", [timedelta(0), timedelta(seconds=3), timedelta(seconds=40), FOR_LONG])
@pytest.mark.parametrize("fairly", [False, True])
async def test_they_are_anybodys_once_their_process_was_silent_for_a_lease(
    database: Database, held_for: timedelta, fairly: bool
):
    ours, theirs = process(database), process(database)
    held = await opened(database, ours)
    now = await kept(ours, until=NOW + held_for)
    due = await theirs.next_due()
    assert due is not None
    assert due <= now + LEASE
    at = now + LEASE
    claimed = (await theirs.claim_fairly(at, 100, 100))[0] if fairly else await theirs.claim(at, 100)
    assert claimed == dict.fromkeys(held, True)
    await theirs.release(dict.fromkeys(held, at))
    assert await rows(database) == len(held)


async def test_a_dead_process_leaves_its_crowds_blocks_too(database: Database):
    ours, theirs = process(database), process(database)
    held = await opened(database, ours)
    await database.execute("UPDATE sms_blocks SET crowd = 'carrier', ends_at = $1", NOW + timedelta(hours=12))
    at = await kept(ours, until=NOW + FOR_LONG) + LEASE
    assert await theirs.claim_fairly(at, 100, 100, ()) == (dict.fromkeys(held, True), held)


async def test_a_few_at_a_time_are_claimed_of_a_dead_process(database: Database):
    ours, theirs = process(database), process(database)
    held = await opened(database, ours)
    at = await kept(ours, until=NOW + FOR_LONG) + LEASE
    claimed = set[UUID]()
    for _ in range(4):
        found = await theirs.claim(at, 5)
        assert len(found) == 5
        claimed.update(found)
    assert claimed == held


class Interrupted(Blocks):
    """A process to which something happens between finding another one's lease ended, and ending what that holds."""

    meanwhile: Callable[[], Awaitable[object]] | None = None

    async def _without_dead(self, rows: list[object], now: datetime) -> list[object]:  # type: ignore[override]
        if self.meanwhile is not None:
            await self.meanwhile()
        return await super()._without_dead(rows, now)  # type: ignore[arg-type,return-value]


async def test_who_dies_while_taking_over_leaves_it_to_the_next(database: Database):
    ours, theirs, third = process(database), Interrupted(database, "sms_blocks", uuid4()), process(database)
    held = await opened(database, ours)
    at = await kept(ours, until=NOW + FOR_LONG) + LEASE

    async def dies() -> None:
        raise Unavailable("the process is no more")

    theirs.meanwhile = dies
    with pytest.raises(Unavailable):
        await theirs.claim(at, 100)
    assert await third.claim(at + LEASE, 100) == dict.fromkeys(held, True)


async def test_who_goes_on_after_a_standstill_keeps_what_nobody_has_taken(database: Database):
    ours, theirs = process(database), Interrupted(database, "sms_blocks", uuid4())
    held = await opened(database, ours)
    at = await kept(ours, until=NOW + FOR_LONG) + LEASE

    async def goes_on() -> None:
        assert await ours.extend(at + timedelta(seconds=1)) == held

    theirs.meanwhile = goes_on
    assert await theirs.claim(at, 100) == {}
    assert await ours.extend(at + BEAT) == held


async def test_who_goes_on_after_a_standstill_learns_what_others_took(database: Database):
    ours, theirs = process(database), process(database)
    held = await opened(database, ours)
    at = await kept(ours, until=NOW + FOR_LONG) + LEASE
    taken = set(await theirs.claim(at, 5))
    assert await ours.extend(at + timedelta(seconds=1)) == held - taken
    assert await theirs.claim(at + timedelta(seconds=2), 100) == {}
    third = process(database)
    assert await third.claim(at + timedelta(seconds=1) + LEASE, 100) == dict.fromkeys(held, True)


async def test_a_process_of_the_version_before_takes_over_from_one_that_renews_its_own_lease(database: Database):
    """It claims that like any block, finds nothing in it, and closes it; what the other held it has a minute later."""
    ours, old, at = process(database), uuid4(), NOW
    held = await opened(database, ours)
    at = await kept(ours, until=NOW + FOR_LONG) + LEASE
    claim = "UPDATE sms_blocks SET owner = $1, due_at = $2 WHERE due_at <= $3 AND owner <> $1 RETURNING block_id"
    claimed = await database.fetch(claim, old, at + LEASE, at)
    await database.execute("DELETE FROM sms_blocks WHERE block_id = $1 AND owner = $2", ours.owner, old)
    assert ours.owner in {row["block_id"] for row in claimed}
    at += timedelta(minutes=1)
    claimed += await database.fetch(claim, old, at + LEASE, at)
    assert {row["block_id"] for row in claimed} - {ours.owner} == held


async def test_a_process_goes_on_after_one_of_the_version_before_closed_its_lease(database: Database):
    ours, theirs = process(database), process(database)
    held = await opened(database, ours)
    at = await kept(ours, until=NOW + FOR_LONG) + LEASE
    await database.execute("DELETE FROM sms_blocks WHERE block_id = $1", ours.owner)
    assert await ours.extend(at) == held
    assert await theirs.claim(at + LEASE, 100) == dict.fromkeys(held, True)


async def test_who_holds_nothing_leaves_no_lease_behind(database: Database):
    ours = process(database)
    held = await opened(database, ours)
    now = await kept(ours, until=NOW + FOR_LONG)
    async with database.transaction() as connection:
        await ours.close(connection, held)
    await ours.extend(now + BEAT)
    assert await rows(database) == 0
    held = await opened(database, ours, now=now)
    assert await ours.extend(now + BEAT) == held


async def test_who_ends_leaves_all_it_holds_at_once(database: Database):
    ours, theirs = process(database), process(database)
    held = await opened(database, ours)
    now = await kept(ours, until=NOW + FOR_LONG)
    await ours.end(now)
    assert await theirs.claim(now, 100) == dict.fromkeys(held, True)
    await theirs.extend(now + BEAT)
    assert await theirs.forgotten(held) == []
