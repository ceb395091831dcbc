"""A PostgreSQL that does not do its work for a while: what that is to the pool and to the ear, and that both go on."""

import asyncio
import socket
import traceback
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest
from structlog.testing import capture_logs
from tests.support.cable import Cable, cable
from tests.support.cluster import eventually
from tests.support.patience import PATIENCE_S

from landline.core.errors import GaveWay, NotFound, NotWritten, Refusal, Unavailable
from landline.store.changes import Changes
from landline.store.database import Connection, Database


@pytest.fixture
async def operator(server_dsn: str, dsn: str) -> AsyncGenerator["Operator"]:
    connection = await asyncpg.connect(server_dsn)
    yield Operator(connection, urlsplit(dsn).path.strip("/"))
    await connection.close()


class Operator:
    """Does to the test's database what operators, and their tools, do."""

    def __init__(self, connection: Any, name: str) -> None:
        self._connection = connection
        self.name = name

    async def does(self, sql: str) -> None:
        await self._connection.execute(sql.format(name=self.name))

    async def ends_all_sessions(self) -> None:
        await self._connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", self.name
        )


async def write(database: Database) -> None:
    await database.execute("CREATE TABLE IF NOT EXISTS written (n integer)")


async def test_a_standby_is_unavailable_and_its_connections_are_given_up(dsn: str, operator: Operator) -> None:
    await operator.does("ALTER DATABASE {name} SET default_transaction_read_only = on")
    database = await Database.connect(dsn, size=2)
    with pytest.raises(Unavailable, match="PostgreSQL is read-only"):
        await write(database)
    with pytest.raises(Unavailable, match="PostgreSQL is read-only"):  # health says so, whether or not anybody writes
        await database.check()
    await operator.does("ALTER DATABASE {name} RESET default_transaction_read_only")
    await write(database)  # over new connections: sessions that there were are read-only still
    await database.close()


@pytest.mark.parametrize(("default", "ours"), [("off", "on"), ("on", "on"), ("local", "local"), ("remote_apply",) * 2])
async def test_what_commits_is_on_the_disk_though_an_operator_lets_others_commit_sooner(
    dsn: str, operator: Operator, default: str, ours: str
) -> None:
    await operator.does(f"ALTER DATABASE {{name}} SET synchronous_commit = {default}")
    database = await Database.connect(dsn, size=2)
    assert await database.fetchval("SHOW synchronous_commit") == ours
    async with database.transaction() as connection:
        assert await connection.fetchval("SHOW synchronous_commit") == ours
    await operator.ends_all_sessions()
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with suppress(Unavailable):  # until each connection that was ended is noticed
                assert await database.fetchval("SHOW synchronous_commit") == ours
                break
    await database.close()


async def test_whatever_keeps_us_from_connecting_is_a_matter_of_time(database: Database, operator: Operator) -> None:
    await operator.does("ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    await operator.ends_all_sessions()
    said = ""
    async with asyncio.timeout(PATIENCE_S):
        while "ObjectNotInPrerequisiteStateError" not in said:  # connections that there were are noticed first
            with pytest.raises(Unavailable) as refused:
                await write(database)
            said = refused.value.message
    await operator.does("ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    await write(database)


async def read_hastily(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute("SET LOCAL lock_timeout = 1")
        await connection.execute("SELECT FROM written")


async def test_a_lock_that_the_operator_lets_nobody_wait_for_is_a_matter_of_time(database: Database) -> None:
    await write(database)
    async with database.transaction() as holder:
        await holder.execute("LOCK TABLE written")
        with pytest.raises(Unavailable, match="LockNotAvailableError"):
            await read_hastily(database)


async def as_another(database: Database) -> None:
    """A role that owns nothing here."""
    async with database.transaction() as connection:
        await connection.execute("SET LOCAL ROLE pg_monitor")
        await connection.execute("UPDATE written SET n = n + 1")


async def test_rights_that_are_taken_while_we_serve_are_a_matter_of_time(database: Database) -> None:
    """By REVOKE or REASSIGN OWNED: the server ended, and could not start until they were given back."""
    await write(database)
    with capture_logs() as logs, pytest.raises(NotWritten, match="InsufficientPrivilegeError"):
        await as_another(database)
    assert [(each["event"], each["error"]) for each in logs] == [
        ("store.postgres_refuses", "permission denied for table written")
    ]
    with pytest.raises(Unavailable, match="permission denied"):
        await database.check_statements()


async def test_a_schema_that_we_may_not_use_any_more_is_a_matter_of_time(database: Database) -> None:
    """Guides to a safe PostgreSQL have this; who owns neither database nor schema had its rights as one of PUBLIC."""
    await write(database)
    await database.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
    with pytest.raises(NotWritten, match="UndefinedTableError"):
        await as_another(database)


async def test_a_disk_that_fails_is_a_matter_of_time(database: Database) -> None:
    with pytest.raises(Unavailable, match="PostgresIOError"):
        await database.execute("DO $$BEGIN RAISE io_error; END$$")


@pytest.mark.parametrize("code", ["XX000", "XX001", "XX002"])
async def test_what_postgresql_says_is_wrong_with_itself_is_no_bug_of_ours(database: Database, code: str) -> None:
    """Internal errors, broken pages and broken indexes: its operator mends them, and callers come again."""
    with capture_logs() as logs, pytest.raises(Unavailable, match="PostgreSQL failed at something of its own"):
        await database.execute(f"DO $$BEGIN RAISE 'invalid page in block 7' USING ERRCODE = '{code}'; END$$")
    assert [(each["event"], each["log_level"], each["code"], each["error"]) for each in logs] == [
        ("store.postgres_broken", "error", code, "invalid page in block 7")
    ]
    await write(database)


NO_SPACE = 'could not extend file "base/5/1": No space left on device'


async def test_a_full_disk_is_said_in_the_log_once_and_in_health(database: Database) -> None:
    await database.check()
    await database.check_statements()
    with capture_logs() as logs:
        for _ in range(3):
            with pytest.raises(Unavailable, match="DiskFullError"):
                await database.execute(
                    f"DO $$BEGIN RAISE disk_full USING MESSAGE = '{NO_SPACE}', DETAIL = 'Key (recipient)=(+1)'; END$$"
                )
    said = [(each["event"], each["log_level"], each["code"], each["error"]) for each in logs]
    assert said == [("store.postgres_refuses", "error", "53100", NO_SPACE)]
    with pytest.raises(Unavailable, match=r"PostgreSQL's disk is full: could not extend file .* No space left"):
        await database.check()


@pytest.mark.parametrize(
    ("condition", "said"), [("query_canceled", "statement timeout"), ("io_error", "I/O"), ("out_of_memory", "memory")]
)
async def test_what_is_refused_is_said_and_is_no_reason_to_send_requests_elsewhere(
    database: Database, condition: str, said: str
) -> None:
    with capture_logs() as logs, pytest.raises(Unavailable):
        await database.execute(f"DO $$BEGIN RAISE {condition} USING MESSAGE = 'canceled due to {said}'; END$$")
    assert [each["event"] for each in logs] == ["store.postgres_refuses"]
    await database.check()
    with pytest.raises(Unavailable, match=said):
        await database.check_statements()


async def test_a_statement_that_waits_for_a_lock_too_long_is_said_in_health(dsn: str, database: Database) -> None:
    await write(database)
    hasty = await Database.connect(dsn, size=2, timeout_s=0.2)
    async with database.transaction() as holder:
        await holder.execute("LOCK TABLE written")
        with pytest.raises(Unavailable, match="TimeoutError"):
            await hasty.fetch("SELECT FROM written")

    async def answers() -> bool:
        try:
            await hasty.check()
        except Unavailable:  # a busy machine may take so long for this as well
            return False
        return True

    await eventually(answers)
    with pytest.raises(Unavailable, match="not answered in time"):
        await hasty.check_statements()
    await hasty.close()


async def test_giving_way_to_another_transaction_is_nothing_to_tell_of(database: Database) -> None:
    with capture_logs() as logs, pytest.raises(GaveWay, match="let another transaction go first"):
        await database.execute("DO $$BEGIN RAISE deadlock_detected; END$$")
    await database.check_statements()
    assert not logs


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
async def test_a_lock_that_was_waited_for_shows_what_its_holder_wrote_whatever_the_operator_isolates(
    dsn: str, operator: Operator, isolation: str
) -> None:
    """As binds and shares of processes are decided: who has the lock reads what the one before it did."""
    await operator.does(f"ALTER DATABASE {{name}} SET default_transaction_isolation = '{isolation}'")
    database = await Database.connect(dsn, size=2)
    await write(database)
    await database.execute("INSERT INTO written VALUES (1)")
    async with database.transaction() as second:
        await second.execute("SELECT pg_advisory_xact_lock(1)")
        async with database.transaction() as first:
            await first.execute("UPDATE written SET n = n + 1")
        assert await second.fetchval("SELECT n FROM written") == 2
        assert await second.fetchval("UPDATE written SET n = n + 1 RETURNING n") == 3
    await database.close()


async def test_a_schema_that_changes_beside_a_transaction_is_a_matter_of_time(dsn: str, database: Database) -> None:
    await write(database)
    await database.fetch("SELECT * FROM written")  # the one connection knows the statement now
    elsewhere = await Database.connect(dsn, size=2)
    await elsewhere.execute("ALTER TABLE written ADD COLUMN more integer")
    with pytest.raises(Unavailable, match="InvalidCachedStatementError"):
        async with database.transaction() as connection:
            await connection.fetch("SELECT * FROM written")
    async with database.transaction() as connection:
        await connection.fetch("SELECT * FROM written")
    await elsewhere.close()


def place(dsn: str) -> int | str:
    """Where the server of `dsn` listens: the embedded one has a socket with a name, and no port."""
    parts = urlsplit(dsn)
    asked = parse_qs(parts.query)
    if "host" in asked:
        return f"{asked['host'][0]}/.s.PGSQL.{asked.get('port', ['5432'])[0]}"
    return parts.port or 5432


def over(way: Cable, dsn: str) -> str:
    """The DSN of the same database over `way`."""
    parts = urlsplit(dsn)
    who = parts.netloc.rpartition("@")[0]
    return parts._replace(netloc=f"{who}@127.0.0.1:{way.port}", query="sslmode=disable").geturl()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not true():
            await asyncio.sleep(0.002)


class Pooler(Cable):
    """Begins sessions of its own, as PgBouncer does: of what a client asks for it passes on who and where."""

    async def begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        length = int.from_bytes(await reader.readexactly(4))
        startup = await reader.readexactly(length - 4)  # PostgreSQL 55.7: the version, then names and values
        said = startup[4:].split(b"\0")
        asked = dict(zip(said[::2], said[1::2], strict=False))
        startup = startup[:4] + b"".join(name + b"\0" + asked[name] + b"\0" for name in (b"user", b"database")) + b"\0"
        writer.write((len(startup) + 4).to_bytes(4) + startup)


async def test_a_pooler_in_between_is_refused_with_what_to_do(dsn: str) -> None:
    async with cable(place(dsn), Pooler) as way:
        through = over(way, dsn)
        with pytest.raises(Refusal, match=r"PgBouncer .* give the DSN of PostgreSQL itself"):
            await Database.connect(through, size=2)


class Sharing(Cable):
    """Gives each client a session that was another's before, as PgBouncer does by transactions: what asyncpg prepares,
    under names that it counts in each process, is there already."""

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = b""
        while not data.startswith(b"P"):  # PostgreSQL 55.7: Parse
            if not (data := await reader.read(65_536)):
                return writer.close()
            again = data[: 1 + int.from_bytes(data[1:5])] if data.startswith(b"P") else b""
            writer.write(again + data)
        return await super()._pass(reader, writer)


async def test_sessions_that_were_anothers_are_a_poolers(dsn: str) -> None:
    async with cable(place(dsn), Sharing) as way:
        with pytest.raises(Refusal, match=r"PgBouncer .*prepares .* give the DSN of PostgreSQL itself"):
            await Database.connect(over(way, dsn), size=2)


async def test_both_ends_end_a_connection_over_which_nothing_gets_through(dsn: str) -> None:
    async with cable(place(dsn)) as way:
        database = await Database.connect(over(way, dsn), size=2)
        async with database.connection() as connection:
            pooled: Any = connection
            line = pooled._transport.get_extra_info("socket")
            kept_alive = line.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            idle_s = line.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
            unheard_ms = line.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
            assert (kept_alive, idle_s, unheard_ms) == (1, 5, 10_000)
            # What it is told: over a socket with a name, as a cable may lead to, it heeds none of it.
            told = await connection.fetch("SELECT name, reset_val FROM pg_settings WHERE name LIKE 'tcp%'")
        assert {row["name"]: row["reset_val"] for row in told} == {
            "tcp_keepalives_idle": "5",
            "tcp_keepalives_interval": "2",
            "tcp_keepalives_count": "3",
            "tcp_user_timeout": "10000",
        }
        await database.close()


@pytest.mark.parametrize("dsn", ["postgresql://shop:Secret#1@db/shop", "postgresql://shop:Sec/ret@db:5432/shop"])
async def test_a_dsn_that_cannot_be_read_is_refused_and_not_shown(dsn: str) -> None:
    with pytest.raises(Refusal, match="the DSN cannot be read") as refused:
        await Database.connect(dsn, size=2)
    assert "Sec" not in "".join(traceback.format_exception(refused.value))


@pytest.mark.parametrize(("name", "mode"), [("sslrootcert", "verify-full"), ("sslcert", "require")])
async def test_a_file_of_the_dsn_that_is_not_there_is_named(dsn: str, name: str, mode: str, tmp_path: Path) -> None:
    missing = tmp_path / "missing.pem"
    with pytest.raises(Unavailable, match=rf"the DSN's {name}, {missing}, cannot be read: No such file"):
        await Database.connect(f"{dsn}{'&' if '?' in dsn else '?'}sslmode={mode}&{name}={missing}", size=2)


async def test_a_statement_that_the_operators_timeout_ends_says_so(dsn: str) -> None:
    """Not that PostgreSQL is away."""
    hurried = await Database.connect(f"{dsn}{'&' if '?' in dsn else '?'}statement_timeout=200", size=2)
    with pytest.raises(Unavailable, match="gave a statement up: canceling statement due to statement timeout"):
        await hurried.fetch("SELECT pg_sleep(60)")
    await hurried.close()


class Ear:
    """What `Changes` hears."""

    def __init__(self, changes: Changes) -> None:
        self.changes = changes
        self._news = asyncio.Event()
        self.heard: list[str | None] = []
        changes.watch("numbers", self._hear)

    def _hear(self, key: str | None) -> None:
        self.heard.append(key)
        self._news.set()

    async def hears(self, key: str | None) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while key not in self.heard:
                self._news.clear()
                await self._news.wait()


async def test_news_are_heard_again_whatever_it_was_that_kept_us_from_listening(
    dsn: str, database: Database, operator: Operator
) -> None:
    ear = Ear(Changes(dsn))
    await ear.changes.start()
    ear.heard.clear()
    await operator.does("ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    await operator.ends_all_sessions()
    await ear.hears(None)
    assert not ear.changes.trusted
    with capture_logs() as logs:
        await until(lambda: any(each.get("error") == "ObjectNotInPrerequisiteStateError" for each in logs))
    await operator.does("ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    await until(lambda: ear.changes.trusted)
    await ear.changes.close()


async def test_a_start_is_told_that_nobody_can_listen(dsn: str, operator: Operator) -> None:
    """A pool may have taken the last connections that there are for us."""
    changes = Changes(dsn)
    await operator.does("ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(Unavailable, match=r"cannot reach PostgreSQL: .* not currently accepting connections"):
            await changes.start()
    await changes.close()
    await operator.does("ALTER DATABASE {name} ALLOW_CONNECTIONS true")


async def test_a_connection_over_which_nothing_comes_any_more_is_not_trusted_for_long(
    dsn: str, database: Database
) -> None:
    async with cable(place(dsn)) as way:
        ear = Ear(Changes(over(way, dsn), ask_s=0.01, answer_s=0.5))
        await ear.changes.start()
        ear.heard.clear()
        way.swallow = True
        await ear.hears(None)
        assert not ear.changes.trusted
        way.swallow = False
        await until(lambda: ear.changes.trusted)
        async with asyncio.timeout(PATIENCE_S):
            while "+12065550100" not in ear.heard:  # one may be said while the other end is slow to answer again
                async with database.connection() as connection:
                    await ear.changes.publish(connection, "numbers", "+12065550100")
        await ear.changes.close()


async def test_who_waits_for_a_connection_has_the_next_that_is_free(dsn: str) -> None:
    database = await Database.connect(dsn, size=2)
    async with asyncio.timeout(PATIENCE_S):
        for _ in range(3):
            async with database.connection(), database.connection():
                waiting = [asyncio.create_task(database.fetchval("SELECT 1")) for _ in range(4)]
                await asyncio.sleep(0)
            assert await asyncio.gather(*waiting) == [1] * 4
    await database.close()


async def test_what_was_left_of_a_transaction_or_a_statement_is_nobody_elses(dsn: str) -> None:
    database = await Database.connect(dsn, size=2)
    async with database.connection() as connection:
        await connection.execute("BEGIN")
        await connection.execute("CREATE TABLE left_open ()")
    for _ in range(4):
        assert await database.fetchval("SELECT to_regclass('left_open') IS NULL")
    for _ in range(2):
        asleep = asyncio.create_task(database.execute("SELECT pg_sleep(600)"))
        async with asyncio.timeout(PATIENCE_S):
            while not await database.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE query = $1", "SELECT pg_sleep(600)"
            ):
                await asyncio.sleep(0)
            asleep.cancel()
            for _ in range(4):
                assert await asyncio.gather(*[database.fetchval("SELECT 1") for _ in range(2)]) == [1, 1]
    await database.close()


async def test_a_connection_that_was_ended_while_it_was_spare_is_not_used(dsn: str, operator: Operator) -> None:
    database = await Database.connect(dsn, size=2)
    async with asyncio.timeout(PATIENCE_S):
        async with database.connection() as one, database.connection() as other:
            lent: list[Any] = [one, other]
            lines = [each._con for each in lent]  # which the pool takes away from what it lent
        await operator.ends_all_sessions()
        while not all(line.is_closed() for line in lines):
            await asyncio.sleep(0)
        assert await database.fetchval("SELECT 1") == 1
    await database.close()


@pytest.mark.parametrize("kind", ["transaction", "ordered"])
async def test_a_transaction_that_raises_is_undone_and_nothing_to_tell_of(database: Database, kind: str) -> None:
    """A request that is refused in the middle of one is nothing that an operator should read of."""
    told: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    begin = getattr(database, kind)
    await write(database)

    async def refused() -> None:
        async with begin() as connection:
            await connection.execute("INSERT INTO written VALUES (1)")
            raise NotFound("There is no such thread.")

    with pytest.raises(NotFound):
        await refused()
    async with begin() as connection:
        await connection.execute("INSERT INTO written VALUES (2)")
    assert [row["n"] for row in await database.fetch("SELECT n FROM written")] == [2]
    assert told == []


async def test_a_connection_lost_in_the_middle_of_a_transaction_is_a_matter_of_time(
    database: Database, operator: Operator
) -> None:
    async def cut(begin: Callable[[], AbstractAsyncContextManager[Connection]]) -> None:
        async with begin() as connection:
            await connection.execute("SELECT 1")
            await operator.ends_all_sessions()
            await connection.execute("SELECT 2")

    for begin in (database.transaction, database.ordered):
        with pytest.raises(Unavailable):
            await cut(begin)
    await write(database)
