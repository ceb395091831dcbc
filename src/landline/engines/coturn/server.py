"""coturn as a child process: started, started again when it dies, gone when we are. Fills the port `Relay`."""

import asyncio
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from random import Random

import structlog

from landline.core.errors import Refusal, Unavailable
from landline.engines.children import followed, stop
from landline.engines.coturn import probe
from landline.engines.coturn.settings import Settings, configuration
from landline.store.embedded.account import Account
from landline.store.watched import watched

log = structlog.get_logger()

START_TIMEOUT_S = 60.0
STOP_S = 0.5
"""It ends within milliseconds, and there is nothing it could lose."""
_LONGEST_BACKOFF_S = 5.0
_PORTS = range(20_000, 32_000)
"""Below the ports that systems give to outgoing connections: before it is bound, and while it restarts, none of these
may take its port."""
_USERS = ("turnserver", "nobody")
_TAIL = 40


class CannotRun(Refusal):
    """coturn is not there, or does not start as configured. The message says what to do, in one line."""

    code = "CannotRunRelay"


class Coturn:
    """One coturn. `start` and `close` belong to one event loop, whose thread the process's life is tied to."""

    def __init__(self, settings: Settings, directory: Path, *, host: str, program: str = "turnserver") -> None:
        """`host` is the name or address that clients reach it by; `directory` holds its configuration."""
        self._settings = settings
        self.port = settings.port
        self.directory = directory
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None
        self._said: deque[str] = deque(maxlen=_TAIL)
        self._watching: asyncio.Task[None] | None = None
        self._well = False
        place = f"[{host}]:{self._settings.port}" if ":" in host else f"{host}:{self._settings.port}"
        self.urls = (f"stun:{place}", f"turn:{place}?transport=udp", f"turn:{place}?transport=tcp")
        self.secret = settings.secrets[0].encode()

    @property
    def pid(self) -> int | None:
        """The process id; another one after a restart."""
        return self._process.pid if self._process is not None else None

    async def start(self) -> None:
        """See `ports.relay`. Raises `CannotRun`; nothing is left running then."""
        found = shutil.which(self._program)
        if found is None:
            raise CannotRun(f"there is no {self._program} here: install coturn (apt-get install coturn)")
        self._program = found
        self._check_port()  # whoever has it would answer our probe
        try:
            exited = await self._launch()
        except BaseException:
            await self.close()
            raise
        self._watching = watched(self._watch(exited), "coturn")

    async def check(self) -> None:
        """See `ports.relay`."""
        if not self._well:
            raise Unavailable("coturn does not run")

    async def close(self) -> None:
        """See `ports.relay`; within about `STOP_S`."""
        self._well = False
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])
            self._watching = None
        if self._process is not None:
            await asyncio.to_thread(stop, self._process, STOP_S)
            self._process = None

    async def _launch(self) -> "asyncio.Future[int]":
        """A coturn that answers, and the future of its exit status. Raises `CannotRun`, its process ended."""
        self._said.clear()
        self._process = self._spawn()
        # Its log names users and addresses, so it goes nowhere else.
        exited = followed(self._process, self._said, "coturn")
        answering = asyncio.create_task(probe.answers(self._probed(), self._settings.port, START_TIMEOUT_S))
        try:
            await asyncio.wait([answering, exited], return_when=asyncio.FIRST_COMPLETED)
            if exited.done() or not answering.result():
                await asyncio.to_thread(stop, self._process, STOP_S)
                raise CannotRun(f"coturn did not start: {self._reason()}")
        finally:
            answering.cancel()
        self._well = True
        return exited

    def _check_port(self) -> None:
        port = self._settings.port
        try:
            _bound(self._settings.listen or ("0.0.0.0",), port)  # noqa: S104 - asked, not served
        except OSError as error:
            raise CannotRun(f"coturn cannot listen on port {port}: {error.strerror}: set relay_port") from None

    def _spawn(self) -> "subprocess.Popen[bytes]":
        account = _account()
        fd = os.open(self._write(account), os.O_RDONLY)
        try:
            # By descriptor: its own user may not be able to reach our directory by path.
            command = [self._program, "-c", f"/proc/self/fd/{fd}" if account.switch else f"{self._file}"]
            return account.popen(command, dies_with_us=signal.SIGKILL, output=subprocess.PIPE, fds=[fd])
        finally:
            os.close(fd)

    @property
    def _file(self) -> Path:
        return self.directory / "turnserver.conf"

    def _write(self, account: Account) -> Path:
        """The configuration, readable for nobody but the process's user: it holds the secret."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        making = self.directory / ".turnserver.conf"
        making.unlink(missing_ok=True)
        with open(os.open(making, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as out:
            out.write(configuration(self._settings))
        account.own(making)
        making.replace(self._file)
        return self._file

    def _probed(self) -> str:
        return self._settings.listen[0] if self._settings.listen else "127.0.0.1"

    def _reason(self) -> str:
        """What it said last that tells why it ended."""
        told = [line for line in self._said if any(word in line.lower() for word in ("error", "cannot", "fatal"))]
        return next((line for line in reversed(told) if "SQLite" not in line), "it said nothing")

    async def _watch(self, exited: "asyncio.Future[int]") -> None:
        """Start it again whenever it ends, at once at first, then ever more slowly while that fails."""
        pause_s = 0.1
        while True:
            status = await exited
            self._well = False
            log.error("relay.exited", status=status)
            began = time.monotonic()
            while exited.done():
                try:
                    exited = await self._launch()
                    log.info("relay.restarted", pid=self.pid, seconds=round(time.monotonic() - began, 2))
                    pause_s = 0.1
                except (CannotRun, OSError) as error:
                    log.error("relay.restart_failed", reason=str(error))
                    await asyncio.sleep(pause_s)
                    pause_s = min(pause_s * 2, _LONGEST_BACKOFF_S)


def _account() -> Account:
    """Ourselves, or as root an unprivileged user that is there."""
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid(), switch=False)
    for name in _USERS:
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(user.pw_uid, user.pw_gid, switch=True)
    raise CannotRun("there is no user `turnserver` or `nobody` here to run coturn as: start Landline as another user")


def free_port(listen: Sequence[str], preferred: int = 0) -> int:
    """`preferred` when it is free for UDP and TCP on the addresses at this moment, else one that is. Raises
    `CannotRun`."""
    addresses = listen or ("0.0.0.0",)  # noqa: S104 - asked, not served
    others = Random().sample(_PORTS, 200)  # noqa: S311 - so that two servers at once hardly try the same
    for port in (preferred, *others) if preferred else others:
        try:
            return _bound(addresses, port)
        except OSError:
            continue
    raise CannotRun(f"no port is free on {', '.join(addresses)}")


def _bound(addresses: Sequence[str], port: int) -> int:
    """The port that could be bound on all `addresses`. Raises `OSError`."""
    with ExitStack() as stack:
        for address in addresses:
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                bound = stack.enter_context(socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind))
                if kind is socket.SOCK_STREAM:
                    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that linger are no matter
                bound.bind((address, port))
                port = bound.getsockname()[1]
    return port
