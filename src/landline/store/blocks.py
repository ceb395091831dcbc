"""Leased work in blocks: rows written by one commit share a block, and a worker owns blocks, not rows.

A process that commits work opens its block already held by itself and goes on from memory, so that nothing is claimed
row by row. When it dies, its blocks' leases end and any process claims them (docs/design/blocks.md).
"""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from datetime import UTC, datetime, timedelta
from itertools import islice
from uuid import UUID

from landline.store.database import Connection, Database, Record
from landline.store.floor import Floor
from landline.store.parts import Part, execute

LEASE = timedelta(seconds=15)
_LONG = timedelta(minutes=1)
"""The lease of a block that is held for longer than a heartbeat, by a process that renews its own beside it. When that
ends, so do these."""
_PASSED_LIMIT = 1000
# A crowd's stretch of the index is bounded by >= and <=: were it named by =, PostgreSQL might look through all that is
# due instead, as it believes that to be little, or much of it to be that crowd's.
_OF_CROWD = "crowd >= w.crowd AND crowd <= w.crowd"
_CROWDS = """
RECURSIVE crowds AS (
    (SELECT crowd, due_at FROM {table} WHERE crowd IS NOT NULL{condition} ORDER BY crowd, due_at LIMIT 1)
    UNION ALL
    SELECT next.* FROM crowds c CROSS JOIN LATERAL
        (SELECT crowd, due_at FROM {table} WHERE crowd > c.crowd ORDER BY crowd, due_at LIMIT 1) AS next
),
wanted AS (
    SELECT * FROM crowds WHERE ${0}::text[] IS NOT NULL AND crowd NOT IN (SELECT unnest(${0}::text[]))
    AND (${1}::text[] IS NULL OR split_part(crowd, E'\\n', 1) = ANY(${1}))
)
"""
"""The crowds there are at some places, each found by its name after the one before, but for some."""
_DUE_CROWDS = """
WITH {crowds},
soonest AS MATERIALIZED (
    SELECT due_at AS at FROM {table} WHERE due_at >= $6 AND {not_ours} ORDER BY due_at LIMIT 1
)
SELECT crowd, due_at FROM wanted WHERE due_at <= $3
UNION ALL SELECT NULL, at FROM soonest WHERE at > $3
ORDER BY due_at
"""
# They are not looked for while nothing is due at all.
_CLAIM_FAIRLY = """
WITH found AS (
    (
        SELECT block_id, due_at, 0 AS turn FROM {table}
        WHERE crowd IS NULL AND due_at >= $8 AND due_at <= $3 AND {not_ours} ORDER BY due_at, block_id LIMIT $4
    )
    UNION ALL
    SELECT first.* FROM unnest($6::text[]) AS w (crowd) CROSS JOIN LATERAL (
        SELECT each.block_id, each.due_at, row_number() OVER (ORDER BY each.due_at, each.block_id) FROM (
            SELECT block_id, due_at FROM {table}
            WHERE {of_crowd} AND due_at <= $3 AND {not_ours} ORDER BY crowd, due_at LIMIT $7
        ) AS each
    ) AS first
    UNION ALL
    (
        SELECT block_id, due_at, 0 FROM {table}
        WHERE crowd IS NOT NULL AND greatest(due_at, ends_at) >= $8 AND greatest(due_at, ends_at) <= $3 AND {not_ours}
        ORDER BY greatest(due_at, ends_at) LIMIT $4
    )
),
due AS (
    SELECT b.block_id, b.owner
    FROM (
        SELECT block_id FROM found GROUP BY block_id ORDER BY min(turn), min(due_at), block_id LIMIT $4
    ) AS f JOIN {table} b ON b.block_id = ANY(ARRAY[f.block_id])
    WHERE CASE WHEN b.owner IS DISTINCT FROM $1 THEN b.due_at <= $3 END FOR UPDATE OF b SKIP LOCKED
)
{claimed}, b.crowd
"""
# What was found is locked by its key: CASE keeps PostgreSQL from reading the index of all that is due beside it, and
# ANY from reading all there is, where it has seen nothing but dead rows (docs/design/plans.md).
_CLAIMED = """
UPDATE {table} b SET owner = CASE WHEN due.owner = b.block_id THEN due.owner ELSE $1 END, due_at = $2
FROM due WHERE b.block_id = ANY(ARRAY[due.block_id])
RETURNING b.block_id, due.owner IS NOT NULL AS held, (due.owner = b.block_id) IS TRUE AS of_process
"""
# A process's own row stays its own: it says whose other blocks are to be ended, however often that is begun.
_END_DEAD = """
WITH dead AS (
    DELETE FROM {table} WHERE block_id = ANY($1) AND owner = block_id AND due_at = $2 RETURNING block_id
)
UPDATE {table} b SET due_at = least(b.due_at, $3) FROM dead
WHERE b.owner = dead.block_id AND b.block_id <> dead.block_id
"""
_RENEW_OWN = """
INSERT INTO {table} (block_id, owner, due_at) SELECT $1, $1, $2
WHERE EXISTS (SELECT FROM {table} WHERE owner = $1 AND block_id <> $1)
ON CONFLICT (block_id) DO UPDATE SET owner = excluded.owner, due_at = excluded.due_at
"""
# Not by the index of all that is due, which is why it says IS TRUE.
_RENEW = """
WITH renewed AS (
    UPDATE {table} SET due_at = $3 WHERE owner = $1 AND block_id <> $1 AND (due_at < $2) IS TRUE RETURNING block_id
)
SELECT block_id FROM renewed
UNION ALL SELECT block_id FROM {table} WHERE owner = $1 AND block_id <> $1 AND (due_at >= $2) IS TRUE
"""
_NEXT_FAIRLY = """
WITH {crowds}
SELECT least(
    (SELECT due_at FROM {table} WHERE crowd IS NULL AND due_at >= $5 AND {not_ours} ORDER BY due_at LIMIT 1),
    (
        SELECT min(first.due_at) FROM wanted w CROSS JOIN LATERAL
            (SELECT due_at FROM {table} WHERE {of_crowd} AND {not_ours} ORDER BY crowd, due_at LIMIT 1) AS first
    ),
    (
        SELECT greatest(due_at, ends_at) FROM {table}
        WHERE crowd IS NOT NULL AND greatest(due_at, ends_at) >= $5 AND {not_ours}
        ORDER BY greatest(due_at, ends_at) LIMIT 1
    )
)
"""
_NEXT = """
SELECT min(due_at) FROM {table} {where} due_at >= $3 AND owner IS DISTINCT FROM $1 AND block_id <> ALL($2)
"""
_ALWAYS = datetime.min.replace(tzinfo=UTC)
_NOBODY = UUID(int=0)
"""Holds what somebody held who died, until it is claimed."""


class Blocks:
    """The blocks of one kind of work, in `table (block_id uuid PRIMARY KEY, owner uuid, due_at timestamptz)`.

    `due_at` is when the block wants to be looked at next; for a held block it is the end of the lease. A process that
    holds some for longer has a row of its own there, whose `block_id` and `owner` it is: the one that it renews often.
    """

    def __init__(self, database: Database, table: str, owner: UUID, *, by_key: bool = False) -> None:
        """`by_key`: the table has no index but that of its key. All it holds is looked through by that then: its pages
        may be very many and all but empty, after a backup that kept what is dead in them. And each block's lease is
        renewed each time, which is cheap where no index holds `due_at`."""
        assert table.isidentifier()
        where = f"WHERE block_id > '{_NOBODY}' AND" if by_key else "WHERE"
        self._database = database
        self.owner = owner
        self._open = f"INSERT INTO {table} (block_id, owner, due_at) VALUES (${{}}, ${{}}, ${{}})"
        self._claim = (
            f"WITH due AS (SELECT * FROM {table} {where} due_at <= $3 AND owner IS DISTINCT FROM $1"
            f" AND block_id <> ALL($5) ORDER BY due_at, block_id LIMIT $4 FOR UPDATE SKIP LOCKED)"
            + _CLAIMED.format(table=table)
        )
        self._end_dead = _END_DEAD.format(table=table)
        not_ours = "owner IS DISTINCT FROM $1 AND block_id <> ALL({})"
        self._due_crowds = _DUE_CROWDS.format(
            table=table,
            crowds=_CROWDS.format(4, 5, table=table, condition=" AND (SELECT at FROM soonest) <= $3"),
            not_ours=not_ours.format("$2"),
        )
        self._claim_fairly = _CLAIM_FAIRLY.format(
            table=table, of_crowd=_OF_CROWD, not_ours=not_ours.format("$5"), claimed=_CLAIMED.format(table=table)
        )
        self._next_fairly = _NEXT_FAIRLY.format(
            table=table,
            crowds=_CROWDS.format(3, 4, table=table, condition=""),
            of_crowd=_OF_CROWD,
            not_ours=not_ours.format("$2"),
        )
        self._turns: dict[str, None] = {}
        """The crowds of which something was due when they were looked for last, and whose turn is still to come."""
        self._nothing_before: datetime | None = None
        """When the first is due of anybody's, as `claim_fairly` has found that nothing was."""
        self._one_lease = not by_key
        self._renew_all = f"UPDATE {table} SET due_at = $2 {where} owner = $1 RETURNING block_id"
        self._renew_own = _RENEW_OWN.format(table=table)
        self._renew = _RENEW.format(table=table)
        self._drop_own = (
            f"DELETE FROM {table} WHERE block_id = $1 AND owner = $1"
            f" AND NOT EXISTS (SELECT FROM {table} WHERE owner = $1 AND block_id <> $1)"
        )
        self._has_own = False
        self._release = (
            f"UPDATE {table} b SET owner = $4, due_at = r.due_at"
            f" FROM unnest($2::uuid[], $3::timestamptz[]) AS r (block_id, due_at)"
            f" WHERE b.block_id = ANY(ARRAY[r.block_id]) AND (b.owner = $1) IS TRUE"  # not by the index of all it holds
        )
        self._inherit = f"UPDATE {table} SET due_at = $2 {where} owner <> $1"
        self._close = f"DELETE FROM {table} WHERE block_id = ANY(${{}}) AND (owner = ${{}} OR owner IS NULL)"
        self._owned = f"SELECT block_id FROM {table} {where} owner = $1 AND block_id <> $1"
        self._unknown: frozenset[UUID] = frozenset()
        self._next = _NEXT.format(table=table, where=where)
        self._end = f"UPDATE {table} SET due_at = least(due_at, $2) {where} owner = $1"
        self._first = f"SELECT due_at FROM {table} WHERE due_at < $1 ORDER BY due_at LIMIT 1"
        self._floor = Floor(self._first_due)
        self._since = _ALWAYS
        """When the first of all was due, when it was looked for last: where `claim_fairly` and what follows begin."""
        self._passed: dict[UUID, tuple[datetime, datetime]] = {}
        """Since when and until when each is left alone."""

    async def open(self, connection: Connection, block: UUID, now: datetime, *, held: bool) -> None:
        """Open `block` in the transaction that writes its rows: held by this process, or due at once for any."""
        await execute(connection, [self.opening(block, now, held=held)])

    def opening(self, block: UUID, now: datetime, *, held: bool) -> Part:
        """`open` as a part of the statement that writes the rows."""
        return Part(self._open, (block, self.owner, now + LEASE) if held else (block, None, now))

    async def claim(self, now: datetime, limit: int) -> dict[UUID, bool]:
        """Up to `limit` due blocks, the longest due first, now held by this process; for each, whether a process held
        it that did not give it back: it may have died with the block's work half done."""
        claimed: dict[UUID, bool] = {}
        while True:
            arguments = (self.owner, now + LEASE, now, limit - len(claimed), self._not_ours(now))
            rows = await self._database.fetch(self._claim, *arguments)
            found = await self._without_dead(rows, now)
            claimed |= {row["block_id"]: row["held"] for row in found}
            if len(found) == len(rows) or len(claimed) == limit:
                return claimed

    async def _without_dead(self, rows: Sequence[Record], now: datetime) -> list[Record]:
        """What was claimed, without dead processes' own rows: what these held is due now."""
        dead = [row["block_id"] for row in rows if row["of_process"]]
        if dead:
            await self._database.execute(self._end_dead, dead, now + LEASE, now)
        return [row for row in rows if not row["of_process"]]

    async def claim_fairly(
        self,
        now: datetime,
        limit: int,
        of_each: int,
        without: Collection[str] | None = (),
        places: Collection[str] | None = None,
    ) -> tuple[dict[UUID, bool], set[UUID]]:
        """The same in a table that says whose its blocks are, and which of them are crowds': those of no crowd first,
        then no more than `of_each` of each crowd, the first of each before the second of any; and of crowds in
        `without`, or with None of any, or at other than `places`, only what has to end (`ends_at`). What waits of these
        is not looked through, however much it is. A crowd's name begins with its place, on a line of its own."""
        not_ours, fresh, self._nothing_before = self._not_ours(now), without is None, None
        self._since = await self._floor.at(now)
        kept_out = frozenset(without or ())
        while True:
            crowds = [] if without is None else list(islice(self._wanted(kept_out, places), limit))
            if not crowds and not fresh:
                await self._look_for_crowds(now, not_ours, kept_out, places)
                fresh, crowds = True, list(islice(self._wanted(kept_out, places), limit))
            each = min(of_each, math.ceil(limit / max(len(crowds), 1)))
            arguments = (self.owner, now + LEASE, now, limit, not_ours, crowds, each, self._since)
            rows = await self._database.fetch(self._claim_fairly, *arguments)
            served = {row["crowd"] for row in rows}
            for crowd in crowds:
                if crowd in served or len(rows) < limit:
                    self._turns.pop(crowd, None)
            found = await self._without_dead(rows, now)
            if found or (fresh and not crowds and not rows):
                claimed = {row["block_id"]: row["held"] for row in found}
                return claimed, {row["block_id"] for row in found if row["crowd"] is not None}
            fresh = fresh and not rows  # of crowds that a dead process held something may be due now

    def _wanted(self, kept_out: Set[str], places: Collection[str] | None) -> Iterator[str]:
        for crowd in self._turns:
            if crowd not in kept_out and (places is None or crowd.partition("\n")[0] in places):
                yield crowd

    async def _look_for_crowds(
        self,
        now: datetime,
        not_ours: Sequence[UUID],
        kept_out: Set[str],
        places: Collection[str] | None,
    ) -> None:
        """Have those of which something is due take turns."""
        where = None if places is None else list(places)
        rows = await self._database.fetch(
            self._due_crowds, self.owner, not_ours, now, list(kept_out), where, self._since
        )
        self._turns = dict.fromkeys([*(row["crowd"] for row in rows if row["due_at"] <= now), *self._turns])
        self._nothing_before = next((row["due_at"] for row in rows if row["due_at"] > now), None)

    async def _first_due(self, upto: datetime) -> datetime:
        return await self._database.fetchval(self._first, upto) or upto

    async def extend(self, now: datetime) -> set[UUID]:
        """Renew the lease of every block this process holds, and say which these are; call it at least every third of
        `LEASE`. What is not among them although it was held before has been claimed by another process."""
        if not self._one_lease:
            rows = await self._database.fetch(self._renew_all, self.owner, now + LEASE)
            return {row["block_id"] for row in rows}
        # One after the other: once its own row is renewed nobody ends what the process still has.
        if (await self._database.execute(self._renew_own, self.owner, now + LEASE)).endswith(" 0"):
            if self._has_own:
                await self._database.execute(self._drop_own, self.owner)
                self._has_own = False
            return set()
        self._has_own = True
        rows = await self._database.fetch(self._renew, self.owner, now + LEASE, now + _LONG)
        return {row["block_id"] for row in rows}

    async def release(self, blocks: Mapping[UUID, datetime], *, held: bool = False) -> None:
        """Give held blocks back, each to be looked at by anyone at its instant; `claim` then calls them `held` when a
        process that had them before this one may have left their work half done."""
        if blocks:
            owner = _NOBODY if held else None
            self._floor.lower(min(blocks.values()))
            await self._database.execute(self._release, self.owner, list(blocks), list(blocks.values()), owner)

    async def pass_on(self, blocks: Iterable[UUID], now: datetime, until: datetime) -> None:
        """Give held blocks back for others to claim at once; this process leaves them alone until `until`, unless
        `take_back` says otherwise."""
        passed = list(blocks)
        if len(self._passed) > _PASSED_LIMIT:  # too many to leave out one by one: they rest for the others too
            await self.release(dict.fromkeys(passed, until))
            return
        await self.release(dict.fromkeys(passed, now))
        self._passed |= dict.fromkeys(passed, (now, until))

    def take_back(self) -> None:
        """What was passed on may be claimed here again."""
        self._passed.clear()

    async def end(self, now: datetime, owner: UUID | None = None) -> None:
        """This process ends, or `owner` is known to have died: the leases of all it holds end now. As after any crash,
        `claim` calls such blocks held: some of their work may be half done."""
        await self._database.execute(self._end, owner or self.owner, now)

    async def forgotten(self, known: Set[UUID]) -> list[UUID]:
        """Blocks that this process holds and was not found to know, at this look and at the one before.

        Their commit was made and its answer was lost, or whoever waited for it is gone. Two looks, because a block may
        be committed and on its way into memory during one.
        """
        rows = await self._database.fetch(self._owned, self.owner)
        unknown = frozenset(row["block_id"] for row in rows) - known
        forgotten = unknown & self._unknown
        self._unknown = unknown - forgotten
        return list(forgotten)

    async def inherit(self, now: datetime) -> None:
        """Make every other owner's blocks due now. Only for a process that knows all others on this database dead."""
        await self._database.execute(self._inherit, self.owner, now)

    async def close(self, connection: Connection, blocks: Iterable[UUID]) -> None:
        """Nothing is left to do in `blocks`, as far as this process knows: what another has claimed is that one's."""
        await execute(connection, [self.closing(blocks)])

    def closing(self, blocks: Iterable[UUID]) -> Part:
        """`close` as a part of another statement."""
        return Part(self._close, (list(blocks), self.owner))

    async def next_due(
        self, without: Collection[str] | None = (), places: Collection[str] | None = None
    ) -> datetime | None:
        """When the next block that this process does not hold wants to be looked at; `without` and `places` as in
        `claim_fairly`. It may be another's, where that has just found nothing due at all."""
        passed, instants = self._passed, [until for _, until in self._passed.values()]
        due, self._nothing_before = self._nothing_before, None
        if due is None and (without is None or without or places is not None):
            crowds, where = None if without is None else list(without), None if places is None else list(places)
            due = await self._database.fetchval(self._next_fairly, self.owner, list(passed), crowds, where, self._since)
        elif due is None:
            due = await self._database.fetchval(self._next, self.owner, list(passed), self._since)
        return min((at for at in (due, *instants) if at is not None), default=None)

    def _not_ours(self, now: datetime) -> list[UUID]:
        # Passed on later than now: the clock was set back.
        self._passed = {block: span for block, span in self._passed.items() if span[0] <= now < span[1]}
        return list(self._passed)
