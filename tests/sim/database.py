"""The database of a simulation: a real PostgreSQL, reached by one statement at a time, whose connections break when
the dice say so. One database serves all seeds; its tables are emptied between them."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar, cast

import asyncpg
from tests.sim.turns import CURRENT, Process, Turns

from landline.core.errors import Unavailable
from landline.store.changes import Changes
from landline.store.database import LOST, Connection, Database, Record, unavailable

T = TypeVar("T")

_PREPARE = """
CREATE UNLOGGED TABLE sim_optouts (resource_id uuid, sender text, recipient text, at timestamptz);
CREATE FUNCTION sim_opted_out() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO sim_optouts VALUES (NEW.resource_id, NEW.sender, NEW.recipient, NEW.at); RETURN NULL; END $$;
CREATE TRIGGER sim_opted_out AFTER INSERT ON sms_optouts FOR EACH ROW EXECUTE FUNCTION sim_opted_out();
"""
_CONNECTIONS = 24
_ANEW_EVERY = 20
_SETTINGS = {
    "jit": "off",
    "synchronous_commit": "off",
    "deadlock_timeout": "20ms",
    # One plan for a statement whatever came before, so that rows come in one order.
    "plan_cache_mode": "force_generic_plan",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_seqscan": "off",
}
_KEPT = "numbers_owned, events_subscriptions, landline_migrations"


class Arena:
    """The server's side: raw connections, and what the simulation itself looks up."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._all: list[Any] = []
        self._free: list[Any] = []
        self._tables = ""
        self._cleaned = 0
        self.side: Any = None
        self._looking = asyncio.Lock()
        self.turns: Turns | None = None
        self.opted_out: dict[tuple[str, str], float] = {}
        """When (sender, recipient) was committed as opted out, by the loop's time: the row has the text's own."""

    async def start(self) -> None:
        self.side = await self._connect()
        await self.side.execute(_PREPARE)
        tables = await self.side.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
        self._tables = ", ".join(
            name
            for (name,) in tables
            if name.startswith(("sms_", "smpp_", "events_", "insights_", "sim_")) and name not in _KEPT
        )
        # As many as a run ever needs: opening one would put its statement behind others.
        self._all = [await self._connect() for _ in range(_CONNECTIONS)]
        for table in self._tables.split(", "):
            await self.side.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")

    async def clean(self) -> None:
        """Nothing of an earlier seed is left. Emptying tables is ten times as fast as making them anew, as long as
        there is not too much to step over."""
        self._cleaned += 1
        self.opted_out.clear()
        for raw in self._all:
            if raw not in self._free or raw.is_in_transaction():
                raw.terminate()  # of a run that came to a bad end
        self._all = [raw if not raw.is_closed() else await self._connect() for raw in self._all]
        self._free = sorted(self._all, key=lambda raw: raw.get_server_pid())  # each run uses them in the same order
        if self._cleaned % _ANEW_EVERY:
            await self.side.execute("".join(f"DELETE FROM {table};" for table in self._tables.split(", ")))
        else:
            await self.side.execute(f"TRUNCATE {self._tables}")

    async def close(self) -> None:
        for raw in [*self._all, self.side]:
            await raw.close()

    async def acquire(self) -> Any:
        assert self.turns is not None
        if self._free:
            return self._free.pop()
        raw = await self.turns.run(0, self._connect)
        self._all.append(raw)
        return raw

    def release(self, raw: Any, last: "asyncio.Task[Any] | None", *, broken: bool) -> None:
        """Take a connection back; a broken one once its last statement has ended and its transaction is undone."""
        assert self.turns is not None
        if not broken:
            self._free.append(raw)
        else:
            self.turns.run(raw.get_server_pid(), lambda: self._undo(raw, last))

    async def look(self, sql: str, *arguments: object) -> list[Record]:
        """What the simulation asks for itself, between the turns of others."""
        assert self.turns is not None
        return await self.turns.run(0, lambda: self._fetch(sql, *arguments))

    async def act(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """What the simulation does itself, likewise."""
        assert self.turns is not None
        return await self.turns.run(0, lambda: self._act(work))

    async def blocked(self, pids: list[int]) -> set[int]:
        """Which of the server's processes wait for locks."""
        sql = "SELECT pid FROM pg_stat_activity WHERE pid = ANY($1) AND wait_event_type = 'Lock'"
        return {row["pid"] for row in await self._fetch(sql, pids)}

    async def _fetch(self, sql: str, *arguments: object) -> list[Record]:
        return await self._act(lambda side: side.fetch(sql, *arguments))

    async def _act(self, work: Callable[[Any], Awaitable[T]]) -> T:
        async with self._looking:
            return await work(self.side)

    async def _undo(self, raw: Any, last: "asyncio.Task[Any] | None") -> None:
        if last is not None:
            await asyncio.wait([last])
        if raw.is_in_transaction():
            await raw.execute("ROLLBACK")
        self._free.append(raw)

    async def _connect(self) -> Any:
        return await asyncpg.connect(self._dsn, server_settings=_SETTINGS)


class SimDatabase(Database):
    """One process's way to the database."""

    def __init__(self, arena: Arena, turns: Turns, process: Process) -> None:
        super().__init__(None)
        self._arena = arena
        self._turns = turns
        self._process = process

    async def close(self) -> None:
        return None

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[Connection]:
        if self._process.dead:
            raise asyncio.CancelledError
        connection = SimConnection(self._arena, await self._arena.acquire(), self._turns, self._process)
        try:
            yield cast(Connection, connection)
        except LOST as error:
            raise unavailable(error) from error
        finally:
            if connection.counted:
                self._process.at_work -= 1
            broken = connection.lost or connection.begun or self._process.dead
            self._arena.release(connection.raw, connection.last, broken=broken)


class SimConnection:
    """Fills `Connection`. Nothing works on it any more once it is lost."""

    def __init__(self, arena: Arena, raw: Any, turns: Turns, process: Process) -> None:
        self.raw = raw
        self._arena = arena
        self.lost = False
        self.begun = False
        self.counted = False
        """Its transaction is among the work its process is at."""
        self.last: asyncio.Task[Any] | None = None
        self.news: list[Callable[[], None]] = []
        """What other processes hear when the transaction commits."""
        self._turns = turns
        self._process = process
        self._wants_transaction = False

    async def execute(self, sql: str, *arguments: object) -> str:
        return await self._do(lambda: self.raw.execute(sql, *arguments))

    async def executemany(self, sql: str, arguments: Iterable[Sequence[object]]) -> None:
        return await self._do(lambda: self.raw.executemany(sql, arguments))

    async def fetch(self, sql: str, *arguments: object) -> list[Record]:
        rows = await self._do(lambda: self.raw.fetch(sql, *arguments))
        if "INSERT INTO sms_optouts" in sql:
            places = [(str(arguments[1]), row["recipient"]) for row in rows]
            self.news.append(lambda: self._arena.opted_out.update(dict.fromkeys(places, _time())))
        if "events_deliveries d" in sql:  # they come as they lie there, which other seeds have a part in
            return sorted(rows, key=lambda row: (row["event_id"], row["subscription_id"]))
        return rows

    async def fetchrow(self, sql: str, *arguments: object) -> Record | None:
        return await self._do(lambda: self.raw.fetchrow(sql, *arguments))

    async def fetchval(self, sql: str, *arguments: object) -> Any:
        return await self._do(lambda: self.raw.fetchval(sql, *arguments))

    async def copy_records_to_table(
        self, table_name: str, *, records: Iterable[Sequence[object]], columns: Sequence[str]
    ) -> str:
        return await self._do(lambda: self.raw.copy_records_to_table(table_name, records=records, columns=columns))

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[None]:
        """It begins with its first statement: what lies between means nothing at READ COMMITTED."""
        self._wants_transaction = True
        try:
            yield
        except BaseException:
            await self._end("ROLLBACK")
            raise
        await self._end("COMMIT")

    async def _end(self, how: str) -> None:
        self._wants_transaction = False
        if self.begun and not self.lost and not self._process.dead:
            await self._do(lambda: self._finish(how), ends=True)
            self.begun = False

    async def _finish(self, how: str) -> None:
        await self.raw.execute(how)
        if how == "COMMIT":
            for tell in self.news:
                tell()

    async def _do(self, statement: Callable[[], Awaitable[T]], *, ends: bool = False) -> T:
        if self.lost:
            raise Unavailable("the connection was lost")
        try:
            return await self._turns.take(
                self._process,
                self.raw.get_server_pid(),
                lambda: self._in_transaction(statement),
                inside=self.begun,
                ends=ends or not self._wants_transaction,
            )
        except Unavailable:
            self.lost = True
            raise

    async def _in_transaction(self, statement: Callable[[], Awaitable[T]]) -> T:
        before, self.last = self.last, asyncio.current_task()
        if before is not None and not before.done():  # of somebody who was cancelled while it waited for a lock
            await asyncio.wait([before])
        if self._wants_transaction and not self.begun:
            await self.raw.execute("BEGIN")
            self.begun = True
            if not self.counted:
                self.counted = True
                self._process.at_work += 1
        return await statement()


def _time() -> float:
    return asyncio.get_running_loop().time()


class Bus:
    """News of changes among the processes that are alive."""

    def __init__(self) -> None:
        self.ears: list[SimChanges] = []

    def post(self, subject: str, key: str) -> None:
        for ear in self.ears:
            if ear.trusted:
                ear.forget(subject, key)


class SimChanges(Changes):
    """One process's ear for them, which may be deaf for a while."""

    def __init__(self, bus: Bus, process: Process) -> None:
        super().__init__("")
        self._bus = bus
        self._process = process

    async def publish(self, connection: Connection, subject: str, key: str) -> None:
        assert isinstance(connection, SimConnection)
        connection.news.append(lambda: self._bus.post(subject, key))

    async def start(self) -> None:
        self._bus.ears.append(self)
        self.trusted = True

    def deafen(self, deaf: bool) -> None:
        """Stop hearing, or hear again: either way nothing remembered is trusted."""
        self.trusted = not deaf
        self._forget_everything()

    async def close(self) -> None:
        if self in self._bus.ears:
            self._bus.ears.remove(self)


__all__ = ["CURRENT", "Arena", "Bus", "SimChanges", "SimConnection", "SimDatabase"]
