"""Caps on a real database: several processes, restarts and changes of the cap never let more through than it says."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Self
from uuid import uuid4

import msgspec
import pytest

from landline.core.countries import country
from landline.core.errors import Unavailable
from landline.core.ids import ResourceId
from landline.engines import clock as clock_engines
from landline.engines.clock import DrivenClock
from landline.services.sms import records_guard
from landline.services.sms.guard import Guard
from landline.services.sms.guard_caps import ASK_AGAIN, IDLE
from landline.services.sms.model import settings as model
from landline.services.sms.model.guard import Verdict
from landline.services.sms.model.settings import Caps, SmsSettings
from landline.store.database import Database


class AnHourEarlier(datetime):
    """What the machine's clock shows once it is set back."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        return super().now(tz) - timedelta(hours=1)


NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
NewGuard = Callable[[], Guard]


def capped(per_day: int | None = None, per_month: int | None = None, *, segments: bool = False) -> SmsSettings:
    caps = Caps(per_day=per_day, per_month=per_month, unit="segments" if segments else "messages")
    defaults = model.defaults(guarded=False, countries=("*",))
    return msgspec.structs.replace(defaults, caps=caps)


def numbers(count: int) -> list[str]:
    return [f"+1425555{line:04d}" for line in range(count)]


def passed(verdicts: Sequence[Verdict | None]) -> int:
    return sum(verdict is None for verdict in verdicts)


@pytest.fixture
def resource() -> ResourceId:
    return ResourceId(uuid4())


@pytest.fixture
async def guards(database: Database) -> AsyncGenerator[NewGuard]:
    """Makes the guards of processes that share one database; those running end with the test."""
    made: list[Guard] = []

    def make() -> Guard:
        made.append(Guard(database, DrivenClock(), country=country, share=lambda: max(1, len(made))))
        return made[-1]

    yield make
    for guard in made:
        await guard.close()


async def used(database: Database, resource: ResourceId, period: str = "day") -> int:
    return await database.fetchval(
        "SELECT coalesce(sum(used), 0)::bigint FROM sms_caps WHERE resource_id = $1 AND period = $2", resource, period
    )


async def test_what_is_over_the_cap_is_blocked_in_order(guards: NewGuard, resource: ResourceId) -> None:
    guard = guards()
    assert passed(await guard.decide(resource, numbers(60), 1, capped(100), NOON)) == 60
    verdicts = await guard.decide(resource, numbers(60), 1, capped(100), NOON)
    assert [verdict is None for verdict in verdicts] == [True] * 40 + [False] * 20
    assert verdicts[-1] is not None
    assert (verdicts[-1].code, verdicts[-1].reason) == (4008, "the cap of 100 messages a day is reached")
    assert guard.counters()["cap"] == 20


async def test_processes_on_one_database_never_exceed_the_cap(
    guards: NewGuard, resource: ResourceId, database: Database
) -> None:
    settings = capped(1_003, 5_000)
    running = [guards() for _ in range(3)]

    async def send(guard: Guard, size: int) -> int:
        return passed(await guard.decide(resource, numbers(size), 1, settings, NOON))

    sizes = [1, 7, 100, 33, 2]
    counts = await asyncio.gather(*(send(running[turn % 3], sizes[turn % 5]) for turn in range(90)))
    sent = sum(counts)
    assert sent <= 1_003
    for guard in running:
        await guard.close()
    assert await used(database, resource) == sent
    assert await used(database, resource, "month") == sent
    last = guards()
    assert sent + await send(last, 1_003 - sent + 5) == 1_003  # what was held is not lost


async def test_a_restart_keeps_what_was_spent(guards: NewGuard, resource: ResourceId) -> None:
    first = guards()
    await first.decide(resource, numbers(70), 1, capped(100), NOON)
    await first.close()
    assert passed(await guards().decide(resource, numbers(70), 1, capped(100), NOON)) == 30


async def test_a_killed_process_costs_no_more_than_it_held(guards: NewGuard, resource: ResourceId) -> None:
    killed = guards()
    await killed.decide(resource, numbers(1), 1, capped(8_000), NOON)
    sent = 1
    heir = guards()
    while count := passed(await heir.decide(resource, numbers(100), 1, capped(8_000), NOON)):
        sent += count
    assert 8_000 - 1_000 <= sent < 8_000


async def test_the_day_begins_anew_and_the_month_goes_on(guards: NewGuard, resource: ResourceId) -> None:
    guard = guards()
    settings = capped(50, 80)
    first = NOON.replace(day=1)
    assert passed(await guard.decide(resource, numbers(100), 1, settings, first)) == 50
    assert passed(await guard.decide(resource, numbers(100), 1, settings, first + timedelta(days=1))) == 30
    verdicts = await guard.decide(resource, numbers(1), 1, settings, first + timedelta(days=2))
    assert verdicts[0] is not None
    assert "a month" in verdicts[0].reason
    assert passed(await guard.decide(resource, numbers(100), 1, settings, first + timedelta(days=31))) == 50


async def test_a_cap_of_a_month_alone_ends_with_the_month(guards: NewGuard, resource: ResourceId) -> None:
    guard = guards()
    settings = capped(per_month=10)
    assert passed(await guard.decide(resource, numbers(7), 1, settings, NOON - timedelta(days=1))) == 7
    assert passed(await guard.decide(resource, numbers(7), 1, settings, NOON)) == 3
    last = NOON.replace(hour=23, minute=59, second=59)
    assert passed(await guard.decide(resource, numbers(7), 1, settings, last)) == 0
    assert passed(await guard.decide(resource, numbers(12), 1, settings, last + timedelta(seconds=1))) == 10


async def test_all_of_a_cap_is_sent_also_where_that_of_the_day_has_more_left(
    guards: NewGuard, resource: ResourceId
) -> None:
    guard, settings = guards(), capped(8_000, 800)
    assert [passed(await guard.decide(resource, numbers(100), 1, settings, NOON)) for _ in range(9)] == [100] * 8 + [0]


async def test_periods_that_are_long_over_are_forgotten(
    guards: NewGuard, resource: ResourceId, database: Database
) -> None:
    settings = capped(8_000, 80_000)
    for days in (0, 1, 28, 45):  # until March 17th
        await guards().decide(resource, numbers(1), 1, settings, NOON + timedelta(days=days))
    rows = await database.fetch("SELECT begins_on FROM sms_caps WHERE resource_id = $1", resource)
    assert {row["begins_on"] for row in rows} == {
        date(2026, 2, 1),
        date(2026, 2, 28),
        date(2026, 3, 1),
        date(2026, 3, 17),
    }


async def test_a_guard_that_has_ended_takes_nothing_of_a_cap(
    guards: NewGuard, resource: ResourceId, database: Database
) -> None:
    guard = guards()
    await guard.close()
    with pytest.raises(Unavailable):
        await guard.decide(resource, numbers(1), 1, capped(8_000), NOON)
    assert await used(database, resource) == 0


async def test_a_cap_of_segments_counts_segments(guards: NewGuard, resource: ResourceId) -> None:
    guard = guards()
    assert passed(await guard.decide(resource, numbers(10), 3, capped(10, segments=True), NOON)) == 3
    assert passed(await guard.decide(resource, numbers(10), 1, capped(10, segments=True), NOON)) == 1


async def test_a_raised_cap_holds_at_once_and_a_lowered_one_too(guards: NewGuard, resource: ResourceId) -> None:
    guard = guards()
    assert passed(await guard.decide(resource, numbers(20), 1, capped(10), NOON)) == 10
    assert passed(await guard.decide(resource, numbers(20), 1, capped(25), NOON)) == 15
    assert passed(await guard.decide(resource, numbers(20), 1, capped(10_000), NOON)) == 20
    assert passed(await guard.decide(resource, numbers(20), 1, capped(50), NOON)) == 5


async def test_a_reached_cap_asks_the_database_seldom(
    guards: NewGuard, resource: ResourceId, database: Database
) -> None:
    guard = guards()
    assert passed(await guard.decide(resource, numbers(20), 1, capped(10), NOON)) == 10
    await database.execute("UPDATE sms_caps SET used = 0 WHERE resource_id = $1", resource)  # as if given back
    assert passed(await guard.decide(resource, numbers(1), 1, capped(10), NOON + ASK_AGAIN / 2)) == 0
    assert passed(await guard.decide(resource, numbers(1), 1, capped(10), NOON + ASK_AGAIN)) == 1


async def test_a_reached_cap_is_asked_about_no_later_for_a_clock_that_was_set_back(
    guards: NewGuard, resource: ResourceId, database: Database
) -> None:
    guard = guards()
    assert passed(await guard.decide(resource, numbers(20), 1, capped(10), NOON)) == 10
    await database.execute("UPDATE sms_caps SET used = 0 WHERE resource_id = $1", resource)  # as if given back
    assert passed(await guard.decide(resource, numbers(1), 1, capped(10), NOON - timedelta(hours=1))) == 1


async def test_what_is_not_being_used_is_given_back(database: Database, resource: ResourceId) -> None:
    clock = DrivenClock()
    guard = Guard(database, clock, country=country, share=lambda: 1)
    running = asyncio.create_task(guard.run())
    await clock.advance(timedelta(0))
    await guard.decide(resource, numbers(1), 1, capped(8_000), clock.now())
    assert await used(database, resource) == 1_000
    await clock.advance(IDLE / 2)
    other = ResourceId(uuid4())
    await guard.decide(other, numbers(1), 1, capped(8_000), clock.now())
    await clock.advance(IDLE / 2 + timedelta(seconds=1))
    assert [await used(database, each) for each in (resource, other)] == [1, 1_000]
    await clock.advance(IDLE / 2)
    assert [await used(database, each) for each in (resource, other)] == [1, 1]
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def test_what_is_not_being_used_is_given_back_no_later_for_a_clock_that_was_set_back(
    database: Database, resource: ResourceId, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = DrivenClock()
    guard = Guard(database, clock, country=country, share=lambda: 1)
    running = asyncio.create_task(guard.run())
    await clock.advance(timedelta(0))
    await guard.decide(resource, numbers(1), 1, capped(8_000), clock.now())
    monkeypatch.setattr(clock_engines, "datetime", AnHourEarlier)
    await guard.decide(ResourceId(uuid4()), numbers(1), 1, capped(8_000), clock.now())
    await clock.advance(IDLE / 2)
    assert await used(database, resource) == 1
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def test_who_waits_for_a_slow_database_for_a_minute_is_answered_all_the_same(
    database: Database, resource: ResourceId
) -> None:
    clock = DrivenClock()
    guard = Guard(database, clock, country=country, share=lambda: 1)
    running = asyncio.create_task(guard.run())
    await clock.advance(timedelta(0))
    async with database.transaction() as connection:
        await connection.execute("LOCK TABLE sms_caps")
        waiting = asyncio.create_task(guard.decide(resource, numbers(3), 1, capped(2), clock.now()))
        await clock.advance(IDLE * 2)
        assert not waiting.done()
    assert passed(await waiting) == 2
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def test_what_could_not_be_given_back_keeps_nothing_else_from_it(
    database: Database, resource: ResourceId, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = DrivenClock()
    guard = Guard(database, clock, country=country, share=lambda: 1)
    running = asyncio.create_task(guard.run())
    await clock.advance(timedelta(0))
    await guard.decide(resource, numbers(1), 1, capped(8_000), clock.now())
    asked: list[None] = []

    async def away(*_arguments: object) -> None:
        asked.append(None)
        raise Unavailable("PostgreSQL is away")

    with monkeypatch.context() as patched:
        patched.setattr(records_guard, "use", away)
        await clock.advance(IDLE + timedelta(seconds=1))
    assert asked
    other = ResourceId(uuid4())
    await guard.decide(other, numbers(1), 1, capped(8_000), clock.now())
    await clock.advance(IDLE + timedelta(seconds=1))
    assert [await used(database, each) for each in (resource, other)] == [1_000, 1]
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
