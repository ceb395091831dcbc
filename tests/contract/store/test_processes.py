"""Processes on one database know of each other: by sign-on and sign-off at once, by silence after its time."""

import asyncio
import socket
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from tests.support.patience import PATIENCE_S

from landline.app.processes_admin import Clocks
from landline.core.errors import Unavailable
from landline.store.changes import Changes
from landline.store.database import Database
from landline.store.processes import SILENCE, Processes
from landline.store.wakeups import Wakeups

NOW = datetime(2026, 11, 21, tzinfo=UTC)


class Wall:
    """A clock on the wall that the test moves."""

    def __init__(self) -> None:
        self.at = NOW

    def __call__(self) -> datetime:
        return self.at


@pytest.fixture
async def changes(dsn: str) -> AsyncGenerator[Callable[[], Changes]]:
    made: list[Changes] = []

    def make() -> Changes:
        made.append(Changes(dsn))
        return made[-1]

    yield make
    for each in made:
        await each.close()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not true():
            await asyncio.sleep(0.002)


async def test_sign_on_and_sign_off_are_known_to_the_others_at_once(
    database: Database, changes: Callable[[], Changes]
) -> None:
    wall, ears = Wall(), [changes(), changes()]
    first = Processes(database, ears[0], uuid4(), "serve", wall=wall, serves=["sms", "smpp:a"])
    second = Processes(database, ears[1], uuid4(), "worker", wall=wall, serves=["sms"])
    for ear in ears:
        await ear.start()
    await first.start()
    assert (first.live, first.share()) == (1, 1.0)
    await second.start()
    await until(lambda: first.live == 2)
    assert (second.live, second.share("sms"), first.share("smpp:a")) == (2, 0.5, 1.0)
    assert sorted((each.kind, each.live) for each in await first.listed()) == [("serve", True), ("worker", True)]
    third = Processes(database, changes(), uuid4(), "worker", wall=wall)
    await third.beat()
    await second.close()
    await until(lambda: {each.owner for each in first._known} == {first._owner, third._owner})
    assert first.live == 2
    await first.close()
    assert [each.owner for each in await first.listed()] == [third._owner]


async def test_a_silent_process_counts_no_more_after_its_time(
    database: Database, changes: Callable[[], Changes]
) -> None:
    wall = Wall()
    dead = Processes(database, changes(), uuid4(), "serve", wall=wall)
    ours = Processes(database, changes(), uuid4(), "serve", wall=wall)
    await dead.beat()
    await ours.beat()
    assert ours.live == 2
    wall.at += SILENCE
    await ours.beat()
    assert ours.live == 1
    assert sorted(each.live for each in await ours.listed()) == [False, True]
    wall.at += timedelta(hours=1)
    await ours.beat()
    assert [each.live for each in await ours.listed()] == [True]


def of(host: str, monkeypatch: pytest.MonkeyPatch, processes: Processes) -> Processes:
    """`processes`, as a machine of this name runs it: until the next one is made so."""
    monkeypatch.setattr(socket, "gethostname", lambda: host)
    return processes


async def test_processes_that_do_not_hear_one_another_are_known_to_both(
    database: Database, changes: Callable[[], Changes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(circle: str | None) -> Processes:
        return Processes(database, changes(), uuid4(), "serve", wall=Wall(), circle=circle)

    a, b, c, d, old = made("alone 1"), made("nats landline"), made("nats landline"), made(None), made("alone 0")
    told: list[int] = []
    b.changed = lambda: told.append(len(b.apart()))
    for host, each in (("a", old), ("b", b), ("c", c), ("d", d), ("a", a), ("b", b), ("b", b)):
        await of(host, monkeypatch, each).beat()
    assert sorted(str(each.circle) for each in b.apart()) == ["alone 0", "alone 1"]
    assert told == [1, 2]
    await of("a", monkeypatch, a).beat()
    assert sorted(each.host for each in a.apart()) == ["b", "c"]  # its predecessor had the same pid, and is gone
    assert d.apart() == []


async def test_a_machine_whose_clock_is_ahead_is_known(
    database: Database, changes: Callable[[], Changes], monkeypatch: pytest.MonkeyPatch
) -> None:
    right, fast = Wall(), Wall()
    fast.at += timedelta(seconds=60)
    ours = Processes(database, changes(), uuid4(), "serve", wall=right)
    theirs = Processes(database, changes(), uuid4(), "worker", wall=fast)
    await of("far", monkeypatch, theirs).beat()
    await of("here", monkeypatch, ours).beat()
    assert ours.ahead() == {"far": 60.0}
    await of("far", monkeypatch, theirs).beat()
    assert theirs.ahead() == {}, "it cannot know: what is old may be slow"
    with pytest.raises(Unavailable, match=r"far \(60 s\).* NTP"):
        await Clocks(ours).check()
    fast.at = right.at + timedelta(seconds=1)
    await of("far", monkeypatch, theirs).beat()
    await of("here", monkeypatch, ours).beat()
    assert ours.ahead() == {}
    await Clocks(ours).check()


async def test_hints_reach_the_others_and_not_their_sender(database: Database, changes: Callable[[], Changes]) -> None:
    ears = [changes(), changes()]
    here, there = (Wakeups(database, ear, uuid4()) for ear in ears)
    heard = {"here": 0, "there": 0, "other": 0}

    def counting(name: str) -> Callable[[], None]:
        def count() -> None:
            heard[name] += 1

        return count

    here.on("sms", counting("here"))
    there.on("sms", counting("there"))
    there.on("events", counting("other"))
    for ear in ears:
        await ear.start()
    heard.update(here=0, there=0, other=0)
    here.start()
    for _ in range(100):
        here.hint("sms")
    await until(lambda: heard["there"] > 0)
    assert heard["here"] == heard["other"] == 0
    await here.close()
