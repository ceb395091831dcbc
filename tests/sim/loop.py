"""An event loop whose time is a number that the simulation moves, so that a seed alone decides what happens when.

Nothing here waits for real time but for answers of the database, which come one at a time (`turns`).
"""

import asyncio
import selectors
from collections.abc import Awaitable, Callable
from contextvars import Context, ContextVar
from dataclasses import dataclass, field
from typing import Any

_PATIENCE_S = 0.005
"""How long an answer of the database may take before somebody looks whether it waits for a lock."""

INSTANT_S = 2e-4


@dataclass(eq=False)
class Process:
    """What dies together, and stands still together."""

    name: str
    tasks: dict["asyncio.Task[Any]", None] = field(default_factory=dict["asyncio.Task[Any]", None])
    dead: bool = False
    stalled: bool = False
    """Its statements outside transactions wait."""
    cut_off: bool = False
    """It cannot reach the database."""
    paused: bool = False
    """Nothing of it runs, as after SIGSTOP; what happens to it waits in `held`."""
    held: list["tuple[_Step, tuple[Any, ...], Context | None]"] = field(
        default_factory=list["tuple[_Step, tuple[Any, ...], Context | None]"]
    )
    lag_s: float = 0.0
    """How long each of its statements is under way to the database, those in transactions left out."""
    answers_s: float = 0.0
    """How long the answers to statements that end transactions are under way from the database, at most."""
    at_work: int = 0
    """Transactions that are open, and hand-overs that were looked at and are not made: it is not paused in them."""
    well_since: float = 0.0
    """When it could go on after it had been held up, by the loop's time: its leases may have ended meanwhile."""

    @property
    def ill(self) -> bool:
        """Whether it is held up, or dead."""
        return self.dead or self.stalled or self.cut_off or self.paused

    def go_on(self) -> None:
        """Everything that came while it was paused comes now, in that order."""
        self.paused = False
        held, self.held = self.held, []
        loop = asyncio.get_event_loop()
        for step, arguments, context in held:
            loop.call_soon(step, *arguments, context=context)

    def kill(self) -> None:
        """Nothing of it runs any more; what it had in memory is gone."""
        self.dead = True
        for task in list(self.tasks):
            task.cancel()
        if self.paused:
            self.go_on()


CURRENT: ContextVar[Process | None] = ContextVar("process", default=None)


class _Step:
    """A callback of a process, which waits while that is paused."""

    handle: asyncio.Handle

    def __init__(self, process: Process, callback: Callable[..., object], context: Context | None) -> None:
        self._process = process
        self._callback = callback
        self._context = context

    def __call__(self, *arguments: Any) -> None:
        if self._process.paused:
            self._process.held.append((self, arguments, self._context))
        elif not self.handle.cancelled():
            self._callback(*arguments)


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
        self.hosts: dict[str, Callable[[Any], Awaitable[Any]]] = {}
        """Who answers connections to an address, instead of the network."""
        self._sockets = _Selector()
        super().__init__(self._sockets)

    def time(self) -> float:
        return self.seconds

    async def create_connection(self, protocol_factory: Any, host: Any = None, *arguments: Any, **options: Any) -> Any:
        if host in self.hosts:
            return await self.hosts[host](protocol_factory)
        return await super().create_connection(protocol_factory, host, *arguments, **options)

    def call_soon(self, callback: Any, *arguments: Any, context: Context | None = None) -> asyncio.Handle:
        step = _held(callback, context)
        handle = super().call_soon(step, *arguments, context=context)
        if step is not callback:
            step.handle = handle
        return handle

    def call_at(
        self, when: float, callback: Any, *arguments: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Timers of one instant run in the order they were set: each is a nanosecond behind the one before."""
        self._timers += 1
        step = _held(callback, context)
        handle = super().call_at(when + self._timers % 100_000 * 1e-9, step, *arguments, context=context)
        if step is not callback:
            step.handle = handle
        return handle

    def next_timers(self) -> float | None:
        """When the next timers are all due, those of one instant together."""
        live = [timer.when() for timer in self._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]
        first = min(live, default=None)
        return None if first is None else max(when for when in live if when <= first + INSTANT_S)

    def rewind(self) -> None:
        """Time begins anew, without any timers."""
        self.hosts.clear()
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


def _held(callback: Any, context: Context | None) -> Any:
    """`callback`, held back while the process in whose context it runs is paused."""
    process = CURRENT.get() if context is None else context.get(CURRENT)
    return callback if process is None or isinstance(callback, _Step) else _Step(process, callback, context)
