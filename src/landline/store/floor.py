"""From where on what waits is looked for. While a backup goes on nothing that is dead can be taken away, and a search
from the beginning goes through all that has come and gone since (docs/design/plans.md)."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Generic, TypeVar

EVERY = timedelta(minutes=1)
LATE = timedelta(minutes=1)
"""What is written is due no longer before it is, and its id no older. Where it is, it is found with the next floor."""
_Place = TypeVar("_Place")


class Floor(Generic[_Place]):
    """Where one search begins, for a minute; then all is gone through once more."""

    def __init__(self, look: Callable[[datetime], Awaitable[_Place]]) -> None:
        """`look`: where the first is that waits, or `LATE` ago where none is older. It is given that instant."""
        self._look = look
        self._place: _Place | None = None
        self._upto: datetime | None = None

    async def at(self, now: datetime) -> _Place:
        """The place to begin at."""
        upto = now - LATE
        # Where the clock was set back it is looked for anew, too.
        if self._place is None or self._upto is None or not self._upto <= upto < self._upto + EVERY:
            self._place, self._upto = await self._look(upto), upto
        return self._place

    def lower(self, at: datetime) -> None:
        """Something was written that is of `at`."""
        if self._upto is not None and at < self._upto:
            self._upto = None
