"""Lines of the log that a peer could have written thousands of times a second: each is told once in a while."""

from collections.abc import Hashable

EVERY_S = 60.0
_MOST = 1000
"""Things that are remembered: what they are called a peer may make up."""


class Seldom:
    """When a thing is to be told. Instants are seconds of one clock."""

    def __init__(self) -> None:
        self._told: dict[Hashable, tuple[float, int]] = {}

    def due(self, thing: Hashable, now: float) -> int:
        """`thing` was once more: how often it was since it was told last, when it is to be told now, otherwise 0."""
        told_at, since = self._told.get(thing, (now - EVERY_S, 0))
        if 0 <= now - told_at < EVERY_S:
            self._told[thing] = told_at, since + 1
            return 0
        if len(self._told) >= _MOST:
            self._told.clear()
        self._told[thing] = now, 0
        return since + 1
