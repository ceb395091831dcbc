"""An event loop whose time is a number that the simulation moves, so that a seed alone decides what happens when.

Nothing here waits for real time but for answers of the database, which come one at a time (`turns`).
"""

import asyncio
import selectors
from collections.abc import Callable
from typing import Any

_PATIENCE_S = 0.005
"""How long an answer of the database may take before somebody looks whether it waits for a lock."""

INSTANT_S = 2e-4


class _Selector(selectors.DefaultSelector):
    """Waits for sockets in real time, whatever the loop's timers say."""

    silent = False

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0 if timeout == 0 else _PATIENCE_S)
        self.silent = timeout != 0 and not ready
        return ready


class SimLoop(asyncio.SelectorEventLoop):
    """`on_idle` is called whenever nothing is ready to run, `on_silence` when no socket had anything to say either."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._timers = 0
        self.on_idle: Callable[[], None] | None = None
        self.on_silence: Callable[[], None] | None = None
        self._sockets = _Selector()
        super().__init__(self._sockets)

    def time(self) -> float:
        return self.seconds

    def call_at(self, when: float, *rest: Any, **named: Any) -> asyncio.TimerHandle:
        """Timers of one instant run in the order they were set: each is a nanosecond behind the one before."""
        self._timers += 1
        return super().call_at(when + self._timers % 100_000 * 1e-9, *rest, **named)

    def next_timers(self) -> float | None:
        """When the next timers are all due, those of one instant together."""
        live = [timer.when() for timer in self._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]
        first = min(live, default=None)
        return None if first is None else max(when for when in live if when <= first + INSTANT_S)

    def rewind(self) -> None:
        """Time begins anew, without any timers."""
        self.seconds, self._timers = 0.0, 0
        for timer in self._scheduled:  # type: ignore[attr-defined]
            timer.cancel()
        self._scheduled.clear()  # type: ignore[attr-defined]

    def _run_once(self) -> None:
        # Private to asyncio, and the one place that knows that nothing is ready: the point of this class.
        if self.on_idle is not None and not self._ready and not self._timer_due():  # type: ignore[attr-defined]
            self.on_idle()
            if self._sockets.silent and self.on_silence is not None:
                self._sockets.silent = False
                self.on_silence()
        super()._run_once()  # type: ignore[misc]

    def _timer_due(self) -> bool:
        return bool(self._scheduled) and self._scheduled[0].when() <= self.seconds  # type: ignore[attr-defined]
