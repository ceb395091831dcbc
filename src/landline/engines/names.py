"""Host names looked up in threads of our own. The event loop has two for that, which all share: a name whose servers do
not answer keeps one for up to half a minute, so that two such names, of webhooks or carriers, would keep all other new
connections waiting, also those to the database.
"""

import asyncio
import socket
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from threading import Thread
from typing import Any

_AT_ONCE = 256
"""Names that are looked up at once. A thread that waits costs some 50 KB."""


@dataclass(frozen=True, slots=True)
class Address:
    """One that a name resolves to, as `socket.connect` takes it."""

    family: int
    sockaddr: tuple[Any, ...]

    @property
    def host(self) -> str:
        """The address as text, without a zone."""
        return str(self.sockaddr[0]).partition("%")[0]


Look = Callable[[str, int], Sequence[Address]]
"""The addresses of a host with a port, the best first; takes its time. Raises `OSError`, or `ValueError` for what can
be no name."""
_Place = tuple[str, int]


def look_up(host: str, port: int) -> list[Address]:
    """What the machine's own resolver says."""
    return _addresses(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))


class Names:
    """The look-ups under way. Each name is looked up once at a time, whoever asks for it meanwhile. The process does
    not wait for them when it ends."""

    def __init__(self, look: Look = look_up, *, at_once: int = _AT_ONCE) -> None:
        self._look = look
        self._at_once = at_once
        self._under_way: dict[_Place, asyncio.Future[Sequence[Address]]] = {}
        self._waiting: OrderedDict[_Place, asyncio.Future[Sequence[Address]]] = OrderedDict()

    async def addresses(self, host: str, port: int) -> Sequence[Address]:
        """The addresses of `host`, a name or a literal, the best first. Raises `OSError`, `ValueError`."""
        literal = _literal(host, port)
        if literal:
            return literal
        place = (host, port)
        found = self._under_way.get(place) or self._waiting.get(place)
        if found is None:
            found = asyncio.get_running_loop().create_future()
            found.add_done_callback(_heard)
            self._waiting[place] = found
            self._begin()
        return await asyncio.shield(found)  # who gives up leaves it to others

    def _begin(self) -> None:
        while self._waiting and len(self._under_way) < self._at_once:
            place, found = self._waiting.popitem(last=False)
            thread = Thread(target=self._run, args=(found.get_loop(), place), name="landline-name", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # the system gives no more threads
                found.set_exception(OSError(str(error)))
            else:
                self._under_way[place] = found

    def _run(self, loop: asyncio.AbstractEventLoop, place: _Place) -> None:
        try:
            ended = partial(self._found, place, self._look(*place))
        except Exception as error:
            ended = partial(self._failed, place, error)
        with suppress(RuntimeError):  # the loop has ended meanwhile, and nobody waits
            loop.call_soon_threadsafe(ended)

    def _found(self, place: _Place, addresses: Sequence[Address]) -> None:
        found = self._under_way.pop(place)
        if not found.done():
            found.set_result(addresses)
        self._begin()

    def _failed(self, place: _Place, error: Exception) -> None:
        found = self._under_way.pop(place)
        if not found.done():
            found.set_exception(error)
        self._begin()


def _literal(host: str, port: int) -> list[Address]:
    """The address that `host` is; none of a name."""
    try:
        return _addresses(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST))
    except (OSError, ValueError):
        return []


def _addresses(found: Sequence[tuple[Any, ...]]) -> list[Address]:
    return [Address(family, sockaddr) for family, _, _, _, sockaddr in found]


def _heard(found: "asyncio.Future[Sequence[Address]]") -> None:
    """Whoever asked may have given up: then its failure is nobody's."""
    if not found.cancelled():
        found.exception()
