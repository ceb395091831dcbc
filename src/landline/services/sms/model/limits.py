"""ACS's own limits on how many texts a sender may send a minute (acs-wire.md 4.5), as sliding windows."""

from collections import deque
from dataclasses import dataclass

from landline.core.phone import SenderKind

WINDOW_S = 60.0
_TICK_S = 1.0

PER_MINUTE = {SenderKind.TOLL_FREE: 200, SenderKind.SHORT_CODE: 6_000, SenderKind.ALPHANUMERIC: 600}
"""Recipients a minute for each number, and for all sender names of a resource together (acs-wire.md 4.5). The other
kinds have no limit of ACS's: a geographic +1 number's is its campaign's, which the carriers keep."""


def counted_as(sender: str, kind: SenderKind) -> str:
    """What `sender` is counted under: a number alone, the resource's sender names as one."""
    return "" if kind is SenderKind.ALPHANUMERIC else sender


@dataclass(slots=True)
class _Taken:
    first_until: float
    until: float
    count: int


class SlidingWindow:
    """How much was taken in the last minute. Never more than the limit is taken within any `WINDOW_S` seconds.

    What is taken within one second is let go together, by the last of it: so a window holds about sixty entries at
    most, whatever passes through it.
    """

    __slots__ = ("_held", "_taken")

    def __init__(self) -> None:
        self._taken: deque[_Taken] = deque()
        self._held = 0

    def take(self, count: int, limit: int, now: float) -> float:
        """Take `count` and return 0, or take nothing and return the seconds after which it would be taken.

        More than `limit` at once is taken by an empty window alone, which then stays closed for as many windows as
        `count` fills: that is how a request of a hundred passes where several processes share a small limit.
        """
        wait_s = self.wait_s(count, limit, now)
        if wait_s == 0:
            self._hold(count, limit, now)
        return wait_s

    def add(self, count: int, limit: int, now: float) -> None:
        """Count what was taken elsewhere, also beyond `limit`."""
        self._let_go(now)
        self._hold(count, limit, now)

    def undo(self, count: int, at: float) -> None:
        """Let go of `count` of what was taken at `at` and came to nothing; less when more than the limit was."""
        until = at + WINDOW_S
        for taken in reversed(self._taken):
            if taken.first_until <= until:
                given_back = min(count, taken.count)
                taken.count -= given_back
                self._held -= given_back
                return

    def wait_s(self, count: int, limit: int, now: float) -> float:
        """What `take` would return. Nothing is taken."""
        self._let_go(now)
        lacking = self._held + min(count, limit) - limit
        return self._frees(lacking) - now if lacking > 0 else 0.0

    def _let_go(self, now: float) -> None:
        while self._taken and self._taken[0].until <= now:
            self._held -= self._taken.popleft().count

    def _frees(self, lacking: int) -> float:
        for taken in self._taken:
            lacking -= taken.count
            if lacking <= 0:
                return taken.until
        raise AssertionError("all that is held is in the entries")

    def _hold(self, count: int, limit: int, now: float) -> None:
        self._held += count
        until = now + WINDOW_S
        last = self._taken[-1] if self._taken else None
        if last is not None and last.first_until <= until < last.first_until + _TICK_S and count <= limit:
            last.until = until
            last.count += count
            return
        while count > 0:
            self._taken.append(_Taken(until, until, min(count, limit)))
            count -= limit
            until += WINDOW_S
