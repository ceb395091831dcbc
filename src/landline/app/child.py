"""One of several processes of a server, as its supervisor (`workers`) starts it: `python -m landline.app.child FD`.

FD is a socket to the supervisor: a `Setup` comes by it, word of our start goes back, and its end is the supervisor's.
"""

import signal
import sys

if __name__ == "__main__":  # at once: the terminal tells the supervisor too, who tells us what to do
    for told in (signal.SIGINT, signal.SIGHUP):
        signal.signal(told, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGHUP))  # `workers` has them blocked until now

import asyncio
import ctypes
import os
import socket
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import msgspec
import structlog

from landline.app.application import DevInfo, Place
from landline.app.config import Config
from landline.app.config_values import path
from landline.app.served_certificates import Served
from landline.app.serving import Serving, Sockets
from landline.core.errors import Refusal, Unavailable

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """All a child needs to know. Sockets are file descriptors that it inherits."""

    config: Config
    dsn: str
    place: Place
    number: int
    parent: int
    public: list[int]
    plain: list[int]
    admin: list[int]
    customers: list[int]
    customers_tls: list[int]
    own: list[int]
    gather: list[int]


class Started(msgspec.Struct, frozen=True, tag=True):
    """A child serves. In `dev` the first says what the user is to be told."""

    dev_info: DevInfo | None = None


class CannotStart(msgspec.Struct, frozen=True, tag=True):
    """Why it does not, in one line; `passing` when time may mend it."""

    message: str
    passing: bool = False


Word = Started | CannotStart


def encoded(setup: Setup) -> bytes:
    """`setup` as the one line that its process reads."""
    return msgspec.json.encode(setup, enc_hook=_as_text) + b"\n"


def decoded(line: bytes) -> Setup:
    """What `encoded` made the line of."""
    return msgspec.json.decode(line, type=Setup, dec_hook=path)


def decode_word(line: bytes) -> Word:
    """What a child says in a line, of which it says one: that it serves, or why it cannot."""
    return msgspec.json.decode(line, type=Word)


class Child:
    """See the module."""

    def __init__(self, setup: Setup, control: socket.socket) -> None:
        self._setup = setup
        self._control = control
        self._told_to_stop = False

    async def run(self) -> int:
        """Serve until told to stop; the exit status."""
        loop = asyncio.get_running_loop()
        serving = asyncio.create_task(self._serve())
        loop.add_signal_handler(signal.SIGTERM, self._stop, serving)
        loop.add_reader(self._control, self._hear)
        try:
            await serving
        except asyncio.CancelledError:
            return 0
        except Refusal as error:
            self._say(CannotStart(error.message))
        except Unavailable as error:
            self._say(CannotStart(error.message, passing=True))
        return 1

    async def _serve(self) -> None:
        setup = self._setup
        served = Served(setup.config) if setup.public else None
        if setup.config.mode == "serve" and served is not None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, served.load)
        fds = (setup.public, setup.plain, setup.admin, setup.customers, setup.customers_tls, setup.own)
        sockets = Sockets(*(_inherited(each) for each in fds))
        async with AsyncExitStack() as stack:
            serving = Serving(stack, setup.config, _build(), setup.place)
            application = await serving.start(setup.dsn, sockets, served, setup.gather)
            self._say(Started(application.dev_info()))
            await serving.wait()

    def _stop(self, serving: "asyncio.Task[None]") -> None:
        """The first signal drains, the second ends at once."""
        if self._told_to_stop:
            os._exit(1)
        self._told_to_stop = True
        serving.cancel()

    def _hear(self) -> None:
        """Nothing is said to us but, by the end of the connection, that the supervisor is gone."""
        os._exit(1)

    def _say(self, word: Word) -> None:
        with suppress(OSError):
            self._control.sendall(msgspec.json.encode(word) + b"\n")


def main() -> int:
    """Run; the exit status."""
    import uvloop

    from landline.app import logs

    control = socket.socket(fileno=int(sys.argv[1]))
    with control.makefile("rb") as lines:
        setup = decoded(lines.readline())
    _die_with(setup.parent)
    logs.configure(setup.config.log_level, setup.config.log_format)
    structlog.contextvars.bind_contextvars(worker=setup.number)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(Child(setup, control).run())


def _die_with(parent: int) -> None:
    """Be killed by the kernel when the supervisor dies, however it does (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:  # it died before the line above
        sys.exit(1)


def _build() -> Any:
    from landline.app.build import build

    return build


def _inherited(fds: list[int]) -> list[socket.socket]:
    return [socket.socket(fileno=fd) for fd in fds]


def _as_text(value: object) -> str:
    assert isinstance(value, Path)
    return str(value)


if __name__ == "__main__":
    sys.exit(main())
