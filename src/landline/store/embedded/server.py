"""The embedded PostgreSQL server: started quickly, started again when it dies, gone when we are."""

import asyncio
import errno
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import structlog

from landline.store.embedded import account, binaries, cluster, sockets
from landline.store.embedded.errors import CannotRun
from landline.store.embedded.lock import DirectoryLock
from landline.store.watched import watched

log = structlog.get_logger()

START_TIMEOUT_S = 120.0
"""Recovery after a crash counts into a start; `max_wal_size` bounds it to some seconds on any disk."""
RETRY_S = 30.0
"""How long backends of a killed server may keep its shared memory from the next one."""
STOP_S = 3.0
_LONGEST_BACKOFF_S = 5.0
LOG_LIMIT_BYTES = 10_000_000
LOG_LOOK_S = 10.0
_FULL_BYTES = 65_536
_PASSING = ("pre-existing shared memory block", "lock file")

SETTINGS: dict[str, str] = {
    "listen_addresses": "",
    "port": "5432",  # part of the socket's name only
    "synchronous_commit": "on",
    "fsync": "on",
    "full_page_writes": "on",
    "max_wal_size": "512MB",
    "wal_compression": "on",
    "shared_buffers": "256MB",  # what it has not touched takes no memory
    "max_connections": "100",
    "jit": "off",
    "logging_collector": "off",
    "log_timezone": "UTC",
    # What is refused is told, not the row it was about, nor the statement: a repeated send would be 3 KB of it.
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
    "timezone": "UTC",
    "max_logical_replication_workers": "0",
}


class EmbeddedServer:
    """One PostgreSQL server on `directory`, which no two processes use at once.

    `start` and `close` belong to one event loop, whose thread the server's life is tied to.
    """

    def __init__(
        self,
        directory: Path,
        *,
        choice: str = "auto",
        settings: Mapping[str, str] | None = None,
        copies: Path = binaries.COPIES,
    ) -> None:
        """`choice` as in `binaries.find`; `settings` go over those above; `copies` as in `binaries.reachable`."""
        self._directory = directory.absolute()
        self._data = self._directory / "data"
        self._log = self._directory / "postgresql.log"
        self._note = self._directory / "socket"
        self._choice = choice
        self._settings = {**SETTINGS, **(settings or {})}
        self._copies = copies
        self._lock: DirectoryLock | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._watching: asyncio.Task[None] | None = None

    @property
    def dsn(self) -> str:
        """How to connect, password included: for `start`'s caller, never for a log."""
        password = (self._directory / "password").read_text("ascii")
        socket = quote(self._note.read_text("utf-8"), safe="")
        return f"postgresql://{cluster.USER}:{password}@/{cluster.DATABASE}?host={socket}"

    @property
    def pid(self) -> int | None:
        """The postmaster's process id; another one after a restart."""
        return self._process.pid if self._process is not None else None

    @property
    def programs(self) -> binaries.Binaries:
        """The PostgreSQL in use, once started."""
        return self._programs

    async def start(self) -> str:
        """Start, making the database first if there is none; returns the DSN once it answers.

        Raises `CannotRun`, `OtherMajor`, `DirectoryTaken`: one line each. Nothing is left running then.
        """
        self._lock = DirectoryLock(self._directory)
        try:
            await _to_its_end(self._prepare)
            self._process, exited = await self._launch()
        except BaseException:
            await self.close()
            raise
        self._watching = watched(self._watch(exited), "postgres")
        return self.dsn

    async def close(self) -> None:
        """Stop the server: sessions are ended and what they did is written out, within about `STOP_S`."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])
            self._watching = None
        if self._process is not None:
            await asyncio.to_thread(_stop, self._process)
            self._process = None
        if self._lock is not None:
            sockets.clear(self._note)
            self._lock.release()
            self._lock = None

    def abandon(self) -> None:
        """Have the server end by itself, at once and without writing anything out; the next start recovers."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            sockets.remove(self._note)

    def _prepare(self) -> None:
        """What blocks before the first launch: find the programs, make the database, have a place for the socket."""
        found = binaries.find(self._choice)
        self._account = account.choose(self._data)
        chosen = cluster.matching(self._data, found)
        self._programs = binaries.reachable(chosen, self._account, copies=self._copies)
        if cluster.major_of(self._data) is None:
            cluster.initialise(self._data, self._directory / "password", self._programs, self._account)
        cluster.clear_dead_owner(self._data, self._account)  # whose socket is removed next
        sockets.make(self._account, self._note)
        self._shorten_log()

    def _shorten_log(self) -> None:
        """What it says beyond the limit is kept once. The file stays: it is open, and written at its end."""
        with suppress(OSError):
            if not self._log.exists() or self._log.stat().st_size <= LOG_LIMIT_BYTES:
                return
            with suppress(OSError):  # a full disk is one reason more
                shutil.copyfile(self._log, self._log.with_suffix(".log.old"))
            os.truncate(self._log, 0)

    async def _launch(self) -> "tuple[subprocess.Popen[bytes], asyncio.Future[int]]":
        """A server that answers, and the future of its exit status. Raises `CannotRun`."""
        deadline = time.monotonic() + RETRY_S
        while True:
            await asyncio.to_thread(cluster.clear_dead_owner, self._data, self._account)
            said_before = self._log.stat().st_size if self._log.exists() else 0
            self._process = self._spawn()
            exited = _exit_of(self._process)
            if await self._answers(self._process, exited):
                return self._process, exited
            reason = _fatal(self._log, said_before)
            if not any(passing in reason for passing in _PASSING) or time.monotonic() > deadline:
                raise CannotRun(f"PostgreSQL did not start: {reason} (its log is {self._log})")
            await asyncio.sleep(0.05)

    def _spawn(self) -> "subprocess.Popen[bytes]":
        settings = {**self._settings, "unix_socket_directories": self._note.read_text("utf-8")}
        if self._programs.major >= 18:
            settings.setdefault("io_method", "sync")  # three processes less; what we read is in memory
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with self._log.open("ab") as out, cluster.handed_over(self._data, self._account) as (name, fds):
            return self._account.popen(
                [self._programs.directory / "postgres", "-D", name, *options],
                dies_with_us=signal.SIGINT,  # a fast, clean stop: no recovery at the next start
                output=out,
                fds=fds,
            )

    async def _answers(self, process: "subprocess.Popen[bytes]", exited: "asyncio.Future[int]") -> bool:
        """Whether it came to answer; else it has exited."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while not exited.done():
            if cluster.answers(self._data, process.pid):
                return True
            if time.monotonic() > deadline:
                raise CannotRun(f"PostgreSQL did not answer within {START_TIMEOUT_S:.0f} s (its log is {self._log})")
            await asyncio.wait([exited], timeout=0.01)
        return False

    async def _watch(self, exited: "asyncio.Future[int]") -> None:
        """Start it again whenever it ends, at once at first, then ever more slowly while that fails."""
        pause_s = 0.1
        while True:
            while not (await asyncio.wait([exited], timeout=LOG_LOOK_S))[0]:
                await asyncio.to_thread(self._shorten_log)
            log.error("postgres.exited", status=await exited)
            while exited.done():
                try:
                    _, exited = await self._launch()
                    log.info("postgres.restarted", pid=self.pid)
                    pause_s = 0.1
                except (CannotRun, OSError) as error:
                    log.error("postgres.restart_failed", reason=str(error))
                    await asyncio.sleep(pause_s)
                    pause_s = min(pause_s * 2, _LONGEST_BACKOFF_S)


async def _to_its_end(work: Callable[[], None]) -> None:
    """Run `work` in a thread. Who is cancelled meanwhile waits for it: its directory is to be locked that long."""
    working = asyncio.create_task(asyncio.to_thread(work))
    try:
        await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.gather(working, return_exceptions=True)
        raise


def _exit_of(process: "subprocess.Popen[bytes]") -> "asyncio.Future[int]":
    loop = asyncio.get_running_loop()
    exited: asyncio.Future[int] = loop.create_future()

    def report(status: int) -> None:
        if not exited.done():
            exited.set_result(status)

    def wait() -> None:
        status = process.wait()
        with suppress(RuntimeError):  # the loop is closed: nobody waits for it any more
            loop.call_soon_threadsafe(report, status)

    threading.Thread(target=wait, name="postgres-exit", daemon=True).start()
    return exited


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """Fast shutdown, then immediate, then none at all (PostgreSQL: Shutting Down the Server)."""
    for told, patience_s in ((signal.SIGINT, STOP_S), (signal.SIGQUIT, 1.0), (signal.SIGKILL, 5.0)):
        process.send_signal(told)
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            continue
        return


def _fatal(log_file: Path, said_before: int) -> str:
    """The last line by which PostgreSQL says why it ended."""
    with log_file.open("rb") as said:
        said.seek(said_before)
        lines = said.read().decode("utf-8", "replace").splitlines()
    for line in reversed(lines):
        _, found, reason = line.partition("FATAL:")
        if found:
            return reason.strip()
    if lines:
        return lines[-1]
    disk = os.statvfs(log_file.parent)  # for who is not root, as PostgreSQL
    return os.strerror(errno.ENOSPC) if disk.f_bavail * disk.f_frsize < _FULL_BYTES else "it said nothing"
