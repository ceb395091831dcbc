"""The Clock port: every engine tells time and wakes workers; the driven one runs days in no time."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Self

import pytest
from tests.support.patience import PATIENCE_S

from landline.core.errors import Unavailable
from landline.engines import clock as clock_engines
from landline.engines.clock import DrivenClock, SteadyClock, SystemClock
from landline.ports.clock import Clock

ENGINES = pytest.mark.parametrize("make", [SystemClock, SteadyClock, DrivenClock])


@ENGINES
async def test_a_ring_wakes_a_waiting_worker(make: Callable[[], Clock]):
    alarm = make().alarm()
    waiting = asyncio.create_task(alarm.wait())
    await asyncio.sleep(0)
    alarm.ring()
    await asyncio.wait_for(waiting, PATIENCE_S)


@ENGINES
async def test_a_ring_before_the_wait_is_not_lost_and_many_fold_into_one(make: Callable[[], Clock]):
    alarm = make().alarm()
    alarm.ring()
    alarm.ring()
    await asyncio.wait_for(alarm.wait(), PATIENCE_S)
    waiting = asyncio.create_task(alarm.wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()


@ENGINES
async def test_a_deadline_that_has_passed_does_not_sleep(make: Callable[[], Clock]):
    clock = make()
    await asyncio.wait_for(clock.alarm().wait(clock.now() - timedelta(seconds=1)), PATIENCE_S)


@pytest.mark.parametrize("by", [timedelta(hours=1), timedelta(hours=-1)])
def test_a_steady_clock_goes_on_when_the_machines_is_set(by: timedelta, monkeypatch: pytest.MonkeyPatch):
    clock = SteadyClock()
    before = clock.now()
    assert abs(before - datetime.now(UTC)) < timedelta(minutes=1)

    class Set(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return super().now(tz) + by

    monkeypatch.setattr(clock_engines, "datetime", Set)
    assert timedelta(0) <= clock.now() - before < timedelta(minutes=1)


async def test_advancing_stops_at_every_deadline_on_the_way():
    clock = DrivenClock()
    start = clock.now()
    seen: list[timedelta] = []

    async def work() -> None:
        alarm = clock.alarm()
        for hours in (1, 3, 9):
            await alarm.wait(start + timedelta(hours=hours))
            seen.append(clock.now() - start)
        alarm.close()

    worker = asyncio.create_task(work())
    await asyncio.sleep(0)
    await clock.advance(timedelta(days=1))
    await worker
    assert [round(passed / timedelta(hours=1)) for passed in seen] == [1, 3, 9]
    assert clock.now() - start >= timedelta(days=1)


async def test_time_stands_still_while_woken_work_runs():
    clock = DrivenClock()
    start = clock.now()
    finished_at: list[timedelta] = []
    release = asyncio.Event()

    async def work() -> None:
        alarm = clock.alarm()
        await alarm.wait(start + timedelta(hours=1))
        with clock.busy():
            alarm.close()
            await release.wait()
            finished_at.append(clock.now() - start)

    worker = asyncio.create_task(work())
    await asyncio.sleep(0)
    advancing = asyncio.create_task(clock.advance(timedelta(days=1)))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not advancing.done()
    release.set()
    await asyncio.gather(advancing, worker)
    assert finished_at[0] < timedelta(hours=2)


async def test_a_worker_that_rings_another_holds_time_until_both_rest():
    clock = DrivenClock()
    start = clock.now()
    order: list[str] = []
    second_alarm = clock.alarm()

    async def first() -> None:
        alarm = clock.alarm()
        await alarm.wait(start + timedelta(minutes=1))
        order.append("first")
        second_alarm.ring()
        await alarm.wait(start + timedelta(minutes=2))
        order.append("first again")
        alarm.close()

    async def second() -> None:
        await second_alarm.wait()
        order.append("second")
        second_alarm.close()

    workers = [asyncio.create_task(first()), asyncio.create_task(second())]
    await asyncio.sleep(0)
    await clock.advance(timedelta(hours=1))
    await asyncio.gather(*workers)
    assert order == ["first", "second", "first again"]


async def test_an_advance_gives_up_on_work_that_does_not_end(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(clock_engines, "QUIET_TIMEOUT_S", 0.01)
    clock = DrivenClock()
    hour, stopped = timedelta(hours=1), asyncio.Event()

    async def never_ends() -> None:
        alarm = clock.alarm()
        await alarm.wait(clock.now() + hour)
        await stopped.wait()
        alarm.close()

    working = asyncio.create_task(never_ends())
    await asyncio.sleep(0)
    with pytest.raises(Unavailable, match=r"the clock stands 3(600|5\d\d) s before where it was to be"):
        await clock.advance(2 * hour)
    assert timedelta(minutes=59) < clock.ahead <= hour
    stopped.set()
    await working
    monkeypatch.undo()
    await clock.advance(hour)
