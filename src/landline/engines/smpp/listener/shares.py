"""What an account may do counts over all processes: its binds by rows that each process keeps in the database, its rate
by news of what each of them took."""

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

import msgspec
import structlog

from landline.core.errors import Unavailable
from landline.engines.smpp.leases import LEASE, LOOK
from landline.ports.bus import Bus, Subscription
from landline.ports.clock import Alarm, Clock
from landline.ports.esme_gateway import Account
from landline.store.changes import Changes
from landline.store.database import Connection, Database
from landline.store.watched import watched

log = structlog.get_logger()

SUBJECT = "smpp.customers"
PAUSE_S = 0.02
_EVERYONE = "*"
"""In the place of a system id, none of which can be this: any of them may have changed."""
_LOCK = 0x65736D65  # "esme": the first half of an advisory lock, whose second is of the system id
_PATIENCE_S = 0.5
"""How long a bind that finds all taken waits for one that is just ending: customers unbind and bind again at once."""
_AWAY = timedelta(seconds=1)
_CLOSE_S = 0.2


class Shares(Protocol):
    """The part of every account's limits that is this process's. The accounts are those that are bound here."""

    async def start(self, taken: Callable[[str, int], None]) -> None:
        """Begin; `taken` is called with the system id of an account and how many submissions other processes took."""
        ...

    async def admit(self, account: Account) -> bool:
        """Whether the account may have one more connection bound, which it has then until `leave`. Raises
        `Unavailable`."""
        ...

    def leave(self, system_id: str) -> None:
        """One that was admitted has ended."""
        ...

    def part(self, system_id: str) -> float:
        """What part of the account's rate this process may take by itself: all of it where others hear of that."""
        ...

    def took(self, system_id: str) -> None:
        """Tell the others that a submission was taken."""
        ...

    async def finish(self) -> None:
        """All that were admitted are about to end, and others may be admitted elsewhere at once; none is here any
        more. Does not raise."""
        ...

    async def close(self) -> None: ...


class Alone:
    """All of it, always: for the only process on a database. Fills `Shares`."""

    def __init__(self) -> None:
        self._mine: Counter[str] = Counter()

    async def start(self, taken: Callable[[str, int], None]) -> None:
        pass

    async def admit(self, account: Account) -> bool:
        if self._mine[account.system_id] >= account.binds:
            return False
        self._mine[account.system_id] += 1
        return True

    def leave(self, system_id: str) -> None:
        self._mine[system_id] -= 1

    def part(self, system_id: str) -> float:
        return 1.0

    def took(self, system_id: str) -> None:
        pass

    async def finish(self) -> None:
        pass

    async def close(self) -> None:
        pass


class _Taken(msgspec.Struct, frozen=True, array_like=True):
    """What some process took of each account."""

    process: int
    counts: dict[str, int]


_DECODER = msgspec.msgpack.Decoder(_Taken)


class Together:
    """See the module. Fills `Shares`. A process that cannot reach the database admits nobody, and keeps whom it has.
    The binds of one that died without a word count until its lease ends."""

    def __init__(self, database: Database, changes: Changes, bus: Bus, clock: Clock, owner: UUID) -> None:
        self._database = database
        self._changes = changes
        self._bus = bus
        self._clock = clock
        self._owner = owner
        self._process = int.from_bytes(os.urandom(7))
        self._mine: Counter[str] = Counter()
        self._others: dict[str, int] = {}
        """Binds elsewhere, as of the last look."""
        self._stale: set[str] = set()
        """System ids that may have others since."""
        self._unsaid: set[str] = set()
        """System ids about which the database has to be told anew."""
        self._untold: Counter[str] = Counter()
        self._writing = asyncio.Lock()
        self._heard = asyncio.Event()
        self._renew_at = clock.now()
        self._finished = False
        self._timer: asyncio.TimerHandle | None = None
        self._subscription: Subscription | None = None
        self._alarm: Alarm | None = None
        self._task: asyncio.Task[None] | None = None
        changes.watch(SUBJECT, self._told)

    async def start(self, taken: Callable[[str, int], None]) -> None:
        """See `Shares`."""

        def heard(data: bytes) -> None:
            news = _DECODER.decode(data)
            if news.process != self._process:
                for system_id, count in news.counts.items():
                    taken(system_id, count)

        self._subscription = await self._bus.subscribe(SUBJECT, heard)
        self._alarm = self._clock.alarm()
        self._task = watched(self._keep(self._alarm), "smpp shares")

    async def admit(self, account: Account) -> bool:
        """See `Shares`."""
        ends_at = asyncio.get_running_loop().time() + _PATIENCE_S
        while True:
            heard = self._heard
            if await self._take(account):
                return True
            if self._mine[account.system_id] >= account.binds:
                return False
            try:
                async with asyncio.timeout_at(ends_at):
                    await heard.wait()
            except TimeoutError:
                return False

    async def _take(self, account: Account) -> bool:
        system_id = account.system_id
        async with self._writing:
            mine, now = self._mine[system_id], self._clock.now()
            if self._finished:
                raise Unavailable("this process is ending")
            if mine >= account.binds:
                return False
            self._unsaid.add(system_id)  # should this be given up in the middle
            self._ring()
            async with self._database.transaction() as connection:
                await connection.execute("SELECT pg_advisory_xact_lock($1, hashtext($2))", _LOCK, system_id)
                others = (await self._elsewhere(connection, [system_id], now)).get(system_id, 0)
                if mine + others < account.binds:
                    await self._write(connection, {system_id: mine + 1}, now)
                    await self._changes.publish(connection, SUBJECT, system_id)
            self._others[system_id] = others
            if mine == self._mine[system_id]:
                self._unsaid.discard(system_id)
            if mine + others >= account.binds:
                return False
            self._mine[system_id] += 1
            return True

    def leave(self, system_id: str) -> None:
        """See `Shares`."""
        self._mine[system_id] -= 1
        self._unsaid.add(system_id)
        self._ring()

    def part(self, system_id: str) -> float:
        """See `Shares`. Those who do not hear of one another divide it by their binds."""
        if self._bus.together:
            return 1.0
        mine = max(self._mine[system_id], 1)
        return mine / (mine + self._others.get(system_id, 0))

    def took(self, system_id: str) -> None:
        """See `Shares`. Told in portions, so that a submission costs no news of its own."""
        if self._bus.together:
            self._untold[system_id] += 1
            if self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(PAUSE_S, self._tell)

    def _tell(self) -> None:
        self._timer = None
        counts, self._untold = dict(self._untold), Counter()
        self._bus.publish(SUBJECT, msgspec.msgpack.encode(_Taken(self._process, counts)))

    async def finish(self) -> None:
        """See `Shares`. What cannot be given back now is free when its lease ends."""
        self._finished = True
        with suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(_CLOSE_S), self._writing, self._database.transaction() as connection:
                await connection.execute("DELETE FROM smpp_customer_binds WHERE owner = $1", self._owner)
                await self._changes.publish(connection, SUBJECT, _EVERYONE)

    async def close(self) -> None:
        """See `Shares`."""
        if self._timer is not None:
            self._timer.cancel()
        if self._subscription is not None:
            self._subscription.close()
            self._subscription = None
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _keep(self, alarm: Alarm) -> None:
        """The worker that says what is bound here, and looks what is elsewhere."""
        try:
            while True:
                try:
                    await self._say()
                    again_at = self._renew_at if +self._mine else None
                except Unavailable as error:
                    log.warning("smpp.customers_not_said", reason=error.message)
                    again_at = self._clock.now() + _AWAY
                await alarm.wait(again_at)
        finally:
            alarm.close()

    async def _say(self) -> None:
        async with self._writing:
            now = self._clock.now()
            self._mine = +self._mine
            renew = not now < self._renew_at <= now + LOOK  # later than that: the clock was set back
            news = {system_id: self._mine[system_id] for system_id in self._unsaid}
            rows = {**self._mine, **news} if renew else news
            looked_at = self._mine.keys() if renew else self._stale & self._mine.keys()
            if self._finished or not (rows or looked_at):
                return
            async with self._database.transaction() as connection:
                if rows:
                    await self._write(connection, rows, now)
                    await self._forget(connection, now)
                if news:
                    await self._changes.publish(connection, SUBJECT, next(iter(news)) if len(news) == 1 else _EVERYONE)
                found = await self._elsewhere(connection, looked_at, now)
            self._others.update({system_id: found.get(system_id, 0) for system_id in looked_at})
            self._stale -= looked_at
            if renew:
                self._others = {system_id: self._others[system_id] for system_id in looked_at}
                self._renew_at = now + LOOK
            self._unsaid = {system_id for system_id in self._unsaid if self._mine[system_id] != news.get(system_id)}

    async def _elsewhere(self, connection: Connection, system_ids: Collection[str], now: datetime) -> dict[str, int]:
        rows = await connection.fetch(
            "SELECT system_id, sum(binds)::integer AS binds FROM smpp_customer_binds"
            " WHERE system_id = ANY($1) AND owner <> $2 AND until > $3 GROUP BY system_id",
            list(system_ids),
            self._owner,
            now,
        )
        return {row["system_id"]: row["binds"] for row in rows}

    async def _write(self, connection: Connection, binds: dict[str, int], now: datetime) -> None:
        system_ids = sorted(binds)
        await connection.execute(
            "INSERT INTO smpp_customer_binds (system_id, owner, binds, until)"
            " SELECT s, $1, b, $2 FROM unnest($3::text[], $4::integer[]) AS n (s, b)"
            " ON CONFLICT (system_id, owner) DO UPDATE SET binds = excluded.binds, until = excluded.until",
            self._owner,
            now + LEASE,
            system_ids,
            [binds[system_id] for system_id in system_ids],
        )

    async def _forget(self, connection: Connection, now: datetime) -> None:
        """Delete what processes said that have died, and which accounts have nothing here any more."""
        await connection.execute(
            "DELETE FROM smpp_customer_binds WHERE (system_id, owner) IN (SELECT system_id, owner"
            " FROM smpp_customer_binds WHERE until <= $1 OR owner = $2 AND binds = 0 FOR UPDATE SKIP LOCKED)",
            now,
            self._owner,
        )

    def _ring(self) -> None:
        if self._alarm is not None:
            self._alarm.ring()

    def _told(self, system_id: str | None) -> None:
        """Some process has other binds than it had."""
        heard, self._heard = self._heard, asyncio.Event()
        heard.set()
        if not self._bus.together:
            self._stale.update([*self._mine] if system_id in (None, _EVERYONE) else [system_id])
            self._ring()
