"""The processes that work on one database: each says by heartbeat that it lives, and knows how many share the work.

A heartbeat is real time, as is what it proves; nothing is decided by it that must not be decided twice.
"""

import asyncio
import os
import socket
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from landline.core.errors import Unavailable
from landline.store.changes import Changes
from landline.store.database import Database, Record
from landline.store.watched import watched

log = structlog.get_logger()

SUBJECT = "processes"
BEAT_S = 5.0
SILENCE = timedelta(seconds=15)
"""A process that was silent for so long counts as dead."""
_REMEMBERED = timedelta(hours=1)
_CLOCKS_APART = timedelta(seconds=2)
_CLOSE_S = 1.0


@dataclass(frozen=True, slots=True)
class Process:
    """One process as the database has it. `live` is as of when it was read."""

    owner: UUID
    kind: str
    host: str
    pid: int
    started_at: datetime
    seen_at: datetime
    serves: tuple[str, ...]
    live: bool
    circle: str | None = None
    """Those of the same circle hear one another at once; None says nothing about it."""


class Processes:
    """This process among the others. `kind` is the command (`serve`, `worker`, `dev`), `serves` what it works on, by
    which rates of that work are shared; `wall` reads the machine's time, which all machines have to agree on. `circle`
    names those that this process hears at once and that hear it, by whatever way."""

    def __init__(
        self,
        database: Database,
        changes: Changes,
        owner: UUID,
        kind: str,
        *,
        wall: Callable[[], datetime],
        serves: Sequence[str] = (),
        circle: str | None = None,
    ) -> None:
        self._database = database
        self._changes = changes
        self._owner = owner
        self._kind = kind
        self._wall = wall
        self._serves = list(serves)
        self._circle = circle
        self.changed: Callable[[], None] | None = None
        """Called when other processes live than before, as this one knows."""
        self._started_at = wall()
        self._known: list[Process] = []
        self._serving: dict[str | None, int] = {}
        self._ahead: dict[str, float] = {}
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        changes.watch(SUBJECT, self._changed)

    @property
    def live(self) -> int:
        """How many processes work on this database, this one included; as old as the last heartbeat."""
        return self.serving(None)

    def serving(self, work: str | None) -> int:
        """How many live processes work on `work`; None for whatever it is. At least 1: this one."""
        count = self._serving.get(work)
        if count is None:
            others = [each for each in self._known if each.owner != self._owner and each.live]
            count = self._serving[work] = 1 + sum(1 for each in others if work is None or work in each.serves)
        return count

    def share(self, work: str | None = None) -> float:
        """The part of a common rate that is this process's: 1 divided by those who share it."""
        return 1 / self.serving(work)

    def apart(self) -> list[Process]:
        """The live processes that should hear this one at once and do not: of another circle. As old as `live`."""
        if self._circle is None:
            return []
        others = [each for each in self._known if each.owner != self._owner and each.live]
        return [each for each in others if each.circle not in (None, self._circle) and not _surely_gone(each)]

    def ahead(self) -> dict[str, float]:
        """The machines whose clocks are ahead of this one's, by at least so many seconds: leases of this one end there
        too early. As old as the last heartbeat; what is not more than theirs may be missed."""
        return dict(self._ahead)

    async def start(self) -> None:
        """Sign on, and tell the others. Raises `Unavailable`."""
        await self.beat()
        await self._tell()
        self._task = watched(self._beat_on(), "processes")

    async def close(self) -> None:
        """Sign off, so that the others need not wait for our silence. Does not raise: silence says the same later."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        with suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                await self._database.execute("DELETE FROM store_processes WHERE owner = $1", self._owner)
                await self._tell()

    async def beat(self) -> None:
        """Say that we live, and look who else does. Raises `Unavailable`."""
        now = self._wall()
        async with self._database.connection() as connection:
            await connection.execute(
                "INSERT INTO store_processes (owner, kind, host, pid, started_at, seen_at, serves, circle)"
                " VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (owner) DO UPDATE SET seen_at = excluded.seen_at",
                self._owner,
                self._kind,
                socket.gethostname(),
                os.getpid(),
                self._started_at,
                now,
                self._serves,
                self._circle,
            )
            await connection.execute("DELETE FROM store_processes WHERE seen_at < $1", now - _REMEMBERED)
            rows = await connection.fetch("SELECT * FROM store_processes ORDER BY started_at, owner")
        self._compare_clocks(rows, self._wall())
        before, known = self.live, {each.owner for each in self._known if each.live}
        self._known = [_process(row, now) for row in rows]
        self._serving.clear()
        if self.live != before:
            log.info("processes.live", count=self.live)
        if self.changed is not None and known != {each.owner for each in self._known if each.live}:
            self.changed()

    def _compare_clocks(self, rows: Sequence[Record], now: datetime) -> None:
        """`now` is after `rows` were read, however slow the database is: nobody can have written what is later."""
        before = self._ahead.keys()
        by = {row["host"]: row["seen_at"] - now for row in sorted(rows, key=lambda row: row["seen_at"])}
        self._ahead = {host: each.total_seconds() for host, each in by.items() if each > _CLOCKS_APART}
        for host in self._ahead.keys() - before:
            log.error("processes.clock_ahead", host=host, seconds=round(self._ahead[host], 1))

    async def listed(self) -> list[Process]:
        """All processes, the oldest first; those that died without a word for an hour longer. Raises `Unavailable`."""
        return await listed(self._database, self._wall())

    async def _beat_on(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(BEAT_S):
                    await self._news.wait()
            self._news.clear()
            try:
                await self.beat()
            except Unavailable as error:
                log.warning("processes.beat_missed", reason=error.message)

    async def _tell(self) -> None:
        async with self._database.connection() as connection:
            await self._changes.publish(connection, SUBJECT, str(self._owner))

    def _changed(self, _owner: str | None) -> None:
        self._news.set()


async def listed(database: Database, now: datetime) -> list[Process]:
    """See `Processes.listed`; for who is none of them."""
    rows = await database.fetch("SELECT * FROM store_processes ORDER BY started_at, owner")
    return [_process(row, now) for row in rows]


async def forget_all(database: Database) -> None:
    """Only for who knows that no process works on the database: forget those that died without a word."""
    await database.execute("DELETE FROM store_processes")


async def forget(database: Database, owners: Collection[UUID]) -> None:
    """Forget processes that are known to have died."""
    await database.execute("DELETE FROM store_processes WHERE owner = ANY($1)", list(owners))


def _surely_gone(process: Process) -> bool:
    """Whether a process of this machine died lately without a word. Of another machine nobody here can tell."""
    if process.host != socket.gethostname():
        return False
    if process.pid == os.getpid():  # as in a container that was started again
        return True
    try:
        os.kill(process.pid, 0)
    except ProcessLookupError:
        return True
    except OSError:  # somebody else's
        return False
    return False


def _process(row: Record, now: datetime) -> Process:
    return Process(
        owner=row["owner"],
        kind=row["kind"],
        host=row["host"],
        pid=row["pid"],
        started_at=row["started_at"],
        seen_at=row["seen_at"],
        serves=tuple(row["serves"]),
        live=now - row["seen_at"] < SILENCE,
        circle=row["circle"],
    )
