"""The Bus port: news between the processes of one deployment, for those who listen at the moment."""

from collections.abc import Callable
from typing import Protocol

Heard = Callable[[bytes], None]


class Subscription(Protocol):
    """An ear on one subject."""

    def close(self) -> None:
        """Hear no more; nothing is heard after it returned."""
        ...


class Bus(Protocol):
    """Lossy news: anything may be lost at any time, nothing is kept, nothing comes twice. What one process published on
    one subject is heard in that order; between subjects and between processes there is none.

    While processes do not reach one another, each still hears itself."""

    @property
    def together(self) -> bool:
        """Whether other processes hear us at this moment, as far as this one knows."""
        ...

    async def start(self) -> None:
        """Begin to hear and to be heard by other processes. Returns after a moment also when that has to wait."""
        ...

    async def check(self) -> None:
        """Raises `Unavailable` when other processes have been out of reach for more than a moment."""
        ...

    def publish(self, subject: str, data: bytes) -> None:
        """Say `data` to whoever subscribes to `subject` in any process, this one included. Returns at once and never
        raises; it is heard in a later turn of the event loop. What cannot be sent soon enough is dropped.

        A subject is words of letters, digits, `-` and `_`, joined by dots; `data` is at most a mebibyte."""
        ...

    async def subscribe(self, subject: str, heard: Heard) -> Subscription:
        """Call `heard` in the event loop for everything that is published on `subject` from now on; by other processes,
        from when they are reached. It has to return at once; what it raises is logged, and the others hear all the
        same."""
        ...

    async def close(self) -> None:
        """End all subscriptions."""
        ...
