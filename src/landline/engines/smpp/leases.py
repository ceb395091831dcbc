"""A carrier's slots leased in the database, so that all processes together keep up the binds that the carrier sold.

Each process looks often: renews what it holds, takes what is free, gives up what others lack (`slots.share` decides).
One that cannot renew in time gives its slots up by itself, for others take them then.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from landline.core.errors import Unavailable
from landline.engines.smpp.slots import Share, Slot, Turns, share, up_elsewhere
from landline.ports.clock import Alarm, Clock
from landline.store.changes import Changes
from landline.store.database import Connection, Database
from landline.store.watched import watched

log = structlog.get_logger()

LEASE = timedelta(seconds=15)
LOOK = timedelta(seconds=5)
_MARGIN = timedelta(seconds=2)
"""How long before the lease's end a process that cannot renew it begins to end its binds."""
_EXPECT = timedelta(seconds=10)
_AWAY = timedelta(seconds=1)
_CLOSE_S = 0.5
_SUBJECT = "smpp.binds"


class Leases:
    """This process's share of the `binds` slots of `carrier`. Fills `Slots`. In the first seconds it leaves room for
    `expected` processes, which are being started together with this one."""

    def __init__(
        self,
        database: Database,
        changes: Changes,
        clock: Clock,
        owner: UUID,
        carrier: str,
        binds: int,
        *,
        expected: int = 1,
    ) -> None:
        self._database = database
        self._changes = changes
        self._clock = clock
        self._owner = owner
        self._carrier = carrier
        self._binds = binds
        self._expected = expected
        self._held: frozenset[int] = frozenset()
        self._gone: set[int] = set()
        self._up: bool = False
        self._said_up: bool = False
        self._up_elsewhere: bool = False
        self._turns = Turns()
        self._until = self._expects_until = clock.now()
        self._changed: Callable[[], None] | None = None
        self._alarm: Alarm | None = None
        self._renewed: Alarm | None = None
        self._tasks: list[asyncio.Task[None]] = []
        changes.watch(_SUBJECT, self._told)

    @property
    def held(self) -> frozenset[int]:
        return self._held

    @property
    def up_elsewhere(self) -> bool:
        """See `Slots`. As old as the last look, but for what others have told since."""
        return self._up_elsewhere

    @property
    def on_trial(self) -> bool:
        """See `Slots`."""
        return self._turns.failed and self._up_elsewhere

    async def start(self, changed: Callable[[], None]) -> None:
        """See `Slots`."""
        self._expects_until = self._clock.now() + _EXPECT
        async with self._database.connection() as connection:
            await connection.execute(
                "INSERT INTO smpp_binds (carrier, slot, until) SELECT $1, s, $3 FROM generate_series(0, $2 - 1) AS s"
                " ON CONFLICT DO NOTHING",
                self._carrier,
                self._binds,
                self._clock.now(),
            )
        await self._look()
        async with self._database.connection() as connection:
            await self._changes.publish(connection, _SUBJECT, self._carrier)
        self._changed = changed
        self._alarm = self._clock.alarm()
        self._renewed = self._clock.alarm()
        self._tasks = [
            watched(self._look_often(self._alarm), "smpp leases"),
            watched(self._lapse(self._renewed), "smpp leases end"),
        ]

    def let_go(self, slot: int) -> None:
        """See `Slots`."""
        self._gone.add(slot)
        if self._alarm is not None:
            self._alarm.ring()

    def say_up(self, up: bool) -> None:
        """See `Slots`."""
        if up != self._up:
            self._up = up
            if self._alarm is not None:
                self._alarm.ring()

    async def close(self) -> None:
        """See `Slots`. Does not raise: what cannot be given back now is free when its lease ends."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._held = frozenset()
        with suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(_CLOSE_S), self._database.transaction() as connection:
                await connection.execute(
                    "UPDATE smpp_binds SET owner = NULL, leaving = false WHERE carrier = $1 AND owner = $2",
                    self._carrier,
                    self._owner,
                )
                await connection.execute(
                    "DELETE FROM smpp_sharers WHERE carrier = $1 AND owner = $2", self._carrier, self._owner
                )
                await self._changes.publish(connection, _SUBJECT, self._carrier)

    async def _look_often(self, alarm: Alarm) -> None:
        try:
            while True:
                now = self._clock.now()
                try:
                    await self._give_back()
                    await self._look()
                    again_at = now + LOOK
                except Unavailable as error:
                    log.warning("smpp.leases_not_renewed", carrier=self._carrier, reason=error.message)
                    again_at = now + _AWAY
                await alarm.wait(again_at)
        finally:
            alarm.close()

    async def _lapse(self, renewed: Alarm) -> None:
        """End our binds when they were not renewed in time, even while a look hangs."""
        try:
            while True:
                ends_at = self._until - _MARGIN
                now = self._clock.now()
                if now < ends_at <= now + LEASE:  # later than that: the clock was set back after the last renewal
                    await renewed.wait(ends_at)
                    continue
                if self._held:
                    log.error("smpp.leases_lapsed", carrier=self._carrier)
                    self._hold(frozenset())
                await renewed.wait()
        finally:
            renewed.close()

    async def _give_back(self) -> None:
        gone = list(self._gone)
        if not gone:
            return
        async with self._database.transaction() as connection:
            await connection.execute(
                "UPDATE smpp_binds SET owner = NULL, leaving = false"
                " WHERE carrier = $1 AND owner = $2 AND slot = ANY($3::int[])",
                self._carrier,
                self._owner,
                gone,
            )
            await self._changes.publish(connection, _SUBJECT, self._carrier)
        self._gone.difference_update(gone)
        log.info("smpp.slots_given_up", carrier=self._carrier, slots=sorted(gone))

    async def _look(self) -> None:
        """Renew, take and give up, in one transaction that every other process's waits for."""
        now, up = self._clock.now(), self._up
        async with self._database.transaction() as connection:
            slots = await self._slots(connection)
            sharers = await self._share(connection, now)
            if len(sharers) >= self._expected or now >= self._expects_until:
                self._expected = 1
            found = share(self._owner, slots, sharers, now, expected=self._expected)
            if self._turns.passes(self._owner, slots, sharers, now, up=up):
                found = await self._pass(connection, slots)
            await self._take(connection, found, now + LEASE, up=up)
            if up != self._said_up:
                await self._changes.publish(connection, _SUBJECT, self._carrier)
        self._until, self._said_up = now + LEASE, up
        on_trial = self.on_trial
        self._up_elsewhere = up_elsewhere(self._owner, slots, now)
        if self._renewed is not None:
            self._renewed.ring()
        if found.claim:
            log.info("smpp.slots_taken", carrier=self._carrier, slots=sorted(found.claim))
        if not self._hold((found.keep | found.claim) - found.leave - self._gone) and self.on_trial != on_trial:
            self._tell()

    async def _pass(self, connection: Connection, slots: Iterable[Slot]) -> Share:
        """Want nothing for now, and give up what there is."""
        await connection.execute(
            "DELETE FROM smpp_sharers WHERE carrier = $1 AND owner = $2", self._carrier, self._owner
        )
        mine = frozenset(slot.number for slot in slots if slot.owner == self._owner)
        if mine & self._held:
            log.warning("smpp.slots_left_to_others", carrier=self._carrier, slots=sorted(mine))
        return Share(mine, frozenset(), mine)

    async def _slots(self, connection: Connection) -> list[Slot]:
        rows = await connection.fetch(
            "SELECT slot, owner, until, leaving, up FROM smpp_binds WHERE carrier = $1 AND slot < $2"
            " ORDER BY slot FOR UPDATE",
            self._carrier,
            self._binds,
        )
        return [Slot(row["slot"], row["owner"], row["until"], row["leaving"], row["up"]) for row in rows]

    async def _share(self, connection: Connection, now: datetime) -> set[UUID]:
        """Say that we want a share; who else does."""
        await connection.execute(
            "INSERT INTO smpp_sharers (carrier, owner, until) VALUES ($1, $2, $3)"
            " ON CONFLICT (carrier, owner) DO UPDATE SET until = excluded.until",
            self._carrier,
            self._owner,
            now + LEASE,
        )
        await connection.execute("DELETE FROM smpp_sharers WHERE carrier = $1 AND until <= $2", self._carrier, now)
        rows = await connection.fetch("SELECT owner FROM smpp_sharers WHERE carrier = $1", self._carrier)
        return {row["owner"] for row in rows}

    async def _take(self, connection: Connection, found: Share, until: datetime, *, up: bool) -> None:
        await connection.execute(
            "UPDATE smpp_binds SET owner = $2, until = $3, leaving = slot = ANY($5::int[]), up = $6"
            " WHERE carrier = $1 AND slot = ANY($4::int[])",
            self._carrier,
            self._owner,
            until,
            list(found.keep | found.claim),
            list(found.leave),
            up,
        )

    def _hold(self, slots: Iterable[int]) -> bool:
        """Whether these are others than before, which is told."""
        held = frozenset(slots)
        if held == self._held:
            return False
        self._held = held
        self._tell()
        return True

    def _tell(self) -> None:
        if self._changed is not None:
            self._changed()

    def _told(self, carrier: str | None) -> None:
        """Another process came, went or gave slots up."""
        if carrier in (None, self._carrier) and self._alarm is not None:
            self._alarm.ring()


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that has binds of a carrier."""

    carrier: str
    owner: UUID
    binds: int
    up: bool
    """Whether it can submit over them, as it said."""


async def holders(database: Database, now: datetime) -> list[Holder]:
    """Which processes have which carriers' binds, where several share them."""
    rows = await database.fetch(
        "SELECT carrier, owner, count(*) AS binds, bool_or(up) AS up FROM smpp_binds"
        " WHERE owner IS NOT NULL AND until > $1 GROUP BY carrier, owner ORDER BY carrier, owner",
        now,
    )
    return [Holder(row["carrier"], row["owner"], row["binds"], row["up"]) for row in rows]


async def forget(database: Database, owners: Collection[UUID]) -> None:
    """Free the slots of processes that are known to have died, and the binds that customers had to them."""
    async with database.transaction() as connection:
        await connection.execute(
            "UPDATE smpp_binds SET owner = NULL, leaving = false WHERE owner = ANY($1)", list(owners)
        )
        await connection.execute("DELETE FROM smpp_sharers WHERE owner = ANY($1)", list(owners))
        await connection.execute("DELETE FROM smpp_customer_binds WHERE owner = ANY($1)", list(owners))


async def forget_all(database: Database) -> None:
    """Only for who knows that no process works on the database: free the slots of those that died without a word."""
    async with database.transaction() as connection:
        await connection.execute("UPDATE smpp_binds SET owner = NULL, leaving = false")
        await connection.execute("DELETE FROM smpp_sharers")
        await connection.execute("DELETE FROM smpp_customer_binds")
