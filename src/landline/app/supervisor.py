"""One process that runs it all: PostgreSQL, the application, its sockets; and takes them down in the reverse order.

Everything started pushes its own end on one stack, so that a signal, a failure half-way and a plain end are one path.
"""

import asyncio
import os
import signal
import socket
import ssl
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import structlog
from msgspec.structs import replace

from landline.app import certificates, ready
from landline.app.application import Application, Build
from landline.app.config import Config, sealing_secret
from landline.app.ready import Ready
from landline.app.secrets import kept
from landline.edge.server import DRAIN_S, CannotListen, Listener, bind, listen, tls_context
from landline.engines.clock import DrivenClock, SystemClock
from landline.store.embedded import EmbeddedServer
from landline.store.embedded.lock import DirectoryLock

log = structlog.get_logger()

ADMIN_PORT_OFFSET = 1000
APPLICATION_CLOSE_S = 1.0
"""With the drain of the listeners and PostgreSQL's fast stop this makes the 5 s within which everything is down."""
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
        self._tls: ssl.SSLContext | None = None
        self._files: list[Path] = []
        self._told_to_stop = False

    async def run(self) -> None:
        """Serve until a signal. Raises `Refusal` or `Unavailable` when it cannot, everything taken down again."""
        serving = asyncio.create_task(self._serve())
        loop = asyncio.get_running_loop()
        for told in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(told, self._stop, serving)
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
        certificate, key = self._config.certificate, self._config.certificate_key
        if self._tls is not None and certificate is not None and key is not None:
            try:
                tls_context(certificate, key)  # a pair that does not work is not loaded over one that does
                self._tls.load_cert_chain(certificate, key)
                log.info("certificate.loaded", ends=certificates.ends(certificate).isoformat())
            except (CannotListen, OSError, ValueError) as error:
                log.error("certificate.not_loaded", reason=str(error))

    async def _serve(self) -> None:
        async with AsyncExitStack() as stack:
            config = self._config
            stack.callback(DirectoryLock(config.data).release)
            public = bind(config.host, config.port)
            _close_after(stack, public)
            admin = _bind_admin(config, public[0].getsockname()[1])
            _close_after(stack, admin)
            plain = bind("localhost", config.plain_http_port) if config.plain_http_port is not None else []
            _close_after(stack, plain)
            dsn, bundle = await self._database_and_tls(stack)
            settled = _settled(config, public, admin)
            application = await self._build(settled, dsn, DrivenClock() if config.driven_clock else SystemClock())
            stack.push_async_callback(_within, APPLICATION_CLOSE_S, application.close)
            await application.start()
            listeners = [
                await listen(application.public_app, public, self._tls),
                await listen(application.admin_app, admin),
                *([await listen(application.public_app, plain)] if plain else ()),
            ]
            stack.push_async_callback(_close_all, listeners)
            self._tell(stack, settled, application, bundle)
            await _first_to_end(application, listeners)

    async def _database_and_tls(self, stack: AsyncExitStack) -> tuple[str, Path | None]:
        """The DSN, and in `dev` the bundle that clients trust; both are made at the same time."""
        config = self._config
        making = asyncio.create_task(asyncio.to_thread(certificates.of, config))
        try:
            dsn = config.dsn or await self._start_postgres(stack)
        finally:
            await asyncio.wait([making])
        self._tls, bundle = making.result()
        return dsn, bundle

    async def _start_postgres(self, stack: AsyncExitStack) -> str:
        self._postgres = EmbeddedServer(
            self._config.data / "postgresql",
            choice=self._config.postgres_binaries,
            settings=self._config.postgres_settings,
        )
        dsn = await self._postgres.start()
        stack.push_async_callback(self._postgres.close)
        return dsn

    def _tell(self, stack: AsyncExitStack, config: Config, application: Application, bundle: Path | None) -> None:
        told = _ready(config, application, bundle)
        self._files = [config.data / ready.IN_DATA, *([config.ready_file] if config.ready_file else [])]
        for file in self._files:
            stack.callback(file.unlink, missing_ok=True)
        self._announce(told, seconds_of_life())  # before the files: whoever waits for them has been told all
        ready.write(told, *self._files)
        log.info("server.ready", url=told.url, admin_url=told.admin_url)


def seconds_of_life() -> float:
    """Since this process was started, its interpreter's and imports' time included (Linux; elsewhere since Python
    began to count this process's time)."""
    with suppress(OSError, ValueError, IndexError):
        with open("/proc/self/stat", "rb") as stat:
            started_ticks = int(stat.read().rpartition(b")")[2].split()[19])  # proc(5): field 22
        return time.clock_gettime(time.CLOCK_BOOTTIME) - started_ticks / os.sysconf("SC_CLK_TCK")
    return time.process_time()


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


def _settled(config: Config, public: list[socket.socket], admin: list[socket.socket]) -> Config:
    """The configuration with what was left open: the ports there are, and secrets of our own where none were given."""
    return replace(
        config,
        port=public[0].getsockname()[1],
        admin_port=admin[0].getsockname()[1],
        admin_token=config.admin_token or kept(config.data / "admin-token"),
        sealing_secret=sealing_secret(config) or kept(config.data / "sealing-secret"),
        sealing_secret_file=None,
    )


def _ready(config: Config, application: Application, bundle: Path | None) -> Ready:
    info = application.dev_info()
    assert config.admin_token is not None
    admin_host = "127.0.0.1" if config.admin_host in ("", "0.0.0.0", "::", "localhost") else config.admin_host  # noqa: S104
    port = "" if config.clients_port == 443 else f":{config.clients_port}"
    return Ready(
        url=f"https://{config.domain}{port}",
        admin_url=f"http://{f'[{admin_host}]' if ':' in admin_host else admin_host}:{config.admin_port}",
        admin_token=config.admin_token,
        connection_string=info.connection_string if info else None,
        phone_number=info.phone_number if info else None,
        portal_url=info.portal_url if info else None,
        ca_bundle=str(bundle) if bundle else None,
    )


def _close_after(stack: AsyncExitStack, sockets: list[socket.socket]) -> None:
    for each in sockets:
        stack.callback(each.close)


async def _close_all(listeners: list[Listener]) -> None:
    await asyncio.gather(*(_within(DRAIN_S + 0.5, listener.close) for listener in listeners))


async def _within(seconds: float, close: Callable[[], Coroutine[Any, Any, None] | Awaitable[None]]) -> None:
    """Close a part, but not for ever: what comes after it must be closed too. Its failure is logged, for the same."""
    try:
        async with asyncio.timeout(seconds):
            await close()
    except Exception as error:
        log.error("server.close_failed", part=str(getattr(close, "__qualname__", close)), error=repr(error))


async def _first_to_end(application: Application, listeners: list[Listener]) -> None:
    """Until a worker or a listener fails, which is raised: they do not end otherwise before they are closed."""
    waiting = [asyncio.create_task(application.failed())]
    waiting += [asyncio.create_task(listener.wait()) for listener in listeners]
    try:
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in waiting:
            task.cancel()


def run(config: Config, build: Build, announce: Announce) -> None:
    """`Supervisor.run` in an event loop of its own."""
    import uvloop  # not before it is needed: commands that only ask a server do without

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(Supervisor(config, build, announce).run())
    sys.stdout.flush()
