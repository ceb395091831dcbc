"""Hints between processes that there is work to look for. They only save latency: each may be lost, and whoever waits
for one also looks by himself now and then."""

import asyncio
from collections.abc import Callable
from uuid import UUID

import structlog

from landline.core.errors import Unavailable
from landline.store.changes import Changes
from landline.store.database import Database
from landline.store.watched import watched

log = structlog.get_logger()
_PREFIX = "wake."
_PAUSE_S = 0.01
"""Hints that come faster are folded: NOTIFY takes a lock that all committing transactions that notify share, which is
also why a hint is never part of a transaction that writes."""


class Wakeups:
    """One process's hints, over the connection that `Changes` listens on."""

    def __init__(self, database: Database, changes: Changes, owner: UUID) -> None:
        self._database = database
        self._changes = changes
        self._owner = str(owner)
        self._asked: set[str] = set()
        self._event = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def on(self, work: str, ring: Callable[[], None]) -> None:
        """Call `ring` when another process hints at `work`, and when hints may have been missed."""

        def heard(owner: str | None) -> None:
            if owner != self._owner:
                ring()

        self._changes.watch(_PREFIX + work, heard)

    def hint(self, work: str) -> None:
        """There is committed `work` that other processes may look for. Returns at once; hints are folded."""
        self._asked.add(work)
        self._event.set()

    def start(self) -> None:
        """From now on hints are sent."""
        self._task = watched(self._send(), "wakeups")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _send(self) -> None:
        while True:
            await self._event.wait()
            self._event.clear()
            asked, self._asked = self._asked, set()
            try:
                async with self._database.connection() as connection:
                    for work in asked:
                        await self._changes.publish(connection, _PREFIX + work, self._owner)
            except Unavailable as error:
                log.warning("wakeups.not_sent", reason=error.message)
            await asyncio.sleep(_PAUSE_S)
