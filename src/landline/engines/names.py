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
from time import monotonic
from typing import Any

_AT_ONCE = 256
"""Names that are looked up at once. A thread that waits costs some 50 KB. Half of them may be slow ones: hundreds that
nobody answers for would hold up all others, half a minute each."""
_SLOW_S = 3.0
"""A name is slow whose last look-up took so long, whatever came of it."""
_SLOW_KNOWN = 10_000


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
    not wait for them when it ends. `time` is in seconds."""

    def __init__(self, look: Look = look_up, *, at_once: int = _AT_ONCE, time: Callable[[], float] = monotonic) -> None:
        self._look = look
        self._at_once = at_once
        self._time = time
        self._slow: OrderedDict[_Place, None] = OrderedDict()
        self._slow_under_way: set[_Place] = set()
        self._under_way: dict[_Place, asyncio.Future[Sequence[Address]]] = {}
        self._waiting: OrderedDict[_Place, asyncio.Future[Sequence[Address]]] = OrderedDict()
        self._set_back: OrderedDict[_Place, asyncio.Future[Sequence[Address]]] = OrderedDict()
        """Slow ones that wait."""

    async def addresses(self, host: str, port: int) -> Sequence[Address]:
        """The addresses of `host`, a name or a literal, the best first. Raises `OSError`, `ValueError`."""
        literal = _literal(host, port)
        if literal:
            return literal
        place = (host, port)
        found = self._under_way.get(place) or self._waiting.get(place) or self._set_back.get(place)
        if found is None:
            found = asyncio.get_running_loop().create_future()
            found.add_done_callback(_heard)
            queue = self._set_back if place in self._slow else self._waiting
            queue[place] = found
            self._begin()
        return await asyncio.shield(found)  # who gives up leaves it to others

    def _begin(self) -> None:
        while len(self._under_way) < self._at_once:
            if self._set_back and len(self._slow_under_way) < max(1, self._at_once // 2):
                place, found = self._set_back.popitem(last=False)
            elif self._waiting:
                place, found = self._waiting.popitem(last=False)
            else:
                return
            run = partial(self._run, found.get_loop(), place, self._time())
            thread = Thread(target=run, name="landline-name", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # the system gives no more threads
                found.set_exception(OSError(str(error)))
                continue
            self._under_way[place] = found
            if place in self._slow:
                self._slow_under_way.add(place)

    def _run(self, loop: asyncio.AbstractEventLoop, place: _Place, began: float) -> None:
        try:
            answer: Sequence[Address] | Exception = self._look(*place)
        except Exception as error:
            answer = error
        with suppress(RuntimeError):  # the loop has ended meanwhile, and nobody waits
            loop.call_soon_threadsafe(self._ended, place, began, answer)

    def _ended(self, place: _Place, began: float, answer: Sequence[Address] | Exception) -> None:
        found = self._under_way.pop(place)
        self._note(place, slow=self._time() - began >= _SLOW_S)
        if found.done():
            pass
        elif isinstance(answer, Exception):
            found.set_exception(answer)
        else:
            found.set_result(answer)
        self._begin()

    def _note(self, place: _Place, *, slow: bool) -> None:
        self._slow_under_way.discard(place)
        self._slow.pop(place, None)
        if slow:
            self._slow[place] = None
            if len(self._slow) > _SLOW_KNOWN:
                self._slow.popitem(last=False)


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
