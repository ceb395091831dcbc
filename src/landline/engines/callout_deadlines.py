"""Deadlines of very many short waits at the price of a dictionary entry each: one timer for all of one length."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class _Queue(Generic[T]):
    """Waits of one length: they end in the order in which they began, and a dictionary keeps that order."""

    ends: dict[T, float] = field(default_factory=dict[T, float])
    timer: asyncio.TimerHandle | None = None


class Deadlines(Generic[T]):
    """`expired` is called with what was begun and not ended in time; each only once."""

    def __init__(self, expired: Callable[[T], None]) -> None:
        self._expired = expired
        self._queues: dict[float, _Queue[T]] = {}

    def begin(self, wait: T, timeout_s: float, now: float) -> None:
        """From `now` on, the loop's time, `wait` has `timeout_s`."""
        queue = self._queues.get(timeout_s)
        if queue is None:
            queue = self._queues[timeout_s] = _Queue()
        queue.ends[wait] = end = now + timeout_s
        if queue.timer is None:
            queue.timer = asyncio.get_running_loop().call_at(end, self._ring, timeout_s)

    def end(self, wait: T, timeout_s: float) -> None:
        """`wait`, begun with `timeout_s`, is over."""
        queue = self._queues.get(timeout_s)
        if queue is not None:
            queue.ends.pop(wait, None)

    def close(self) -> None:
        """Forget all of them."""
        for queue in self._queues.values():
            if queue.timer is not None:
                queue.timer.cancel()
        self._queues.clear()

    def _ring(self, timeout_s: float) -> None:
        queue = self._queues[timeout_s]
        loop = asyncio.get_running_loop()
        now = loop.time()
        late = [wait for wait, end in queue.ends.items() if end <= now]
        for wait in late:
            del queue.ends[wait]
        first = next(iter(queue.ends.values()), None)
        if first is None:
            del self._queues[timeout_s]
        else:
            queue.timer = loop.call_at(first, self._ring, timeout_s)
        for wait in late:
            self._expired(wait)
