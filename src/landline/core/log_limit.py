"""A limit on lines of the log that a peer could have us write thousands of times a second: each is told once a minute,
with how often it was due."""

from collections.abc import Hashable

EVERY_S = 60.0
_MOST = 1000
"""Things remembered at once: peers choose what they are called, and could fill the memory with names."""


class LogLimit:
    """Decides for each thing whether it is told now. Instants are seconds of one clock."""

    def __init__(self) -> None:
        self._told: dict[Hashable, tuple[float, int]] = {}

    def due(self, thing: Hashable, now: float) -> int:
        """`thing` has happened once more. How often it has since it was told last, this time included, when it is to be
        told now; 0 when it is not."""
        told_at, since = self._told.get(thing, (now - EVERY_S, 0))
        if 0 <= now - told_at < EVERY_S:
            self._told[thing] = told_at, since + 1
            return 0
        if len(self._told) >= _MOST:
            self._told.clear()
        self._told[thing] = now, 0
        return since + 1
