"""Connections of a simulation, in memory: a process at one end, a peer that belongs to no process at the other."""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from tests.sim.turns import CURRENT, Process


class FarEnd(Protocol):
    """The peer of a process, at the other end of a connection to it."""

    process: Process

    def hear(self, data: bytes) -> None:
        """Octets of the process have come."""
        ...

    def lost(self) -> None:
        """The process has closed it."""
        ...


class Wire(asyncio.Transport):
    """The process's end of a connection."""

    def __init__(self, link: FarEnd) -> None:
        super().__init__()
        self._link = link

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._link.process.dead:
            outside(self._link.hear, bytes(data))

    def close(self) -> None:
        outside(self._link.lost)

    def abort(self) -> None:
        outside(self._link.lost)

    def is_reading(self) -> bool:
        return True

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("192.0.2.1", 5000) if name == "peername" else default


def outside(act: Callable[..., object], *arguments: object) -> None:
    """Have `act` called soon, as nobody's."""
    token = CURRENT.set(None)
    try:
        asyncio.get_running_loop().call_soon(act, *arguments)
    finally:
        CURRENT.reset(token)


def later(seconds: float, act: Callable[[], object]) -> None:
    """Have `act` called in a while, as nobody's."""
    token = CURRENT.set(None)
    try:
        asyncio.get_running_loop().call_later(seconds, act)
    finally:
        CURRENT.reset(token)
