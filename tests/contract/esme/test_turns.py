"""One thing at a time, in turns."""

import asyncio

from tests.support.patience import PATIENCE_S

from landline.services.sms.turns import Turns


async def begin(turns: Turns, *kinds: str) -> tuple[list[str], list[asyncio.Task[None]], asyncio.Event]:
    """Tasks of these kinds, in this order, the first of which has its turn until the event; whose turns there were."""
    had, go_on = list[str](), asyncio.Event()

    async def one(kind: str) -> None:
        async with turns.taken(kind):
            had.append(kind)
            await go_on.wait()

    tasks = [asyncio.create_task(one(kind)) for kind in kinds]
    await asyncio.sleep(0)
    return had, tasks, go_on


async def test_the_first_of_each_kind_comes_before_the_second_of_any() -> None:
    turns = Turns()
    had, tasks, go_on = await begin(turns, "a", "a", "a", "a", "b", "b", "c")
    assert (had, len(turns)) == (["a"], 6)
    go_on.set()
    await asyncio.gather(*tasks)
    assert had == ["a", "a", "b", "c", "a", "b", "a"]


async def test_one_alone_has_it_at_once_and_again() -> None:
    turns = Turns()
    for _ in range(2):
        had, tasks, go_on = await begin(turns, "a")
        go_on.set()
        await asyncio.gather(*tasks)
        assert had == ["a"]


async def test_who_gives_up_keeps_nobody_waiting() -> None:
    turns = Turns()
    had, tasks, go_on = await begin(turns, "a", "b", "c", "d")
    tasks[1].cancel()
    await asyncio.sleep(0)
    tasks[0].cancel()  # the turn is passed on to the third, which gives up before it has seen that
    await asyncio.sleep(0)
    tasks[2].cancel()
    go_on.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert had in (["a", "d"], ["a", "c", "d"])
    async with asyncio.timeout(PATIENCE_S), turns.taken("e"):
        assert len(turns) == 0


async def test_what_fails_passes_its_turn_on() -> None:
    turns = Turns()

    async def fail() -> None:
        async with turns.taken("a"):
            raise ValueError

    for outcome in await asyncio.gather(fail(), fail(), return_exceptions=True):
        assert isinstance(outcome, ValueError)
    assert len(turns) == 0
