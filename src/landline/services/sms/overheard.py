"""Blocks whose ends this process sees and does not count: receipts come to whichever process a carrier brings them to,
the count of a block is in the one that sent it, and after a crash in none (docs/design/blocks.md)."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import islice
from uuid import UUID

REST = timedelta(seconds=30)
"""A block may be done once nothing was heard of it for so long: who hears the last of it looks at it."""
_AT_ONCE = 500
_LIMIT = 100_000
"""Blocks remembered. Those beyond it wait until their reports are due."""


class Overheard:
    """See the module. What it loses is looked at when its reports are due."""

    def __init__(self) -> None:
        self._now: set[UUID] = set()
        self._before: set[UUID] = set()
        self._quiet: set[UUID] = set()
        self._turn_at = datetime.min.replace(tzinfo=UTC)

    def add(self, block: UUID) -> None:
        """A message of `block` has ended."""
        if len(self._now) < _LIMIT:
            self._now.add(block)

    def quiet(self, now: datetime) -> list[UUID]:
        """Some of those of which nothing was heard for `REST`, or up to twice that, to be looked at."""
        if not now < self._turn_at <= now + REST:  # later than that: the clock was set back
            self._turn_at = now + REST
            self._keep(self._before - self._now)
            self._before, self._now = self._now, set()
        found = list(islice(self._quiet, _AT_ONCE))
        self._quiet.difference_update(found)
        return found

    def _keep(self, blocks: Iterable[UUID]) -> None:
        self._quiet.update(islice(blocks, _LIMIT - len(self._quiet)))
