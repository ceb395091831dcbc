"""Who may speak to the database next: statements run one at a time, in an order that the dice decide, so that a seed
gives the same run again. Here, too, connections break and processes die, in the middle of whatever they did."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any, TypeVar

from tests.sim.loop import CURRENT, Process, SimLoop

from landline.core.errors import Unavailable

T = TypeVar("T")
_MOST_TURNS = 40_000


class Fate(Enum):
    """What happens around one statement."""

    DONE = "done"
    LOST_BEFORE = "lost before"
    """The connection breaks; the statement was not made."""
    LOST_AFTER = "lost after"
    """The statement was made, and its answer is lost."""
    KILLED_BEFORE = "killed before"
    KILLED_AFTER = "killed after"
    """The process dies with the statement made and its answer unread."""


class Stuck(AssertionError):
    """Nothing can go on, or everything goes on for ever."""


@dataclass(eq=False)
class _Waiting:
    process: Process
    inside: bool
    future: "asyncio.Future[Fate]"


class Turns:
    """The one gate to the database. `fate` decides about each statement."""

    def __init__(self, loop: SimLoop, dice: random.Random) -> None:
        self.loop = loop
        self.dice = dice
        self.count = 0
        self.fate: Callable[[Process], Fate] = lambda _process: Fate.DONE
        self.blocked_by_locks: Callable[[list[int]], Awaitable[set[int]]] | None = None
        self._waiting: list[_Waiting] = []
        self._running: dict[asyncio.Task[Any], int] = {}
        self._blocked: set[asyncio.Task[Any]] = set()
        self._untold: dict[asyncio.Task[Any], asyncio.Future[None]] = {}
        """Who waits for which statement, in the order the statements were let go."""
        self._probe: asyncio.Task[None] | None = None
        self._rest: asyncio.Future[None] | None = None
        self._until: int | None = None

    async def take(
        self, process: Process, pid: int, statement: Callable[[], Awaitable[T]], *, inside: bool, ends: bool
    ) -> T:
        """Run `statement` when it is its turn. `inside` a transaction that has begun it is not held back by a stall;
        when it `ends` one, or is one, others may go on that wait for its locks."""
        if process.dead:
            raise asyncio.CancelledError
        if process.lag_s and not inside:
            await asyncio.sleep(process.lag_s)
        waiting = _Waiting(process, inside, self.loop.create_future())
        self._waiting.append(waiting)
        try:
            fate = await waiting.future
        finally:
            with suppress(ValueError):
                self._waiting.remove(waiting)
        if fate is Fate.KILLED_BEFORE:
            process.kill()
            await asyncio.sleep(0)
        if fate is Fate.LOST_BEFORE:
            raise Unavailable("the connection was lost")
        result = await self._result(self.run(pid, statement, ends=ends))
        if process.answers_s and ends:
            await asyncio.sleep(process.answers_s * self.dice.choice([0.0, 0.3, 1.0]))
        if fate is Fate.KILLED_AFTER:
            process.kill()
            await asyncio.sleep(0)
        if fate is Fate.LOST_AFTER:
            raise Unavailable("the connection was lost")
        return result

    async def _result(self, task: "asyncio.Task[T]") -> T:
        """What `task` comes to, told when nothing else is going on: answers that race are told in one order."""
        self._untold[task] = told = self.loop.create_future()
        await told
        return task.result()

    def run(self, pid: int, statement: Callable[[], Awaitable[T]], *, ends: bool = True) -> "asyncio.Task[T]":
        """Run `statement` now, as nobody's: it goes on when its process dies, as a server's backend does."""
        token = CURRENT.set(None)
        try:
            task = asyncio.ensure_future(_awaited(statement))
        finally:
            CURRENT.reset(token)
        self._running[task] = pid
        task.add_done_callback(partial(self._ended, ends))
        return task

    async def rest(self, turns: int | None = None) -> None:
        """Return when nothing is left to do at this instant, or after so many turns."""
        assert self._rest is None
        self._rest = self.loop.create_future()
        self._until = None if turns is None else self.count + turns
        try:
            await self._rest
        finally:
            self._rest = None

    def idle(self) -> None:
        """Nothing is ready to run: let the next statement go."""
        if len(self._running) > len(self._blocked) or self._probe is not None:
            return
        ended = next((task for task in self._untold if task.done()), None)
        if ended is not None:
            told = self._untold.pop(ended)
            if not told.done():
                told.set_result(None)
            return
        if self._until is not None and self.count >= self._until and self._rest is not None:
            self._until = None
            self._rest.set_result(None)
            return
        able = [waiting for waiting in self._waiting if _able(waiting)]
        if able:
            self._release(self.dice.choice(able))
        elif self._blocked:
            return  # of two that wait for each other, the server makes one give way
        elif self._rest is not None and not self._rest.done():
            self._rest.set_result(None)
        else:
            raise Stuck(f"nobody can go on: {len(self._waiting)} wait")

    def silence(self) -> None:
        """The database is slow to answer: perhaps for a lock that somebody else is to let go."""
        unclear = [task for task in self._running if task not in self._blocked]
        if unclear and self._probe is None and self.blocked_by_locks is not None:
            self._probe = asyncio.ensure_future(self._look(unclear))

    async def _look(self, unclear: "list[asyncio.Task[Any]]") -> None:
        assert self.blocked_by_locks is not None
        try:
            blocked = await self.blocked_by_locks([self._running[task] for task in unclear if task in self._running])
            self._blocked.update(task for task in unclear if self._running.get(task) in blocked)
        finally:
            self._probe = None

    def _release(self, chosen: _Waiting) -> None:
        self.count += 1
        if self.count > _MOST_TURNS:
            raise Stuck("it does not come to rest")
        self._waiting.remove(chosen)
        if not chosen.future.done():
            chosen.future.set_result(Fate.LOST_BEFORE if chosen.process.cut_off else self.fate(chosen.process))

    def _ended(self, ends: bool, task: "asyncio.Task[Any]") -> None:
        del self._running[task]
        self._blocked.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waits for it learns of it; nobody may
        if ends:
            self._blocked.clear()  # perhaps that let them go on: look again


async def _awaited(statement: Callable[[], Awaitable[T]]) -> T:
    return await statement()


def _able(waiting: _Waiting) -> bool:
    return not waiting.process.paused and (waiting.inside or not waiting.process.stalled)
