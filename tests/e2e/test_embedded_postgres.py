"""The embedded PostgreSQL: each place its programs come from, and each way it, or we, may be killed."""

import asyncio
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
import pytest
from tests.support.patience import PATIENCE_S

from landline.store.embedded import EmbeddedServer, binaries
from landline.store.embedded.errors import CannotRun, DirectoryTaken, OtherMajor

SUPERVISOR = """
import asyncio, sys
from pathlib import Path
from landline.store.embedded import EmbeddedServer

async def main():
    server = EmbeddedServer(Path(sys.argv[1]))
    await server.start()
    print(server.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


FULL = """
import asyncio, sys
from contextlib import suppress
from pathlib import Path
from landline.store.embedded import EmbeddedServer
from landline.store.embedded.errors import CannotRun

PAGE = 4096

async def main():
    place = Path(sys.argv[1])
    server = EmbeddedServer(place / "data")
    await server.start()
    await server.close()
    log = place / "data" / "postgresql.log"
    with log.open("ab") as out:  # its last page is full
        out.write(b" " * (-log.stat().st_size % PAGE))
    with (place / "fill").open("wb", buffering=0) as fill:
        for piece in (1 << 20, PAGE):
            with suppress(OSError):
                while fill.write(bytes(piece)):
                    pass
        fill.truncate(fill.tell() - int(sys.argv[2]) * PAGE)
    try:
        await server.start()
    except (CannotRun, OSError) as error:
        print(error)
    (place / "fill").unlink()
    await server.start()
    await server.close()

asyncio.run(main())
"""


@pytest.fixture
async def stack() -> AsyncGenerator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def started(stack: AsyncExitStack, server: EmbeddedServer) -> EmbeddedServer:
    await server.start()
    stack.push_async_callback(server.close)
    return server


async def value(server: EmbeddedServer, sql: str) -> object:
    """The value of `sql`, asked again while the server is away."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            connection = await asyncpg.connect(server.dsn)
            try:
                return await connection.fetchval(sql)
            finally:
                await connection.close()
        except (OSError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError):
            assert time.monotonic() < deadline, "PostgreSQL did not come back"
            await asyncio.sleep(0.01)


def gone(pid: int, within_s: float = PATIENCE_S) -> bool:
    """Whether the process has ended, or does so in time."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(within_s * 1000))
    finally:
        os.close(descriptor)


@pytest.fixture
def supervisor(tmp_path: Path) -> Generator["subprocess.Popen[str]"]:
    """Another process with an embedded server in `tmp_path`; its first line is the postmaster's process id."""
    process = subprocess.Popen([sys.executable, "-c", SUPERVISOR, tmp_path], stdout=subprocess.PIPE, text=True)
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize("choice", ["wheel", "system"])
async def test_it_runs_with_each_kind_of_programs_and_keeps_its_data(
    choice: str, tmp_path: Path, stack: AsyncExitStack
) -> None:
    tmp_path.chmod(0o700)  # as root: PostgreSQL's user can reach nothing of this by path
    first = EmbeddedServer(tmp_path / "server", choice=choice)
    await first.start()
    await value(first, "CREATE TABLE kept (a int)")
    await value(first, "INSERT INTO kept VALUES (42)")
    await first.close()
    again = await started(stack, EmbeddedServer(tmp_path / "server", choice=choice))
    assert await value(again, "SELECT a FROM kept") == 42
    assert await value(again, "SHOW synchronous_commit") == "on"
    assert again.programs.source == choice


async def test_a_directory_of_programs_can_be_named(tmp_path: Path, stack: AsyncExitStack) -> None:
    named = binaries.find("system")[0].directory
    server = await started(stack, EmbeddedServer(tmp_path, choice=str(named)))
    assert server.programs.directory == named
    with pytest.raises(CannotRun, match="postgres_binaries"):
        binaries.find(str(tmp_path))


async def test_it_listens_on_no_network_and_takes_no_connection_without_the_password(
    tmp_path: Path, stack: AsyncExitStack
) -> None:
    server = await started(stack, EmbeddedServer(tmp_path))
    assert await value(server, "SHOW listen_addresses") == ""
    password = (tmp_path / "password").read_text()
    assert (tmp_path / "password").stat().st_mode & 0o777 == 0o600
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(server.dsn.replace(password, "wrong"))


async def test_programs_out_of_reach_are_copied_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stack: AsyncExitStack
) -> None:
    tmp_path.chmod(0o700)
    wheel = tmp_path / "hidden" / binaries.WHEEL
    (tmp_path / "hidden").mkdir(mode=0o700)
    wheel.mkdir()
    (wheel / "__init__.py").touch()
    installed = binaries.find("wheel")[0].directory.parent
    shutil.copytree(installed, wheel / installed.name, symlinks=True)
    for libraries in installed.parent.parent.glob(f"{binaries.WHEEL}.libs"):
        shutil.copytree(libraries, wheel.parent / libraries.name)
    monkeypatch.syspath_prepend(str(tmp_path / "hidden"))
    with tempfile.TemporaryDirectory() as reachable:
        Path(reachable).chmod(0o755)
        copies = Path(reachable) / "copies"
        server = EmbeddedServer(tmp_path / "server", choice="wheel", copies=copies)
        for _ in range(2):
            await server.start()
            assert await value(server, "SELECT 1") == 1
            await server.close()
        if os.geteuid() == 0:
            assert server.programs.directory.is_relative_to(copies)
            assert len(list(copies.iterdir())) == 1
        else:
            assert server.programs.directory.is_relative_to(tmp_path)


async def test_a_data_directory_of_another_major_version_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "PG_VERSION").write_text("9\n")
    with pytest.raises(OtherMajor, match=r"PostgreSQL 9, and there is only .*install PostgreSQL 9") as refused:
        await EmbeddedServer(tmp_path).start()
    assert "\n" not in refused.value.message


async def test_a_data_directory_is_opened_by_its_own_major_version_when_that_is_on_the_machine(
    tmp_path: Path, stack: AsyncExitStack
) -> None:
    made = EmbeddedServer(tmp_path, choice="system")
    await made.start()
    await made.close()
    assert binaries.find()[0].source == "wheel"
    server = await started(stack, EmbeddedServer(tmp_path))
    assert server.programs.major == made.programs.major
    assert server.programs.major != binaries.find()[0].major


async def test_it_is_started_again_when_it_is_killed(tmp_path: Path, stack: AsyncExitStack) -> None:
    server = await started(stack, EmbeddedServer(tmp_path))
    await value(server, "CREATE TABLE kept (a int)")
    for count in range(3):
        await value(server, f"INSERT INTO kept VALUES ({count})")
        pid = server.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        assert gone(pid)
        assert await value(server, "SELECT count(*) FROM kept") == count + 1


async def test_its_log_has_nothing_of_what_was_to_be_written(tmp_path: Path, stack: AsyncExitStack) -> None:
    """A repeated send is an error of PostgreSQL's: with its statement each was 3 KB, and with the details of a row that
    cannot be, the row itself."""
    server = await started(stack, EmbeddedServer(tmp_path))
    await value(server, "CREATE TABLE texts (body text UNIQUE CHECK (body <> 'a text that may not be'))")
    await value(server, "INSERT INTO texts VALUES ('a text of somebody')")
    connection = await asyncpg.connect(server.dsn)
    for text in ("a text of somebody", "a text that may not be"):
        with pytest.raises(asyncpg.PostgresError, match="violates"):
            await connection.execute("INSERT INTO texts VALUES ($1)", text)
    await connection.close()
    said = (tmp_path / "postgresql.log").read_text("utf-8")
    assert said.count("ERROR: ") == 2
    assert "a text" not in said
    assert "INSERT" not in said


async def test_its_log_stays_small_while_it_runs(
    tmp_path: Path, stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("landline.store.embedded.server.LOG_LOOK_S", 0.01)
    monkeypatch.setattr("landline.store.embedded.server.LOG_LIMIT_BYTES", 20_000)
    log, before = tmp_path / "postgresql.log", tmp_path / "postgresql.log.old"
    server = await started(stack, EmbeddedServer(tmp_path))
    connection = await asyncpg.connect(server.dsn)
    async with asyncio.timeout(PATIENCE_S):
        while not before.exists() or log.stat().st_size > 20_000:
            with pytest.raises(asyncpg.PostgresError, match="division"):
                await connection.execute("SELECT 1 / 0")
        with pytest.raises(asyncpg.PostgresError, match="the_last"):
            await connection.execute("SELECT * FROM the_last")
    await connection.close()
    assert before.stat().st_size > 20_000
    assert log.read_bytes().count(b"\0") == 0  # it goes on at the beginning, not where it was
    assert "the_last" in log.read_text("utf-8")


async def test_it_ends_with_us_when_we_are_killed_and_the_next_start_works(
    tmp_path: Path, supervisor: "subprocess.Popen[str]", stack: AsyncExitStack
) -> None:
    assert supervisor.stdout is not None
    postmaster = int(supervisor.stdout.readline())
    left_behind = Path((tmp_path / "socket").read_text())
    supervisor.kill()
    supervisor.wait()
    server = await started(stack, EmbeddedServer(tmp_path))
    assert await value(server, "SELECT 1") == 1
    assert gone(postmaster)
    assert not left_behind.exists()


async def test_we_and_it_killed_together_leave_nothing_that_hinders_the_next_start(
    tmp_path: Path, supervisor: "subprocess.Popen[str]", stack: AsyncExitStack
) -> None:
    assert supervisor.stdout is not None
    postmaster = int(supervisor.stdout.readline())
    os.kill(postmaster, signal.SIGKILL)
    supervisor.kill()
    supervisor.wait()
    server = await started(stack, EmbeddedServer(tmp_path))
    assert await value(server, "SELECT 1") == 1


async def test_a_kill_while_the_database_is_made_is_survived(tmp_path: Path, stack: AsyncExitStack) -> None:
    process = subprocess.Popen([sys.executable, "-c", SUPERVISOR, tmp_path], stdout=subprocess.PIPE)
    deadline = time.monotonic() + PATIENCE_S
    while not list(tmp_path.glob("data.making-*/*")):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.001)
    process.kill()
    process.communicate()
    assert not (tmp_path / "data").exists()
    server = await started(stack, EmbeddedServer(tmp_path))
    assert await value(server, "SELECT 1") == 1
    assert not list(tmp_path.glob("data.making-*"))


async def test_who_is_told_to_end_while_the_database_is_made_waits_for_that(tmp_path: Path) -> None:
    starting = asyncio.create_task(EmbeddedServer(tmp_path).start())
    while not list(tmp_path.glob("data.making-*/*")):
        assert not starting.done()
        await asyncio.sleep(0.001)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not list(tmp_path.glob("data.making-*"))
    assert not (tmp_path / "socket").exists()


def test_a_user_without_a_name_is_told_what_to_do(tmp_path: Path) -> None:
    """As in a container that is given any number for a user."""
    program = [sys.executable, "-c", SUPERVISOR, tmp_path]
    command = ["unshare", "--user", "--map-user=54321", "--map-group=54321", *program]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert "PostgreSQL makes no database as user 54321, which has no name here" in ended.stderr.splitlines()[-1]


async def test_what_is_made_beside_the_database_is_on_the_disk_before_the_first_use(
    tmp_path: Path, stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that loses its power soon after the first start left a database whose password was an empty file."""
    synced: set[int] = set()
    fsync = os.fsync

    def noted(file: int) -> None:
        fsync(file)
        synced.add(os.fstat(file).st_ino)

    monkeypatch.setattr(os, "fsync", noted)
    await started(stack, EmbeddedServer(tmp_path))
    for path in (tmp_path, tmp_path / "password", tmp_path / "data" / "pg_hba.conf"):
        assert path.stat().st_ino in synced, path.name


@pytest.mark.parametrize("pages", [0, 1])
def test_a_start_on_a_full_disk_says_that_it_is_full(tmp_path: Path, pages: int) -> None:
    """PostgreSQL cannot: its log is on that disk."""
    program = [sys.executable, "-c", FULL, tmp_path, str(pages)]
    mounted = 'mount -t tmpfs -o size=120m,mode=755 none "$0" && exec "$@"'
    as_others = ["--user", "--map-current-user", "--keep-caps"] if os.geteuid() else []
    command = ["unshare", *as_others, "--mount", "sh", "-c", mounted, tmp_path, *program]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert ended.returncode == 0, ended.stderr
    (said,) = ended.stdout.splitlines()
    assert "No space left on device" in said


@pytest.mark.parametrize("owner", ["zombie", "stranger"])
async def test_a_dead_owner_whose_process_id_is_still_there_counts_as_dead(
    owner: str, tmp_path: Path, stack: AsyncExitStack
) -> None:
    server = EmbeddedServer(tmp_path)
    await server.start()
    kept = (tmp_path / "data" / "postmaster.pid").read_text().split("\n")
    await server.close()
    child = subprocess.Popen(["/bin/true"] if owner == "zombie" else ["/bin/cat"], stdin=subprocess.PIPE)
    stack.callback(child.communicate)
    if owner == "zombie":
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    note = tmp_path / "data" / "postmaster.pid"
    note.write_text("\n".join([str(child.pid), *kept[1:]]))
    shutil.chown(note, *_owner(tmp_path / "data"))
    note.chmod(0o600)
    await started(stack, server)
    assert await value(server, "SELECT 1") == 1


def _owner(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_uid, stat.st_gid


async def test_a_second_start_on_the_same_directory_is_refused_and_names_the_first(
    tmp_path: Path, stack: AsyncExitStack
) -> None:
    server = await started(stack, EmbeddedServer(tmp_path))
    with pytest.raises(DirectoryTaken, match=f"in use by process {os.getpid()}"):
        await EmbeddedServer(tmp_path).start()
    assert await value(server, "SELECT 1") == 1


async def test_a_copy_of_a_running_servers_directory_leaves_that_server_alone(
    tmp_path: Path, stack: AsyncExitStack
) -> None:
    """Its process id and its socket are named in the copy too, and the process is a PostgreSQL."""
    server = await started(stack, EmbeddedServer(tmp_path / "first"))
    pid = server.pid
    subprocess.run(["cp", "-a", tmp_path / "first", tmp_path / "copy"], check=True)
    copy = await started(stack, EmbeddedServer(tmp_path / "copy"))
    assert await value(copy, "SELECT 1") == 1
    assert await value(server, "SELECT 1") == 1
    assert server.pid == pid
    await copy.close()
    assert await value(server, "SELECT 1") == 1


async def test_closing_leaves_no_process_and_no_socket(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path)
    await server.start()
    pid = server.pid
    socket = Path((tmp_path / "socket").read_text())
    assert pid is not None
    assert socket.is_dir()
    await server.close()
    assert gone(pid, 0)
    assert not socket.exists()


async def test_socket_directories_that_nobody_can_use_any_more_are_swept_away(
    tmp_path: Path, stack: AsyncExitStack
) -> None:
    first = EmbeddedServer(tmp_path / "first")
    await first.start()
    place = Path((tmp_path / "first" / "socket").read_text())
    owner = _owner(place)
    await first.close()
    for name, content in (("left", None), ("used", ".s.PGSQL.5432")):
        path = place.with_name(f"{place.name}{name}")
        path.mkdir()
        stack.callback(shutil.rmtree, path, ignore_errors=True)
        if content:
            (path / content).touch()
        os.chown(path, *owner)
        os.utime(path, (0, 0))
    await started(stack, EmbeddedServer(tmp_path / "second"))
    assert not place.with_name(f"{place.name}left").exists()
    assert place.with_name(f"{place.name}used").exists()
