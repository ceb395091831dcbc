"""The SQL of the counts: noting them down, folding them into hours and days, reading them, dropping old ones."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from landline.core.ids import ResourceId
from landline.services.insights.model import Figures, Tally
from landline.services.insights.questions import Dimension, Group, Page, Place, Question, spans
from landline.store.database import Connection, Record

OTHER = "(other)"
"""Stands for the tags of an hour beyond the limit."""

COUNT = """
INSERT INTO insights_deltas (resource_id, hour, sender, tag, country, carrier, cells, counts)
SELECT resource_id, hour, sender, tag, country, carrier, cells::integer[], counts::bigint[]
FROM unnest(${}::uuid[], ${}::integer[], ${}::text[], ${}::text[], ${}::text[], ${}::text[], ${}::text[], ${}::text[])
    AS d (resource_id, hour, sender, tag, country, carrier, cells, counts)
"""
"""Notes down `counted`, as a part (`store/parts.py`)."""

_TOGETHER = """(
    SELECT array_agg(cell ORDER BY cell), array_agg(count ORDER BY cell) FROM (
        SELECT cell, sum(count)::bigint AS count FROM (
            SELECT * FROM unnest(kept.cells, kept.counts)
            UNION ALL
            SELECT * FROM unnest(excluded.cells, excluded.counts)) AS both_of_them (cell, count)
        GROUP BY cell) AS summed)
"""

# One statement, so that a process that dies leaves either all of it or nothing, and no transaction that waits for it.
# Rows are taken with SKIP LOCKED and written in the order of their keys: folders of several processes neither take the
# same row nor wait for each other in a circle.
_FOLD = f"""
WITH taken AS MATERIALIZED (
    DELETE FROM insights_deltas WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM insights_deltas WHERE ctid >= $3::text::tid LIMIT $1 FOR UPDATE SKIP LOCKED))
    RETURNING *, ctid AS place
),
unknown AS (
    SELECT DISTINCT t.resource_id, t.hour, t.tag FROM taken t
    WHERE t.tag <> '' AND NOT EXISTS (
        SELECT FROM insights_tags k WHERE (k.resource_id, k.hour, k.tag) = (t.resource_id, t.hour, t.tag))
),
held AS (
    SELECT g.resource_id, g.hour,
        (SELECT count(*) FROM insights_tags k WHERE (k.resource_id, k.hour) = (g.resource_id, g.hour)) AS tags
    FROM (SELECT DISTINCT resource_id, hour FROM unknown) AS g
),
placed AS MATERIALIZED (
    SELECT resource_id, hour, tag,
        held.tags + row_number() OVER (PARTITION BY resource_id, hour ORDER BY tag) <= $2 AS has_place
    FROM unknown JOIN held USING (resource_id, hour)
),
named AS (
    INSERT INTO insights_tags (resource_id, hour, tag)
    SELECT resource_id, hour, tag FROM placed WHERE has_place ORDER BY resource_id, hour, tag
    ON CONFLICT DO NOTHING
),
summed AS MATERIALIZED (
    SELECT t.resource_id, t.hour, CASE WHEN p.has_place IS FALSE THEN '{OTHER}' ELSE t.tag END AS tag,
        t.sender, t.country, t.carrier, c.cell, sum(c.count)::bigint AS count
    FROM taken t LEFT JOIN placed p USING (resource_id, hour, tag)
    CROSS JOIN LATERAL unnest(t.cells, t.counts) AS c (cell, count)
    GROUP BY 1, 2, 3, 4, 5, 6, 7 HAVING sum(c.count) <> 0
),
hours AS (
    INSERT INTO insights_hours AS kept (resource_id, hour, tag, sender, country, carrier, cells, counts)
    SELECT resource_id, hour, tag, sender, country, carrier,
        array_agg(cell ORDER BY cell), array_agg(count ORDER BY cell)
    FROM summed GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2, 3, 4, 5, 6
    ON CONFLICT (resource_id, hour, tag, sender, country, carrier) DO UPDATE SET (cells, counts) = {_TOGETHER}
),
days AS (
    INSERT INTO insights_days AS kept (resource_id, day, tag, sender, country, carrier, cells, counts)
    SELECT resource_id, day, tag, sender, country, carrier,
        array_agg(cell ORDER BY cell), array_agg(count ORDER BY cell)
    FROM (
        SELECT resource_id, hour / 24 AS day, tag, sender, country, carrier, cell, sum(count)::bigint AS count
        FROM summed GROUP BY 1, 2, 3, 4, 5, 6, 7) AS by_day
    GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2, 3, 4, 5, 6
    ON CONFLICT (resource_id, day, tag, sender, country, carrier) DO UPDATE SET (cells, counts) = {_TOGETHER}
)
SELECT count(*) AS count, (max(place)::text::point)[0]::integer AS page FROM taken
"""

_COLUMNS = {
    Dimension.NUMBER: "sender",
    Dimension.TAG: "tag",
    Dimension.COUNTRY: "country",
    Dimension.CARRIER: "carrier",
}
_OF_HOURS = _COLUMNS | {Dimension.HOUR: "hour", Dimension.DAY: "hour / 24"}
_OF_DAYS = _COLUMNS | {Dimension.HOUR: "day * 24", Dimension.DAY: "day"}  # nobody asks the days' table for hours


def counted(tally: Tally) -> tuple[list[object], ...]:
    """The arguments of `COUNT`."""
    groups = tally.groups
    return (
        [key[0] for key in groups],
        [key[1] for key in groups],
        [key[2] for key in groups],
        [key[3] for key in groups],
        [key[4] for key in groups],
        [key[5] for key in groups],
        [_array(cells) for cells in groups.values()],
        [_array(cells.values()) for cells in groups.values()],
    )


def _array(numbers: Iterable[int]) -> str:
    """An array as PostgreSQL writes it: arrays of different lengths cannot be handed over as one."""
    return "{" + ",".join(map(str, numbers)) + "}"


_LOCK = 0x666F6C64  # "fold"
_ALONE = (
    "SELECT pg_try_advisory_xact_lock($1)"
    " AND set_config('idle_in_transaction_session_timeout', '10s', true) IS NOT NULL"
)
"""Whoever stops before the end of its transaction, and stays connected, gives the lock back all the same."""


async def folds_alone(connection: Connection) -> bool:
    """Whether no other process folds, and none will until this transaction ends."""
    return await connection.fetchval(_ALONE, _LOCK)


@dataclass(frozen=True, slots=True)
class Folded:
    """How many notes were folded, and the page of the table that the last of them stood in."""

    count: int
    page: int


async def fold(connection: Connection, limit: int, tags_per_hour: int, first_page: int = 0) -> Folded:
    """Fold up to `limit` notes into their hours and days, of those in the table's pages from `first_page` on."""
    row = await connection.fetchrow(_FOLD, limit, tags_per_hour, f"({first_page},0)")
    assert row is not None, "an aggregate has a row"
    return Folded(row["count"], first_page if row["page"] is None else row["page"])


async def page(
    connection: Connection, resource: ResourceId, question: Question, after: Place | None, limit: int
) -> Page:
    """Up to `limit` groups behind the place `after`, and the totals, all of one instant."""
    query = _Query(resource, question)
    rows = await connection.fetch(query.page(after, limit + 1), *query.arguments)
    totals = _figures(rows.pop())
    last = tuple(rows[limit - 1][key] for key in query.keys) if len(rows) > limit else None
    return Page([_group(row, query.keys) for row in rows[:limit] if row["cells"]], totals, last)


async def declare(connection: Connection, resource: ResourceId, question: Question) -> None:
    """Open a cursor over all groups, as they are at this instant, in the surrounding transaction."""
    query = _Query(resource, question)
    if len(question.by) > 1:
        await connection.execute(_IN_ORDER)
    sql = f"DECLARE {_cursor(question)} NO SCROLL CURSOR FOR {query.everything()}"
    await connection.execute(sql, *query.arguments)


async def more(connection: Connection, question: Question, limit: int) -> list[Group]:
    """The next groups of the cursor; none at its end."""
    rows = await connection.fetch(f"FETCH {limit} FROM {_cursor(question)}")
    return [_group(row, _keys(question)) for row in rows]


_IN_ORDER = "SET LOCAL enable_hashagg = off"
"""Groups of several dimensions may be as many as rows. They are summed up as they come out of the sorted source, each
when it is read: of a million the first is there within seconds, and no statement takes as long as all of them do."""


def _cursor(question: Question) -> str:
    """A name for each shape of rows: the driver prepares a FETCH once, with the columns it finds then."""
    return "_".join(("insights", *(each.value for each in question.by)))


_PRUNE = "DELETE FROM {0} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {0} WHERE {1} < $1 ORDER BY {1} LIMIT $2))"
_PRUNES = (
    _PRUNE.format("insights_hours", "hour"),
    _PRUNE.format("insights_tags", "hour"),
    _PRUNE.format("insights_days", "day"),
)


async def prune(connection: Connection, first_hour: int, first_day: int, limit: int) -> bool:
    """Delete up to `limit` rows of each kind from before `first_hour` and `first_day`; whether more may be left."""
    tags = [
        await connection.execute(statement, first, limit)
        for statement, first in zip(_PRUNES, (first_hour, first_hour, first_day), strict=True)
    ]
    return any(int(tag.rpartition(" ")[2]) >= limit for tag in tags)


def _cells(keys: str = "", source: str = "source") -> str:
    """What `source` has, cell by cell. Unnested by what is selected: a function that is joined makes a table of each
    row's arrays first, and answers took twice as long."""
    return f"FROM (SELECT {keys}unnest(cells) AS cell, unnest(counts) AS count FROM {source}) AS each_of_them"


class _Query:
    """A question as SQL: everything in its range, unfolded notes too, summed up by group and cell."""

    def __init__(self, resource: ResourceId, question: Question) -> None:
        needed = spans(question)
        self.keys = _keys(question)
        self.arguments: list[UUID | str | int] = [resource, *needed.before, *needed.after, *needed.days]
        self.arguments += [question.start, question.end]
        self._kinds = ["integer" if each in (Dimension.HOUR, Dimension.DAY) else "text" for each in question.by]
        condition = "".join(f" AND {_COLUMNS[each]} = {self._argument(value)}" for each, value in question.where)
        hours, days = self._columns(question, _OF_HOURS), self._columns(question, _OF_DAYS)
        self._source = f"""source AS NOT MATERIALIZED (
    SELECT {hours} cells, counts FROM insights_hours
    WHERE resource_id = $1 AND (hour >= $2 AND hour < $3 OR hour >= $4 AND hour < $5){condition}
    UNION ALL
    SELECT {days} cells, counts FROM insights_days WHERE resource_id = $1 AND day >= $6 AND day < $7{condition}
    UNION ALL
    SELECT {hours} cells, counts FROM insights_deltas WHERE resource_id = $1 AND hour >= $8 AND hour < $9{condition}
)
"""

    def page(self, after: Place | None, limit: int) -> str:
        """Rows (total, keys, cells, counts): up to `limit` groups in order, those that came to nothing without cells,
        and at last one row, `total`, of all of them.

        The groups of one dimension are few: all are summed up at once. Of several there may be as many as rows: then
        only those that are shown are summed up, each by itself. The source is read for each purpose: kept in between
        it would be written to disk, with all its columns, and no parallel worker could read it."""
        if not self.keys:
            return f"WITH {self._source} {self._totals(_cells())}"
        keys = ", ".join(self.keys)
        behind = ""
        if after is not None:
            values = [f"{self._argument(value)}::{kind}" for value, kind in zip(after, self._kinds, strict=True)]
            behind = f"WHERE ({keys}) > ({', '.join(values)})"
        few = len(self.keys) == 1
        picked = "source" if few else f"source JOIN shown USING ({keys})"
        summed = (
            f"summed AS MATERIALIZED (SELECT {keys}, cell, sum(count)::bigint AS count"
            f" {_cells(f'{keys}, ', picked)} GROUP BY {keys}, cell HAVING sum(count) <> 0)"
        )
        shown = (
            f"shown AS MATERIALIZED (SELECT DISTINCT {keys} FROM {'summed' if few else 'source'} {behind}"
            f" ORDER BY {keys} LIMIT {self._argument(limit)})"
        )
        return (
            f"WITH {self._source}, {f'{summed}, {shown}' if few else f'{shown}, {summed}'}"
            f" SELECT false AS total, {keys}, array_agg(cell) FILTER (WHERE cell IS NOT NULL) AS cells,"
            f" array_agg(count) FILTER (WHERE cell IS NOT NULL) AS counts"
            f" FROM shown LEFT JOIN summed USING ({keys}) GROUP BY {keys}"
            f" UNION ALL {self._totals('FROM summed' if few else _cells())} ORDER BY total, {keys}"
        )

    def _totals(self, cells: str) -> str:
        return (
            f"SELECT true AS total, {''.join(f'NULL::{kind} AS {key}, ' for key, kind in self._typed())}"
            "array_agg(cell) AS cells, array_agg(count) AS counts"
            f" FROM (SELECT cell, sum(count)::bigint AS count {cells} GROUP BY cell HAVING sum(count) <> 0) AS every"
        )

    def everything(self) -> str:
        """Rows (keys, cells, counts) of all groups in order; without keys one row."""
        ordered = (
            f"FROM (SELECT * FROM source ORDER BY {', '.join(self.keys)}) AS source" if self.keys else "FROM source"
        )
        tail = f" GROUP BY {', '.join(self.keys)} ORDER BY {', '.join(self.keys)}" if self.keys else ""
        listed = "".join(f"{key}, " for key in self.keys)
        return (
            f"WITH {self._source}, summed AS ("
            f" SELECT {listed} cell, sum(count)::bigint AS count {ordered}"
            " CROSS JOIN LATERAL unnest(source.cells, source.counts) AS c (cell, count)"
            f" GROUP BY {listed} cell HAVING sum(count) <> 0)"
            f" SELECT {listed} array_agg(cell) AS cells, array_agg(count) AS counts FROM summed{tail}"
        )

    def _columns(self, question: Question, of: dict[Dimension, str]) -> str:
        return "".join(f"{of[each]} AS {key}, " for each, key in zip(question.by, self.keys, strict=True))

    def _typed(self) -> list[tuple[str, str]]:
        return list(zip(self.keys, self._kinds, strict=True))

    def _argument(self, value: str | int) -> str:
        self.arguments.append(value)
        return f"${len(self.arguments)}"


def _keys(question: Question) -> list[str]:
    """The columns that hold a group's place."""
    return [f"k{index}" for index in range(len(question.by))]


def _group(row: Record, keys: Sequence[str]) -> Group:
    return Group(tuple(row[key] for key in keys), _figures(row))


def _figures(row: Record) -> Figures:
    return Figures.of(zip(row["cells"] or (), row["counts"] or (), strict=True))
