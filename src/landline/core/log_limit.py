"""A limit on lines of the log that a peer could have us write thousands of times a second: each is told once a minute,
with how often it was due."""

from collections.abc import Hashable

EVERY_S = 60.0
_MOST = 1000
"""Things remembered at once: peers choose what they are called, and could fill the memory with names, and the log."""
_OTHERS = object()
"""All that there is no room for."""


class LogLimit:
    """Decides for each thing whether it is told now. Instants are seconds of one clock."""

    def __init__(self) -> None:
        self._told: dict[Hashable, tuple[float, int]] = {}
        """When each was told last, and how often it was due since. What was told first comes first."""

    def due(self, thing: Hashable, now: float, count: int = 1) -> int:
        """`thing` has happened `count` times more. How often it has since it was told last, these included, when it is
        to be told now; 0 when it is not. Things beyond those that were told in this minute are told and counted as one.
        """
        if thing not in self._told and not self._has_room(now):
            thing = _OTHERS
        told_at, since = self._told.get(thing, (now - EVERY_S, 0))
        if _lately(told_at, now):
            self._told[thing] = told_at, since + count
            return 0
        self._told.pop(thing, None)
        self._told[thing] = now, 0
        return since + count

    def _has_room(self, now: float) -> bool:
        if len(self._told) < _MOST:
            return True
        first = next(iter(self._told))
        if _lately(self._told[first][0], now):
            return False
        del self._told[first]
        return True


def _lately(told_at: float, now: float) -> bool:
    return 0 <= now - told_at < EVERY_S
