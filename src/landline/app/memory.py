"""Memory that is free goes back to the system. glibc keeps what lies between blocks still in use, and connections over
TLS leave much: uvloop takes 256 KiB for each and fills the first pages, and the next one's lie a little elsewhere, so
that a server which had 4,000 connections at once grew towards 1 GB while they came and went.
"""

import asyncio
import ctypes
import resource
from collections.abc import Callable
from pathlib import Path

LOOK_EVERY_S = 10.0
GROWN_BYTES = 32 << 20
"""It is worth the milliseconds once so much more is resident than after the last time."""
_STATM = Path("/proc/self/statm")


class FreedMemory:
    """Looks now and then. On systems without glibc it does nothing."""

    def __init__(self) -> None:
        self._trim = _malloc_trim()
        self._before_bytes = resident_bytes()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Look from now on, until `stop`."""
        if self._trim is not None:
            self._timer = asyncio.get_running_loop().call_later(LOOK_EVERY_S, self._next)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def look(self) -> None:
        """Give back what is free if the process has grown."""
        now_bytes = resident_bytes()
        if self._trim is not None and now_bytes > self._before_bytes + GROWN_BYTES:
            self._trim(0)
            now_bytes = self._before_bytes = resident_bytes()
        self._before_bytes = min(self._before_bytes, now_bytes)

    def _next(self) -> None:
        self.look()
        self.start()


def resident_bytes() -> int:
    """What the process has in memory; 0 where the system does not tell."""
    try:
        return int(_STATM.read_text().split()[1]) * resource.getpagesize()  # proc(5)
    except OSError:
        return 0


def _malloc_trim() -> Callable[[int], int] | None:
    try:
        return ctypes.CDLL(None).malloc_trim
    except AttributeError:
        return None
