"""The process that runs it all: PostgreSQL, the application, its sockets; and takes them down in the reverse order.

With one worker the application is in this very process; with several each is a child (`workers`), and this one has the
directory's lock, PostgreSQL and the listening sockets. Everything started pushes its own end on one stack, so that a
signal, a failure half-way and a plain end are one path.
"""

import asyncio
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import structlog
from msgspec.structs import replace

from landline.app import ready, workers
from landline.app.application import Build, DevInfo, Place
from landline.app.config import Config
from landline.app.failures import Failures, until_one_ends
from landline.app.ready import Ready
from landline.app.secrets import admin_token, kept, prove, sealing_secret
from landline.app.served_certificates import Served
from landline.app.serving import Serving, Sockets
from landline.app.workers import Workers
from landline.edge.server import CannotListen, bind
from landline.store.embedded import EmbeddedServer
from landline.store.embedded.lock import DirectoryLock

log = structlog.get_logger()

ADMIN_PORT_OFFSET = 1000
_OTHER_CONNECTIONS = 10
"""For `psql`, backups, and what PostgreSQL keeps for itself."""
_INTERRUPTED = 130  # a shell's status for Ctrl-C

Announce = Callable[[Ready, float], None]
"""Tell the user where it serves, and how many seconds that took."""


class Supervisor:
    """One run of a server, in the main thread, from a settled configuration to the end of it."""

    def __init__(self, config: Config, build: Build, announce: Announce) -> None:
        self._config = config
        self._build = build
        self._announce = announce
        self._postgres: EmbeddedServer | None = None
        self._served: Served | None = None
        self._workers: Workers | None = None
        self._files: list[Path] = []
        self._told_to_stop = False

    async def run(self) -> None:
        """Serve until a signal. Raises `Refusal` or `Unavailable` when it cannot, everything taken down again."""
        serving = asyncio.create_task(self._serve())
        loop = asyncio.get_running_loop()
        for told in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(told, self._stop, serving)
        if self._config.mode != "dev" or signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup has it
            loop.add_signal_handler(signal.SIGHUP, self._hang_up, serving)
        try:
            await serving
        except asyncio.CancelledError:
            if not self._told_to_stop:
                raise
            log.info("server.stopped")

    def _stop(self, serving: "asyncio.Task[None]") -> None:
        """The first signal drains, the second ends at once."""
        if self._told_to_stop:
            for file in self._files:
                file.unlink(missing_ok=True)
            if self._workers is not None:
                self._workers.kill()
            if self._postgres is not None:
                self._postgres.abandon()
            os._exit(_INTERRUPTED)
        self._told_to_stop = True
        serving.cancel()

    def _hang_up(self, serving: "asyncio.Task[None]") -> None:
        """The terminal is gone (`dev`), or there are new certificates (`serve`)."""
        if self._config.mode == "dev":
            self._stop(serving)
            return
        if self._workers is not None:
            self._workers.hang_up()
        elif self._served is not None:
            self._served.load()

    async def _serve(self) -> None:
        workers.check(self._config)
        if self._config.ready_file is not None:
            ready.prepare(self._config.ready_file)
        async with AsyncExitStack() as stack:
            config = self._config
            if config.mode != "worker":  # any number of these are one machine's, and they keep nothing
                stack.callback(DirectoryLock(config.data).release)
            sockets = _sockets(config)
            for each in sockets.all():
                stack.callback(each.close)
            dsn, bundle = await self._database_and_tls(stack)
            settled = _settled(config, sockets)
            if config.workers == 1:
                serving = Serving(stack, settled, self._build, Place(alone=config.dsn is None))
                application = await serving.start(dsn, sockets, self._served)
                self._tell(stack, settled, application.dev_info(), bundle)
                await serving.wait()
            else:
                await self._serve_by_workers(stack, settled, dsn, sockets, bundle)

    async def _serve_by_workers(
        self, stack: AsyncExitStack, settled: Config, dsn: str, sockets: Sockets, bundle: Path | None
    ) -> None:
        from landline.app import bus, relay, takeover  # which bring engines along

        failures = Failures()
        await takeover.prepare(self._config, dsn)
        settled = await bus.settled(relay.settled(settled), stack)
        self._workers = Workers(settled, dsn, sockets)
        stack.push_async_callback(self._workers.close)
        self._tell(stack, settled, await self._workers.start(), bundle)
        await until_one_ends(asyncio.create_task(self._workers.wait()), asyncio.create_task(failures.wait()))

    async def _database_and_tls(self, stack: AsyncExitStack) -> tuple[str, Path | None]:
        """The DSN, and in `dev` the bundle that clients trust; both are made at the same time."""
        config = self._config
        if config.mode == "worker":
            assert config.dsn is not None, "checked before"
            return config.dsn, None
        making = asyncio.create_task(asyncio.to_thread(Served, config))
        try:
            dsn = config.dsn or await self._start_postgres(stack)
        finally:
            await asyncio.gather(making, return_exceptions=True)  # of two failures, as of a full disk, one is enough
        self._served = making.result()
        return dsn, self._served.bundle

    async def _start_postgres(self, stack: AsyncExitStack) -> str:
        config = self._config
        connections = config.workers * (config.database_connections + 1) + _OTHER_CONNECTIONS
        self._postgres = EmbeddedServer(
            config.data / "postgresql",
            choice=config.postgres_binaries,
            settings={"max_connections": str(max(connections, 100)), **config.postgres_settings},
        )
        dsn = await self._postgres.start()
        stack.push_async_callback(self._postgres.close)
        return dsn

    def _tell(self, stack: AsyncExitStack, config: Config, info: DevInfo | None, bundle: Path | None) -> None:
        told = _ready(config, info, bundle)
        self._files = [config.data / ready.IN_DATA] if config.mode != "worker" else []
        self._files += [config.ready_file] if config.ready_file else []
        for file in self._files:
            stack.callback(file.unlink, missing_ok=True)
        self._announce(told, seconds_of_life())  # before the files: whoever waits for them has been told all
        ready.write(told, *self._files)
        if config.mode == "serve":
            prove(self._config)
        shown = ("url", "admin_url", "smpp_address", "smpp_tls_address")
        log.info("server.ready", **{name: where for name in shown if (where := getattr(told, name))})


def seconds_of_life() -> float:
    """Since this process was started, its interpreter's and imports' time included (Linux; elsewhere since Python
    began to count this process's time)."""
    with suppress(OSError, ValueError, IndexError):
        with open("/proc/self/stat", "rb") as stat:
            started_ticks = int(stat.read().rpartition(b")")[2].split()[19])  # proc(5): field 22
        return time.clock_gettime(time.CLOCK_BOOTTIME) - started_ticks / os.sysconf("SC_CLK_TCK")
    return time.process_time()


def _sockets(config: Config) -> Sockets:
    """Everything that `config` listens on; what is bound when one cannot be is closed with the process."""
    if config.mode == "worker":
        return Sockets(admin=[] if config.admin_port is None else bind(config.admin_host, config.admin_port))
    public = bind(config.host, config.port)
    admin = _bind_admin(config, public[0].getsockname()[1])
    plain = bind("localhost", config.plain_http_port) if config.plain_http_port is not None else []
    customers, customers_tls = (
        [] if port is None else bind(config.smpp_listen_host, port)
        for port in (config.smpp_listen_port, config.smpp_listen_tls_port)
    )
    return Sockets(public, plain, admin, customers, customers_tls)


def _bind_admin(config: Config, public_port: int) -> list[socket.socket]:
    if config.admin_port is not None:
        return bind(config.admin_host, config.admin_port)
    beside = public_port + ADMIN_PORT_OFFSET
    try:
        return bind(config.admin_host, beside if beside <= 65535 else 0)
    except CannotListen:
        if config.mode == "serve":
            raise
        return bind(config.admin_host, 0)


def _settled(config: Config, sockets: Sockets) -> Config:
    """The configuration with what was left open: the ports there are, and secrets of our own where none were given."""
    token, secret = admin_token(config), sealing_secret(config)
    if config.mode == "worker":  # which keeps nothing; without a token of the operator's nobody is let in
        token = token or secrets.token_urlsafe(32)
    return replace(
        config,
        smpp_listen_port=_port(sockets.customers),
        smpp_listen_tls_port=_port(sockets.customers_tls),
        port=sockets.public[0].getsockname()[1] if sockets.public else config.port,
        admin_port=_port(sockets.admin),
        admin_token=token or kept(config.data / "admin-token"),
        sealing_secret=secret or kept(config.data / "sealing-secret"),
        sealing_secret_file=None,
    )


def _port(listening: list[socket.socket]) -> int | None:
    return listening[0].getsockname()[1] if listening else None


def _ready(config: Config, info: DevInfo | None, bundle: Path | None) -> Ready:
    assert config.admin_token is not None
    return Ready(
        url=f"https://{config.authority()}" if config.mode != "worker" else "",
        admin_url=f"http://{admin}" if (admin := _address(config.admin_host, config.admin_port)) else "",
        admin_token=config.admin_token,
        connection_string=info.connection_string if info else None,
        phone_number=info.phone_number if info else None,
        ca_bundle=str(bundle) if bundle else None,
        smpp_address=_address(config.smpp_listen_host, config.smpp_listen_port),
        smpp_tls_address=_address(config.smpp_listen_host, config.smpp_listen_tls_port),
        directory=ready.identity(config.data),
    )


def _address(host: str, port: int | None) -> str | None:
    """Where who is on this machine reaches what listens there; None when nothing does."""
    if port is None:
        return None
    host = "127.0.0.1" if host in ("", "0.0.0.0", "::", "localhost") else host  # noqa: S104
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def run(config: Config, build: Build, announce: Announce) -> None:
    """`Supervisor.run` in an event loop of its own."""
    import uvloop  # not before it is needed: commands that only ask a server do without

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(Supervisor(config, build, announce).run())
    sys.stdout.flush()
