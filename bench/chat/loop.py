"""The generator's one loop: sockets are read as soon as they have something, into one buffer, by epoll alone.

It shares the machine with the server it measures, so nothing is parsed that need not be.
"""

import select
import ssl
import time
from collections.abc import Callable
from typing import Protocol

_SLICE_S = 0.05
_BUFFER_BYTES = 1 << 20


class Readable(Protocol):
    """What a turn of the loop finds something to read on."""

    def readable(self) -> None:
        """Read what there is."""
        ...


class Loop:
    """Reads whatever is `added`."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._parties: dict[int, Readable] = {}
        self.buffer = bytearray(_BUFFER_BYTES)

    def add(self, number: int, party: Readable) -> None:
        """Read `party` whenever its file descriptor `number` has something."""
        self._parties[number] = party
        self._epoll.register(number, select.EPOLLIN)

    def remove(self, number: int) -> None:
        """No more of it."""
        if self._parties.pop(number, None) is not None:
            self._epoll.unregister(number)

    def turn(self, wait_s: float) -> None:
        """Read what there is, waiting for the first of it."""
        parties = self._parties
        if wait_s > 0:  # epoll itself waits in whole milliseconds
            select.select((self._epoll,), (), (), wait_s)
        for number, _ in self._epoll.poll(0, 2048):
            parties[number].readable()

    def until(self, done: Callable[[], bool], seconds: float) -> bool:
        """Turn until `done`, or for `seconds`; whether it is done."""
        end = time.perf_counter() + seconds
        while not done():
            left = end - time.perf_counter()
            if left <= 0:
                return False
            self.turn(min(left, _SLICE_S))
        return True


NOTHING_YET = (BlockingIOError, ssl.SSLWantReadError)
