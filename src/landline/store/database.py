"""The pool of PostgreSQL connections: every statement of the product goes through `Database`."""

import asyncio
import os
import socket
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol, TypeAlias
from urllib.parse import parse_qsl, urlsplit

import asyncpg
import structlog

from landline.core.errors import GaveWay, NotWritten, Refusal, Unavailable
from landline.store.troubles import Troubles

log = structlog.get_logger()

Record: TypeAlias = Mapping[str, Any]
"""One row: columns by name."""


class Connection(Protocol):
    """What `records` functions take: a connection (asyncpg's, typed), in a transaction when what they do must hold
    together."""

    async def execute(self, sql: str, *arguments: object, timeout: float | None = None) -> str:
        """`timeout`: seconds, where it is to be another than the pool's."""
        ...

    async def executemany(self, sql: str, arguments: Iterable[Sequence[object]]) -> None: ...

    async def fetch(self, sql: str, *arguments: object) -> list[Record]: ...

    async def fetchrow(self, sql: str, *arguments: object) -> Record | None: ...

    async def fetchval(self, sql: str, *arguments: object) -> Any: ...

    async def copy_records_to_table(
        self, table_name: str, *, records: Iterable[Sequence[object]], columns: Sequence[str]
    ) -> str: ...

    def transaction(self) -> AbstractAsyncContextManager[None]: ...


LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a statement on a connection that broke while the one before it was answered
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.PostgresSystemError,
    asyncpg.LockNotAvailableError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.InsufficientPrivilegeError,  # a role's rights are looked at when it starts, and may be taken meanwhile
    asyncpg.UndefinedTableError,  # likewise: where it may not use a schema, what is in it is not there
    asyncpg.InvalidCachedStatementError,  # the schema changed beside a transaction, which a new one knows
    ConnectionError,
    OSError,
    TimeoutError,
)
"""Failures that time will mend: the server is away, restarting, full, a standby for now, has trouble with its disk,
keeps to a timeout or to rights of its operator's, or made us give way to another transaction."""

_REFUSED = (
    asyncpg.InsufficientResourcesError,
    asyncpg.PostgresSystemError,
    asyncpg.LockNotAvailableError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.InsufficientPrivilegeError,
    asyncpg.UndefinedTableError,
    asyncpg.InvalidCachedStatementError,
)
"""Those of them by which PostgreSQL says that a statement did nothing. One that is canceled may have committed, and
waited for its standby."""

_CANCELED = "57014"

UNREACHED = (*LOST, asyncpg.PostgresError)
"""Failures to get a connection: whatever PostgreSQL says then, no statement of ours is its reason."""

_SETTINGS = {
    "jit": "off",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "plan_cache_mode": "force_generic_plan",
    "default_transaction_isolation": "read committed",
}
"""A statement is planned once, often while its tables are all but empty, and then reading one of them whole looks
cheapest; it goes on as planned while they grow. What we ask for has keys: nothing but looking these up is planned,
and once is enough whatever the arguments are (docs/design/plans.md). And who has waited for a lock is to read what its
holder wrote, where an operator's default would show it what was there before, or end its transaction."""
_DURABLE = (
    "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') IN ('off', 'on')"
)
"""What is told of as committed is on a disk, whatever an operator's default does for others. Whether a standby is
waited for (local, remote_write, remote_apply) is theirs to say."""
_SILENCE_S = 10
_LINE = {
    "tcp_keepalives_idle": str(_SILENCE_S // 2),
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": f"{_SILENCE_S}s",
}
"""For PostgreSQL's end of a connection: what a machine that is gone has locked there is free again soon."""
_OUR_LINE = (
    ("TCP_KEEPIDLE", _SILENCE_S // 2),
    ("TCP_KEEPINTVL", 2),
    ("TCP_KEEPCNT", 3),
    ("TCP_USER_TIMEOUT", _SILENCE_S * 1000),
)
"""For ours, as far as the system has them (tcp(7))."""
_ANALYSIS = (
    "SET LOCAL enable_seqscan = on; SET LOCAL enable_hashjoin = on; SET LOCAL enable_mergejoin = on;"
    " SET LOCAL plan_cache_mode = auto"
)

_ORDERED = "BEGIN; SET LOCAL enable_bitmapscan = off"

_READ_ONLY = "PostgreSQL is read-only, as a standby is"

Duplicate = asyncpg.UniqueViolationError
"""What a statement raises that would write a key which is there already; it has written nothing."""

NotAsSaid = asyncpg.DivisionByZeroError
"""What a statement raises by `1 / (...)::integer` of what it was told and does not find; it has written nothing."""


def unavailable(error: Exception) -> Unavailable:
    """One of `LOST`, as it is told to who asked."""
    if isinstance(error, asyncpg.TransactionRollbackError):  # a deadlock, mostly
        return GaveWay(f"PostgreSQL let another transaction go first: {type(error).__name__}")
    if getattr(error, "sqlstate", None) == _CANCELED:  # by a timeout of its operator's, mostly
        return Unavailable(f"PostgreSQL gave a statement up: {error}")
    kind = NotWritten if isinstance(error, _REFUSED) else Unavailable
    return kind(f"PostgreSQL is away: {type(error).__name__}")


class _Line(asyncpg.Connection):
    """A connection that ends when nothing gets through any more: the network would repeat for a quarter of an hour what
    nobody acknowledges. A statement that takes long is not ended: the other machine answers while it works on it."""

    def __init__(self, protocol: Any, transport: asyncio.Transport, *rest: Any) -> None:
        super().__init__(protocol, transport, *rest)
        line = transport.get_extra_info("socket")
        if line is None or line.family not in (socket.AF_INET, socket.AF_INET6):
            return
        line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _OUR_LINE:
            if hasattr(socket, name):
                line.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


class Pooled(Refusal):
    """What is at the DSN does not keep sessions for us alone, as a pooler does not."""

    code = "PooledDatabase"

    def __init__(self, what: str) -> None:
        super().__init__(
            f"a pooler such as PgBouncer is in front of PostgreSQL ({what}):"
            " give the DSN of PostgreSQL itself, Landline keeps a pool of its own"
        )


class OtherEncoding(Refusal):
    """The database cannot hold every text as the text it is."""

    code = "OtherEncoding"


class UnreadableDsn(Refusal):
    """The DSN is none. It is not shown: it holds a password."""

    code = "UnreadableDsn"


_SPARE = 2
"""Connections that are not given back to the pool at once, nor more than it keeps open in any case."""
_USES = 100
"""Of one before the pool has it back, which makes a new one of it now and then."""


class _Lent:
    """A connection of the pool's. To have one and give it back costs as much as a short statement."""

    __slots__ = ("connection", "uses")

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.uses = 1

    @property
    def there(self) -> bool:
        """Whether it is not lost: then the pool has taken it back by itself."""
        try:
            return not self.connection.is_closed()
        except asyncpg.InterfaceError:
            return False


class Database:
    """One process's way to PostgreSQL. A statement that meets a lost server raises `Unavailable`; whether what it was
    doing has committed is then unknown, so whatever must not repeat carries a key that the database makes unique. Where
    it is known that it has not, it raises `NotWritten`; that says nothing of other statements before it."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool  # an asyncpg.Pool, whose package carries no types
        self._spare: list[_Lent] = []
        self._most_spare = _SPARE
        self._acquiring = 0
        self._troubles = Troubles()

    @classmethod
    async def connect(cls, dsn: str, *, size: int = 10, timeout_s: float = 30.0) -> "Database":
        """A pool of up to `size` connections; statements are given up after `timeout_s`. Raises `Unavailable`,
        `UnreadableDsn`, `OtherEncoding`, and `Pooled` where sessions are not ours: prepared statements, LISTEN and
        plans need that."""
        try:
            create: Any = asyncpg.create_pool  # the stubs do not know `init` and `reset`
            pool = await create(
                dsn,
                min_size=2,
                max_size=size,
                command_timeout=timeout_s,
                server_settings=_SETTINGS | _LINE,
                connection_class=_Line,
                init=_init,
                reset=_reset,
            )
        except UNREACHED as error:
            if "startup parameter" in str(error):  # PgBouncer, of settings that it is not told to ignore
                raise Pooled(str(error)) from error
            raise Unavailable(f"cannot reach PostgreSQL: {_unread_file(dsn, error) or error}") from error
        except ValueError:
            raise UnreadableDsn(
                "the DSN cannot be read: write #, / and ? in its password as %23, %2F and %3F", target="dsn"
            ) from None
        database = cls(pool)
        try:
            await database._check_settings()
            await database._check_encoding()
        except BaseException:
            await database.close()
            raise
        return database

    async def _check_settings(self) -> None:
        try:
            ignored = await self.fetch(
                "SELECT name FROM unnest($1::text[], $2::text[]) AS s (name, value)"
                " WHERE current_setting(name) <> value",
                list(_SETTINGS),
                list(_SETTINGS.values()),
            )
        except (asyncpg.DuplicatePreparedStatementError, asyncpg.InvalidSQLStatementNameError) as error:
            raise Pooled("what one client prepares in a session meets another") from error
        if ignored:
            raise Pooled(f"it ignores our settings, {ignored[0]['name']} among them")

    async def _check_encoding(self) -> None:
        encoding = await self.fetchval("SELECT current_setting('server_encoding')")
        if encoding == "SQL_ASCII":  # keeps the bytes of UTF-8: nothing of ours counts characters there
            log.warning("store.encoding_unchecked", encoding=encoding)
        elif encoding != "UTF8":
            raise OtherEncoding(
                f"the database is encoded in {encoding}, which cannot hold every text: make another with"
                " CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0"
            )

    async def close(self) -> None:
        """Wait for statements in progress, at most 3 s, and disconnect."""
        self._most_spare = 0
        try:
            async with asyncio.timeout(3):
                await self._spare_none()
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[Connection]:
        """A connection for statements that each stand alone."""
        lent = await self._lent()
        try:
            try:
                yield lent.connection
            except BaseException:
                lent.uses = _USES  # what is left of a statement is the pool's to clear up
                raise
            finally:
                await self._back(lent)
        except asyncpg.ReadOnlySQLTransactionError as error:
            self._troubles.note(error)
            await self._expire()  # another server may be the primary by now
            raise NotWritten(_READ_ONLY) from error
        except LOST as error:
            told = unavailable(error)
            if not isinstance(told, GaveWay):
                self._troubles.note(error)
            raise told from error
        except asyncpg.InternalServerError as error:  # class XX: a page, an index, a catalogue of its own is broken
            self._troubles.note(error)
            raise Unavailable(f"PostgreSQL failed at something of its own: {type(error).__name__}") from error

    async def _lent(self) -> "_Lent":
        while self._spare:
            lent = self._spare.pop()
            if lent.there:
                lent.uses += 1
                return lent
            await self._pool.release(lent.connection)
        self._acquiring += 1
        try:
            return _Lent(await self._acquired())
        finally:
            self._acquiring -= 1

    async def _back(self, lent: "_Lent") -> None:
        spare = lent.uses < _USES and len(self._spare) < self._most_spare and not self._acquiring
        if spare and lent.there and not lent.connection.is_in_transaction():
            self._spare.append(lent)
        else:
            await self._pool.release(lent.connection)

    async def _spare_none(self) -> None:
        while self._spare:
            await self._pool.release(self._spare.pop().connection)

    async def _expire(self) -> None:
        await self._pool.expire_connections()
        await self._spare_none()

    async def _acquired(self) -> Any:
        try:
            return await self._pool.acquire(timeout=10)
        except UNREACHED as error:
            self._troubles.note(error)
            raise NotWritten(f"PostgreSQL is away: {type(error).__name__}") from error

    async def check(self) -> None:
        """For `/healthz`. Raises `Unavailable` when nothing is answered or written, or its disk was full just now."""
        if await self.fetchval("SELECT current_setting('transaction_read_only')") == "on":
            await self._expire()
            raise Unavailable(_READ_ONLY)
        if full := self._troubles.full():
            raise Unavailable(f"PostgreSQL's disk is full: {full}")

    async def check_statements(self) -> None:
        """Likewise. Raises `Unavailable` when it lately refused a statement or a connection."""
        if refused := self._troubles.latest():
            raise Unavailable(f"PostgreSQL refused something: {refused}")

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Connection]:
        """A connection in a transaction that commits when the block is left, and rolls back when it raises."""
        async with self.connection() as connection, connection.transaction():
            yield connection

    @asynccontextmanager
    async def ordered(self) -> AsyncGenerator[Connection]:
        """A transaction whose look-ups go by the order of an index, also where few rows are spread over many pages that
        are dead, which PostgreSQL would have in the order of the pages, and then sorted."""
        async with self.connection() as connection:
            await connection.execute(_ORDERED)
            try:
                yield connection
            except BaseException:
                await connection.execute("ROLLBACK")
                raise
            await connection.execute("COMMIT")

    @asynccontextmanager
    async def analysis(self) -> AsyncGenerator[Connection]:
        """A transaction for statements that read, join and sum up much, for which PostgreSQL chooses the way."""
        async with self.transaction() as connection:
            await connection.execute(_ANALYSIS)
            yield connection

    async def fetch(self, sql: str, *arguments: object) -> list[Record]:
        async with self.connection() as connection:
            return await connection.fetch(sql, *arguments)

    async def fetchrow(self, sql: str, *arguments: object) -> Record | None:
        async with self.connection() as connection:
            return await connection.fetchrow(sql, *arguments)

    async def fetchval(self, sql: str, *arguments: object) -> Any:
        async with self.connection() as connection:
            return await connection.fetchval(sql, *arguments)

    async def execute(self, sql: str, *arguments: object) -> str:
        async with self.connection() as connection:
            return await connection.execute(sql, *arguments)


_NOTE = "SELECT pg_logical_emit_message(true, 'landline', '')"  # a record in PostgreSQL's log, and nothing else


async def settle(connection: Connection) -> None:
    """For who finds that what it was asked for had been done, and writes nothing: waits, at the commit where it is in a
    transaction, until that is as safe as if it were written now. PostgreSQL has only commits that wrote something wait
    for their standby, and shows to all what was committed and waited for in vain."""
    await connection.execute(_NOTE)


def _unread_file(dsn: str, error: Exception) -> str | None:
    """Which of the files that `dsn` names cannot be read, where `error` says that one cannot, and not which."""
    if not isinstance(error, FileNotFoundError | PermissionError):
        return None
    named = dict(parse_qsl(urlsplit(dsn).query))
    for name in ("sslrootcert", "sslcert", "sslkey", "sslcrl"):
        if name in named and not os.access(named[name], os.R_OK):
            return f"the DSN's {name}, {named[name]}, cannot be read: {error.strerror}"
    return None


async def _init(connection: Any) -> None:
    """Of each new connection."""
    await connection.execute(_DURABLE)


async def _reset(connection: Any) -> None:
    """Before a connection is used for something else. Nothing here sets anything for longer than a transaction, and so
    asyncpg's own reset, a round trip at every use, has nothing to do; but a transaction that was left is ended."""
    if connection.is_in_transaction():
        await connection.execute("ROLLBACK")
