"""The clock of a simulation: the loop's own time, moved from one timer to the next whenever nothing is left to do."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from tests.sim.loop import SimLoop
from tests.sim.turns import Turns

from landline.engines.clock import SystemClock


class SimClock(SystemClock):
    """Fills the port `Clock`. Nobody needs to say that they are busy: the loop knows."""

    def __init__(self, start: datetime, loop: SimLoop, turns: Turns) -> None:
        super().__init__()
        self._loop = loop
        self._turns = turns
        self._start = start
        self.before_jump: Callable[[float], Awaitable[None]] | None = None
        """Awaited before time moves to an instant of the loop."""

    def now(self) -> datetime:
        return self.at(self._loop.seconds)

    def at(self, seconds: float) -> datetime:
        """The instant at which the loop reads `seconds`."""
        return self._start + timedelta(seconds=seconds)

    def enter(self, worker: object) -> None:
        return None

    def leave(self, worker: object) -> None:
        return None

    async def advance(self, by: timedelta) -> None:
        """Move time ahead by `by`, stopping at every timer on the way until what it woke is at rest."""
        target = self._loop.seconds + by.total_seconds()
        while True:
            await self._turns.rest()
            timer = self._loop.next_timers()
            if timer is None or timer > target:
                break
            await self._jump(timer)
        await self._jump(target)
        await self._turns.rest()

    async def _jump(self, to: float) -> None:
        if self.before_jump is not None:
            await self.before_jump(to)
        self._loop.seconds = max(self._loop.seconds, to)
