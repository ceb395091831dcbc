"""What chat takes away by itself: threads whose retention is over, what deleted threads and deleted users held, old
answers and old changes. In portions: a statement that takes longer than the pool's timeout is undone."""

from datetime import datetime, timedelta

import structlog

from landline.core.errors import Unavailable
from landline.ports.clock import Alarm, Clock
from landline.services.chat import records, records_log, records_retention
from landline.services.chat.departures import Departures
from landline.services.chat.model.changes import ThreadDeleted
from landline.services.chat.model.ids import to_milliseconds
from landline.services.chat.model.order import version
from landline.services.chat.news import Change, News
from landline.store.database import Database

log = structlog.get_logger()
_THREADS = 50
_MESSAGES = 5_000
_CHANGES = 10_000
_FORGOTTEN = 5_000
_AWAY = timedelta(seconds=10)
_LOOK_EVERY = timedelta(hours=1)
"""Another process may have set an earlier end, or died while it took something away."""
_REMEMBER_DELETED = timedelta(days=30)
_REMEMBER_CREATIONS = timedelta(days=1)
REMEMBER_CHANGES = timedelta(days=7)
"""For how long a reader of the stream may be away."""


class Worker:
    """One process's worker. All processes may run one."""

    def __init__(self, database: Database, clock: Clock, news: News, departures: Departures) -> None:
        self._database = database
        self._clock = clock
        self._news = news
        self._departures = departures
        self._alarm: Alarm | None = None

    def wake(self) -> None:
        """There may be something to do, or a nearer time to look."""
        if self._alarm is not None:
            self._alarm.ring()

    async def run(self) -> None:
        """Work until cancelled."""
        alarm = self._alarm = self._clock.alarm()
        try:
            while True:
                await alarm.wait(await self._next())
        finally:
            self._alarm = None
            alarm.close()

    async def _next(self) -> datetime:
        """Do all that is due; when to look again."""
        try:
            await self._work()
            ends = await records_retention.next_due(self._database)
            leaves = await self._departures.next_due()
        except Unavailable as error:
            log.warning("chat.retention_waits", error=error.message)
            return self._clock.now() + _AWAY
        except Exception:
            log.exception("chat.retention_failed")
            return self._clock.now() + _LOOK_EVERY
        return min(at for at in (self._clock.now() + _LOOK_EVERY, ends, leaves) if at is not None)

    async def _work(self) -> None:
        await self._departures.work()
        while await self._end_threads():
            pass
        while await self._purge():
            pass
        now = self._clock.now()
        while await records_log.trim(self._database, now - REMEMBER_CHANGES, _CHANGES):
            pass
        while await records_log.trim_stays(self._database, _CHANGES):
            pass
        while await records_retention.forget_threads(self._database, now - _REMEMBER_DELETED, _FORGOTTEN):
            pass
        while await records_retention.forget_creations(self._database, now - _REMEMBER_CREATIONS, _FORGOTTEN):
            pass

    async def _end_threads(self) -> bool:
        now = self._clock.now()
        changes: list[Change] = []
        async with self._database.ordered() as connection:
            rows = await records_retention.due(connection, now, _THREADS)
            rosters = await records.rosters(connection, records_retention.keys(rows))
            for row, key in zip(rows, records_retention.keys(rows), strict=True):
                at_version = version(row["version"], now)
                await records.delete_thread(connection, key, None, now, at_version)
                change = ThreadDeleted(
                    thread=key[1],
                    recipients=tuple(rosters.get(key, ())),
                    version=at_version,
                    at=to_milliseconds(now),
                    deleted_by=None,
                    created_at=row["created_at"],
                )
                changes.append((key[0], change))
            emitted = await self._news.write(connection, changes)
        self._news.committed(emitted, changes)
        if changes:
            log.info("chat.threads_ended", count=len(changes))
        return len(changes) == _THREADS

    async def _purge(self) -> bool:
        keys = await records_retention.to_purge(self._database, _THREADS)
        for key in keys:
            while await records_retention.purge_messages(self._database, key, _MESSAGES):
                pass
            while await records_log.purge(self._database, key, _CHANGES):
                pass
            async with self._database.ordered() as connection:
                await records_retention.purge_rest(connection, key, self._clock.now())
        return len(keys) == _THREADS
