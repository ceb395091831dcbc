"""The engines of the Clock port: the system's time, and the same time moved ahead by hand (`dev` and tests only)."""

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from time import monotonic

from landline.core.errors import Unavailable

QUIET_TIMEOUT_S = 120.0
"""How long, in real seconds, `advance` lets the work run that it wakes (a webhook may take its 30 s at each try)."""


class _Alarm:
    """See `ports.clock.Alarm`. `waiting` and `rung` are read by the clock that made it."""

    def __init__(self, clock: "SystemClock") -> None:
        self._clock = clock
        self._rung = False
        self._wakeup: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self.until: datetime | None = None
        clock.enter(self)

    def ring(self) -> None:
        self._rung = True
        self._wake()

    async def wait(self, until: datetime | None = None) -> None:
        if not self._rung:
            self._wakeup = asyncio.get_running_loop().create_future()
            self.until = until
            self.arm()
            self._clock.leave(self)
            try:
                await self._wakeup
            finally:
                self._wake()
        self._rung = False

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._wake()
            self._clock.leave(self)

    def arm(self) -> None:
        """(Re)start the timer for `until` by the clock's present reading."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._wakeup is not None and self.until is not None:
            delay_s = (self.until - self._clock.now()).total_seconds()
            self._timer = asyncio.get_running_loop().call_later(max(delay_s, 0.0), self._wake)

    def _wake(self) -> None:
        if self._wakeup is None:
            return
        self._clock.enter(self)
        if self._timer is not None:
            self._timer.cancel()
        if not self._wakeup.done():
            self._wakeup.set_result(None)
        self._wakeup = self._timer = self.until = None


class SystemClock:
    """The machine's time. Fills the port `Clock`."""

    def __init__(self) -> None:
        self._busy: set[object] = set()

    def now(self) -> datetime:
        return datetime.now(UTC)

    def alarm(self) -> _Alarm:
        return _Alarm(self)

    @contextmanager
    def busy(self) -> Generator[None]:
        token = object()
        self.enter(token)
        try:
            yield
        finally:
            self.leave(token)

    def enter(self, worker: object) -> None:
        """`worker` has work in hand."""
        self._busy.add(worker)

    def leave(self, worker: object) -> None:
        """`worker` waits."""
        self._busy.discard(worker)


class SteadyClock(SystemClock):
    """Time as it passes, whatever becomes of the machine's clock, which may be set right at any moment and then jumps:
    for what happens on connections, whose peers would be taken for silent all at once, or be waited for too long. It
    begins as the machine's time and is nobody else's."""

    def __init__(self) -> None:
        super().__init__()
        self._began, self._from_s = datetime.now(UTC), monotonic()

    def now(self) -> datetime:
        return self._began + timedelta(seconds=monotonic() - self._from_s)


class DrivenClock(SystemClock):
    """The machine's time plus an offset that only grows, by `advance`."""

    def __init__(self, ahead: timedelta = timedelta(0), *, keep: Callable[[timedelta], None] | None = None) -> None:
        """`ahead`: the offset it begins with. `keep` is told the offset before time moves, as it may become, and when
        it has moved: what dies on the way goes back in time by nothing."""
        super().__init__()
        self._offset = ahead
        self._kept = keep
        self._alarms: set[_Alarm] = set()
        self._quiet = asyncio.Event()
        self._advancing = asyncio.Lock()

    def now(self) -> datetime:
        return datetime.now(UTC) + self._offset

    @property
    def ahead(self) -> timedelta:
        """How far this clock has been driven ahead of the machine's."""
        return self._offset

    def enter(self, worker: object) -> None:
        super().enter(worker)
        if isinstance(worker, _Alarm):
            self._alarms.discard(worker)
        self._quiet.clear()

    def leave(self, worker: object) -> None:
        super().leave(worker)
        if isinstance(worker, _Alarm) and worker.until is not None:
            self._alarms.add(worker)
        if not self._busy:
            self._quiet.set()

    async def advance(self, by: timedelta) -> None:
        """Move time ahead by `by`, stopping at each deadline on the way until the work it wakes is done.

        Raises `Unavailable` when the work woken on the way takes longer than `QUIET_TIMEOUT_S`; the clock then stands
        where it got to.
        """
        async with self._advancing:
            target = self.now() + by
            self._keep(self._offset + by)
            try:
                async with asyncio.timeout(QUIET_TIMEOUT_S):
                    await self._advance_to(target)
            except TimeoutError:
                left_s = max((target - self.now()).total_seconds(), 0)
                raise Unavailable(
                    f"what fell due did not end within {QUIET_TIMEOUT_S:.0f} s, and the clock stands {left_s:.0f} s"
                    " before where it was to be: a webhook that never answers takes 30 s at each try"
                ) from None
            finally:
                self._keep(self._offset)

    def _keep(self, ahead: timedelta) -> None:
        if self._kept is not None:
            self._kept(ahead)

    async def _advance_to(self, target: datetime) -> None:
        while True:
            await self._rest()
            due = min((alarm.until for alarm in self._alarms if alarm.until is not None), default=None)
            if due is None or due > target:
                break
            self._jump(due)
        self._jump(target)
        await self._rest()

    def _jump(self, to: datetime) -> None:
        now = self.now()
        if to > now:
            self._offset += to - now
        reached = self.now()
        for alarm in list(self._alarms):
            if alarm.until is not None and alarm.until <= reached:
                alarm.ring()
            else:
                alarm.arm()

    async def _rest(self) -> None:
        # Two passes of the loop let callbacks that are already due (a ring, a finished commit) show up as work.
        for _ in range(2):
            await asyncio.sleep(0)
        while self._busy:
            await self._quiet.wait()
            await asyncio.sleep(0)
