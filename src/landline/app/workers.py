"""Several processes of one server: started on the supervisor's sockets, started again when they die, ended together.

A child that dies is replaced at once, then after growing pauses while its successors die young. None outlives us.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from uuid import UUID, uuid4

import structlog

from landline.app.application import DevInfo, Place
from landline.app.child import Setup, Started, decode_word, encoded
from landline.app.config import CannotConfigure, Config
from landline.app.serving import APPLICATION_CLOSE_S, Sockets
from landline.core.errors import Refusal, Unavailable
from landline.edge.server import DRAIN_S, bind

log = structlog.get_logger()

COMMAND = (sys.executable, "-P", "-m", "landline.app.child")
_NOT_FOR_CHILDREN = (signal.SIGINT, signal.SIGHUP)
_DRAIN_S = DRAIN_S + 0.5 + APPLICATION_CLOSE_S + 0.2
_KILL_S = 1.0
_STABLE_S = 30.0
"""A child that lived so long did not die of its start."""
_LOOP = 4
"""So many young deaths in a row are told as what they are."""
_PAUSE_FIRST_S, _PAUSE_LIMIT_S = 0.1, 30.0


class StartFailed(Refusal):
    """A process ended before it served, without a word."""

    code = "StartFailed"


def check(config: Config) -> None:
    """Raises `CannotConfigure` when the settings do not go with several processes."""
    if config.workers > 1 and config.driven_clock:
        raise CannotConfigure(
            f"workers = {config.workers} needs driven_clock = false: each process would have a time of its own"
        )


class _Child:
    """One process and the connection to it."""

    def __init__(self, process: "subprocess.Popen[bytes]", control: socket.socket, owner: UUID) -> None:
        self.process = process
        self.owner = owner
        self.began = time.monotonic()
        self.started: asyncio.Future[DevInfo | None] = asyncio.get_running_loop().create_future()
        self._control = control

    async def listen(self) -> int:
        """Hear what it says until it ends; its exit status (below 0: the signal)."""
        reader, writer = await asyncio.open_connection(sock=self._control)
        try:
            while line := await reader.readline():
                self._heard(line)
        except OSError:
            pass  # it ended with something of ours unread
        finally:
            writer.close()
        status = await asyncio.to_thread(self.process.wait)
        if not self.started.done():
            self.started.set_exception(StartFailed(f"a worker process {_ended(status)} before it served"))
            self.started.exception()  # whoever waits is told; nobody need
        return status

    def _heard(self, line: bytes) -> None:
        word = decode_word(line)
        if isinstance(word, Started):
            log.info("workers.started", pid=self.process.pid)
            if not self.started.done():
                self.started.set_result(word.dev_info)
        else:
            log.error("workers.failed", pid=self.process.pid, reason=word.message)
            if not self.started.done():
                self.started.set_exception(Unavailable(word.message) if word.passing else Refusal(word.message))
                self.started.exception()

    @property
    def served(self) -> bool:
        """Whether it came to serve."""
        return self.started.done() and self.started.exception() is None

    def tell(self, told: signal.Signals) -> None:
        """Send it a signal, if it still runs."""
        with suppress(ProcessLookupError):
            self.process.send_signal(told)  # nothing once it was waited for


class Workers:
    """`config.workers` processes on `sockets`, the first of which has the admin port. One `start`, one `close`."""

    def __init__(self, config: Config, dsn: str, sockets: Sockets, command: Sequence[str] = COMMAND) -> None:
        self._config = config
        self._dsn = dsn
        self._sockets = sockets
        self._command = list(command)
        self._ports: list[list[socket.socket]] = []
        self._children: dict[int, _Child] = {}
        self._dead: dict[int, list[UUID]] = {}
        """Owners of the former processes of a number that no successor has taken over from."""
        self._keeping: list[asyncio.Task[None]] = []
        self._ending = asyncio.Event()

    async def start(self) -> DevInfo | None:
        """Start all, and return when all serve. Raises `Refusal` or `Unavailable` as the first that cannot says."""
        check(self._config)
        self._ports = [bind("127.0.0.1", 0) for _ in range(self._config.workers)]
        numbers = range(self._config.workers)
        listening = [asyncio.create_task(self._spawn(number).listen()) for number in numbers]
        self._keeping = [asyncio.create_task(self._keep(number, listening[number])) for number in numbers]
        found = await asyncio.gather(*(self._children[number].started for number in numbers))
        return found[0]

    async def wait(self) -> None:
        """Until this breaks, which only a bug makes it do; raises what it raised."""
        done, _ = await asyncio.wait(self._keeping, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    def hang_up(self) -> None:
        """There are new certificates."""
        for child in self._children.values():
            child.tell(signal.SIGHUP)

    def kill(self) -> None:
        """End all at once."""
        self._ending.set()
        for child in self._children.values():
            child.tell(signal.SIGKILL)

    async def close(self) -> None:
        """Have all drain, kill what does not end in time; none is left when this returns."""
        self._ending.set()
        for told, patience_s in ((signal.SIGTERM, _DRAIN_S), (signal.SIGKILL, _KILL_S)):
            for child in self._children.values():
                child.tell(told)
            if self._keeping:
                await asyncio.wait(self._keeping, timeout=patience_s)
            if all(task.done() for task in self._keeping):
                break
            log.error("workers.did_not_end", pids=[child.process.pid for child in self._children.values()])
        for task in self._keeping:
            task.cancel()
        await asyncio.gather(*self._keeping, return_exceptions=True)
        for each in self._ports:
            for own in each:
                own.close()

    async def _keep(self, number: int, listening: "asyncio.Task[int]") -> None:
        """Have a process of this number, as long as we are not closing."""
        young = 0
        while True:
            child = self._children[number]
            status = await listening
            del self._children[number]
            if self._ending.is_set():
                return
            dead = self._dead.setdefault(number, [])
            if child.served:
                dead.clear()
            dead.append(child.owner)
            young = 0 if time.monotonic() - child.began >= _STABLE_S else young + 1
            log.error("workers.died", worker=number, pid=child.process.pid, how=_ended(status))
            if young >= _LOOP:
                log.error("workers.crash_loop", worker=number, deaths=young)
            with suppress(TimeoutError):
                async with asyncio.timeout(_pause_s(young)):
                    await self._ending.wait()
                return
            listening = asyncio.create_task(self._spawn(number).listen())

    def _spawn(self, number: int) -> _Child:
        ours, theirs = socket.socketpair()
        with theirs:
            owner = uuid4()
            setup = self._setup(number, owner)
            inherited = [theirs.fileno(), *setup.public, *setup.plain, *setup.admin, *setup.own]
            inherited += [*setup.customers, *setup.customers_tls]
            # It takes none of these before it has said that they are not for it (`child`): Ctrl-C would show where in
            # its imports it was, and new certificates end it. Ours wait meanwhile.
            before = signal.pthread_sigmask(signal.SIG_BLOCK, _NOT_FOR_CHILDREN)
            try:
                process = subprocess.Popen(  # noqa: S603 - ourselves
                    [*self._command, str(theirs.fileno())], stdin=subprocess.DEVNULL, pass_fds=inherited
                )
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
        with suppress(OSError):  # it has died already, which is noticed soon
            ours.sendall(encoded(setup))
        ours.setblocking(False)
        child = self._children[number] = _Child(process, ours, owner)
        return child

    def _setup(self, number: int, owner: UUID) -> Setup:
        sockets, first = self._sockets, number == 0
        together, succeeds = self._config.workers, tuple(self._dead.get(number, ()))
        return Setup(
            config=self._config,
            dsn=self._dsn,
            place=Place(alone=False, first=first, together=together, owner=owner, succeeds=succeeds),
            number=number,
            parent=os.getpid(),
            public=_fds(sockets.public),
            plain=_fds(sockets.plain),
            admin=_fds(sockets.admin) if first else [],
            customers=_fds(sockets.customers),
            customers_tls=_fds(sockets.customers_tls),
            own=_fds(self._ports[number]),
            gather=[each[0].getsockname()[1] for each in self._ports] if first else [],
        )


def _fds(sockets: Sequence[socket.socket]) -> list[int]:
    return [each.fileno() for each in sockets]


def _pause_s(young: int) -> float:
    return 0.0 if young <= 1 else min(_PAUSE_FIRST_S * 2 ** min(young - 2, 20), _PAUSE_LIMIT_S)


def _ended(status: int) -> str:
    if status >= 0:
        return f"ended with status {status}"
    return f"was ended by {signal.Signals(-status).name}"
