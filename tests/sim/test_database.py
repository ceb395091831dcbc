"""The simulation's own database: what holds of PostgreSQL's connections has to hold of its."""

import asyncio
import random
from typing import Any

from tests.sim.arena import Simulation
from tests.sim.database import Arena, SimDatabase
from tests.sim.loop import Process, SimLoop
from tests.sim.turns import Turns

_LOCK = "SELECT 1 FROM smpp_binds FOR UPDATE"


class _Cancelled:
    """A world in which somebody is cancelled while it waits for a lock, which somebody else wants then."""

    machines = ()

    def __init__(self, _seed: int, arena: Arena, loop: SimLoop, _callout: Any) -> None:
        self.arena = arena
        self.loop = loop
        self.wrong: list[str] = []
        self.turns = Turns(loop, random.Random(1))
        self.turns.blocked_by_locks = arena.blocked
        arena.turns = self.turns
        self.locked: list[str] = []

    async def live(self, _steps: int) -> None:
        done = self.loop.create_future()
        await self.arena.look("INSERT INTO smpp_binds (carrier, slot, until) VALUES ('carrier', 0, now())")
        first = self.loop.create_task(self._lock("first", done))
        await self.turns.rest()
        cancelled = self.loop.create_task(self._lock("cancelled"))
        await self.turns.rest(1)
        cancelled.cancel()
        third = self.loop.create_task(self._lock("third"))
        done.set_result(None)
        await asyncio.wait([first, cancelled, third])

    async def _lock(self, name: str, done: "asyncio.Future[None] | None" = None) -> None:
        async with SimDatabase(self.arena, self.turns, Process(name)).transaction() as connection:
            await connection.execute(_LOCK)
            self.locked.append(name)
            if done is not None:
                await done

    async def finish(self) -> None: ...

    async def close(self) -> None: ...


async def _locked(world: _Cancelled) -> list[str]:
    return world.locked


def test_who_is_cancelled_while_it_waits_for_a_lock_keeps_none(simulation: Simulation) -> None:
    assert simulation.run(1, world=_Cancelled, judge=_locked) == ["first", "third"]
