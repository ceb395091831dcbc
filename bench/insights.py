"""What does counting cost a message, how fast is it folded, and how long does an answer over a month take?

On an embedded PostgreSQL, without a server around it. Run `python -m bench.insights` from the repository.
"""

import asyncio
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from time import perf_counter
from uuid import UUID

from bench import machine

from landline.core.countries import country
from landline.core.ids import ResourceId
from landline.engines.clock import SystemClock
from landline.services.insights.model import Tally
from landline.services.insights.questions import Dimension, Question
from landline.services.insights.service import Insights
from landline.store.database import Database
from landline.store.embedded import EmbeddedServer
from landline.store.migrations import migrate

RESOURCE = ResourceId(UUID(int=1))
NUMBERS, BATCH, BATCHES = 100_000, 200, 100
DAYS, SERIES, TIMES, MESSAGES = 31, 300, 28, 450  # messages in an hour of a series: 100 million in all
CODES = (1, 44, 7, 39, 61, 49, 33, 34, 91, 55, 212, 262, 590, 358)

_MONTH = """
INSERT INTO insights_{0} (resource_id, {1}, tag, sender, country, carrier, cells, counts)
SELECT $1, at, 'campaign-' || s % 30, '+1800555010' || s % 2, 'C' || s % 5, 'carrier-' || s,
    ARRAY(SELECT 65536 * m FROM generate_series(1, 4) m UNION ALL SELECT 6 * 65536 + b FROM generate_series(60, $4) b),
    ARRAY(SELECT $5::bigint FROM generate_series(56, $4))
FROM generate_series($2::integer, $3::integer - 1) AS at, generate_series(1, $6::integer) AS s
"""


def main() -> None:
    """Print the figures."""
    asyncio.run(measure())


async def measure() -> None:
    machine.header("What do insights cost?")
    chance = Random(1)
    numbers = [f"+{chance.choice(CODES)}{chance.randrange(10**8, 10**9)}" for _ in range(NUMBERS)]
    each("countries looked up", lambda: [country(number) for number in numbers])
    now = datetime.now(UTC)
    tally = Tally()
    each("acceptances tallied", lambda: [accept(tally, now, number) for number in numbers])
    each("outcomes tallied", lambda: [end(tally, now, number, chance.random()) for number in numbers])
    with tempfile.TemporaryDirectory() as directory:
        server = EmbeddedServer(Path(directory) / "postgresql")
        database = await Database.connect(await server.start())
        try:
            await migrate(database)
            insights = Insights(database, SystemClock())
            for groups in (1, 20, BATCH):
                await count(database, insights, now, chance, groups)
            await ask(database, insights, now)
        finally:
            await database.close()
            await server.close()


def each(what: str, work: Callable[[], object]) -> None:
    """Time `work` on all numbers, after it was done once."""
    work()
    began = perf_counter()
    work()
    machine.result(what, NUMBERS / (perf_counter() - began), "/s", "random numbers of 14 calling codes, one thread")


def accept(tally: Tally, at: datetime, number: str) -> None:
    tally.accepted(RESOURCE, at, "+18005550100", "spring", number, "carrier", 1)


def end(tally: Tally, at: datetime, number: str, took_s: float, tag: str = "spring") -> None:
    ended_at = at + timedelta(seconds=took_s)
    tally.ended(RESOURCE, at, ended_at, "+18005550100", tag, number, "carrier", True, 2000, 1)


async def count(database: Database, insights: Insights, at: datetime, chance: Random, groups: int) -> None:
    """Store batches of outcomes of `groups` groups each, then fold them."""
    tallies = [Tally() for _ in range(BATCHES)]
    for tally in tallies:
        for index in range(BATCH):
            end(tally, at, "+14255550199", chance.expovariate(0.2), f"campaign {index % groups}")
    began = perf_counter()
    for tally in tallies:
        async with database.transaction() as connection:
            await insights.count(connection, tally)
    load = f"batches of {BATCH}, {groups} groups in each"
    machine.result("outcomes counted", BATCH * BATCHES / (perf_counter() - began), "/s", load)
    began = perf_counter()
    while await insights.fold():
        pass
    machine.result("groups folded", groups * BATCHES / (perf_counter() - began), "/s", load)


async def ask(database: Database, insights: Insights, now: datetime) -> None:
    """Time answers over a month of 300 series, each with 28 buckets in every hour."""
    last = int(now.timestamp()) // 86400
    for table, unit, scale in (("hours", "hour", 24), ("days", "day", 1)):
        span = (last - DAYS) * scale, last * scale
        per_cell = MESSAGES * 24 // scale
        await database.execute(_MONTH.format(table, unit), RESOURCE, *span, 60 + TIMES - 1, per_cell, SERIES)
    await database.execute("ANALYZE")
    size_mb = await database.fetchval("SELECT pg_total_relation_size('insights_hours') / 1e6")
    machine.result("table of hours", float(size_mb), "MB", f"{DAYS} days, {SERIES} series")
    month = Question((last - DAYS) * 24, last * 24)
    for by in (
        (Dimension.DAY,),
        (Dimension.TAG,),
        (Dimension.TAG, Dimension.COUNTRY, Dimension.DAY),
        (Dimension.HOUR,),
    ):
        began = perf_counter()
        page = await insights.page(RESOURCE, replace(month, by=by), limit=100)
        names = ",".join(each.value for each in by)
        load = f"{DAYS} days by {names} of {page.totals.delivered:,} delivered messages"
        machine.result("an answer took", (perf_counter() - began) * 1000, "ms", load)


if __name__ == "__main__":
    main()
