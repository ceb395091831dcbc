"""The one Clock. In `dev` and in tests it can be driven, and every deadline in the product follows it."""

from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol


class Alarm(Protocol):
    """One worker's wake-up call. Between `wait`s the worker counts as busy, which holds back a driven clock."""

    def ring(self) -> None:
        """Wake the worker now, or keep its next `wait` from sleeping. Rings between two waits fold into one."""
        ...

    async def wait(self, until: datetime | None = None) -> None:
        """Sleep until rung or until the clock reads `until`; None waits for a ring alone."""
        ...

    def close(self) -> None:
        """The worker has ended: it counts as busy no more."""
        ...


class Clock(Protocol):
    """Time for deadlines and stamps: never goes back; all waits of the product go through it.

    What proves a request fresh (the HMAC's date) reads the machine's own time instead: a client cannot be driven.
    """

    def now(self) -> datetime:
        """This instant, aware, UTC."""
        ...

    def alarm(self) -> Alarm:
        """A new alarm for one worker, which counts as busy until its first `wait`."""
        ...

    def busy(self) -> AbstractContextManager[None]:
        """Work in progress outside a worker's own loop: a driven clock stands still until it is left."""
        ...
